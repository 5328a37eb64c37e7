"""The two state machines: of a grid and of one of its levels. Whole numbers in, whole numbers out.

A grid leaves CLOSING only flat, and never reaches IDLE but through CLOSING. strategy.want walks the grid's
machine in compiled runs; a level's machine is for orders that travel (sent, unknown, dead), which only the
engine's executor knows: in compiled runs a slot is its level.
"""

from __future__ import annotations

from numba import njit

# States and events of a grid.
IDLE, ACTIVE, CLOSING, ERROR = range(4)
STATE_NAMES = ("IDLE", "ACTIVE", "CLOSING", "ERROR")
GO, DRAWDOWN, ZONE_BREAK, MANUAL, EXPIRED, FLATTEN, DELISTED, FLAT_TWICE, BROKEN, RECONCILED = range(10)
EVENT_NAMES = (
    "GO",
    "DRAWDOWN",
    "ZONE_BREAK",
    "MANUAL",
    "EXPIRED",
    "FLATTEN",
    "DELISTED",
    "FLAT_TWICE",
    "BROKEN",
    "RECONCILED",
)

# States and events of a level.
(
    LEVEL_IDLE,
    ENTRY_WORKING,
    ENTRY_UNKNOWN,
    HELD,
    EXIT_WORKING,
    COOLDOWN,
    DISABLED,
) = range(7)
LEVEL_NAMES = (
    "IDLE",
    "ENTRY_WORKING",
    "ENTRY_UNKNOWN",
    "HELD",
    "EXIT_WORKING",
    "COOLDOWN",
    "DISABLED",
)
(
    ENTRY_SENT,
    ENTRY_DONE,  # filled, or ended with something held
    ENTRY_DEAD,  # proven ended with nothing held
    OUTCOME_UNKNOWN,
    ADOPTED,  # an unknown entry was found working
    EXIT_SENT,
    EXIT_FILLED,
    EXIT_ENDED,  # cancelled or expired with something still held
    COOLED,
    GRID_CLOSING,
) = range(10)


@njit(cache=True)
def next_grid_state(state, event):
    """The grid's next state; an event that means nothing in a state changes nothing."""
    if event == BROKEN:
        return ERROR
    if state == IDLE:
        return ACTIVE if event == GO else IDLE
    if state == ACTIVE:
        return CLOSING if DRAWDOWN <= event <= DELISTED else ACTIVE
    if state == CLOSING:
        return IDLE if event == FLAT_TWICE else CLOSING
    return CLOSING if event == RECONCILED else ERROR


@njit(cache=True)
def next_level_state(state, event):
    """A level's next state; an event that means nothing in a state changes nothing.

    An entry whose outcome is unknown is never sent again before it is proven dead.
    """
    if event == GRID_CLOSING:
        return DISABLED
    if state == LEVEL_IDLE and event == ENTRY_SENT:
        return ENTRY_WORKING
    if state in (ENTRY_WORKING, ENTRY_UNKNOWN):
        if event == ENTRY_DONE:
            return HELD
        if event == ENTRY_DEAD:
            return COOLDOWN
        if event == OUTCOME_UNKNOWN:
            return ENTRY_UNKNOWN
        if event == ADOPTED:
            return ENTRY_WORKING
    elif state == HELD:
        if event == EXIT_SENT:
            return EXIT_WORKING
    elif state == EXIT_WORKING:
        if event == EXIT_FILLED:
            return COOLDOWN
        if event == EXIT_ENDED:
            return HELD
    elif state == COOLDOWN and event == COOLED:
        return LEVEL_IDLE
    return state


@njit(cache=True)
def entry_allowed(side, entry, lots, unit_e8, last, used_e8, cap_e8):
    """May an entry be placed: it would rest (post-only), and the caps of its kind are kept?"""
    if lots <= 0 or used_e8 + lots * entry * unit_e8 > cap_e8:
        return False
    return entry < last if side > 0 else entry > last
