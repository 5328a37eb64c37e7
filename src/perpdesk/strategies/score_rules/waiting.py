"""Entries that wait: what the modes ``ladder`` and ``confirm_5m`` remember of one symbol.

``ladder`` needs the 1-minute closes of the hour before a signal, ``confirm_5m`` the last 5-minute bars and
the signal that waits for one of them. The mode ``market`` costs nothing here.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from perpdesk.kernel.intervals import COLUMNS, builder_dt, push, shift_in
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.strategies.score_rules.confirm import USUAL_BARS, WAIT_MS, confirms
from perpdesk.strategies.score_rules.params import ENTRY_LADDER

BASELINE_MINUTES = 60
_RING = 64
_FIVES = (5 * MINUTE_MS,)
_ROWS = USUAL_BARS + 1

# minute_ms, close: ring of the last minutes by time. m5: rows, newest last. signal_*: what waits for a bar
# (side 0: nothing) and the newest bar of its score; confirmed_ms: the step at which it was confirmed.
# expired: how many signals no bar confirmed.
waiting_dt = np.dtype(
    [
        ("minute_ms", "i8", (_RING,)),
        ("close", "i8", (_RING,)),
        ("builder", builder_dt(_FIVES)),
        ("m5", "i8", (_ROWS, COLUMNS)),
        ("m5_held", "i8"),
        ("signal_side", "i8"),
        ("signal_ms", "i8"),
        ("signal_bar_ms", "i8"),
        ("confirmed_ms", "i8"),
        ("expired", "i8"),
    ],
    align=True,
)


@njit(cache=True)
def closes_before(waiting, now_ms):
    """The closes of the 60 minutes that closed before ``now_ms`` (int64, as many as there were)."""
    closes = np.zeros(BASELINE_MINUTES, np.int64)
    count = 0
    for minutes in range(BASELINE_MINUTES + 1, 1, -1):
        open_ms = now_ms - minutes * MINUTE_MS
        place = open_ms // MINUTE_MS % _RING
        if waiting.minute_ms[place] == open_ms and waiting.close[place] > 0:
            closes[count] = waiting.close[place]
            count += 1
    return closes[:count]


@njit(cache=True)
def _confirm(waiting, bar, now_ms):
    """Take one minute; True if a 5-minute bar ended with it that confirms the signal that waits."""
    if push(waiting.builder, bar, _FIVES) <= 0:
        return False
    for place in range(waiting.builder.closed_count[0]):
        shift_in(waiting.m5, waiting.builder.closed[0, place])
        waiting.m5_held = min(_ROWS, waiting.m5_held + 1)
    if waiting.signal_side == 0 or waiting.signal_ms == now_ms:
        return False
    age_ms = now_ms - waiting.signal_ms
    good = age_ms <= WAIT_MS and waiting.m5_held == _ROWS and confirms(waiting.m5[:], waiting.signal_side)
    if good:
        waiting.confirmed_ms = now_ms
    if good or age_ms >= WAIT_MS:
        waiting.expired += 0 if good else 1
        waiting.signal_side = 0
    return good


@njit(cache=True)
def follow(params, state, bar, now_ms, is_signal):
    """Take one closed minute in a mode that waits; is the strategy to be asked at this step?"""
    waiting = state.waiting
    if params.entry_mode == ENTRY_LADDER:
        place = bar.open_ms // MINUTE_MS % _RING
        waiting.minute_ms[place] = bar.open_ms
        waiting.close[place] = bar.close
        return is_signal
    confirmed = _confirm(waiting, bar, now_ms)
    if is_signal and waiting.signal_bar_ms != state.score.bar_ms:
        waiting.signal_side = state.side
        waiting.signal_ms = now_ms
        waiting.signal_bar_ms = state.score.bar_ms
    return confirmed
