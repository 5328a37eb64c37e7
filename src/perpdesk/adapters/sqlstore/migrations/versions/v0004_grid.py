"""What the grid's commands keep: leases, processes, scans, numbers of signals, runs, fills, reports.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String
from sqlalchemy import UniqueConstraint as Unique

from perpdesk.adapters.sqlstore.migrations.ddl import Tables, big_id, exact, long_text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables; rows that are there stay as they are."""
    tables = Tables()
    tables.refer_to("params_snapshots", Column("sha256", sa.CHAR(64), primary_key=True))
    tables.refer_to("trading_signals", Column("id", sa.CHAR(64), primary_key=True))
    tables.refer_to("grid_orders", Column("client_id", String(36), primary_key=True))
    _found(tables)
    _runs(tables)
    tables.partial_unique(
        "uq_grid_runs_live", "grid_runs", ("account_id", "symbol"), "state <> 'IDLE'", "live_key"
    )
    tables.create()


def _params_hash() -> Column[str]:
    return Column("params_hash", sa.CHAR(64), ForeignKey("params_snapshots.sha256"), nullable=False)


def _ms(name: str, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _text(name: str, length: int, nullable: bool = False) -> Column[str]:
    return Column(name, String(length), nullable=nullable)


def _sha256(name: str) -> Column[str]:
    return Column(name, sa.CHAR(64), nullable=False)


def _document(name: str = "document") -> Column[str]:
    return Column(name, long_text(), nullable=False)


def _process() -> Column[int]:
    return Column("process_id", _ID, ForeignKey("grid_processes.id"), nullable=False)


def _found(tables: Tables) -> None:
    tables.add(
        "grid_leases",
        Column("name", String(80), primary_key=True),
        _text("owner", 120),
        _ms("epoch"),
        _ms("expires_ms"),
        _text("build_hash", 64),
    )
    tables.add(
        "grid_processes",
        Column("id", big_id(), primary_key=True),
        _text("command", 20),
        _text("symbol", 30),
        _params_hash(),
        _text("code_revision", 80),
        _text("kernel_hash", 64),
        _ms("data_from_ms"),
        _ms("data_to_ms"),
        _sha256("data_hash"),
        _text("status", 20),
        _ms("created_ms"),
    )
    tables.add(
        "grid_scans",
        Column("id", big_id(), primary_key=True),
        _text("symbol", 30),
        _ms("as_of_ms"),
        _params_hash(),
        _text("status", 20),
        _text("reason", 300),
        _document(),
        _sha256("document_hash"),
        _process(),
        _ms("created_ms"),
        Unique("symbol", "as_of_ms", "params_hash"),
    )
    tables.add(
        "grid_signal_numbers",
        Column("signal_id", sa.CHAR(64), ForeignKey("trading_signals.id"), primary_key=True),
        _process(),
        _document(),
        _sha256("document_hash"),
    )
    tables.add(
        "grid_backtests",
        Column("id", big_id(), primary_key=True),
        _text("symbol", 30),
        _params_hash(),
        _text("kernel_hash", 64),
        _text("code_revision", 80),
        _ms("data_from_ms"),
        _ms("data_to_ms"),
        _sha256("data_hash"),
        Column("days", Integer, nullable=False),
        Column("missing_fraction", exact(10, 9), nullable=False),
        Column("crash_ok", Boolean, nullable=False),
        _sha256("digest"),
        _document("metrics"),
        _ms("created_ms"),
        Index(None, "symbol", "params_hash", "kernel_hash"),
    )


def _runs(tables: Tables) -> None:
    tables.add(
        "grid_runs",
        Column("run_id", _ID, primary_key=True, autoincrement=False),
        Column("account_id", Integer, nullable=False),
        _text("symbol", 30),
        _text("mode", 10),
        _text("variant", 10),
        Column("signal_id", sa.CHAR(64), ForeignKey("trading_signals.id"), nullable=False),
        _text("state", 10),
        _document(),
        _sha256("document_hash"),
        _ms("begun_ms"),
        _ms("last_bar_ms"),
        _text("kernel_hash", 64),
        _params_hash(),
        _process(),
        _ms("created_ms"),
        _ms("updated_ms"),
        _ms("ended_ms", nullable=True),
        _text("close_reason", 30, nullable=True),
        _text("override_text", 300, nullable=True),
        Column("backtest_id", BigInteger),
        Unique("signal_id", "account_id"),
        Index(None, "symbol", "begun_ms"),
    )
    tables.add(
        "grid_fills",
        Column("run_id", _ID, ForeignKey("grid_runs.run_id"), primary_key=True, autoincrement=False),
        Column("trade_id", BigInteger, primary_key=True, autoincrement=False),
        Column("client_id", String(36), ForeignKey("grid_orders.client_id"), nullable=False),
        Column("level", Integer, nullable=False),
        _text("side", 4),
        Column("lots", BigInteger, nullable=False),
        Column("price", exact(30, 12), nullable=False),
        Column("fee", exact(20, 8), nullable=False),
        Column("realized", exact(20, 8), nullable=False),
        Column("is_maker", Boolean, nullable=False),
        _text("reason", 20),
        _ms("venue_ms"),
        _params_hash(),
    )
