"""The two state machines: flat is the only way out, an unknown entry is never sent twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.strategies.grid import machine as m

EVENTS = range(len(m.EVENT_NAMES))
STATES = range(len(m.STATE_NAMES))
STOPS = (m.DRAWDOWN, m.ZONE_BREAK, m.MANUAL, m.EXPIRED, m.FLATTEN, m.DELISTED)


def test_the_grid_machine_is_the_table():
    moves = {(m.IDLE, m.GO): m.ACTIVE, (m.CLOSING, m.FLAT_TWICE): m.IDLE, (m.ERROR, m.RECONCILED): m.CLOSING}
    moves |= {(m.ACTIVE, event): m.CLOSING for event in STOPS}
    moves |= {(state, m.BROKEN): m.ERROR for state in STATES}
    for state in STATES:
        for event in EVENTS:
            assert m.next_grid_state(state, event) == moves.get((state, event), state)


@given(st.lists(st.sampled_from(list(EVENTS)), max_size=40))
def test_no_way_from_active_to_idle_but_through_closing(events):
    state, closed = m.IDLE, True
    for event in events:
        before, state = state, m.next_grid_state(state, event)
        closed = (closed or state == m.CLOSING) and state != m.ACTIVE
        if state == m.IDLE:
            assert closed
            assert before in (m.IDLE, m.CLOSING)
        if before == m.ERROR:
            assert state != m.ACTIVE


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((m.ENTRY_SENT,), m.ENTRY_WORKING),
        ((m.ENTRY_SENT, m.ENTRY_DONE, m.EXIT_SENT, m.EXIT_FILLED, m.COOLED), m.LEVEL_IDLE),
        ((m.ENTRY_SENT, m.ENTRY_DEAD), m.COOLDOWN),
        ((m.ENTRY_SENT, m.OUTCOME_UNKNOWN, m.ENTRY_SENT, m.COOLED), m.ENTRY_UNKNOWN),
        ((m.ENTRY_SENT, m.OUTCOME_UNKNOWN, m.ADOPTED), m.ENTRY_WORKING),
        ((m.ENTRY_SENT, m.OUTCOME_UNKNOWN, m.ENTRY_DEAD), m.COOLDOWN),
        ((m.ENTRY_SENT, m.ENTRY_DONE, m.EXIT_SENT, m.EXIT_ENDED, m.EXIT_SENT), m.EXIT_WORKING),
        ((m.ENTRY_SENT, m.ENTRY_DONE, m.GRID_CLOSING, m.ENTRY_SENT), m.DISABLED),
    ],
)
def test_a_level(events, state):
    now = m.LEVEL_IDLE
    for event in events:
        now = m.next_level_state(now, event)
    assert now == state


@given(st.lists(st.integers(0, 9), max_size=40))
def test_a_level_sends_entries_only_from_idle(events):
    state, proven = m.LEVEL_IDLE, True
    for event in events:
        before, state = state, m.next_level_state(state, event)
        if state == m.ENTRY_WORKING and before == m.LEVEL_IDLE:
            assert proven
            proven = False
        if event in (m.ENTRY_DEAD, m.EXIT_FILLED):
            proven = True


@pytest.mark.parametrize(
    ("side", "entry", "lots", "last", "used", "cap", "allowed"),
    [
        (1, 9900, 10, 9901, 0, 99_000_000, True),
        (1, 9900, 10, 9900, 0, 99_000_000, False),
        (1, 9900, 10, 9901, 1, 99_000_000, False),
        (-1, 9900, 10, 9899, 0, 99_000_000, True),
        (-1, 9900, 10, 9900, 0, 99_000_000, False),
        (1, 9900, 0, 9901, 0, 99_000_000, False),
    ],
)
def test_entries_rest_and_keep_the_caps(side, entry, lots, last, used, cap, allowed):
    assert m.entry_allowed(side, entry, lots, 1000, last, used, cap) == allowed
