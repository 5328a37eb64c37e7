"""Files of open interest: rows by symbol and step, what is missing, and how inboxes are kept full."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from perpdesk.domain.errors import DataError, InputError
from perpdesk.kernel.records import FAR, MINUTE_MS, zeros
from perpdesk.market.interest import RATIOS, Inbox, read
from perpdesk.strategies.oi_breakout import state_dt
from perpdesk.strategies.oi_breakout.points import FUNDING_MISSING

START_MS = 1_763_640_000_000


def written(path: Path, rows: list[tuple], **columns: list) -> Path:
    table = pl.DataFrame(rows, schema=["symbol", "time", "sum_open_interest"], orient="row", strict=False)
    table.with_columns(
        pl.Series(name, values, strict=False) for name, values in columns.items()
    ).write_parquet(path)
    return path


def test_rows_by_symbol_the_newest_of_each_step_with_what_is_there(tmp_path: Path) -> None:
    rows = [
        ("B", START_MS + 1, 5.0),
        ("B", START_MS + 60_000, 6.0),
        ("A", START_MS, 1.0),
        ("C", START_MS, 1.0),
    ]
    ratios = {name: [1.3, None, None, None] for name in RATIOS}
    path = written(
        tmp_path / "oi.parquet",
        rows,
        funding_rate=[0.0001, None, 0.00005, None],
        funding_interval_h=[8, 8, 4, 8],
        **ratios,
    )
    found = read([path], ["A", "B"])
    a, b = found.rows
    assert [(int(row.ms), float(row.oi), int(row.r8_e8)) for row in a] == [(START_MS, 1.0, 10_000)]
    assert [(int(row.ms), float(row.oi), int(row.r8_e8)) for row in b] == [
        (START_MS + 60_000, 6.0, FUNDING_MISSING)
    ]
    assert math.isnan(b[0].ratios[0])


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, None])
def test_impossible_values_are_missing_and_counted(tmp_path: Path, bad: float | None) -> None:
    path = written(tmp_path / "oi.parquet", [("A", START_MS, 1.0), ("A", START_MS + 60_000, bad)])
    found = read([path], ["A"])
    assert len(found.rows[0]) == 1
    assert "1 rows without a usable value" in found.warnings[0]


def test_a_time_with_two_values_is_refused_twice_the_same_is_not(tmp_path: Path) -> None:
    path = written(tmp_path / "oi.parquet", [("A", START_MS, 1.0), ("A", START_MS, 1.0)])
    assert len(read([path], ["A"]).rows[0]) == 1
    other = written(tmp_path / "other.parquet", [("A", START_MS, 1.0), ("A", START_MS, 2.0)])
    with pytest.raises(DataError, match="two values"):
        read([other], ["A"])
    with pytest.raises(InputError):
        read([tmp_path / "none.parquet"], ["A"])


def test_too_few_symbols_in_a_step_degrade_it(tmp_path: Path) -> None:
    rows = [(symbol, START_MS, 1.0) for symbol in "ABCDE"] + [
        (symbol, START_MS + 60_000, 1.0) for symbol in "ABC"
    ]
    found = read([written(tmp_path / "oi.parquet", rows)], list("ABCDE"))
    assert list(found.rows[0].degraded) == [0, 1]


def test_an_inbox_is_refilled_before_it_is_empty_and_loses_nothing(tmp_path: Path) -> None:
    rows = [("A", START_MS + i * MINUTE_MS, float(i + 1)) for i in range(700)]
    found = read([written(tmp_path / "oi.parquet", rows)], ["A"])
    states = zeros(1, state_dt)
    inbox = Inbox(found, states)
    inbox.fill(START_MS - MINUTE_MS)
    seen = []
    for minute in range(700):
        now_ms = START_MS + minute * MINUTE_MS
        state = states[0]
        while state.inbox_at < state.inbox_end and state.inbox[state.inbox_at].ms <= now_ms:
            seen.append(float(state.inbox[state.inbox_at].oi))
            state.inbox_at += 1
        if now_ms >= inbox.due_ms:
            inbox.fill(now_ms)
    assert seen == [float(i + 1) for i in range(700)]
    assert inbox.due_ms == FAR
