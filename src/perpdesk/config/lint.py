"""Values that are valid alone and wrong together.

Severity E refuses to start, W and I are printed. Each finding says what to do. The codes L01 … L15 are the
rules of the score trader (those that concern entry modes, partial exits and scan weight come with them);
the same rule has the same code in ``sma_cross``. S01 and S02 are rules of ``sma_cross`` alone, R01 of the
account. ``docs/config.md`` lists them all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from decimal import Decimal
from itertools import combinations
from math import gcd

from perpdesk.config import oi_lint
from perpdesk.config.finding import ERROR, INFO, WARNING, Finding
from perpdesk.config.schema import (
    Config,
    Guardian,
    SmaCross,
    TimedStop,
    V2Version,
    V3Version,
    leverage_of,
)
from perpdesk.domain.errors import ConfigError
from perpdesk.domain.units import plain

STRATEGIES = ("score", "sma_cross")

# The maintenance margin rate of a first bracket that is not known.
MMR_FRACTION_UNKNOWN = Decimal("0.025")
V2_SCORE_MAX, V3_SCORE_MAX = Decimal(100), Decimal(42)
# Of the exchange's 200 conditional orders per account, ten are kept free.
CONDITIONAL_ORDERS_MAX = 190


def lint(
    config: Config,
    *,
    strategies: Collection[str] = STRATEGIES,
    mmr_fraction: Decimal = MMR_FRACTION_UNKNOWN,
    symbols: int = 0,
) -> tuple[Finding, ...]:
    """Every finding about the account and the named strategies ('score', 'sma_cross', 'oi'), in file order.

    ``mmr_fraction``: the largest maintenance margin rate of a first bracket among the symbols to be
    traded; ``symbols``: how many there are (each has one disaster stop).
    """
    findings = list(_account(config))
    if "sma_cross" in strategies:
        findings += _sma_cross(config, mmr_fraction)
    if "score" in strategies:
        findings += _score(config, mmr_fraction, symbols)
    if "oi" in strategies:
        findings += oi_lint.findings(config.oi, config.risk)
    return tuple(findings)


def refuse_errors(findings: Iterable[Finding]) -> None:
    """Raise ConfigError for the first finding of severity E: nothing starts with it."""
    for finding in findings:
        if finding.severity == ERROR:
            raise ConfigError(finding.sentence, field=finding.field, rule=finding.code)


def widest_stop(guardian: Guardian) -> Decimal:
    """The largest loss, as a positive fraction of the entry price, that a stop of the guardian allows.
    The exchange's own stop rests there: the guardian acts first, this one stands if it dies."""
    return max(-guardian.fixed_stop, *(-stop.level for stop in guardian.timed_stops), Decimal(0))


def _widest_field(guardian: Guardian) -> str:
    levels = {f"timed_stops[{i}].level": stop.level for i, stop in enumerate(guardian.timed_stops)}
    levels["fixed_stop"] = guardian.fixed_stop
    return "score.guardian." + min(levels, key=lambda key: levels[key])


def _account(config: Config) -> Iterator[Finding]:
    if config.risk.daily_loss_limit is None:
        yield Finding(
            "L15",
            INFO,
            "risk.daily_loss_limit",
            "no daily loss limit: a bad day has no end; set a fraction such as 0.2",
        )


def _disaster(config: Config, widest: Decimal, field: str) -> Iterator[Finding]:
    if widest >= config.risk.disaster.max:
        yield Finding(
            "L05",
            ERROR,
            field,
            f"the widest stop, {plain(widest)} away, is not nearer than risk.disaster.max "
            f"({plain(config.risk.disaster.max)}): tighten the stop or raise risk.disaster.max",
        )


def _liquidation(
    config: Config, widest: Decimal, leverage: int, mmr: Decimal, field: str
) -> Iterator[Finding]:
    """The stop must act before the configured share of the way to liquidation is gone."""
    share = config.risk.disaster.liq_share
    # liq_share * (1/leverage - mmr) <= widest, without dividing
    if share * (1 - mmr * leverage) <= widest * leverage:
        reach = max(Decimal(0), share * (Decimal(1) / leverage - mmr))
        yield Finding(
            "L06",
            ERROR,
            field,
            f"the widest stop, {plain(widest)} away, lies beyond liquidation: at leverage {leverage} it must "
            f"be nearer than {reach:.4f}; lower the leverage or tighten the stop",
        )


def _ceiling(config: Config, count: int, field: str) -> Iterator[Finding]:
    if count > config.risk.positions_max:
        yield Finding(
            "R01",
            WARNING,
            field,
            f"{count} positions are never reached: risk.positions_max is {config.risk.positions_max}; "
            "lower this one or raise that one",
        )


def _sma_cross(config: Config, mmr: Decimal) -> Iterator[Finding]:
    sma = config.sma_cross
    yield from _ceiling(config, sma.positions_max, "sma_cross.positions_max")
    yield from _disaster(config, sma.stop, "sma_cross.stop")
    yield from _liquidation(config, sma.stop, leverage_of(config, sma), mmr, "sma_cross.stop")
    if sma.trail_callback is not None:
        yield from _sma_trailing(config, sma, sma.trail_callback)


def _sma_trailing(config: Config, sma: SmaCross, callback: Decimal) -> Iterator[Finding]:
    """When it becomes active the trailing order sells at (1 + activation) × (1 − callback) of the entry."""
    locked = (1 + sma.trail_activation) * (1 - callback) - 1
    costs = 2 * config.account.taker_fee + config.paper.slippage
    if locked <= -sma.stop:
        yield Finding(
            "S01",
            WARNING,
            "sma_cross.trail_callback",
            f"dominated exit: once active the trailing order sells {plain(-locked)} below the entry, behind "
            f"the stop at {plain(sma.stop)}; use a smaller callback or a later activation",
        )
    elif locked < costs:
        yield Finding(
            "S02",
            WARNING,
            "sma_cross.trail_callback",
            f"once active the trailing order secures {plain(locked)} of the entry price, less "
            f"than a round trip costs ({plain(costs)}): use a smaller callback or a later activation",
        )


def _score(config: Config, mmr: Decimal, symbols: int) -> Iterator[Finding]:
    enabled = [(i, version) for i, version in enumerate(config.score.versions) if version.enabled]
    yield from _versions(config, enabled, mmr, symbols)
    yield from _trailing(config)
    yield from _dominated(config.score.guardian)
    yield from _timed_out(config.score.guardian)


def _versions(
    config: Config, enabled: list[tuple[int, V2Version | V3Version]], mmr: Decimal, symbols: int
) -> Iterator[Finding]:
    widest = widest_stop(config.score.guardian)
    yield from _disaster(config, widest, _widest_field(config.score.guardian))
    for i, version in enabled:
        path = f"score.versions[{i}]"
        # The stop is common to all versions, so the key to change is the leverage.
        yield from _liquidation(config, widest, leverage_of(config, version), mmr, f"{path}.leverage")
        yield from _ceiling(config, version.max_positions, f"{path}.max_positions")
        # A symbol at the worst level that still trades needs this share of the highest score on top.
        rating = config.score.rating
        bonus = max(rating.bonuses) if rating.enabled else Decimal(0)
        yield from _reachable(version, bonus, f"{path}.params")
    for (_, one), (j, other) in combinations(enabled, 2):
        step = gcd(one.scan_interval_s, other.scan_interval_s)
        if (one.start_offset_s - other.start_offset_s) % step == 0:
            yield Finding(
                "L07",
                WARNING,
                f"score.versions[{j}].start_offset_s",
                f"{one.name} and {other.name} scan at the same moment at times: choose offsets that differ "
                f"modulo {step} s",
            )
    planned = 2 * sum(min(v.max_positions, config.risk.positions_max) for _, v in enabled) + symbols
    if planned > CONDITIONAL_ORDERS_MAX:
        yield Finding(
            "L11",
            WARNING,
            "score.versions",
            f"{planned} conditional orders are planned, {CONDITIONAL_ORDERS_MAX} fit with a reserve: lower "
            "max_positions",
        )


def _reachable(version: V2Version | V3Version, share: Decimal, path: str) -> Iterator[Finding]:
    """Can a symbol with the worst rating bonus still reach the thresholds?"""
    if isinstance(version, V2Version):
        most = V2_SCORE_MAX
        thresholds = {"min_score_to_trade": version.params.min_score_to_trade}
    else:
        most = V3_SCORE_MAX
        params = version.params
        thresholds = {"min_score_long": params.min_score_long, "min_score_short": params.min_score_short}
    bonus = share * most
    for key, threshold in thresholds.items():
        if threshold + bonus > most:
            yield Finding(
                "L08",
                WARNING,
                f"{path}.{key}",
                f"a symbol with the worst rating bonus ({plain(bonus)}) can never reach it: use at most "
                f"{plain(most - bonus)}",
            )


def _trailing(config: Config) -> Iterator[Finding]:
    guardian, path = config.score.guardian, "score.guardian.trailing"
    trailing = guardian.trailing
    if trailing.activation <= trailing.retrace:
        yield Finding(
            "L01",
            ERROR,
            f"{path}.activation",
            f"must be above retrace ({plain(trailing.retrace)}), else the trailing exit starts at a loss",
        )
    elif trailing.activation - trailing.retrace < trailing.floor:
        yield Finding(
            "L02",
            WARNING,
            f"{path}.floor",
            "the floor binds as soon as the trailing exit is armed: raise activation or lower retrace",
        )
    if guardian.fixed_tp is not None and guardian.fixed_tp <= trailing.activation:
        yield Finding(
            "L04",
            INFO,
            "score.guardian.fixed_tp",
            "the trailing exit never acts, the take-profit comes first: set it above "
            f"{plain(trailing.activation)}, or leave it so",
        )
    fees = 2 * config.account.taker_fee
    if trailing.floor < fees:
        yield Finding(
            "L14",
            WARNING,
            f"{path}.floor",
            f"below the fees of a round trip ({plain(fees)}): break-even would lose money, raise it",
        )


def _dominates(other: TimedStop, j: int, stop: TimedStop, i: int) -> bool:
    """Is ``other`` at least as long and as tight? Of two equal ones the later is the superfluous one."""
    equal = other.within_s == stop.within_s and other.level == stop.level
    return j < i if equal else other.within_s >= stop.within_s and other.level >= stop.level


def _dominated(guardian: Guardian) -> Iterator[Finding]:
    stops = guardian.timed_stops
    for i, stop in enumerate(stops):
        path = f"score.guardian.timed_stops[{i}]"
        if guardian.fixed_stop >= stop.level:
            reason = f"the fixed stop ({plain(guardian.fixed_stop)}) always acts first"
        else:
            first = next((o for j, o in enumerate(stops) if j != i and _dominates(o, j, stop, i)), None)
            if first is None:
                continue
            reason = f"the stop ({first.within_s} s, {plain(first.level)}) always acts first"
        yield Finding(
            "L03",
            WARNING,
            path,
            f"dominated stop ({stop.within_s} s, {plain(stop.level)}): {reason}; remove it or tighten it",
        )


def _timed_out(guardian: Guardian) -> Iterator[Finding]:
    if not guardian.timeouts:
        return
    shortest_s = 60 * min(timeout.minutes for timeout in guardian.timeouts)
    for i, stop in enumerate(guardian.timed_stops):
        if stop.within_s > shortest_s:
            yield Finding(
                "L10",
                WARNING,
                f"score.guardian.timed_stops[{i}].within_s",
                f"is longer than the shortest timeout ({shortest_s} s): some positions end before",
            )
