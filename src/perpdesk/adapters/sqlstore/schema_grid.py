"""The tables of the grid's commands (zones, signals and orders: ``schema_signals``)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String
from sqlalchemy import UniqueConstraint as Unique

from perpdesk.adapters.sqlstore.columns import (
    PartialUnique,
    money,
    ms,
    params_hash,
    price,
    sha256,
    table,
    text,
)
from perpdesk.adapters.sqlstore.types import Exact, big_id, long_text

_ID = BigInteger().with_variant(Integer(), "sqlite")


def _document(name: str = "document") -> Column[str]:
    return Column(name, long_text(), nullable=False)


def _process() -> Column[int]:
    return Column("process_id", _ID, ForeignKey("grid_processes.id"), nullable=False)


LEASES = table(
    "grid_leases",
    Column("name", String(80), primary_key=True),
    text("owner", 120),
    Column("epoch", BigInteger, nullable=False),
    ms("expires_ms"),
    text("build_hash", 64),
)

PROCESSES = table(
    "grid_processes",
    Column("id", big_id(), primary_key=True),
    text("command", 20),
    text("symbol", 30),
    params_hash(),
    text("code_revision", 80),
    text("kernel_hash", 64),
    ms("data_from_ms"),
    ms("data_to_ms"),
    sha256("data_hash"),
    text("status", 20),
    ms("created_ms"),
)

SCANS = table(
    "grid_scans",
    Column("id", big_id(), primary_key=True),
    text("symbol", 30),
    ms("as_of_ms"),
    params_hash(),
    text("status", 20),
    text("reason", 300),
    _document(),
    sha256("document_hash"),
    _process(),
    ms("created_ms"),
    Unique("symbol", "as_of_ms", "params_hash"),
)

SIGNAL_NUMBERS = table(
    "grid_signal_numbers",
    Column("signal_id", sa.CHAR(64), ForeignKey("trading_signals.id"), primary_key=True),
    _process(),
    _document(),
    sha256("document_hash"),
)

GRID_RUNS = table(
    "grid_runs",
    Column("run_id", _ID, primary_key=True, autoincrement=False),
    Column("account_id", Integer, nullable=False),
    text("symbol", 30),
    text("mode", 10),
    text("variant", 10),
    Column("signal_id", sa.CHAR(64), ForeignKey("trading_signals.id"), nullable=False),
    text("state", 10),
    _document(),
    sha256("document_hash"),
    ms("begun_ms"),
    ms("last_bar_ms"),
    text("kernel_hash", 64),
    params_hash(),
    _process(),
    ms("created_ms"),
    ms("updated_ms"),
    ms("ended_ms", nullable=True),
    text("close_reason", 30, nullable=True),
    text("override_text", 300, nullable=True),
    Column("backtest_id", BigInteger),
    Unique("signal_id", "account_id"),
    Index(None, "symbol", "begun_ms"),
)

GRID_FILLS = table(
    "grid_fills",
    Column("run_id", _ID, ForeignKey("grid_runs.run_id"), primary_key=True, autoincrement=False),
    Column("trade_id", BigInteger, primary_key=True, autoincrement=False),
    Column("client_id", String(36), ForeignKey("grid_orders.client_id"), nullable=False),
    Column("level", Integer, nullable=False),
    text("side", 4),
    Column("lots", BigInteger, nullable=False),
    price("price", nullable=False),
    money("fee"),
    money("realized"),
    Column("is_maker", Boolean, nullable=False),
    text("reason", 20),
    ms("venue_ms"),
    params_hash(),
)

BACKTESTS = table(
    "grid_backtests",
    Column("id", big_id(), primary_key=True),
    text("symbol", 30),
    params_hash(),
    text("kernel_hash", 64),
    text("code_revision", 80),
    ms("data_from_ms"),
    ms("data_to_ms"),
    sha256("data_hash"),
    Column("days", Integer, nullable=False),
    Column("missing_fraction", Exact(10, 9), nullable=False),
    Column("crash_ok", Boolean, nullable=False),
    sha256("digest"),
    _document("metrics"),
    ms("created_ms"),
    Index(None, "symbol", "params_hash", "kernel_hash"),
)

# One grid at a time on an account's symbol.
GRID_RUN_PLACE = PartialUnique(
    "uq_grid_runs_live", GRID_RUNS, ("account_id", "symbol"), "state <> 'IDLE'", "live_key"
)

GRID_TABLES = (LEASES, PROCESSES, SCANS, SIGNAL_NUMBERS, GRID_RUNS, GRID_FILLS, BACKTESTS)
