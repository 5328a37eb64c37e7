"""The first tables: positions, intents, orders, fills, the switch, parameters, runs, states, the journal.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String
from sqlalchemy import UniqueConstraint as Unique

from perpdesk.adapters.sqlstore.migrations.ddl import (
    Tables,
    big_id,
    exact,
    long_text,
    one_of,
    utc_ms,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

GENESIS_HASH = "0" * 64


def upgrade() -> None:
    """Create the tables and the journal's empty head."""
    tables = Tables()
    _settings(tables)
    _positions(tables)
    _orders(tables)
    _states_and_journal(tables)
    tables.create()
    head = sa.table("journal_head", sa.column("id"), sa.column("seq"), sa.column("hash"))
    if op.get_bind().scalar(sa.select(head.c.id)) is None:
        op.execute(head.insert().values(id=1, seq=0, hash=GENESIS_HASH))


def _params_hash() -> Column[str]:
    return Column("params_hash", sa.CHAR(64), ForeignKey("params_snapshots.sha256"), nullable=False)


def _settings(tables: Tables) -> None:
    tables.add(
        "params_snapshots",
        Column("sha256", sa.CHAR(64), primary_key=True),
        Column("params", long_text(), nullable=False),
        Column("created_ms", BigInteger, nullable=False),
    )
    tables.add(
        "strategy_versions",
        Column("name", String(20), primary_key=True),
        Column("scorer", String(20), nullable=False),
        Column("params", JSON, nullable=False),
        _params_hash(),
        Column("enabled", Boolean, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
    )
    tables.add(
        "runs",
        Column("id", big_id(), primary_key=True),
        Column("mode", String(20), nullable=False),
        Column("strategies", JSON, nullable=False),
        Column("account_id", Integer, nullable=False),
        _params_hash(),
        Column("build_hash", String(64), nullable=False),
        Column("started_ms", BigInteger, nullable=False),
        Column("ended_ms", BigInteger),
        Column("summary", JSON),
        one_of("mode", "demo", "backtest", "paper", "simulate", "live"),
    )
    tables.add(
        "trading_control",
        Column("id", big_id(), primary_key=True),
        Column("account_id", Integer, nullable=False),
        Column("trading_type", String(20), nullable=False),
        Column("trading_enabled", Boolean, nullable=False, server_default=sa.false()),
        Column("updated_by", String(100), nullable=False),
        Column("updated_at", utc_ms(), nullable=False),
        Column("created_at", utc_ms(), nullable=False),
        one_of("trading_type", "usdt_futures", "coin_futures"),
        Unique("account_id", "trading_type"),
    )


def _positions(tables: Tables) -> None:
    tables.add(
        "futures_positions",
        Column("id", big_id(), primary_key=True),
        Column("account_id", Integer, nullable=False),
        Column("symbol", String(30), nullable=False),
        Column("position_side", String(5), nullable=False),
        Column("signal_version", String(20), ForeignKey("strategy_versions.name"), nullable=False),
        Column("status", String(10), nullable=False),
        Column("position_code", String(20)),
        Column("position_key", String(80)),
        Column("origin", String(10), nullable=False),
        Column("entry_score", exact(7, 4)),
        Column("entry_max", exact(7, 4)),
        Column("entry_signal_type", String(20)),
        Column("signal_components", JSON),
        Column("leverage", Integer, nullable=False),
        Column("quantity", exact(30, 12), nullable=False),
        Column("initial_quantity", exact(30, 12)),
        Column("notional_value", exact(30, 8), nullable=False),
        Column("margin", exact(20, 8), nullable=False),
        Column("avg_entry_price", exact(30, 12)),
        Column("liquidation_price", exact(30, 12)),
        Column("best_price", exact(30, 12)),
        Column("exit_price", exact(30, 12)),
        Column("realized_pnl", exact(20, 8), nullable=False),
        Column("commission", exact(20, 8), nullable=False),
        Column("funding", exact(20, 8), nullable=False),
        Column("net_pnl", exact(20, 8), nullable=False),
        Column("open_time", utc_ms()),
        Column("close_time", utc_ms()),
        Column("timeout_at", utc_ms()),
        Column("entry_time_source", String(20)),
        Column("first_seen_ms", BigInteger),
        Column("batch_plan", JSON),
        Column("batch_filled", JSON),
        Column("exit_legs", JSON),
        Column("stop_algo_id", BigInteger),
        Column("guard_params", JSON),
        _params_hash(),
        Column("close_reason", String(20)),
        Column("exit_hits", JSON),
        Column("suspect_since_ms", BigInteger),
        Column("created_ms", BigInteger, nullable=False),
        Column("updated_ms", BigInteger, nullable=False),
        one_of("position_side", "LONG", "SHORT"),
        one_of("status", "building", "open", "closing", "closed", "liquidated"),
        one_of("origin", "signal", "adopted", "backfill"),
        one_of("entry_time_source", "fill", "reconstructed", "older_than_window", "first_seen"),
        Unique("account_id", "position_code"),
        Unique("account_id", "position_key"),
        Index("idx_signal_version", "signal_version", "status", "symbol", "position_side"),
        Index(None, "account_id", "status"),
        Index(None, "close_time"),
    )
    live = "status IN ('building', 'open', 'closing')"
    place = ("account_id", "symbol", "position_side", "signal_version")
    tables.partial_unique("uq_futures_positions_live", "futures_positions", place, live, "live_key")
    tables.partial_unique(
        "uq_futures_positions_oi_live",
        "futures_positions",
        ("account_id", "symbol"),
        f"{live} AND signal_version = 'oi'",
        "oi_live_key",
    )


def _orders(tables: Tables) -> None:
    tables.add(
        "order_intents",
        Column("id", big_id(), primary_key=True),
        Column("account_id", Integer, nullable=False),
        Column("symbol", String(30), nullable=False),
        Column("position_id", BigInteger, ForeignKey("futures_positions.id")),
        Column("leg", String(8), nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("client_id", String(36), nullable=False),
        Column("delivery", String(6), nullable=False),
        Column("state", String(7), nullable=False),
        Column("signed_ms", BigInteger),
        Column("fence_ms", BigInteger),
        Column("request", JSON, nullable=False),
        Column("result", JSON),
        _params_hash(),
        Column("created_ms", BigInteger, nullable=False),
        Column("updated_ms", BigInteger, nullable=False),
        one_of("delivery", "once", "repeat"),
        one_of("state", "new", "sent", "live", "filled", "dead", "unknown"),
        Unique("client_id"),
        Unique("position_id", "leg", "attempt"),
        Index(None, "state"),
    )
    tables.partial_unique(
        "uq_order_intents_once",
        "order_intents",
        ("position_id", "leg"),
        "delivery = 'once' AND state IN ('new', 'sent', 'live', 'filled', 'unknown')",
        "once_key",
    )
    tables.add(
        "order_records",
        Column("id", big_id(), primary_key=True),
        Column("account_id", Integer, nullable=False),
        Column("trading_mode", String(7), nullable=False),
        Column("order_id", BigInteger),
        Column("client_id", String(36), nullable=False),
        Column("symbol", String(30), nullable=False),
        Column("side", String(4), nullable=False),
        Column("position_side", String(5), nullable=False),
        Column("order_type", String(5), nullable=False),
        Column("kind", String(20), nullable=False),
        Column("status", String(20), nullable=False),
        Column("price", exact(30, 12)),
        Column("trigger_price", exact(30, 12)),
        Column("orig_quantity", exact(30, 12), nullable=False),
        Column("quantity", exact(30, 12), nullable=False),
        Column("quote_quantity", exact(30, 8), nullable=False),
        Column("realized_pnl", exact(20, 8), nullable=False),
        Column("commission", exact(20, 8), nullable=False),
        Column("commission_asset", String(20)),
        Column("position_id", BigInteger, ForeignKey("futures_positions.id")),
        Column("position_key", String(80)),
        Column("related_order_id", BigInteger),
        Column("close_reason", String(20)),
        Column("leg", String(8)),
        Column("signal_id", BigInteger),
        Column("order_time", BigInteger, nullable=False),
        _params_hash(),
        Column("updated_ms", BigInteger, nullable=False),
        one_of("trading_mode", "PAPER", "TESTNET", "LIVE"),
        one_of("side", "BUY", "SELL"),
        one_of("position_side", "LONG", "SHORT", "BOTH"),
        one_of("order_type", "OPEN", "CLOSE"),
        Unique(
            "account_id",
            "trading_mode",
            "symbol",
            "order_id",
            "order_type",
            name="uq_order_records_order",
        ),
        Unique("account_id", "client_id", "order_type"),
        Index(None, "position_id"),
        Index(None, "order_time"),
    )
    tables.add(
        "fills",
        Column("id", big_id(), primary_key=True),
        Column("account_id", Integer, nullable=False),
        Column("symbol", String(30), nullable=False),
        Column("trade_id", BigInteger, nullable=False),
        Column("position_id", BigInteger, ForeignKey("futures_positions.id")),
        Column("order_id", BigInteger),
        Column("client_id", String(36)),
        Column("side", String(4), nullable=False),
        Column("qty", exact(30, 12), nullable=False),
        Column("price", exact(30, 12), nullable=False),
        Column("commission", exact(20, 8), nullable=False),
        Column("commission_asset", String(20), nullable=False),
        Column("realized_pnl_venue", exact(20, 8), nullable=False),
        Column("is_maker", Boolean, nullable=False),
        Column("fill_ms", BigInteger, nullable=False),
        Column("source", String(8), nullable=False),
        one_of("side", "BUY", "SELL"),
        one_of("source", "stream", "rest", "backfill"),
        Unique("account_id", "symbol", "trade_id"),
        Index(None, "position_id"),
        Index(None, "fill_ms"),
    )


def _states_and_journal(tables: Tables) -> None:
    tables.add(
        "strategy_states",
        Column("account_id", Integer, primary_key=True, autoincrement=False),
        Column("strategy", String(20), primary_key=True),
        Column("symbol", String(30), primary_key=True),
        Column("state", JSON),
        Column("state_base64", long_text()),
        _params_hash(),
        Column("updated_ms", BigInteger, nullable=False),
    )
    tables.add(
        "journal",
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        Column("ms", BigInteger, nullable=False),
        Column("kind", String(40), nullable=False),
        Column("payload", long_text(), nullable=False),
        Column("prev_hash", sa.CHAR(64), nullable=False),
        Column("hash", sa.CHAR(64), nullable=False),
        Unique("prev_hash"),
        Unique("hash"),
    )
    tables.add(
        "journal_head",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("seq", BigInteger, nullable=False),
        Column("hash", sa.CHAR(64), nullable=False),
    )
