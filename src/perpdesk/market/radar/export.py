"""Recorded days as parquet in the backtest's layout: one file a UTC day, for ``--oi``.

Columns: ``symbol, time`` (the poll's), ``received_ms, sum_open_interest, sum_open_interest_value,
mark_price, funding_rate, funding_interval_h`` and the four ratios where the radar had asked for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl

from perpdesk.domain.days import utc_day
from perpdesk.domain.signal_books import OiAnomaly, OiSnapshot

RATIOS = (
    ("sum_toptrader_long_short_ratio", "ratio_top_position"),
    ("sum_taker_long_short_vol_ratio", "ratio_taker"),
    ("count_toptrader_long_short_ratio", "ratio_top_account"),
    ("count_long_short_ratio", "ratio_global"),
)


def export(snapshots: Sequence[OiSnapshot], anomalies: Sequence[OiAnomaly], folder: Path) -> list[Path]:
    """Write the rows, one file for each day of a poll. Returns the files."""
    told = {(one.symbol, one.poll_ms): one for one in anomalies}
    days: dict[str, list[dict[str, object]]] = {}
    for one in sorted(snapshots, key=lambda row: (row.poll_ms, row.symbol)):
        anomaly = told.get((one.symbol, one.poll_ms))
        row: dict[str, object] = {
            "symbol": one.symbol,
            "time": one.poll_ms,
            "received_ms": one.received_ms,
            "sum_open_interest": float(one.open_interest),
            "sum_open_interest_value": _float(one.sum_open_interest),
            "mark_price": _float(one.mark_price),
            "funding_rate": _float(one.funding_rate),
            "funding_interval_h": one.funding_interval_h,
        }
        for column, name in RATIOS:
            row[column] = None if anomaly is None else _float(getattr(anomaly, name))
        days.setdefault(utc_day(one.poll_ms), []).append(row)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for day, rows in sorted(days.items()):
        path = folder / f"oi_{day}.parquet"
        pl.DataFrame(rows, schema=_SCHEMA).write_parquet(path)
        written.append(path)
    return written


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "symbol": pl.String,
    "time": pl.Int64,
    "received_ms": pl.Int64,
    "sum_open_interest": pl.Float64,
    "sum_open_interest_value": pl.Float64,
    "mark_price": pl.Float64,
    "funding_rate": pl.Float64,
    "funding_interval_h": pl.Int64,
    **{column: pl.Float64 for column, _ in RATIOS},
}
