"""Random valid configurations, and a writer that spells the same number in different ways."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from perpdesk.config import Config
from perpdesk.config.decode import split_annotation, tagged_kinds
from perpdesk.config.grid import Executor, Grid, Override, Scanner
from perpdesk.config.oi import WEIGHT_BESIDE, Oi, Severity, Stage
from perpdesk.config.rules import Items, Keyed, Name, Number, Word
from perpdesk.config.schema import Guardian, Rating, SmaCross, Version


def _numbers(rule: Number, kind: type) -> st.SearchStrategy[object]:
    """Every number the rule allows, on its decimal grid."""
    scale = 10**rule.places
    lowest = rule.above if rule.at_least is None else rule.at_least
    highest = rule.below if rule.at_most is None else rule.at_most
    assert lowest is not None
    assert highest is not None
    low = int(lowest * scale) + (rule.at_least is None)
    high = int(highest * scale) - (rule.at_most is None)
    step = rule.multiple_of * scale
    if rule.multiple_of > 1:
        return st.integers(-(-low // step), high // step).map(lambda n: n * rule.multiple_of)
    if kind is int:
        return st.integers(low, high)
    return st.integers(low, high).map(lambda n: Decimal(n).scaleb(-rule.places))


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated type of the schema."""
    kinds = tagged_kinds(kind)
    if kinds:
        return st.one_of([structs(one) for one in kinds.values()])
    bare, rule, nullable = split_annotation(kind)
    strategy: st.SearchStrategy[Any]
    if get_origin(bare) is tuple:
        assert isinstance(rule, Items)
        strategy = st.lists(values(get_args(bare)[0]), max_size=min(rule.at_most, 3)).map(tuple)
    elif get_origin(bare) is dict:
        assert isinstance(rule, Keyed)
        keys = st.sampled_from(("60", "120", "300", "900", "1800", "7200"))
        strategy = st.dictionaries(keys, values(get_args(bare)[1]), min_size=1)
        strategy = strategy.map(lambda found: {key: found[key] for key in sorted(found, key=int)})
    elif issubclass(bare, msgspec.Struct):
        strategy = structs(bare)
    elif isinstance(rule, Number):
        strategy = _numbers(rule, bare)
    elif isinstance(rule, Word):
        strategy = st.sampled_from(rule.words)
    elif isinstance(rule, Name):
        strategy = st.from_regex(rule.pattern, fullmatch=True)
    else:
        assert bare is bool
        strategy = st.booleans()
    return strategy | st.none() if nullable else strategy


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Structs whose keys are each valid; rules between keys are mended."""
    fields = {field.name: values(field.type) for field in msgspec.structs.fields(kind)}
    return st.fixed_dictionaries(fields).map(lambda found: _mended(kind(**found)))


def _mended(part: Any) -> Any:
    replace = msgspec.structs.replace
    if isinstance(part, SmaCross) and part.fast >= part.slow:
        return replace(part, fast=part.slow - 1)
    if isinstance(part, Version) and part.start_offset_s >= part.scan_interval_s:
        return replace(part, start_offset_s=part.start_offset_s % part.scan_interval_s)
    if isinstance(part, Guardian) and part.timeouts:
        ratios = sorted({timeout.ratio for timeout in part.timeouts[:-1]} - {Decimal(0)}, reverse=True)
        pairs = zip([*ratios, Decimal(0)], part.timeouts, strict=False)
        return replace(part, timeouts=tuple(replace(timeout, ratio=ratio) for ratio, timeout in pairs))
    if isinstance(part, Rating):
        return _mended_rating(part)
    if isinstance(part, Severity) and part.high <= part.medium:
        return replace(part, medium=Decimal(1), high=max(part.medium, Decimal(2)))
    if isinstance(part, Oi):
        return _mended_oi(part)
    if isinstance(part, Scanner):
        return _mended_scanner(part)
    if isinstance(part, Executor):
        return _mended_executor(part)
    if isinstance(part, Override):  # what could contradict another key of the base is left to it
        between = ("short_budget_usdt", "max_position_usdt", "grid_levels", "order_size_usdt")
        return replace(part, executor=replace(part.executor, **dict.fromkeys(between)))
    if isinstance(part, Grid):
        overrides = {override.name: override for override in part.symbol_overrides}
        return replace(part, symbol_overrides=tuple(overrides.values()))
    if isinstance(part, Config):
        versions = {version.name: version for version in part.score.versions}
        return replace(part, score=replace(part.score, versions=tuple(versions.values())))
    return part


def _mended_rating(rating: Rating) -> Rating:
    whole = Rating()
    kept = {name: getattr(rating, name) for name in ("multipliers", "bonuses", "hard_stops", "losses_usdt")}
    for name, found in kept.items():
        count = len(getattr(whole, name))
        falls = name == "multipliers"
        kept[name] = tuple(sorted(found, reverse=falls)) if len(found) == count else getattr(whole, name)
    return msgspec.structs.replace(rating, **kept)


def _mended_scanner(scanner: Scanner) -> Scanner:
    near, far = sorted((scanner.near_fraction, scanner.far_fraction))
    if near == far:
        near, far = Decimal(0), far or Decimal("0.01")
    narrow, wide = sorted((scanner.separation_min_fraction, scanner.separation_max_fraction))
    return msgspec.structs.replace(
        scanner,
        min_bars=min(scanner.min_bars, scanner.lookback_bars),
        near_fraction=near,
        far_fraction=far,
        separation_min_fraction=narrow,
        separation_max_fraction=wide,
        kmeans_k_min=min(scanner.kmeans_k_min, scanner.kmeans_k_max),
    )


def _mended_executor(executor: Executor) -> Executor:
    room = max(executor.max_position_usdt, executor.order_size_usdt)
    short = min(executor.short_budget_usdt, room)
    return msgspec.structs.replace(
        executor,
        max_position_usdt=room,
        short_budget_usdt=room if short == 0 and executor.variant == "neutral" else short,
        initial_levels=min(executor.initial_levels, executor.grid_levels),
        spacing="arithmetic" if executor.start == "always" else executor.spacing,
    )


def _mended_oi(oi: Oi) -> Oi:
    replace = msgspec.structs.replace
    moves = sorted({leg.move for leg in oi.tp_legs})
    share = Decimal("0.3")
    return replace(
        oi,
        polling_interval_ms=60_000,
        symbol_blacklist=tuple(dict.fromkeys(oi.symbol_blacklist)),
        tp_legs=tuple(Stage(share=share, move=move) for move in moves),
        trailing=replace(oi.trailing, share=1 - len(moves) * share),
        max_monitored_symbols=None
        if oi.max_monitored_symbols is None
        else max(1, min(oi.max_monitored_symbols, oi.weight_budget_per_min - WEIGHT_BESIDE)),
    )


def configs() -> st.SearchStrategy[Config]:
    """Random valid configurations."""
    return structs(Config)


def written(value: object, spell: Any) -> str:
    """The value as YAML in flow style; ``spell`` writes a Decimal."""
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.asdict(value)
        if isinstance(value, Version):
            fields["scorer"] = value.scorer
        parts = (f"{key}: {written(part, spell)}" for key, part in fields.items())
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}": {written(part, spell)}' for key, part in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(written(item, spell) for item in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return str(spell(value))
    return f'"{value}"' if isinstance(value, str) else str(value)


def plain(value: Decimal) -> str:
    """0.03"""
    return format(value, "f")


def padded(value: Decimal) -> str:
    """+0.0300"""
    text = format(value, "f")
    text = text if "." in text else text + "."
    return text + "00" if value < 0 else f"+{text}00"


def scientific(value: Decimal) -> str:
    """3e-2"""
    sign, digits, exponent = value.as_tuple()
    return f"{'-' if sign else ''}{''.join(map(str, digits))}e{exponent}"
