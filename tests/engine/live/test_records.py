"""The rows of a live run, whatever the database does: nothing lost, nothing twice, in order (DB-01, DB-02)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.live.bench import ACCOUNT, PRICE
from tests.engine.live.kept import Kept, kept
from tests.engine.live.scripted import UNKNOWN, refused, short

from perpdesk.domain.books import FillQuery, IntentState, PositionQuery, StoreFailed
from perpdesk.domain.position import PositionStatus
from perpdesk.engine.recording.writer import Batch, Writer
from perpdesk.kernel.records import TAG_SIGNAL
from perpdesk.ports import Fate


class Faults:
    """Units of the store that fail: before anything is written, or after it was committed."""

    def __init__(self, life: Kept) -> None:
        self._store, self.plan = life.store, [""]
        self.commits = 0

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    @asynccontextmanager
    async def unit(self, *, durable: bool = True):
        fault = self.plan.pop(0) if self.plan else ""
        if fault == "before":
            raise StoreFailed("no connection")
        async with self._store.unit(durable=durable) as unit:
            yield unit
        self.commits += 1
        if fault == "after":
            raise StoreFailed("the connection was lost at the commit")


def fills_of(life: Kept):
    return life.store.fills(FillQuery(account_id=ACCOUNT))


@pytest.mark.parametrize("plan", [["after"], ["before"], ["before", "after", "before"], ["after"] * 4])
async def test_batches_survive_failures_once_and_in_order(file: Path, plan: list[str]) -> None:
    async with kept(file) as life:
        faults = Faults(life)
        faults.plan = list(plan)
        writer = life.one.recorder.writer
        writer.store = faults
        for price in range(PRICE, PRICE + 6):
            await life.one.foreign(1, price)
            failed = ""
            try:
                await life.one.recorder.flush()
            except StoreFailed as error:
                failed = str(error)
            assert (writer.failure or "") == failed
        while writer.waiting:
            try:
                await writer.flush()
            except StoreFailed:
                continue
        found = await fills_of(life)
        assert [int(fill.price) for fill in found] == list(range(PRICE, PRICE + 6))
        assert faults.commits == 6, "a commit whose answer was lost is not repeated"
        check = await life.store.verify_journal()
        assert check.is_intact


async def test_numbers_go_on_after_a_restart(file: Path) -> None:
    """The mark of an earlier process must not make a new batch look written."""
    async with kept(file) as life:
        for price in range(PRICE, PRICE + 3):
            await life.one.foreign(1, price)
            await life.flush()
        await life.again()
        life.one.recorder.writer.store = faults = Faults(life)
        faults.plan = ["before"]
        await life.one.foreign(1, PRICE + 3)
        with pytest.raises(StoreFailed):
            await life.one.recorder.flush()
        await life.one.recorder.flush()
        assert len(await fills_of(life)) == 4


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["", "before", "after"]), max_size=12))
def test_whatever_fails_each_batch_is_committed_once(plan: list[str]) -> None:
    asyncio.run(_each_once(plan))


async def _each_once(plan: list[str]) -> None:
    """The same over a store of two variables."""
    written: list[int] = []
    left = list(plan)

    class Small:
        mark = 0

        @asynccontextmanager
        async def unit(self, *, durable: bool = True):
            fault = left.pop(0) if left else ""
            if fault == "before":
                raise StoreFailed("no")
            self.new: list[int] = []
            yield self
            written.extend(self.new)
            if fault == "after":
                raise StoreFailed("no answer")

        async def append_journal(self, entries) -> None:
            self.new += entries

        async def save_state(self, row) -> None:
            Small.mark = row.state["batch"]

        async def load_state(self, *key):
            return SimpleNamespace(state={"batch": Small.mark})

    writer = Writer(Small(), 1, "", True)  # type: ignore[arg-type]
    for number in range(5):
        writer.put(Batch(journal=[number]))  # type: ignore[list-item]
    for _ in range(30):
        try:
            await writer.flush()
        except StoreFailed:
            continue
    assert written == [0, 1, 2, 3, 4]
    assert (writer.waiting, writer.failure) == (0, None)


# -- rows of an entry ---------------------------------------------------------------------------------


async def intent_of(life: Kept):
    client_id = life.venue.order("t0 e1").client_id
    found = await life.store.intent(client_id)
    assert found is not None
    return found


async def test_an_entry_as_intents(file: Path) -> None:
    async with kept(file) as life:
        seen = []

        async def looks(order) -> None:
            if order.slot == 0:
                seen.append((await intent_of(life)).state)

        life.venue.before_answer = looks
        await life.enter()
        assert seen == [IntentState.NEW]
        await life.flush()
        assert (await intent_of(life)).state is IntentState.LIVE
        await life.one.traded("t0 e1")
        await life.flush()
        assert (await intent_of(life)).state is IntentState.FILLED


@pytest.mark.parametrize("flushes", [False, True])
async def test_a_fill_before_a_lost_answer_can_be_written(file: Path, flushes: bool) -> None:
    """NET-02, WS-10: executed, told by the stream, and then the answer is lost: FILLED is the end."""
    async with kept(file) as life:

        async def fills(order) -> None:
            if order.slot == 0:
                await life.one.traded("t0 e1")
                if flushes:
                    await life.flush()

        life.venue.before_answer = fills
        life.venue.will("e1", UNKNOWN)
        await life.enter()
        await life.flush()
        assert (await intent_of(life)).state is IntentState.FILLED


async def test_part_of_a_fill_before_a_lost_answer_can_be_written(file: Path) -> None:
    async with kept(file) as life:

        async def fills(order) -> None:
            if order.slot == 0:
                await life.one.traded("t0 e1", lots=4)
                await life.flush()

        life.venue.before_answer = fills
        life.venue.will("e1", UNKNOWN)
        await life.enter()
        await life.flush()
        assert (await intent_of(life)).state is IntentState.UNKNOWN
        life.venue.prove("t0 e1-0", Fate.ALIVE)
        await life.carried()
        await life.flush()
        await life.one.traded("t0 e1", lots=6)
        await life.flush()
        assert (await intent_of(life)).state is IntentState.FILLED
        (row,) = await life.store.live_positions(ACCOUNT)
        assert (row.status, row.quantity) == (PositionStatus.OPEN, Decimal("0.1"))


async def test_an_entry_with_a_rest_that_expires_is_open_and_its_intent_is_over(file: Path) -> None:
    async with kept(file) as life:
        await life.enter()
        await life.one.traded("t0 e1", lots=4)
        await life.one.gone("t0 e1")
        await life.carried()
        await life.flush()
        (row,) = await life.store.live_positions(ACCOUNT)
        assert row.status is PositionStatus.OPEN
        assert await life.store.pending_intents(ACCOUNT) == []


async def test_a_refused_entry_leaves_an_aborted_row(file: Path) -> None:
    async with kept(file) as life:
        life.venue.will("e1", refused(-2019))
        await life.enter()
        await life.flush()
        assert (await intent_of(life)).state is IntentState.DEAD
        (row,) = await life.store.positions(PositionQuery(account_id=ACCOUNT))
        assert row.close_reason == "ENTRY_ABORTED"


async def test_refused_protection_is_in_the_journal_and_not_among_the_orders(file: Path) -> None:
    async with kept(file) as life:
        life.venue.will("xs", refused(-1008))
        await life.hold()
        await life.flush()
        legs = [(short(row.client_id), row.status) for row in await life.store.orders(ACCOUNT)]
        assert [name for name, _ in legs] == ["t0 e1-0"]


async def test_an_exit_in_doubt_says_closing_before_it_is_sent(file: Path) -> None:
    """CP-15: a restart finishes what was decided."""
    async with kept(file) as life:
        await life.hold()
        life.venue.will("xm", UNKNOWN)
        life.one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await life.carried()
        await life.flush()
        (row,) = await life.store.live_positions(ACCOUNT)
        assert row.status is PositionStatus.CLOSING


async def test_every_part_of_a_shared_fill_is_a_row_of_its_owner(file: Path) -> None:
    async with kept(file, sleeves=2) as life:
        await life.hold(10, v=0)
        await life.hold(5, v=1)
        await life.one.foreign(-20, 10_100, fee=11)
        await life.carried()
        await life.flush()
        parts = [fill for fill in await fills_of(life) if fill.client_id == "web_1"]
        assert [int(part.qty * 100) for part in parts] == [10, 5, 5]
        assert len({part.trade_id for part in parts}) == 3
        assert sum(part.commission for part in parts) == Decimal(11).scaleb(-8)
        told = sum((part.realized_pnl_venue for part in parts), Decimal(0))
        assert told == Decimal(life.venue.history[-1].realised_e8).scaleb(-8)
        assert parts[-1].position_id is None
        (outside,) = await life.store.external_lots(ACCOUNT)
        assert outside.qty == Decimal("-0.05")
