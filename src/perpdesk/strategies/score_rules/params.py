"""What every scorer version can be told: size, scan grid, stop, entry mode, timeouts."""

from __future__ import annotations

import numpy as np

from perpdesk.kernel.records import MINUTE_MS

TIMEOUTS_MAX = 4
ENTRY_MARKET, ENTRY_CONFIRM, ENTRY_LADDER = range(3)
ENTRY_MODES = ("market", "confirm_5m", "ladder")

# A position's timeout is timeout_ms[i] of the first i whose score / highest score >= timeout_ratio[i].
COMMON_FIELDS = [
    (name, "i8")
    for name in ("margin_e8", "leverage", "scan_interval_ms", "scan_offset_ms", "stop_ppm", "entry_mode")
] + [("timeout_ratio", "f8", (TIMEOUTS_MAX,)), ("timeout_ms", "i8", (TIMEOUTS_MAX,))]

TIMEOUTS = (
    (0.90, 360 * MINUTE_MS),
    (0.80, 300 * MINUTE_MS),
    (0.70, 240 * MINUTE_MS),
    (0.0, 180 * MINUTE_MS),
)


def check(strategy: str, name: str, value: object, good: bool, rule: str) -> None:
    """Raise ValueError naming the parameter unless it is good."""
    if not good:
        raise ValueError(f"{strategy} {name} = {value!r}: must be {rule}")


def fill_common(
    record: np.recarray,
    strategy: str,
    *,
    scan_interval_ms: int,
    scan_offset_ms: int,
    margin_e8: int = 400 * 10**8,
    leverage: int = 5,
    stop_ppm: int = 40_000,
    entry_mode: int = ENTRY_MARKET,
    timeouts: tuple[tuple[float, int], ...] = TIMEOUTS,
) -> None:
    """Check and write what all versions share into a params record (shape (1,)).

    margin_e8: margin per entry in 1e-8 of the quote currency; wanted notional = margin * leverage.
    scan_*: whole minutes, 0 <= offset < interval. stop_ppm: distance of the exchange stop, the widest enabled
    stop level of the guard. entry_mode: index into ENTRY_MODES. timeouts: (score / highest score at least,
    timeout in ms), ratios falling, the last one 0; a timeout of 0 is none.

    Raises ValueError naming the parameter that is out of its range.
    """

    def require(name: str, value: object, good: bool, rule: str) -> None:
        check(strategy, name, value, good, rule)

    require("margin_e8", margin_e8, 10**8 <= margin_e8 <= 10**14, "1e8 .. 1e14 (1 to 1,000,000 quote units)")
    require("leverage", leverage, 1 <= leverage <= 20, "1 .. 20")
    require(
        "scan_interval_ms",
        scan_interval_ms,
        MINUTE_MS <= scan_interval_ms <= 1440 * MINUTE_MS and scan_interval_ms % MINUTE_MS == 0,
        "whole minutes, one minute to one day",
    )
    require(
        "scan_offset_ms",
        scan_offset_ms,
        0 <= scan_offset_ms < scan_interval_ms and scan_offset_ms % MINUTE_MS == 0,
        "whole minutes, from 0 to below the scan interval",
    )
    require("stop_ppm", stop_ppm, 0 < stop_ppm < 1_000_000, "above 0 and below 1,000,000")
    require("entry_mode", entry_mode, entry_mode in range(len(ENTRY_MODES)), "an index into ENTRY_MODES")
    ratios = [ratio for ratio, _ in timeouts]
    require(
        "timeouts",
        timeouts,
        0 < len(timeouts) <= TIMEOUTS_MAX
        and ratios == sorted(ratios, reverse=True)
        and ratios[-1] == 0
        and all(timeout_ms >= 0 for _, timeout_ms in timeouts),
        f"1 to {TIMEOUTS_MAX} pairs (ratio, ms >= 0), ratios falling, the last ratio 0",
    )
    record.margin_e8 = margin_e8
    record.leverage = leverage
    record.scan_interval_ms = scan_interval_ms
    record.scan_offset_ms = scan_offset_ms
    record.stop_ppm = stop_ppm
    record.entry_mode = entry_mode
    for place, (ratio, timeout_ms) in enumerate(timeouts):
        record.timeout_ratio[0, place] = ratio
        record.timeout_ms[0, place] = timeout_ms
