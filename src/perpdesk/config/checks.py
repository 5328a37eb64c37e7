"""Rules between keys, after every key alone is in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from perpdesk.config.decode import Sources
from perpdesk.config.grid import Grid
from perpdesk.config.oi import Oi, contradiction
from perpdesk.config.schema import Config, Guardian, Rating, SmaCross, Version


def check(config: Config, sources: Sources) -> None:
    """Raise ConfigError for the first keys that contradict each other."""
    _sma_cross(config.sma_cross, sources)
    _versions(config.score.versions, sources)
    _guardian(config.score.guardian, sources)
    _oi(config.oi, sources)
    _grid(config.grid, sources)
    _rating(config.score.rating, sources)


def _oi(oi: Oi, sources: Sources) -> None:
    found = contradiction(oi)
    if found is not None:
        key, message = found
        raise sources.error(message, f"oi.{key}", "E15")


def _grid(grid: Grid, sources: Sources) -> None:
    def refuse(path: str, message: str) -> None:
        raise sources.error(message, f"grid.{path}", "E14")

    scanner = grid.scanner
    if scanner.min_bars > scanner.lookback_bars:
        refuse("scanner.min_bars", f"must not be above lookback_bars ({scanner.lookback_bars})")
    if scanner.near_fraction >= scanner.far_fraction:
        refuse("scanner.near_fraction", f"must be below far_fraction ({scanner.far_fraction})")
    if scanner.separation_min_fraction > scanner.separation_max_fraction:
        refuse("scanner.separation_min_fraction", "must not be above separation_max_fraction")
    if scanner.kmeans_k_min > scanner.kmeans_k_max:
        refuse("scanner.kmeans_k_min", f"must not be above kmeans_k_max ({scanner.kmeans_k_max})")
    names = [override.name for override in grid.symbol_overrides]
    for i, name in enumerate(names):
        if names.index(name) != i:
            refuse(f"symbol_overrides[{i}].name", f"{name} stands there twice (DUPLICATE_SYMBOL)")
    for name in ("", *names):
        executor = grid.for_symbol(name).executor
        if executor.short_budget_usdt > executor.max_position_usdt:
            refuse("executor.short_budget_usdt", "must not be above max_position_usdt")
        if executor.initial_levels > executor.grid_levels:
            refuse("executor.initial_levels", f"must not be above grid_levels ({executor.grid_levels})")
        if executor.max_position_usdt < executor.order_size_usdt:
            message = "is below one level's order_size_usdt (CAP_BELOW_ONE_LEVEL)"
            refuse("executor.max_position_usdt", message)
        if executor.variant == "neutral" and executor.short_budget_usdt == 0:
            message = "neutral grids sell short: give a budget (SHORT_BUDGET_REQUIRED)"
            refuse("executor.short_budget_usdt", message)
        if executor.start == "always" and executor.spacing != "arithmetic":
            refuse("executor.spacing", "a grid that starts always spaces its levels evenly: use arithmetic")


def _sma_cross(sma: SmaCross, sources: Sources) -> None:
    if sma.fast >= sma.slow:
        message = f"must be below sma_cross.slow ({sma.slow}), was {sma.fast}"
        raise sources.error(message, "sma_cross.fast", "E13")


def _versions(versions: Sequence[Version], sources: Sources) -> None:
    count = Counter(version.name for version in versions)
    for i, version in enumerate(versions):
        path = f"score.versions[{i}]"
        if count[version.name] > 1:
            message = f"must be unique, {version.name} stands there {count[version.name]} times"
            raise sources.error(message, f"{path}.name", "E01")
        if version.start_offset_s >= version.scan_interval_s:
            message = (
                f"must be below scan_interval_s ({version.scan_interval_s}), was {version.start_offset_s}"
            )
            raise sources.error(message, f"{path}.start_offset_s", "E03")


def _rating(rating: Rating, sources: Sources) -> None:
    path = "score.rating"
    counts = {"multipliers": 2, "bonuses": 2, "hard_stops": 3, "losses_usdt": 3}
    for name, count in counts.items():
        values = getattr(rating, name)
        if len(values) != count:
            raise sources.error(f"must have {count} figures, had {len(values)}", f"{path}.{name}", "E11")
        falls = name == "multipliers"
        for i, (first, second) in enumerate(pairwise(values), start=1):
            if second > first if falls else second < first:
                word = "not be above" if falls else "not be below"
                raise sources.error(f"must {word} the figure before it", f"{path}.{name}[{i}]", "E11")


def _guardian(guardian: Guardian, sources: Sources) -> None:
    timeouts = guardian.timeouts
    for i, (longer, shorter) in enumerate(pairwise(timeouts), start=1):
        if shorter.ratio >= longer.ratio:
            message = "must be below the ratio before it: the first that holds decides"
            raise sources.error(message, f"score.guardian.timeouts[{i}].ratio", "E09")
    if timeouts and timeouts[-1].ratio != 0:
        last = f"score.guardian.timeouts[{len(timeouts) - 1}].ratio"
        raise sources.error("must be 0 in the last entry: it holds for every score", last, "E09")
