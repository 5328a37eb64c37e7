"""The canary against a venue that keeps every contract, and one that breaks them one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.guardian.cases import leg

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.domain.books import StateRow
from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine.canary import (
    AGAIN_MS,
    EVERY_MS,
    VALID_MS,
    Canary,
    CanaryResult,
    Contract,
    Perch,
    canary_order,
    differences,
)
from perpdesk.engine.ids import LEG_CANARY, ClientIds, parse
from perpdesk.kernel.records import BUY, SELL, STOP
from perpdesk.ports import Answer, Leg, NewOrder, OpenOrder, Outcome

NOW = 1_700_000_000_000
FACTS = {"position_mode": "one-way", "filters": {"S0": {"tick": "0.1"}}, "margin": {"S0": "isolated"}}
YES, NO = Answer(Outcome.ACCEPTED), Answer(Outcome.REFUSED, "not now", code=-4120)


class Running(VirtualClock):
    """Whoever waits gets there."""

    async def sleep_until(self, ms: int) -> None:
        self.advance_to(ms)
        await asyncio.sleep(0)


@dataclass
class Honest:
    """A venue that keeps its contracts, and tells its stream."""

    legs_: list[Leg] = field(default_factory=list)
    open: dict[str, OpenOrder] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    placed: list[NewOrder] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    async def place(self, order: NewOrder) -> Answer:
        self.placed.append(order)
        self.open[order.client_id] = OpenOrder(
            order.client_id, order.symbol, order.kind, order.side, order.price, order.lots,
            order.reduce_only, 0, 0, False, True, "NEW", NOW,
        )  # fmt: skip
        self.told[order.client_id] = "NEW"
        return YES

    async def cancel(self, symbol: int, client_id: str) -> Answer:
        self.cancelled.append(client_id)
        if self.open.pop(client_id, None) is None:
            return Answer(Outcome.REFUSED, "unknown order", code=-2011)
        self.told[client_id] = "CANCELED"
        return YES

    async def open_orders(self) -> list[OpenOrder]:
        return list(self.open.values())

    async def legs(self) -> list[Leg]:
        return self.legs_

    def stream_status(self, client_id: str) -> str | None:
        return self.told.get(client_id)


class RefusesConditionals(Honest):
    async def place(self, order: NewOrder) -> Answer:
        return NO


class SilentStream(Honest):
    def stream_status(self, client_id: str) -> str | None:
        return None


class TellsOnlyNew(Honest):
    def stream_status(self, client_id: str) -> str | None:
        return "NEW" if client_id in self.told else None


class HidesConditionals(Honest):
    async def open_orders(self) -> list[OpenOrder]:
        return []


class DropsReduceOnly(Honest):
    async def open_orders(self) -> list[OpenOrder]:
        return [replace(one, reduce_only=False) for one in self.open.values()]


class OtherPrice(Honest):
    async def open_orders(self) -> list[OpenOrder]:
        return [replace(one, price=one.price + 1) for one in self.open.values()]


class RefusesCancel(Honest):
    async def cancel(self, symbol: int, client_id: str) -> Answer:
        self.cancelled.append(client_id)
        return Answer(Outcome.REFUSED, "no", code=-2011)


class CancelsInWordsOnly(Honest):
    async def cancel(self, symbol: int, client_id: str) -> Answer:
        self.cancelled.append(client_id)
        self.told[client_id] = "CANCELED"
        return YES


class Unreachable(Honest):
    async def legs(self) -> list[Leg]:
        raise PerpdeskError("the exchange does not answer")


class DiesAfterPlacing(Honest):
    reads = 0

    async def open_orders(self) -> list[OpenOrder]:
        self.reads += 1
        if self.reads > 1:
            raise PerpdeskError("the exchange does not answer")
        return []


@dataclass
class States:
    rows: dict[tuple[int, str, str], StateRow] = field(default_factory=dict)

    async def save_state(self, state: StateRow) -> None:
        self.rows[state.account_id, state.strategy, state.symbol] = state

    async def load_state(self, account_id: int, strategy: str, symbol: str) -> StateRow | None:
        return self.rows.get((account_id, strategy, symbol))


def canary(venue: Honest, facts: Mapping[str, Any] = FACTS, **more: Any) -> Canary:
    async def read() -> Mapping[str, Any]:
        return facts

    return Canary(
        venue=venue,  # type: ignore[arg-type]
        clock=Running(NOW),
        ids=ClientIds(1, 5),
        account_id=1,
        stream=venue,
        perch=lambda: Perch(0, 60_000, 10, 2),
        facts=read,
        expected={"position_mode": "one-way"},
        **more,
    )


def contracts(result: CanaryResult) -> list[Contract]:
    return [one.contract for one in result.broken]


async def test_all_contracts_hold() -> None:
    venue = Honest()
    one = canary(venue)
    assert one.protect_only() == "PROTECT_ONLY:not proven yet"
    result = await one.run()
    assert result.is_good
    assert one.protect_only() is None
    assert venue.open == {}
    assert len(venue.cancelled) == 1


BREAKS = [
    (RefusesConditionals, Contract.CONDITIONAL_PLACE, "-4120"),
    (SilentStream, Contract.CONDITIONAL_STREAM, "not told"),
    (HidesConditionals, Contract.CONDITIONAL_LIST, "not in the open list"),
    (DropsReduceOnly, Contract.CONDITIONAL_LIST, "reduce_only is False"),
    (OtherPrice, Contract.CONDITIONAL_LIST, "price is 36001"),
    (RefusesCancel, Contract.CONDITIONAL_CANCEL, "-2011"),
    (CancelsInWordsOnly, Contract.CONDITIONAL_GONE, "open list"),
    (TellsOnlyNew, Contract.CONDITIONAL_GONE, "stream (NEW)"),
]


@pytest.mark.parametrize(("kind", "contract", "detail"), BREAKS, ids=[b[0].__name__ for b in BREAKS])
async def test_says_which_contract_broke(kind: type[Honest], contract: Contract, detail: str) -> None:
    one = canary(kind())
    result = await one.run()
    assert contract in contracts(result)
    assert any(detail in broken.detail for broken in result.broken)
    assert not result.is_good
    assert one.protect_only() == f"PROTECT_ONLY:{result.broken[0]}"


async def test_an_unknown_answer_is_looked_for_like_any_other() -> None:
    class Lost(Honest):
        async def place(self, order: NewOrder) -> Answer:
            await super().place(order)
            return Answer(Outcome.UNKNOWN)

    venue = Lost()
    assert (await canary(venue).run()).is_good
    assert venue.open == {}


async def test_out_of_reach_proves_nothing_and_opens_nothing() -> None:
    one = canary(Unreachable())
    result = await one.run()
    assert (result.broken, result.inconclusive) == ((), "the exchange does not answer")
    assert one.protect_only() == "PROTECT_ONLY:not proven yet"


@pytest.mark.parametrize("code", [None, -1003, -1008, -1015, -4045])
async def test_a_refusal_for_load_or_limits_proves_nothing(code: int | None) -> None:
    class Busy(Honest):
        async def place(self, order: NewOrder) -> Answer:
            return Answer(Outcome.REFUSED, "busy", code=code)

    result = await canary(Busy()).run()
    assert result.broken == ()
    assert "busy" in result.inconclusive


async def test_an_outage_later_is_borne_until_the_proof_is_too_old() -> None:
    venue = Honest()
    one = canary(venue)
    await one.run()
    one.venue = Unreachable()  # type: ignore[assignment]
    await one.run()
    assert one.protect_only() is None
    one.clock.advance_to(NOW + VALID_MS + 60_000)  # type: ignore[attr-defined]
    assert "last proven" in (one.protect_only() or "")


async def test_the_order_is_taken_back_whatever_happens() -> None:
    venue = DiesAfterPlacing()
    await canary(venue).run()
    assert len(venue.placed) == len(venue.cancelled) == 1
    assert venue.open == {}


async def test_what_an_earlier_process_left_is_swept() -> None:
    venue = Honest()
    left = ClientIds(1, 9).guardian(LEG_CANARY, "p0aa")
    theirs = ClientIds(2, 9).guardian(LEG_CANARY, "p0aa")
    for client_id in (left, theirs, "web_abc", "fast-1-p1aa-xs-0"):
        venue.open[client_id] = OpenOrder(client_id, 0, STOP, -1, 1, 1, True, 0, 0, False, True, "NEW", 0)
    await canary(venue).run()
    assert sorted(venue.open) == sorted([theirs, "web_abc", "fast-1-p1aa-xs-0"])


async def test_a_mode_that_is_not_as_it_must_be() -> None:
    result = await canary(Honest(), {**FACTS, "position_mode": "hedge"}).run()
    assert [str(one) for one in result.broken] == ["EXPECTED: position_mode is hedge, must be one-way"]


async def test_yesterday_is_told_and_a_change_under_way_stops() -> None:
    books, facts = States(), {**FACTS}
    await canary(Honest(), FACTS, books=books).run()
    today = {**FACTS, "filters": {"S0": {"tick": "0.01"}, "S1": {"tick": "1"}}}
    facts = dict(today)
    one = canary(Honest(), facts, books=books)
    result = await one.run()
    assert result.is_good
    assert result.changed == ("filters.S0.tick: 0.1 → 0.01", "filters.S1.tick: absent → 1")
    facts["margin"] = {"S0": "crossed"}
    result = await one.run()
    assert contracts(result) == [Contract.CHANGED]
    assert "margin.S0: isolated → crossed; restart" in result.broken[0].detail
    assert one.protect_only() is not None
    facts["margin"] = {"S0": "isolated"}
    assert (await one.run()).is_good


async def test_every_route_must_have_delivered() -> None:
    heard = {"market": NOW - 1_000, "user": -1}
    limits = {"market": 300_000, "user": 300_000, "marks": 5_000}
    one = canary(Honest(), routes=lambda: heard, route_ms=lambda: limits)
    result = await one.run()
    assert [str(broken) for broken in result.broken] == [
        "ROUTE: user has never delivered",
        "ROUTE: marks has never delivered",
    ]
    heard.update(user=NOW, marks=NOW - 60_000)
    result = await one.run()
    assert contracts(result) == [Contract.ROUTE]
    assert "marks is silent" in result.broken[0].detail


async def test_without_a_mark_there_is_no_proof() -> None:
    one = canary(Honest())
    one.perch = lambda: None
    assert "mark price" in (await one.run()).inconclusive


async def test_hourly_and_sooner_after_a_failure() -> None:
    venue, told = Honest(), []
    one = canary(venue)
    task = asyncio.create_task(one.run_for_ever(told.append))
    while len(told) < 2:
        await asyncio.sleep(0)
    one.venue = RefusesConditionals()  # type: ignore[assignment]
    while len(told) < 5:
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    gaps = [later.ms - sooner.ms for sooner, later in zip(told, told[1:], strict=False)]
    assert gaps[0] >= EVERY_MS
    assert AGAIN_MS <= gaps[-1] < 2 * AGAIN_MS


@given(st.integers(1, 10**9), st.integers(-5, 5), st.sampled_from([1, 5, 100]))
def test_the_order_can_never_open(mark: int, held: int, tick: int) -> None:
    order = canary_order(Perch(0, mark, tick, 3), held, "x")
    assert order.reduce_only
    assert order.side == (BUY if held < 0 else SELL)
    assert order.price % tick == 0
    assert order.price > 0
    if mark > 10 * tick:  # far on the side where a stop of this side belongs
        assert order.side * (order.price - mark) > mark // 4
    assert differences({"a": 1}, {"a": 1}) == ()


async def test_its_id_is_the_guardians() -> None:
    venue = Honest(legs_=[leg(-3)])
    await canary(venue).run()
    named = parse(venue.placed[0].client_id)
    assert named is not None
    assert (named.version, named.leg, named.slot) == ("grd", LEG_CANARY, None)
    assert venue.placed[0].side == BUY
