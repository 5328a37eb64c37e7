"""Higher intervals from minutes: against a plain grouping, and against the exchange's own bars."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.kernel.intervals import (
    COLUMNS,
    HOUR_MS,
    MINUTES_MISSING,
    OPEN_MS,
    OUT_OF_ORDER,
    builder_dt,
    interval_bar_dt,
    push,
    resample,
    rows,
    shift_in,
)
from perpdesk.kernel.records import ABSENT_MS, DAY_MS, MINUTE_MS, bar_dt, zeros

INTERVALS = (5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS, DAY_MS)
MIDNIGHT = 1_746_316_800_000  # 2025-05-04T00:00Z


def minutes(places, seed=0):
    """A bar for each of these minutes after midnight."""
    bars = zeros(len(places), bar_dt)
    rng = np.random.default_rng(seed)
    for bar, place in zip(bars, places, strict=True):
        low, opening, close, high = np.sort(rng.integers(1, 10_000, 4))
        if rng.integers(2):
            opening, close = close, opening
        bar.open_ms = MIDNIGHT + place * MINUTE_MS
        bar.open, bar.high, bar.low, bar.close = opening, high, low, close
        bar.volume_lots = rng.integers(0, 1000)
    return bars


def plain(bars, interval_ms):
    """The rule in words: group by interval, first, highest, lowest, last, sum, how many are missing."""
    groups = defaultdict(list)
    for bar in bars:
        groups[bar.open_ms - bar.open_ms % interval_ms].append(bar)
    return [
        (
            begin_ms,
            group[0].open,
            max(bar.high for bar in group),
            min(bar.low for bar in group),
            group[-1].close,
            sum(bar.volume_lots for bar in group),
            interval_ms // MINUTE_MS - len(group),
        )
        for begin_ms, group in groups.items()
    ]


def pushed(bars, intervals=INTERVALS):
    """After each push: (now_ms, the rows it closed, per interval)."""
    builder = zeros(1, builder_dt(intervals))[0]
    for bar in bars:
        answer = push(builder, bar, intervals)
        closed = [[] for _ in intervals]
        if answer > 0:
            for level in range(len(intervals)):
                closed[level] = [
                    tuple(row.tolist()) for row in builder.closed[level, : builder.closed_count[level]]
                ]
            assert answer == sum(map(len, closed))
        yield bar.open_ms + MINUTE_MS, closed


@given(st.sets(st.integers(0, 3 * 1440), min_size=1, max_size=300), st.integers(0, 99))
def test_any_minutes_give_the_plain_bars_at_the_right_moment(places, seed):
    bars = minutes(sorted(places), seed)
    seen = [[] for _ in INTERVALS]
    for count, (now_ms, closed) in enumerate(pushed(bars), 1):
        for level, interval_ms in enumerate(INTERVALS):
            seen[level] += closed[level]
            due = [row for row in plain(bars[:count], interval_ms) if row[0] + interval_ms <= now_ms]
            assert seen[level] == due


def test_two_whole_days_minute_by_minute():
    bars = minutes(range(2 * 1440))
    seen = [[] for _ in INTERVALS]
    for _, closed in pushed(bars):
        for level, new in enumerate(closed):
            assert len(new) <= 1
            seen[level] += new
    for level, interval_ms in enumerate(INTERVALS):
        assert seen[level] == plain(bars, interval_ms)
        assert {row[MINUTES_MISSING] for row in seen[level]} == {0}


def test_a_minute_closes_none_one_or_two():
    hour = (HOUR_MS,)
    # 00:00 .. 00:58, then 01:59: the hour whose last minute never came, and the hour that it ends
    closed = [new[0] for _, new in pushed(minutes([*range(59), 119]), hour)]
    assert [len(new) for new in closed] == [0] * 59 + [2]
    assert [row[OPEN_MS] - MIDNIGHT for row in closed[-1]] == [0, HOUR_MS]
    assert [row[MINUTES_MISSING] for row in closed[-1]] == [1, 59]
    assert [len(new[0]) for _, new in pushed(minutes(range(60)), hour)] == [0] * 59 + [1]


def test_a_higher_interval_closes_though_its_last_hour_is_missing():
    # the hour 03 has no minute: the 4 hours close with the first minute after them
    *before, last = pushed(minutes([*range(180), 240]), (HOUR_MS, 4 * HOUR_MS))
    assert not any(closed[1] for _, closed in before)
    ((row,),) = last[1][1:]
    assert row[OPEN_MS] == MIDNIGHT
    assert row[MINUTES_MISSING] == 60
    assert last[1][0] == []


def test_an_interval_without_a_minute_has_no_bar():
    built = resample(minutes([*range(60), *range(180, 240)]), HOUR_MS)
    assert ((built.open_ms - MIDNIGHT) // HOUR_MS).tolist() == [0, 3]


def test_the_open_bar_is_left_out():
    assert len(resample(minutes(range(119)), HOUR_MS)) == 1
    assert len(resample(minutes(range(120)), HOUR_MS)) == 2


def test_absent_bars_are_skipped():
    bars = minutes(range(60))
    bars[7] = np.zeros(1, bar_dt)[0]
    bars[7].open_ms = ABSENT_MS
    (bar,) = resample(bars, HOUR_MS)
    assert bar.minutes_missing == 1


@pytest.mark.parametrize("late", [10, 9])
def test_a_bar_out_of_order_changes_nothing(late):
    builder = zeros(1, builder_dt(INTERVALS))
    for bar in minutes(range(11)):
        push(builder[0], bar, INTERVALS)
    before = builder.tobytes()
    assert push(builder[0], minutes([late])[0], INTERVALS) == OUT_OF_ORDER
    assert builder.tobytes() == before


def test_resample_names_the_bar_out_of_order():
    with pytest.raises(ValueError, match=r"bars\[2\].*sort"):
        resample(minutes([0, 2, 1]), HOUR_MS)


@pytest.mark.parametrize(
    ("intervals", "place"),
    [((90_000,), 0), ((HOUR_MS, 90 * MINUTE_MS), 1), ((HOUR_MS, HOUR_MS), 1), ((0,), 0)],
)
def test_intervals_that_do_not_nest_are_refused(intervals, place):
    with pytest.raises(ValueError, match=rf"intervals_ms\[{place}\]"):
        builder_dt(intervals)


def test_minutes_of_one_minute():
    bars = minutes([0, 1, 5])
    built = resample(bars, MINUTE_MS)
    assert built.close.tolist() == bars.close.tolist()


def test_rows_are_the_same_numbers():
    built = resample(minutes(range(300)), HOUR_MS)
    plain_rows = rows(built)
    assert plain_rows.shape == (5, COLUMNS)
    assert [tuple(row) for row in plain_rows.tolist()] == built.tolist()
    assert rows(np.zeros(0, interval_bar_dt)).shape == (0, COLUMNS)


def test_shift_in_keeps_the_newest():
    window = np.arange(5 * COLUMNS).reshape(5, COLUMNS)
    expected = np.vstack([window[1:], np.full(COLUMNS, 99)])
    shift_in(window, np.full(COLUMNS, 99))
    assert (window == expected).all()


def read(path: Path, symbol: str | None = None) -> pl.DataFrame:
    frame = pl.read_parquet(path)
    return frame if symbol is None else frame.filter(pl.col("symbol") == symbol)


def as_integers(frame: pl.DataFrame, dtype: np.dtype, price_digits: int, lot_digits: int) -> np.recarray:
    bars = zeros(len(frame), dtype)
    bars.open_ms = frame["open_time"].to_numpy()
    for name in ("open", "high", "low", "close"):
        bars[name] = np.rint(frame[name].to_numpy() * 10**price_digits).astype(np.int64)
    bars.volume_lots = np.rint(frame["volume"].to_numpy() * 10**lot_digits).astype(np.int64)
    return bars


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("symbol", "days", "hours", "theirs_file", "bars_at_least"),
    [
        ("BTCUSDT", "2025-05-04_2025-06-03", 4, "klines_4h/BTCUSDT_4h_2020-01-01_2026-03-16", 179),
        ("ETHUSDT", "2025-05-04_2025-06-15", 4, "klines_4h/ETHUSDT_4h_2020-01-01_2026-03-16", 250),
        ("BTCUSDT", "2025-05-04_2025-06-03", 1, "klines_1h/binance_usdm_5sym_1h_full_2025-04_2025-05", 480),
        ("SOLUSDT", "2025-05-04_2025-06-03", 1, "klines_1h/binance_usdm_5sym_1h_full_2025-04_2025-05", 480),
    ],
)
def test_bars_built_from_minutes_are_the_exchanges_own(
    real_data, symbol, days, hours, theirs_file, bars_at_least
):
    theirs_path = real_data / f"{theirs_file}.parquet"
    ours_path = real_data / "klines_1m" / "usdm" / f"{symbol}_1m_{days}.parquet"
    if not (theirs_path.exists() and ours_path.exists()):
        pytest.skip(f"not in this folder: {ours_path.name} or {theirs_path.name}")
    ours = resample(as_integers(read(ours_path), bar_dt, 4, 3), hours * HOUR_MS)
    theirs = read(theirs_path, symbol if hours == 1 else None).sort("open_time")
    theirs = as_integers(theirs, interval_bar_dt, 4, 3)
    ours = ours[ours.minutes_missing == 0]
    both, at_ours, at_theirs = np.intersect1d(ours.open_ms, theirs.open_ms, return_indices=True)
    assert len(both) >= bars_at_least
    for name in ("open", "high", "low", "close", "volume_lots"):
        different = both[ours[name][at_ours] != theirs[name][at_theirs]]
        assert different.tolist() == [], f"{symbol} {hours}h {name}"
