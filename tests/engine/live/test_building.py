"""An entry in batches on a live account: protected from the first lot on, resumed wherever the process dies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.engine.live.bench import ACCOUNT, PRICE
from tests.engine.live.kept import Kept, kept
from tests.engine.live.scripted import UNKNOWN, short

from perpdesk.domain.books import PositionQuery
from perpdesk.domain.position import PositionStatus
from perpdesk.kernel.book import put_market
from perpdesk.kernel.building import build, end_plan
from perpdesk.kernel.records import SLOT_ENTRY, TAG_ENTRY
from perpdesk.ports import Fate

LOTS, PART = 10, 3


async def planned(life: Kept) -> None:
    """As if the gate had just approved ten lots in batches of three, three and four."""
    one, ms = life.one, life.clock.now_ms()
    position = one.books.positions[0, 0]
    position.leverage, position.entry_stop_ppm = 5, 40_000
    position.entry_score, position.entry_score_max = 50.0, 100.0
    plan = one.books.heads[0, 0].plan
    plan.side, plan.lots, plan.part, plan.since_ms = 1, LOTS, PART, ms
    plan.quartile, plan.median = PRICE, PRICE
    one.books.heads[0, 0].approved_ms = ms
    await one.delivery.sync(0, 0, ms)
    await life.carried()
    await settled(life)


async def settled(life: Kept) -> None:
    """Everything that is to be written down is."""
    while life.one.delivery._following:
        await life.one.idle()
        await asyncio.sleep(0.001)
    await life.carried()
    await life.flush()


async def batch(life: Kept, *, fills: bool = True) -> str:
    """The next batch goes out as the gate lets it, and fills; the leg that it had."""
    one = life.one
    books, head, ms = one.books, one.books.heads[0, 0], life.clock.now_ms() + 200_000
    life.clock.advance_to(ms)
    head.last = PRICE
    build(books.positions[0, 0], books.slots[0, 0], head, books.instruments[0], ms, 0)
    assert head.cand_batch > 0
    put_market(books.slots[0, 0, SLOT_ENTRY], 1, int(head.cand_batch), 0, TAG_ENTRY)
    head.approved_ms, head.cand_side, head.cand_batch = ms, 0, 0
    await one.delivery.sync(0, 0, ms)
    await life.carried()
    order = next(order for order in reversed(life.venue.sent) if not order.reduce_only)
    leg = short(order.client_id).split()[1].split("-")[0]
    if fills:
        await one.traded(f"t0 {leg}")
        await life.carried()
        await settled(life)
    return leg


def stops(life: Kept) -> int:
    """Lots that stops of ours cover at the venue."""
    return sum(order.lots for order in life.venue.alive.values() if order.reduce_only)


async def row(life: Kept):
    (found,) = await life.store.positions(PositionQuery(account_id=ACCOUNT))
    return found


async def test_three_batches_each_with_a_leg_and_a_stop(file: Path) -> None:
    async with kept(file) as life:
        await planned(life)
        found = await row(life)
        assert found.status is PositionStatus.BUILDING
        assert found.batch_plan["lots"] == LOTS
        assert [await batch(life) for _ in range(2)] == ["e1", "e2"]
        assert (life.one.lots(), stops(life)) == (6, 6)
        assert (await row(life)).status is PositionStatus.BUILDING
        assert await batch(life) == "e3"
        assert (life.one.lots(), stops(life)) == (LOTS, LOTS)
        head = life.one.books.heads[0, 0]
        build(
            life.one.books.positions[0, 0], life.one.books.slots[0, 0], head,
            life.one.books.instruments[0], life.clock.now_ms() + 60_000, 0,
        )  # fmt: skip
        await life.one.delivery.sync(0, 0, life.clock.now_ms())
        await settled(life)
        assert (await row(life)).status is PositionStatus.OPEN
        legs = [(intent.leg, intent.state.value) for intent in await life.store.pending_intents(ACCOUNT)]
        assert legs == []


@pytest.mark.parametrize("dies_after", [0, 1, 2])
async def test_the_next_process_goes_on_after_each_batch(file: Path, dies_after: int) -> None:
    async with kept(file) as life:
        await planned(life)
        for _ in range(dies_after):
            await batch(life)
        await life.again()
        await life.carried()
        plan = life.one.books.heads[0, 0].plan
        assert (int(plan.lots), life.one.lots()) == (LOTS, PART * dies_after)
        assert stops(life) == PART * dies_after
        assert [await batch(life) for _ in range(3 - dies_after)] == ["e1", "e2", "e3"][dies_after:]
        assert (life.one.lots(), stops(life)) == (LOTS, LOTS)
        life.one.check_lots()


async def test_a_batch_whose_answer_was_lost_is_not_doubled(file: Path) -> None:
    async with kept(file) as life:
        await planned(life)
        await batch(life)
        life.venue.will("e2", UNKNOWN)
        assert await batch(life, fills=False) == "e2"
        await life.flush()
        await life.again()
        await life.carried()
        assert life.one.delivery.has_entry_on_its_way(0, 0)
        sent = len(life.venue.sent)
        life.venue.prove("t0 e2-0", Fate.ABSENT)
        await life.one.idle()
        await life.carried()
        assert [order for order in life.venue.sent[sent:] if not order.reduce_only] == []
        assert (life.one.lots(), stops(life)) == (3, 3)
        assert int(life.one.books.heads[0, 0].plan.lots) == LOTS  # it goes on: the batch is sent anew
        assert await batch(life) == "e2"
        assert life.one.lots() == 6


async def test_a_plan_that_ends_without_a_lot_is_closed_as_aborted(file: Path) -> None:
    async with kept(file) as life:
        await planned(life)
        end_plan(life.one.books.slots[0, 0], life.one.books.heads[0, 0])
        await life.one.delivery.sync(0, 0, life.clock.now_ms())
        await settled(life)
        found = await row(life)
        assert (found.status, found.close_reason) == (PositionStatus.CLOSED, "ENTRY_ABORTED")
        assert life.venue.sent == []


async def test_what_the_gate_at_the_wire_refuses_ends_the_plan(file: Path) -> None:
    async with kept(file) as life:
        await planned(life)
        await batch(life)
        life.one.no = "GUARDIAN_STALE"
        sent = len(life.venue.sent)
        head, ms = life.one.books.heads[0, 0], life.clock.now_ms() + 200_000
        life.clock.advance_to(ms)
        put_market(life.one.books.slots[0, 0, SLOT_ENTRY], 1, PART, 0, TAG_ENTRY)
        await life.one.delivery.sync(0, 0, ms)
        await life.carried()
        await settled(life)
        assert len(life.venue.sent) == sent
        assert int(head.plan.lots) == 0
        found = await row(life)
        assert (found.status, life.one.lots(), stops(life)) == (PositionStatus.OPEN, 3, 3)
