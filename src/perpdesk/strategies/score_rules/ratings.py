"""Symbol ratings: a symbol that keeps losing gets less margin, needs a better score, and at last is banned.

``rating_next`` is asked after each close and once a day over the closed rows (``rating_book``). What a level
means reaches the step by ``head.margin_cut_ppm`` (size and ban, in the gate) and ``head.bonus_ppm``
(thresholds).
"""

from __future__ import annotations

from numba import njit

LEVEL_BEST, LEVEL_BANNED = 0, 3
TRADES_MIN = 3

# Per level: margin multiplier and bonus on the threshold (share of the scorer's maximum), in ppm. A banned
# symbol has no bonus: nothing is entered.
MULTIPLIER_PPM = (1_000_000, 250_000, 125_000, 0)
BONUS_PPM = (0, 50_000, 100_000, 0)

# A level is reached with so many hard stops, or a net result at or below so much, in 1e-8 of the quote.
HARD_STOPS = (0, 3, 5, 8)
NET_E8 = (0, -100 * 10**8, -200 * 10**8, -400 * 10**8)
RECOVERY_NET_E8 = 50 * 10**8
RECOVERY_WINS_PERCENT = 60


@njit(cache=True)
def level_reached(trades, hard_stops, net_e8, stop_limits, net_limits):
    """The worst level that a record qualifies for; 0 with fewer than three trades.

    stop_limits, net_limits: by level, as HARD_STOPS and NET_E8.
    """
    if trades >= TRADES_MIN:
        for level in range(LEVEL_BANNED, LEVEL_BEST, -1):
            if hard_stops >= stop_limits[level] or net_e8 <= net_limits[level]:
                return level
    return LEVEL_BEST


@njit(cache=True)
def rating_next(level, trades, hard_stops, net_e8, wins, stop_limits=HARD_STOPS, net_limits=NET_E8):
    """The level after the window's record: closed trades, hard stops, net result, winning trades.

    A worse level is taken at once, however far. From levels 1 and 2 a good record leads one level up; a
    banned symbol stays banned until a person rates it.
    """
    reached = level_reached(trades, hard_stops, net_e8, stop_limits, net_limits)
    if reached > level:
        return reached
    recovers = (
        LEVEL_BEST < level < LEVEL_BANNED
        and trades >= TRADES_MIN
        and reached == LEVEL_BEST
        and net_e8 >= RECOVERY_NET_E8
        and 100 * wins >= RECOVERY_WINS_PERCENT * trades
    )
    return level - 1 if recovers else level
