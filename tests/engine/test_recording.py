"""The store recorder on small drawn minutes: what a row says when, and what the database's own rules refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio
from tests.app.markets import drawn
from tests.engine.desks import ENTER_LONG, LEAVE, Acting, HandDesk, desk_of, scripted
from tests.kernel.tables import guard_record, rows

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.app import Market, Setup
from perpdesk.domain.books import (
    Failed,
    Missing,
    NewPosition,
    PositionQuery,
    PositionRow,
    StoreFailed,
    StrategyVersion,
    TradingControl,
)
from perpdesk.domain.order import OrderStatus, PositionSide
from perpdesk.domain.position import PositionStatus
from perpdesk.engine.recording import StoreRecorder, trading_switch
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.ports import StepOver, Store

ACCOUNT = 5
GUARD = guard_record(stop_ppm=40_000)


@pytest_asyncio.fixture
async def store() -> AsyncIterator[SqlStore]:
    """An empty store in memory that knows the version ``test``."""
    async with await SqlStore.open("sqlite://") as opened:
        sha = await opened.save_params_snapshot("{}", 0)
        await opened.save_strategy_version(
            StrategyVersion(name="test", scorer="test", params={}, params_hash=sha, created_ms=0)
        )
        await opened.set_trading_control(ACCOUNT, True, "test", 0)
        yield opened


async def kept_desk(store: SqlStore, market: Market, sleeve: Acting) -> HandDesk:
    sha = await store.save_params_snapshot("{}", 0)

    def recorder(setup: Setup) -> StoreRecorder:
        return StoreRecorder(
            store=store,
            universe=market.universe,
            books=setup.books,
            versions=["test"],
            account_id=ACCOUNT,
            params_hash=sha,
            guards=[{"stop_ppm": 40_000}],
        )

    return desk_of(market, sleeve, recorder=recorder, switch=trading_switch(store, ACCOUNT))


async def watched(one: HandDesk, store: SqlStore) -> list[str]:
    """Run; the position rows after each step as ``status quantity @ average``."""
    seen = []
    async for message in one.venue.messages():
        await one.engine.handle(message)
        if isinstance(message, StepOver):
            found = await store.positions(PositionQuery(account_id=ACCOUNT))
            seen.append(" | ".join(map(shown, found)) or "-")
    return seen


def shown(row: PositionRow) -> str:
    average = "" if row.avg_entry_price is None else f" @ {row.avg_entry_price.normalize():f}"
    reason = f" {row.close_reason}" if row.close_reason else ""
    return f"{row.status} {(row.quantity * 100).normalize():f}{average}{reason}"


async def test_the_life_of_a_position_as_rows(store: SqlStore) -> None:
    market = drawn("""
        100 100 100 100 1000
        100 100 100 100 40
        102 102 102 102 1000
        102 102 102 102 1000
        104 104 104 104 50
        104 104 104 104 1000
    """)
    one = await kept_desk(store, market, scripted({0: ENTER_LONG, 3: LEAVE}, guard=GUARD))
    assert await watched(one, store) == rows("""
        building 10
        building 4 @ 100
        open 10 @ 101.2
        closing 10 @ 101.2
        closing 5 @ 101.2
        closed 10 @ 101.2 SIGNAL
    """)


async def test_a_position_whose_entry_went_stale_is_open(store: SqlStore) -> None:
    market = drawn("""
        100 100 100 100 1000
        100 100 100 100 40
        100 100 100 100 0
        100 100 100 100 1000
    """)
    one = await kept_desk(store, market, scripted({0: ENTER_LONG}, guard=GUARD))
    assert await watched(one, store) == rows("""
        building 10
        building 4 @ 100
        open 4 @ 100
        open 4 @ 100
    """)


async def test_an_entry_that_found_nobody_is_aborted(store: SqlStore) -> None:
    market = drawn("""
        100 100 100 100 1000
        100 100 100 100 0
        100 100 100 100 0
        100 100 100 100 1000
    """)
    one = await kept_desk(store, market, scripted({0: ENTER_LONG}, guard=GUARD))
    assert await watched(one, store) == rows("""
        building 10
        building 10
        closed 10 ENTRY_ABORTED
        closed 10 ENTRY_ABORTED
    """)
    assert await store.pending_intents(ACCOUNT) == []


async def test_an_order_that_expired_is_not_left_open(store: SqlStore) -> None:
    """The stop (10 lots) triggers beside an exit that has sold 4 already: it can only sell 6, the rest expires."""
    market = drawn("""
        100 100 100 100 1000
        100 100 100 100 1000
        100 100  90  90 40
         90  90  90  90 1000
         90  90  90  90 1000
    """)
    one = await kept_desk(store, market, scripted({0: ENTER_LONG, 1: LEAVE}, guard=GUARD))
    await one.run()
    assert one.fills() == rows("""
        1 +0s entry BUY 10 @ 100 taker
        2 +0s exit SELL 4 @ 100 taker
        3 +0s stop SELL 6 @ 90 taker
    """)
    assert one.executor.open == {}
    orders = {order.leg: order for order in await store.orders(ACCOUNT)}
    assert {leg: OrderStatus(order.status).is_final for leg, order in orders.items()} == {
        "e1": True,
        "xs": True,
        "xm": True,
    }


async def test_an_entry_for_a_taken_place_is_not_sent(store: SqlStore) -> None:
    """The unique row decides: another process wrote a live position there. The run goes on elsewhere."""
    table = "\n".join(["100 100 100 100"] * 4)
    market = drawn(table, table)
    sha = await store.save_params_snapshot("{}", 0)
    taken = NewPosition(
        account_id=ACCOUNT,
        symbol="AAAUSDT",
        position_side=PositionSide.LONG,
        signal_version="test",
        quantity=Decimal("0.1"),
        notional_value=Decimal(10),
        margin=Decimal(2),
        leverage=5,
        params_hash=sha,
        created_ms=0,
    )
    theirs = await store.open_position(taken, None)
    one = await kept_desk(store, market, scripted({0: ENTER_LONG}, guard=GUARD))
    await one.run()
    assert one.fills() == ["1 +0s s1 entry BUY 10 @ 100 taker"]
    found = await store.live_positions(ACCOUNT)
    assert [(row.symbol, row.status) for row in found] == [
        ("AAAUSDT", PositionStatus.BUILDING),
        ("BBBUSDT", PositionStatus.OPEN),
    ]
    assert found[0].id == theirs
    assert found[0].updated_ms == 0


async def test_what_was_sent_was_written_before(store: SqlStore) -> None:
    """At the moment of the wire the position and its intent are already there, durably."""
    market = drawn("\n".join(["100 100 100 100"] * 3))
    one = await kept_desk(store, market, scripted({0: ENTER_LONG}, guard=GUARD))
    place = one.venue.place
    found = []

    async def looking(order):  # type: ignore[no-untyped-def]
        found.append((await store.intent(order.client_id), await store.live_positions(ACCOUNT)))
        return await place(order)

    one.venue.place = looking  # type: ignore[method-assign]
    await one.run()
    intent, live = found[0]
    assert intent is not None
    assert [row.status for row in live] == [PositionStatus.BUILDING]
    assert intent.position_id == live[0].id


async def test_a_broken_store_stops_the_run_before_the_wire(store: SqlStore) -> None:
    market = drawn("\n".join(["100 100 100 100"] * 3))
    one = await kept_desk(store, market, scripted({0: ENTER_LONG}, guard=GUARD))

    async def broken(*args: object) -> int:
        raise StoreFailed("the database does not answer")

    store.open_position = broken  # type: ignore[method-assign,assignment]
    with pytest.raises(StoreFailed):
        await one.run()
    assert one.executor.sent == 0
    assert one.fills() == []


# -- the switch --------------------------------------------------------------------------------------


async def test_the_switch_is_off_until_a_row_says_on(store: SqlStore) -> None:
    switch = trading_switch(store, account_id=77)
    assert await switch() is False
    await store.set_trading_control(77, True, "ops", 1)
    assert await switch() is True
    await store.set_trading_control(77, False, "ops", 2)
    assert await switch() is False


@pytest.mark.parametrize(
    ("answer", "on"),
    [
        (Missing(), False),
        (Failed(reason="no connection"), False),
        (TradingControl(account_id=1, trading_type="usdt_futures", trading_enabled=False, updated_by="x", updated_ms=0, created_ms=0), False),
        (TradingControl(account_id=1, trading_type="usdt_futures", trading_enabled=True, updated_by="x", updated_ms=0, created_ms=0), True),
    ],
)  # fmt: skip
async def test_only_a_yes_is_a_yes(answer: object, on: bool) -> None:
    class Answering:
        async def trading_control(self, account_id: int, trading_type: str = "usdt_futures") -> object:
            return answer

    store: Store = Answering()  # type: ignore[assignment]
    assert await trading_switch(store, 1)() is on


async def test_a_switch_that_cannot_be_read_shuts_the_gate_and_exits_go_on(store: SqlStore) -> None:
    """The database loses the switch in the middle of a run."""
    market = drawn(
        "\n".join(["100 100 100 100"] * 5 + ["100 100 90 90", "90 90 90 90"]),
        "\n".join(["100 100 100 100"] * 7),
    )
    one = await kept_desk(store, market, scripted({0: ENTER_LONG, 1: LEAVE, 3: ENTER_LONG}, guard=GUARD))
    # the first symbol leaves never: its exit is taken out of the plan
    one.setup.minds[0].states["plan"][0, 1] = 0
    async for message in one.venue.messages():
        await one.engine.handle(message)
        if isinstance(message, StepOver) and one.engine.steps == 3:
            await drop(store, "trading_control")
    assert one.fills() == rows("""
        1 +0s entry BUY 10 @ 100 taker
        1 +0s s1 entry BUY 10 @ 100 taker
        2 +0s s1 exit SELL 10 @ 100 taker
        5 +40s stop SELL 10 @ 96 taker
    """)
    assert isinstance(await store.trading_control(ACCOUNT), Failed)


async def drop(store: SqlStore, table: str) -> None:
    """Behind the store's back."""
    async with store._writer.begin() as connection:
        await connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO gone")


async def test_an_operator_switches_off_and_on_again(store: SqlStore) -> None:
    market = drawn("\n".join(["100 100 100 100"] * 8))
    one = await kept_desk(store, market, scripted({0: ENTER_LONG, 1: LEAVE, 3: ENTER_LONG, 5: ENTER_LONG}))
    async for message in one.venue.messages():
        await one.engine.handle(message)
        if isinstance(message, StepOver) and one.engine.steps in (2, 5):
            await store.set_trading_control(ACCOUNT, one.engine.steps == 5, "ops", message.now_ms)
    assert one.fills() == rows("""
        1 +0s entry BUY 10 @ 100 taker
        2 +0s exit SELL 10 @ 100 taker
        6 +0s entry BUY 10 @ 100 taker
    """)
    verdicts = [position.open_ms for position in await store.positions(PositionQuery(account_id=ACCOUNT))]
    assert verdicts == [market.from_ms + MINUTE_MS, market.from_ms + 6 * MINUTE_MS]
