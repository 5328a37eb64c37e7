"""Whatever fills, is cancelled or closed by hand, in any order: the exits never sell more than is held."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from perpdesk.engine.ids import ClientIds, parse
from perpdesk.kernel.matching import after_execution
from perpdesk.kernel.records import (
    MARKET,
    NONE,
    SLOT_ENTRY,
    SLOT_OWN,
    STAGES_MAX,
    head_dt,
    position_dt,
    slot_dt,
    zeros,
)
from perpdesk.kernel.strategy import no_shared_dt
from perpdesk.strategies.oi_breakout import STRATEGY, params_record, state_dt

EXITS = range(SLOT_OWN, SLOT_OWN + STAGES_MAX + 1)
# (what, which exit, how much of it in percent)
Event = tuple[str, int, int]
events = st.tuples(
    st.sampled_from(("fill", "trigger", "lost", "manual")),
    st.integers(0, STAGES_MAX),
    st.integers(1, 100),
)


class Position:
    """A long or short position and its slots, as the step sees them."""

    def __init__(self, side: int, lots: int) -> None:
        self.params, self.state = params_record(), zeros(1, state_dt)
        self.position, self.head = zeros(1, position_dt), zeros(1, head_dt)
        self.slots = zeros(STRATEGY.slots, slot_dt)
        self.side = side
        self.react()
        self.position.lots[0] = side * lots
        self.position.stage_price[0, 0], self.position.stage_price[0, 1] = 107, 114
        self.position.trail_price[0] = 105

    @property
    def held(self) -> int:
        return abs(int(self.position.lots[0]))

    def react(self) -> None:
        STRATEGY.want(
            self.params[0], zeros(1, no_shared_dt)[0], self.state[0], self.position[0], self.slots, self.head[0],
            100, 0, 1,
        )  # fmt: skip

    def happens(self, event: Event) -> None:
        what, which, percent = event
        slot: Any = self.slots[SLOT_OWN + which]
        if what == "fill" and slot.kind != NONE:
            lots = min(self.held, max(1, int(slot.lots) * percent // 100))
            self.position.lots[0] -= self.side * lots
            after_execution(slot, lots, int(self.position.lots[0]), 1)
        elif what == "trigger" and slot.kind not in (NONE, MARKET):
            after_execution(slot, 0, int(self.position.lots[0]), 1)
        elif what == "lost" and slot.kind != MARKET:
            slot.kind = NONE  # somebody cancelled it: it is wanted again
        elif what == "manual":
            self.position.lots[0] -= self.side * max(1, self.held * percent // 100) if self.held else 0
        self.react()

    def check(self) -> None:
        wanted = [one for one in (self.slots[k] for k in EXITS) if one.kind != NONE]
        total = sum(int(one.lots) for one in wanted)
        assert total <= self.held
        if not any(one.kind == MARKET for one in wanted):  # a triggered rest works on as large as it is
            assert total == self.held
        for one in wanted:
            assert one.lots > 0
            assert one.side == -self.side
            assert one.reduce_only
        assert self.slots[SLOT_ENTRY].kind == NONE


@settings(max_examples=300, deadline=None)
@given(st.sampled_from((1, -1)), st.integers(1, 10_000), st.lists(events, max_size=12))
def test_exits_are_the_position_after_any_events(side: int, lots: int, happened: list[Event]) -> None:
    one = Position(side, lots)
    one.react()
    one.check()
    for event in happened:
        one.happens(event)
        one.check()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10_000), st.lists(events, max_size=12))
def test_flat_and_opened_again_it_begins_with_all_its_stages(lots: int, happened: list[Event]) -> None:
    """What an earlier position sold is not counted for the next one."""
    one = Position(1, lots)
    one.react()
    for event in happened:
        one.happens(event)
    one.position.lots[0] = 0
    one.react()
    one.check()
    one.position.lots[0] = 100
    one.react()
    assert [int(one.slots[k].lots) for k in EXITS] == [30, 30, 40]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 2**41), st.integers(0, STRATEGY.slots - 1),
    st.integers(0, 36**3),
)  # fmt: skip
def test_ids_fit_the_exchange_and_say_whose_they_are(
    account: int, seed: int, ms: int, slot: int, attempt: int
) -> None:
    ids = ClientIds(account, seed)
    code = ids.position_code(ms)
    made = ids.order("oi_b", code, slot, attempt, 0)
    assert len(made) <= 36
    assert all(c.isascii() and (c.isalnum() or c in ".:/_-") for c in made)
    named = parse(made)
    assert named is not None
    assert (named.account_id, named.position_code, named.slot, named.attempt) == (
        account,
        code,
        slot,
        attempt,
    )
    assert ids.order("oi_b", code, slot, attempt + 1, 0) != made
