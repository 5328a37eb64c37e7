"""Why an account would not enter, whatever the score: its rows, judged in the order of the gate.

Rows know their times, so positions and cooldowns are those of the moment asked about; switch, heartbeats,
rating and breaker are known only as they are now, and say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from perpdesk.config.load import Loaded
from perpdesk.config.records import Sleeve
from perpdesk.domain.books import Failed, Missing, PositionRow, TradingControl
from perpdesk.domain.order import PositionSide
from perpdesk.domain.signal_books import ScoreSignal, SymbolRating

RATING_LEVELS = ("full size", "a quarter of the size", "an eighth of the size", "banned")


@dataclass(frozen=True, slots=True)
class Gate:
    """One rule of the account. refuses: True, False, or None: it could not be found out."""

    code: str
    text: str
    refuses: bool | None


@dataclass(frozen=True)
class Standing:
    """What the database says of one account and symbol.

    positions: of the whole account, live at the moment or closed before it. beats_fresh: of the guardians'
    heartbeats, None for a simulated account, which has none. rated: does this account keep its ratings in the
    database? owner: the strategy that the symbol belongs to. signals: what the run wrote at the moment.
    """

    account_id: int
    switch: TradingControl | Missing | Failed
    positions: Sequence[PositionRow]
    rating: SymbolRating | None
    rated: bool
    beats_fresh: bool | None
    tripped: bool
    owner: str | None
    external: bool
    signals: Sequence[ScoreSignal]


def gates(
    one: Standing, loaded: Loaded, sleeve: Sleeve, symbol: str, side: PositionSide, at_ms: int
) -> Iterator[Gate]:
    """Every rule, in the order in which the desk asks."""
    yield _switch(one.switch)
    if one.beats_fresh is not None:
        text = "the guardian's heartbeat is fresh" if one.beats_fresh else "no fresh heartbeat of a guardian"
        yield Gate("GUARDIAN_STALE", text, not one.beats_fresh)
    yield _rating(one.rating) if one.rated else _unrated(one, sleeve.name, side, at_ms)
    live = [row for row in one.positions if _is_live(row, at_ms)]
    here = [row for row in live if row.symbol == symbol]
    yield _held(here, sleeve.name, side)
    yield _others(one, here, symbol, side)
    yield _cooldown(one.positions, sleeve, symbol, side, at_ms)
    yield _room(live, loaded, sleeve)
    yield _exposure(one, live, loaded, sleeve)
    yield Gate(
        "DAILY_LOSS", "the day's loss limit was reached" if one.tripped else "not reached", one.tripped
    )


def said_then(one: Standing, version: str, side: PositionSide, at_ms: int) -> str | None:
    """What the run itself wrote at this very moment of this version and side."""
    for signal in _signals(one, version, side, at_ms):
        act = "opened" if signal.act == "OPEN" else f"was refused: {signal.reason}"
        return f"{side.value} {act} (score {signal.score:.2f})"
    return None


def _signals(one: Standing, version: str, side: PositionSide, at_ms: int) -> list[ScoreSignal]:
    wanted = version, side, at_ms
    return [each for each in one.signals if (each.version, each.side, each.created_ms) == wanted]


def _is_live(row: PositionRow, at_ms: int) -> bool:
    return row.created_ms < at_ms and (row.close_ms is None or row.close_ms > at_ms)


def _switch(switch: TradingControl | Missing | Failed) -> Gate:
    if isinstance(switch, TradingControl):
        word = "on" if switch.trading_enabled else "off"
        return Gate("TRADING_DISABLED", f"switched {word} by {switch.updated_by}", not switch.trading_enabled)
    why = "no row" if isinstance(switch, Missing) else switch.reason
    return Gate("TRADING_DISABLED", f"the switch is not known ({why})", True)


def _rating(rating: SymbolRating | None) -> Gate:
    if rating is None:
        return Gate("RATING_UNKNOWN", "the symbol has no rating yet: the next live start gives it one", True)
    level = rating.rating_level
    why = f": {rating.reason}" if rating.reason and level else ""
    return Gate("RATING_BANNED", f"level {level}, {RATING_LEVELS[level]}{why}", level >= 3)


def _unrated(one: Standing, version: str, side: PositionSide, at_ms: int) -> Gate:
    """A simulated run keeps its ratings to itself: only what it refused for them is known."""
    for signal in _signals(one, version, side, at_ms):
        if signal.reason == "RATING_BANNED":
            return Gate("RATING_BANNED", "the run had banned the symbol by then", True)
    return Gate("RATING_BANNED", "not known: a simulated run keeps its ratings to itself", None)


def _held(here: Sequence[PositionRow], version: str, side: PositionSide) -> Gate:
    for row in here:
        if row.signal_version == version and row.position_side is side:
            entry = "" if row.avg_entry_price is None else f" at {row.avg_entry_price.normalize():f}"
            held = f"{version} holds {row.quantity.normalize():f} {side.value}{entry}{_since(row.open_ms)}"
            return Gate("POSITION_EXISTS", held, True)
    return Gate("POSITION_EXISTS", f"{version} holds no {side.value} here", False)


def _others(one: Standing, here: Sequence[PositionRow], symbol: str, side: PositionSide) -> Gate:
    if one.owner is not None and one.owner != "score":
        return Gate("SYMBOL_TAKEN", f"{symbol} belongs to {one.owner}", True)
    for row in here:
        if row.position_side is not side:
            held = f"{row.signal_version} holds {row.position_side.value}{_since(row.open_ms)}"
            return Gate("OPPOSITE_SIDE", held, True)
    if one.external:
        return Gate("EXTERNAL_LOTS", "lots that no version owns stand on the symbol", True)
    return Gate("OPPOSITE_SIDE", "nobody holds the other side", False)


def _cooldown(
    positions: Sequence[PositionRow], sleeve: Sleeve, symbol: str, side: PositionSide, at_ms: int
) -> Gate:
    cooldown_ms = int(sleeve.limits.cooldown_ms[0])
    closed = [
        row
        for row in positions
        if (row.symbol, row.position_side, row.signal_version) == (symbol, side, sleeve.name)
        and row.close_ms is not None
        and row.open_ms is not None
        and row.close_ms <= at_ms
    ]
    if not closed:
        return Gate("COOLDOWN", "never closed before", False)
    last = max(closed, key=lambda row: row.close_ms or 0)
    assert last.close_ms is not None
    if last.close_reason == "MANUAL":
        cooldown_ms = max(cooldown_ms, int(sleeve.limits.cooldown_manual_ms[0]))
    age_ms = at_ms - last.close_ms
    text = (
        f"closed {age_ms // 60_000} min before ({last.close_reason}), {cooldown_ms // 60_000} min are needed"
    )
    return Gate("COOLDOWN", text, age_ms < cooldown_ms)


def _room(live: Sequence[PositionRow], loaded: Loaded, sleeve: Sleeve) -> Gate:
    own = sum(row.signal_version == sleeve.name for row in live)
    most, most_all = int(sleeve.limits.positions_max[0]), loaded.config.risk.positions_max
    text = f"{sleeve.name} holds {own} of {most} positions, the account {len(live)} of {most_all}"
    return Gate("MAX_POSITIONS", text, own >= most or len(live) >= most_all)


def _exposure(one: Standing, live: Sequence[PositionRow], loaded: Loaded, sleeve: Sleeve) -> Gate:
    cap = loaded.config.risk.max_total_notional_usdt
    used = sum((abs(row.notional_value) for row in live), Decimal(0))
    (version,) = (each for each in loaded.config.score.versions if each.name == sleeve.name)
    leverage = loaded.config.account.leverage if version.leverage is None else version.leverage
    multiplier = Decimal(1) if one.rating is None else one.rating.margin_multiplier
    new = version.margin_usdt * multiplier * leverage
    text = f"{used:,.0f} USDT are held, {new:,.0f} would come, {cap:,.0f} are allowed"
    return Gate("EXPOSURE_LIMIT", text, used + new > cap)


def _since(open_ms: int | None) -> str:
    if open_ms is None:
        return ", being entered"
    return f" since {datetime.fromtimestamp(open_ms / 1000, UTC):%Y-%m-%d %H:%M}"
