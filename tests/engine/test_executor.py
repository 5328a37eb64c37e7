"""The executor: wanted slots against open orders, as a set difference."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.app.markets import drawn
from tests.engine.desks import NotedRecorder, NotedVenue, prepared, scripted
from tests.kernel.tables import START_MS

from perpdesk.domain.errors import InternalError
from perpdesk.engine.executor import Executor
from perpdesk.engine.ids import ClientIds
from perpdesk.engine.sleeve import Sleeve
from perpdesk.kernel.book import clear, put_limit, put_market, put_trailing, put_trigger
from perpdesk.kernel.records import (
    BUY,
    NONE,
    SELL,
    SLOT_ENTRY,
    SLOT_EXIT,
    SLOT_OWN,
    SLOT_STOP,
    SLOT_TRAIL,
    STOP,
    TAG_COMMAND,
    TAG_ENTRY,
    TAG_EXCHANGE_STOP,
    TAG_SIGNAL,
    TAG_TRAILING,
    TAKE_PROFIT,
)
from perpdesk.ports import Answer, Outcome

QUIET = "100 100 100 100"
REFUSED = Answer(Outcome.REFUSED, "no margin")
UNKNOWN = Answer(Outcome.UNKNOWN, "timed out")


class Bench:
    """An executor with nothing around it: slots are written by hand, the venue notes what it hears."""

    def __init__(self, *, symbols: int = 1, sleeves: int = 1, refuses: frozenset[int] = frozenset()) -> None:
        setup = prepared(drawn(*[QUIET] * symbols), *(scripted({}) for _ in range(sleeves)))
        self.books = setup.books
        self.venue = NotedVenue()
        self.recorder = NotedRecorder(refuses)
        members = [Sleeve(v, "test", f"t{v}", mind) for v, mind in enumerate(setup.minds)]
        self.executor = Executor(self.books, members, self.venue, self.recorder, ClientIds(1, 0))

    def slot(self, k: int, s: int = 0, v: int = 0) -> Any:
        return self.books.slots[v, s, k]

    def hold(self, lots: int, s: int = 0, v: int = 0) -> None:
        """There is a position already, entered under some code."""
        self.books.positions[v, s].lots = lots
        self.executor.codes[v, s] = f"code{v}{s}"

    async def sync(self, s: int = 0, v: int = 0, now_ms: int = START_MS) -> list[str]:
        await self.executor.sync(v, s, now_ms)
        return self.venue.said()


def want_stop(slot: Any, price: int, lots: int = 5) -> None:
    put_trigger(slot, STOP, SELL, price, lots, TAG_EXCHANGE_STOP)


async def test_an_equal_order_is_kept() -> None:
    bench = Bench()
    bench.hold(5)
    want_stop(bench.slot(SLOT_STOP), 95)
    assert await bench.sync() == ["place s0 xs-0 STOP SELL 5 @ 95"]
    assert await bench.sync() == []
    want_stop(bench.slot(SLOT_STOP), 95)
    bench.slot(SLOT_STOP).tag = TAG_COMMAND  # why it is wanted is no part of an order
    assert await bench.sync() == []


async def test_a_different_order_is_replaced() -> None:
    bench = Bench()
    bench.hold(5)
    want_stop(bench.slot(SLOT_STOP), 95)
    await bench.sync()
    want_stop(bench.slot(SLOT_STOP), 96)
    assert await bench.sync() == ["cancel s0 xs-0", "place s0 xs-1 STOP SELL 5 @ 96"]
    want_stop(bench.slot(SLOT_STOP), 96, lots=3)
    assert await bench.sync() == ["cancel s0 xs-1", "place s0 xs-2 STOP SELL 3 @ 96"]
    put_trailing(bench.slot(SLOT_TRAIL), SELL, 5, 110, 10_000, TAG_TRAILING)
    assert await bench.sync() == ["place s0 xt-0 TRAIL SELL 5"]
    put_trailing(bench.slot(SLOT_TRAIL), SELL, 5, 110, 20_000, TAG_TRAILING)
    assert await bench.sync() == ["cancel s0 xt-0", "place s0 xt-1 TRAIL SELL 5"]
    put_trailing(bench.slot(SLOT_TRAIL), SELL, 5, 112, 20_000, TAG_TRAILING)
    assert await bench.sync() == ["cancel s0 xt-1", "place s0 xt-2 TRAIL SELL 5"]


async def test_an_absent_order_is_cancelled() -> None:
    bench = Bench()
    bench.hold(5)
    want_stop(bench.slot(SLOT_STOP), 95)
    put_market(bench.slot(SLOT_EXIT), SELL, 5, 1, TAG_SIGNAL)
    assert await bench.sync() == ["place s0 xs-0 STOP SELL 5 @ 95", "place s0 xm-0 MARKET SELL 5"]
    clear(bench.slot(SLOT_STOP))
    assert await bench.sync() == ["cancel s0 xs-0"]
    assert list(bench.executor.open) == [(0, 0, SLOT_EXIT)]


async def test_only_the_asked_symbol_and_sleeve_are_touched() -> None:
    bench = Bench(symbols=2, sleeves=2)
    for v in range(2):
        for s in range(2):
            bench.hold(5, s, v)
            want_stop(bench.slot(SLOT_STOP, s, v), 90 + 2 * v + s)
    assert await bench.sync(s=1, v=1) == ["place s1 xs-0 STOP SELL 5 @ 93"]
    assert await bench.sync(s=0, v=1) == ["place s0 xs-0 STOP SELL 5 @ 92"]
    clear(bench.slot(SLOT_STOP, 1, 1))
    assert await bench.sync(s=1, v=0) == ["place s1 xs-0 STOP SELL 5 @ 91"]
    assert await bench.sync(s=1, v=1) == ["cancel s1 xs-0"]


async def test_what_remains_of_a_filled_order_is_not_sent_again() -> None:
    bench = Bench()
    bench.hold(5)
    put_limit(bench.slot(SLOT_OWN), SELL, 110, 5, 1, TAG_SIGNAL, 100)
    await bench.sync()
    bench.slot(SLOT_OWN).lots = 2  # three lots traded
    bench.executor.follow(0, 0, SLOT_OWN)
    assert await bench.sync() == []
    bench.slot(SLOT_OWN).kind = NONE  # and the rest
    bench.executor.follow(0, 0, SLOT_OWN)
    assert await bench.sync() == []
    assert bench.executor.open == {}


async def test_what_the_exchange_cancelled_is_wanted_anew() -> None:
    """After a liquidation nothing of the symbol is open; the other symbol's orders are."""
    bench = Bench(symbols=2)
    for s in range(2):
        bench.hold(5, s)
        want_stop(bench.slot(SLOT_STOP, s), 95)
        await bench.sync(s)
    gone = bench.executor.forget_symbol(0)
    assert [order.symbol for order in gone] == [0]
    assert await bench.sync(0) == ["place s0 xs-1 STOP SELL 5 @ 95"]
    assert await bench.sync(1) == []


async def test_an_entry_is_written_down_before_it_is_sent() -> None:
    bench = Bench()
    put_market(bench.slot(SLOT_ENTRY), BUY, 7, 0, TAG_ENTRY)
    assert await bench.sync() == ["place s0 e1-0 MARKET BUY 7"]
    assert bench.recorder.rows == ["approved s0 e1-0 MARKET BUY 7", "sent s0 e1-0 MARKET BUY 7"]


async def test_an_entry_that_the_books_refuse_is_not_sent() -> None:
    bench = Bench(symbols=2, refuses=frozenset({0}))
    for s in range(2):
        put_market(bench.slot(SLOT_ENTRY, s), BUY, 7, 0, TAG_ENTRY)
    assert await bench.sync(0) == []
    assert bench.slot(SLOT_ENTRY, 0).kind == NONE
    assert await bench.sync(1) == ["place s1 e1-0 MARKET BUY 7"]
    assert bench.recorder.rows == [
        "refused s0 e1-0 MARKET BUY 7",
        "approved s1 e1-0 MARKET BUY 7",
        "sent s1 e1-0 MARKET BUY 7",
    ]
    assert bench.executor.sent == 1
    assert (0, 0) not in bench.executor.codes


async def test_an_entry_that_the_venue_refuses_is_dead_and_not_tried_again() -> None:
    bench = Bench()
    bench.venue.answers = [REFUSED]
    put_market(bench.slot(SLOT_ENTRY), BUY, 7, 0, TAG_ENTRY)
    assert await bench.sync() == ["place s0 e1-0 MARKET BUY 7"]
    assert bench.slot(SLOT_ENTRY).kind == NONE
    assert bench.recorder.rows[-1] == "dead e1-0"
    assert await bench.sync() == []
    assert bench.executor.codes == {}


async def test_an_entry_cancelled_before_its_first_fill_is_dead() -> None:
    bench = Bench()
    put_market(bench.slot(SLOT_ENTRY), BUY, 7, 0, TAG_ENTRY)
    await bench.sync()
    code = bench.executor.codes[0, 0]
    clear(bench.slot(SLOT_ENTRY))
    assert await bench.sync() == ["cancel s0 e1-0"]
    assert bench.recorder.rows[-2:] == ["gone e1-0 CANCELED", "dead e1-0"]
    assert bench.executor.codes == {}
    put_market(bench.slot(SLOT_ENTRY), BUY, 7, 0, TAG_ENTRY)
    assert await bench.sync() == ["place s0 e1-0 MARKET BUY 7"]
    assert bench.executor.codes[0, 0] != code  # the next entry is another position


async def test_the_rest_of_a_filled_entry_may_be_cancelled_and_the_position_lives() -> None:
    bench = Bench()
    put_market(bench.slot(SLOT_ENTRY), BUY, 7, 0, TAG_ENTRY)
    await bench.sync()
    code = bench.executor.codes[0, 0]
    bench.executor.filled.add(code)
    bench.books.positions[0, 0].lots = 3
    bench.slot(SLOT_ENTRY).lots = 4
    bench.executor.follow(0, 0, SLOT_ENTRY)
    clear(bench.slot(SLOT_ENTRY))
    assert await bench.sync() == ["cancel s0 e1-0"]
    assert bench.recorder.rows[-1] == "gone e1-0 CANCELED"
    assert bench.executor.codes[0, 0] == code


@pytest.mark.parametrize("answer", [REFUSED, UNKNOWN])
async def test_an_exit_that_is_not_taken_is_an_error(answer: Answer) -> None:
    bench = Bench()
    bench.hold(5)
    want_stop(bench.slot(SLOT_STOP), 95)
    bench.venue.answers = [answer]
    with pytest.raises(InternalError, match=f"t0-1-code00-xs-0 {answer.outcome.value}: {answer.reason}"):
        await bench.sync()


async def test_an_order_that_the_venue_does_not_have_is_gone() -> None:
    bench = Bench()
    bench.hold(5)
    want_stop(bench.slot(SLOT_STOP), 95)
    await bench.sync()
    bench.venue.answers = [Answer(Outcome.REFUSED, "no such open order")]
    clear(bench.slot(SLOT_STOP))
    assert await bench.sync() == ["cancel s0 xs-0"]
    assert bench.recorder.rows[-1] == "gone xs-0 GONE: no such open order"
    assert await bench.sync() == []


async def test_levels_are_told_to_a_venue_that_watches_them() -> None:
    """Two sleeves on one symbol: the nearest level of both is watched."""
    bench = Bench(sleeves=2)
    bench.venue.watches = True
    heads = bench.books.heads
    heads[0, 0].fire_lo, heads[0, 0].fire_hi, heads[0, 0].peak_lo, heads[0, 0].peak_hi = 90, 120, 80, 130
    heads[1, 0].fire_lo, heads[1, 0].fire_hi, heads[1, 0].peak_lo, heads[1, 0].peak_hi = 95, 125, 70, 110
    assert await bench.sync() == ["watch s0 95 120 80 110"]


WISHES = st.lists(
    st.tuples(
        st.sampled_from(["none", "limit", "stop", "tp", "trail", "market", "keep"]),
        st.sampled_from([SLOT_STOP, SLOT_EXIT, SLOT_TRAIL, SLOT_OWN, SLOT_OWN + 1]),
        st.integers(90, 110),
        st.integers(1, 3),
    ),
    max_size=25,
)


@given(wishes=WISHES)
async def test_after_a_sync_what_is_open_is_what_is_wanted(wishes: list[tuple[str, int, int, int]]) -> None:
    bench = Bench()
    bench.hold(5)
    seen: set[str] = set()
    for kind, k, price, lots in wishes:
        slot = bench.slot(k)
        if kind == "none":
            clear(slot)
        elif kind == "limit":
            put_limit(slot, SELL, price, lots, 1, TAG_SIGNAL, 100)
        elif kind in ("stop", "tp"):
            put_trigger(slot, STOP if kind == "stop" else TAKE_PROFIT, SELL, price, lots, TAG_SIGNAL)
        elif kind == "trail":
            put_trailing(slot, SELL, lots, price, 10_000, TAG_TRAILING)
        elif kind == "market":
            put_market(slot, SELL, lots, 1, TAG_SIGNAL)
        rows = await bench.sync()
        placed = [row for row in rows if row.startswith("place")]
        assert len(placed) <= 1
        wanted = {
            (place, int(one.kind), int(one.price), int(one.lots))
            for place, one in enumerate(bench.books.slots[0, 0])
            if one.kind != NONE
        }
        alive = bench.venue.alive.values()
        assert {(order.slot, order.kind, order.price, order.lots) for order in alive} == wanted
        assert {*bench.venue.alive} == {order.client_id for order in bench.executor.open.values()}
        assert not seen & {row.split()[2] for row in placed}  # an id is never used twice
        seen |= {row.split()[2] for row in placed}
        assert await bench.sync() == []
