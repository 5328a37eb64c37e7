"""What score_v3 can be told, as one record."""

from __future__ import annotations

import numpy as np

from perpdesk.kernel.records import MINUTE_MS, zeros
from perpdesk.strategies.score_v3.regime import BIG4

TIMEOUTS_MAX = 4
# A coin that the universe does not have.
NOWHERE = -1

# coins: where the coins of BIG4 stand in the universe, NOWHERE: absent. sudden_move, pull_back: 0 or 1.
# A position's timeout is timeout_ms[i] of the first i whose score / 42 >= timeout_ratio[i].
params_dt = np.dtype(
    [(name, "i8") for name in ("margin_e8", "leverage", "scan_interval_ms", "scan_offset_ms", "stop_ppm")]
    + [
        ("sudden_move", "i8"),
        ("pull_back", "i8"),
        ("coins", "i8", (len(BIG4),)),
        ("min_score_long", "f8"),
        ("min_score_short", "f8"),
        ("timeout_ratio", "f8", (TIMEOUTS_MAX,)),
        ("timeout_ms", "i8", (TIMEOUTS_MAX,)),
    ],
    align=True,
)

TIMEOUTS = (
    (0.90, 360 * MINUTE_MS),
    (0.80, 300 * MINUTE_MS),
    (0.70, 240 * MINUTE_MS),
    (0.0, 180 * MINUTE_MS),
)


def params_record(
    *,
    margin_e8: int = 400 * 10**8,
    leverage: int = 5,
    min_score_long: float = 28.0,
    min_score_short: float = 22.0,
    scan_interval_ms: int = 300_000,
    scan_offset_ms: int = 0,
    stop_ppm: int = 40_000,
    sudden_move: bool = False,
    pull_back: bool = False,
    coins: tuple[int, ...] = (NOWHERE,) * len(BIG4),
    timeouts: tuple[tuple[float, int], ...] = TIMEOUTS,
) -> np.recarray:
    """One params record (shape (1,)).

    margin_e8: margin per entry in 1e-8 of the quote currency; wanted notional = margin * leverage.
    min_score_*: of 42. scan_*: whole minutes, 0 <= offset < interval. sudden_move, pull_back: may these
    signals enter below the threshold? stop_ppm: distance of the exchange stop, the widest enabled stop
    level of the guard. coins: index of each coin of ``BIG4`` in the universe (``coins_of``); with -1 for
    all of them the regime is never known and nothing is ever entered.
    timeouts: (score / 42 at least, timeout in ms), ratios falling, the last one 0; a timeout of 0 is none.

    Raises ValueError naming the parameter that is out of its range.
    """

    def check(name: str, value: object, good: bool, rule: str) -> None:
        if not good:
            raise ValueError(f"score_v3 {name} = {value!r}: must be {rule}")

    check("margin_e8", margin_e8, 10**8 <= margin_e8 <= 10**14, "1e8 .. 1e14 (1 to 1,000,000 quote units)")
    check("leverage", leverage, 1 <= leverage <= 20, "1 .. 20")
    for name, least in (("min_score_long", min_score_long), ("min_score_short", min_score_short)):
        check(name, least, 0 < least <= 42, "above 0 and at most 42")
    check(
        "scan_interval_ms",
        scan_interval_ms,
        MINUTE_MS <= scan_interval_ms <= 1440 * MINUTE_MS and scan_interval_ms % MINUTE_MS == 0,
        "whole minutes, one minute to one day",
    )
    check(
        "scan_offset_ms",
        scan_offset_ms,
        0 <= scan_offset_ms < scan_interval_ms and scan_offset_ms % MINUTE_MS == 0,
        "whole minutes, from 0 to below the scan interval",
    )
    check("stop_ppm", stop_ppm, 0 < stop_ppm < 1_000_000, "above 0 and below 1,000,000")
    there = [place for place in coins if place != NOWHERE]
    check(
        "coins",
        coins,
        len(coins) == len(BIG4) and all(place >= 0 for place in there) and len(set(there)) == len(there),
        f"the places of {', '.join(BIG4)} in the universe, -1 for one that is not there",
    )
    ratios = [ratio for ratio, _ in timeouts]
    check(
        "timeouts",
        timeouts,
        0 < len(timeouts) <= TIMEOUTS_MAX
        and ratios == sorted(ratios, reverse=True)
        and ratios[-1] == 0
        and all(timeout_ms >= 0 for _, timeout_ms in timeouts),
        f"1 to {TIMEOUTS_MAX} pairs (ratio, ms >= 0), ratios falling, the last ratio 0",
    )

    record = zeros(1, params_dt)
    record.margin_e8 = margin_e8
    record.leverage = leverage
    record.min_score_long = min_score_long
    record.min_score_short = min_score_short
    record.scan_interval_ms = scan_interval_ms
    record.scan_offset_ms = scan_offset_ms
    record.stop_ppm = stop_ppm
    record.sudden_move = int(sudden_move)
    record.pull_back = int(pull_back)
    record.coins[0] = coins
    for place, (ratio, timeout_ms) in enumerate(timeouts):
        record.timeout_ratio[0, place] = ratio
        record.timeout_ms[0, place] = timeout_ms
    return record


def coins_of(symbols: tuple[str, ...]) -> tuple[int, ...]:
    """Where the coins of ``BIG4`` stand among the symbols of a universe, ``NOWHERE`` for an absent one."""
    return tuple(symbols.index(coin) if coin in symbols else NOWHERE for coin in BIG4)
