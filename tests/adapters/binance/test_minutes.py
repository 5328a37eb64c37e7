"""Minutes from stream and REST: in order, once, complete where the exchange knows more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from tests.adapters.binance.scripted import Say, Scripted, Sent, scripted, settle, until
from tests.adapters.binance.test_quantise import row

from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.limits import Governor
from perpdesk.adapters.binance.minutes import GRACE_MS, Minutes
from perpdesk.adapters.binance.quantise import rules_of
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.stream_events import KlineBar
from perpdesk.adapters.clocks import VirtualClock
from perpdesk.kernel.records import MINUTE_MS

FIRST = 1_763_640_000_000
PATH = "/fapi/v1/klines"
SYMBOLS = ("AAAUSDT", "BBBUSDT")


def bar(open_ms: int, close: str = "10.5") -> KlineBar:
    return KlineBar(open_ms, open_ms + 59_999, "1m", "10", close, "11", "9.5", "2.0015", True)


def rest_row(open_ms: int, close: str = "10.7") -> list[Any]:
    return [open_ms, "10", "11", "9.5", close, "2", open_ms + 59_999, "21", 3, "1", "10", "0"]


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Scripted, VirtualClock, Minutes, list[tuple[int, np.ndarray]]]]:
    async with scripted() as server:
        clock = VirtualClock(FIRST + 30_000)
        own = ServerClock(clock)
        rest = Rest(hosts=simulated(server.url), clock=clock, server=own, governor=Governor(clock, own))
        rules = [rules_of(msgspec.structs.replace(row(), symbol=s), 2, Decimal("0.001")) for s in SYMBOLS]
        told: list[tuple[int, np.ndarray]] = []
        minutes = Minutes(rules, rest, clock, lambda now_ms, bars: told.append((now_ms, bars)))
        task = asyncio.create_task(minutes.run())
        await settle()
        yield server, clock, minutes, told
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await rest.close()


async def test_a_complete_minute_is_told_without_waiting() -> None:
    async with running() as (server, clock, minutes, told):
        clock.advance_to(FIRST + MINUTE_MS)
        for symbol in SYMBOLS:
            minutes.told(symbol, bar(FIRST))
        minutes.told(SYMBOLS[0], bar(FIRST, "10.9"))  # a second socket tells it again
        minutes.told("ZZZUSDT", bar(FIRST))
        await settle()
        (now_ms, bars) = told[0]
        assert now_ms == FIRST + MINUTE_MS
        assert bars.tolist() == [(FIRST, 1000, 1100, 950, 1050, 2001)] * 2
        assert server.sent == []


async def test_what_the_stream_did_not_tell_is_asked_for() -> None:
    async with running() as (server, clock, minutes, told):
        server.on("GET", PATH, Say([rest_row(FIRST), rest_row(FIRST + MINUTE_MS)]))
        minutes.told(SYMBOLS[0], bar(FIRST))
        clock.advance_to(FIRST + MINUTE_MS + GRACE_MS - 1)
        await settle()
        assert told == []
        clock.advance_to(FIRST + MINUTE_MS + GRACE_MS)
        await until(lambda: told)
        assert told[0][1]["close"].tolist() == [1050, 1070]
        assert [sent.params["symbol"] for sent in server.of(PATH)] == ["BBBUSDT"]
        assert minutes.missing == 0


async def test_a_symbol_without_a_bar_is_absent() -> None:
    async with running() as (server, clock, minutes, told):
        server.on("GET", PATH, Say([]))
        minutes.told(SYMBOLS[0], bar(FIRST))
        clock.advance_to(FIRST + MINUTE_MS + GRACE_MS)
        await until(lambda: told)
        assert told[0][1]["open_ms"].tolist() == [FIRST, -1]


async def test_after_an_outage_every_minute_comes_once_in_order_with_one_request_a_symbol() -> None:
    async with running() as (server, clock, minutes, told):
        last = FIRST + 9 * MINUTE_MS

        def answer(sent: Sent) -> Say:
            start = int(sent.params["startTime"])
            rows = [rest_row(ms) for ms in range(start, last + MINUTE_MS, MINUTE_MS)]
            return Say(rows[: int(sent.params["limit"])])

        server.on("GET", PATH, answer)
        clock.advance_to(last + GRACE_MS)
        await until(lambda: len(told) >= 9)
        assert [now_ms for now_ms, _ in told] == [FIRST + i * MINUTE_MS for i in range(1, 10)]
        assert all((bars["open_ms"] == now_ms - MINUTE_MS).all() for now_ms, bars in told)
        assert len(server.of(PATH)) == len(SYMBOLS)


async def test_a_bar_that_cannot_be_asked_for_is_absent_and_counted() -> None:
    async with running() as (server, clock, minutes, told):
        server.on("GET", PATH, Say({"code": -1001, "msg": "Internal error"}, 503))
        minutes.told(SYMBOLS[0], bar(FIRST))

        async def second_passes() -> None:
            clock.advance_to(clock.now_ms() + 500)

        clock.advance_to(FIRST + MINUTE_MS + GRACE_MS)
        await until(lambda: told, second_passes)
        assert told[0][1]["open_ms"].tolist() == [FIRST, -1]
        assert minutes.missing == 1
