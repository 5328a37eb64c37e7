"""The entry mode ``confirm_5m``: a 5-minute bar of the side's colour, with volume, confirms a signal.

It is asked at each 5-minute close for at most ``WAIT_MS`` after the signal (``waiting``).
"""

from __future__ import annotations

from numba import njit

from perpdesk.kernel.intervals import CLOSE, OPEN, VOLUME_LOTS

WAIT_MS = 900_000
USUAL_BARS = 3


@njit(cache=True)
def confirms(m5, side):
    """Does the newest of at least four rows (int64 [n, 7]) go the side's way, by 0.3 % of its close?

    Its volume must be at least 1.2 times the mean of the three before.
    """
    newest = m5[len(m5) - 1]
    before = 0
    for index in range(len(m5) - 1 - USUAL_BARS, len(m5) - 1):
        before += m5[index, VOLUME_LOTS]
    body = side * (newest[CLOSE] - newest[OPEN])
    return body > 0 and 1000 * body >= 3 * newest[CLOSE] and 5 * newest[VOLUME_LOTS] >= 2 * before
