"""What a start reads of the market before it trades: the contracts' rules, and the closed minutes up to now.

Public data, but for the margin brackets. All requests wait for room in the governor's limits, so a long
warm-up is slow and never an IP ban.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.quantise import Rules, rules_of
from perpdesk.adapters.binance.rest import Rest, read_reply
from perpdesk.domain import units
from perpdesk.domain.errors import Refused
from perpdesk.domain.instrument import (
    Bracket,
    Instrument,
    brackets_from_leverage_bracket,
    instruments_from_exchange_info,
)
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS, bar_dt, zeros
from perpdesk.market.universe import Universe, unknown_symbol
from perpdesk.ports import Clock

LOG = logging.getLogger(__name__)
PAGE = 1_000
AT_ONCE = 8
TRIES = 3
TRY_AGAIN_MS = 500
TRADING = "TRADING"

Row = tuple[int, int, int, int, int, int]


async def read_brackets(rest: Rest) -> dict[str, tuple[Bracket, ...]]:
    """The account's margin brackets by symbol. Raises ExchangeUnreachable, ExchangeRefused, InputError."""
    reply = await rest.send(to.LEVERAGE_BRACKET, (), Lane.QUERY)
    read_reply(to.LEVERAGE_BRACKET, reply)
    return brackets_from_leverage_bracket(msgspec.json.decode(reply.body))


async def read_contracts(
    rest: Rest,
    symbols: Sequence[str],
    brackets: Mapping[str, tuple[Bracket, ...]] | None = None,
    *,
    must_trade: bool = True,
) -> tuple[list[Instrument], list[Rules]]:
    """The contracts of a run, sorted by name, and their rules as orders must keep them.

    Raises InputError for a symbol that the exchange does not have, Refused for one that is not traded (unless
    ``must_trade`` is False: what is held must be read all the same).
    """
    reply = await rest.send(to.EXCHANGE_INFO, (), Lane.QUERY)
    info: p.ExchangeInfo = read_reply(to.EXCHANGE_INFO, reply)
    typed = {row.symbol: row for row in info.symbols}
    chosen = sorted(set(symbols))
    for symbol in chosen:
        if symbol not in typed:
            raise unknown_symbol(symbol, sorted(typed))
        if must_trade and typed[symbol].status != TRADING:
            raise Refused("NOT_TRADING", f"{symbol} is {typed[symbol].status} on the exchange: leave it out")
    raw = [row for row in msgspec.json.decode(reply.body)["symbols"] if row.get("symbol") in set(chosen)]
    found = instruments_from_exchange_info({"symbols": raw}, brackets)
    instruments = [found[symbol] for symbol in chosen]
    rules = [
        rules_of(typed[one.symbol], units.digits_of(one.price_tick), one.lot_step) for one in instruments
    ]
    return instruments, rules


async def read_marks(rest: Rest, rules: Sequence[Rules]) -> list[int]:
    """The mark price of every contract, in its scale. Raises ExchangeUnreachable for one without any."""
    rows: list[p.PremiumIndex] = await rest.ask(to.PREMIUM_INDEX_ALL, ())
    told = {row.symbol: row.mark_price for row in rows}
    marks = [rule.price_near(told.get(rule.symbol, "0")) for rule in rules]
    for rule, mark in zip(rules, marks, strict=True):
        if mark <= 0:
            raise ExchangeUnreachable(f"{rule.symbol} has no mark price")
    return marks


def universe_of(instruments: Sequence[Instrument], marks: Sequence[int], bars: np.ndarray) -> Universe:
    """The universe in the scale of the ticks. marks and bars ([T, N]) in that scale: its largest prices."""
    highs = bars["high"].max(axis=0) if len(bars) else np.zeros(len(instruments), np.int64)
    return Universe(
        symbols=tuple(one.symbol for one in instruments),
        instruments=tuple(instruments),
        price_digits=tuple(units.digits_of(one.price_tick) for one in instruments),
        lot_step=tuple(one.lot_step for one in instruments),
        price_max=tuple(max(mark, int(high)) for mark, high in zip(marks, highs, strict=True)),
    )


async def read_minutes(
    rest: Rest, clock: Clock, rules: Sequence[Rules], count: int
) -> tuple[np.ndarray, int]:
    """The last ``count`` closed minutes of every symbol: [count, N] of bar_dt, and the first one's time.

    A minute that the exchange has no bar of is absent. Raises ExchangeUnreachable if a page stays unread.
    """
    end_ms = rest.server.now_ms() // MINUTE_MS * MINUTE_MS
    begin_ms = end_ms - count * MINUTE_MS
    bars = zeros((count, len(rules)), bar_dt)
    bars["open_ms"] = ABSENT_MS
    room = asyncio.Semaphore(AT_ONCE)

    async def page(i: int, from_ms: int) -> None:
        async with room:
            rows = await _page(rest, clock, rules[i], from_ms, min(end_ms, from_ms + PAGE * MINUTE_MS))
        for row in rows:
            if begin_ms <= row[0] < end_ms:
                bars[(row[0] - begin_ms) // MINUTE_MS, i] = row

    starts = range(begin_ms, end_ms, PAGE * MINUTE_MS)
    try:
        async with asyncio.TaskGroup() as pages:
            for i in range(len(rules)):
                for from_ms in starts:
                    pages.create_task(page(i, from_ms))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return bars, begin_ms


def requests_for(count: int, symbols: int) -> int:
    """How many pages a warm-up asks for."""
    return -(-count // PAGE) * symbols


async def _page(rest: Rest, clock: Clock, rule: Rules, from_ms: int, end_ms: int) -> list[Row]:
    params = (
        ("symbol", rule.symbol),
        ("interval", "1m"),
        ("startTime", from_ms),
        ("endTime", end_ms - 1),
        ("limit", PAGE),
    )
    for tried in range(TRIES):
        try:
            rows: list[p.Kline] = await rest.ask(to.klines(PAGE), params, Lane.QUERY)
            return [_row(rule, row) for row in rows]
        except (ExchangeUnreachable, IndexError, ValueError) as error:
            if tried + 1 == TRIES:
                raise ExchangeUnreachable(f"minutes of {rule.symbol} from {from_ms}: {error}") from error
            LOG.warning("minutes of %s are asked for again: %s", rule.symbol, error)
            await clock.sleep_until(clock.now_ms() + TRY_AGAIN_MS)
    raise AssertionError("unreachable")


def _row(rule: Rules, row: p.Kline) -> Row:
    prices = [rule.price_near(str(row[at])) for at in range(p.KLINE_OPEN, p.KLINE_VOLUME)]
    lots = units.lots_floor(str(row[p.KLINE_VOLUME]), rule.lot_step, f"{rule.symbol} volume")
    return (int(row[p.KLINE_OPEN_MS]), prices[0], prices[1], prices[2], prices[3], lots)
