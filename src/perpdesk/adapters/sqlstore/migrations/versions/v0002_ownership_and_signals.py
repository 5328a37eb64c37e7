"""Who owns an account and what is foreign on it; what strategies saw.

Revision ID: 0002
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import JSON, BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, String
from sqlalchemy import UniqueConstraint as Unique

from perpdesk.adapters.sqlstore.migrations.ddl import (
    Tables,
    big_id,
    exact,
    long_text,
    one_of,
    utc_ms,
)

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; rows that are there stay as they are."""
    tables = Tables()
    tables.refer_to("params_snapshots", Column("sha256", sa.CHAR(64), primary_key=True))
    tables.refer_to("futures_positions", Column("id", big_id(), primary_key=True))
    _owners(tables)
    _statements(tables)
    _radar(tables)
    _grid(tables)
    tables.create()


def _account_key() -> Column[int]:
    return Column("account_id", Integer, primary_key=True, autoincrement=False)


def _key(name: str, length: int) -> Column[str]:
    return Column(name, String(length), primary_key=True)


def _params_hash() -> Column[str]:
    return Column("params_hash", sa.CHAR(64), ForeignKey("params_snapshots.sha256"), nullable=False)


def _sha256(name: str) -> Column[str]:
    return Column(name, sa.CHAR(64), nullable=False)


def _ms(name: str, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _text(name: str, length: int, nullable: bool = False) -> Column[str]:
    return Column(name, String(length), nullable=nullable)


def _exact(name: str, precision: int, scale: int, nullable: bool = True) -> Column[Any]:
    return Column(name, exact(precision, scale), nullable=nullable)


def _money(name: str, nullable: bool = False) -> Column[Any]:
    return Column(name, exact(20, 8), nullable=nullable)


def _notional(name: str, nullable: bool = False) -> Column[Any]:
    return Column(name, exact(30, 8), nullable=nullable)


def _price(name: str, nullable: bool = True) -> Column[Any]:
    return Column(name, exact(30, 12), nullable=nullable)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _number(name: str, nullable: bool = False) -> Column[int]:
    return Column(name, Integer, nullable=nullable)


def _owners(tables: Tables) -> None:
    tables.add(
        "accounts",
        _account_key(),
        _text("name", 40),
        _text("exchange", 20),
        _text("vault_ref", 100, nullable=True),
        _text("status", 10),
        Column("params", JSON, nullable=False),
        _ms("last_check_ms", nullable=True),
        _text("last_check_problem", 300, nullable=True),
        _ms("created_ms"),
        _ms("updated_ms"),
        one_of("status", "active", "disabled", "removed"),
        Unique("name"),
    )
    tables.add(
        "account_leases",
        _account_key(),
        _text("owner", 120),
        Column("epoch", BigInteger, nullable=False),
        _ms("expires_ms"),
        _ms("taken_ms"),
        _ms("renewed_ms"),
        _text("build_hash", 64),
        _text("params_hash", 64, nullable=True),
        _text("host", 120),
        Column("pid", Integer, nullable=False),
    )
    tables.add(
        "guardian_heartbeat",
        _account_key(),
        _key("strategy", 20),
        _text("instance", 120),
        Column("epoch", BigInteger, nullable=False),
        Column("seq", BigInteger, nullable=False),
        _ms("beat_ms"),
        _text("build_hash", 64),
        _text("config_hash", 64, nullable=True),
    )
    tables.add(
        "symbol_owners",
        _account_key(),
        _key("symbol", 30),
        _text("strategy", 20),
        _ms("since_ms"),
    )
    tables.add(
        "control_actions",
        Column("sha256", sa.CHAR(64), primary_key=True),
        Column("account_id", Integer, nullable=False),
        Column("seq", BigInteger, nullable=False),
        _text("rung", 10),
        _text("reason", 300),
        _text("said_by", 100),
        _ms("ms"),
        _ms("recorded_ms"),
        one_of("rung", "normal", "halt", "reduce", "cancel", "flatten"),
        Index(None, "account_id", "ms"),
    )


def _statements(tables: Tables) -> None:
    tables.add(
        "external_lots",
        _account_key(),
        _key("symbol", 30),
        _key("position_side", 5),
        _price("qty", nullable=False),
        _price("avg_price"),
        _text("client_id", 36, nullable=True),
        _ms("first_seen_ms"),
        _ms("updated_ms"),
        _ms("acknowledged_ms", nullable=True),
        _text("acknowledged_by", 100, nullable=True),
        one_of("position_side", "LONG", "SHORT", "BOTH"),
    )
    tables.add(
        "breaker_days",
        _account_key(),
        _key("strategy", 20),
        Column("day", sa.CHAR(10), primary_key=True),
        _money("base_equity"),
        _money("unrealised_start"),
        _money("realised"),
        _money("transfers"),
        _ms("tripped_ms", nullable=True),
        _money("trip_pnl", nullable=True),
        _text("trip_reason", 200, nullable=True),
        _ms("reset_ms", nullable=True),
        _text("reset_by", 100, nullable=True),
        _text("reset_reason", 300, nullable=True),
        _ms("created_ms"),
        _ms("updated_ms"),
    )
    tables.add(
        "income_rows",
        Column("id", big_id(), primary_key=True),
        Column("account_id", Integer, nullable=False),
        _text("income_type", 40),
        Column("tran_id", BigInteger, nullable=False),
        _text("symbol", 30),
        _text("asset", 20),
        _money("amount"),
        Column("trade_id", BigInteger),
        _ms("time_ms"),
        _ms("imported_ms"),
        Unique("account_id", "tran_id", "income_type", "symbol"),
        Index(None, "account_id", "time_ms"),
    )
    tables.add(
        "position_adjustments",
        Column("id", big_id(), primary_key=True),
        Column("account_id", Integer, nullable=False),
        Column("position_id", BigInteger, ForeignKey("futures_positions.id")),
        _text("symbol", 30),
        _text("position_side", 5),
        _text("kind", 20),
        _price("qty", nullable=False),
        _price("price"),
        _money("realized_pnl"),
        _money("commission"),
        _money("funding"),
        _text("source_key", 100),
        _text("note", 200, nullable=True),
        _ms("ms"),
        one_of("position_side", "LONG", "SHORT", "BOTH"),
        Unique("account_id", "source_key"),
        Index(None, "position_id"),
    )


def _radar(tables: Tables) -> None:
    tables.add(
        "trading_symbol_rating",
        Column("symbol", String(30), primary_key=True),
        _number("rating_level"),
        _exact("margin_multiplier", 6, 4, nullable=False),
        _exact("score_bonus", 6, 4, nullable=False),
        _text("reason", 300, nullable=True),
        _number("hard_stop_loss_count"),
        _money("total_loss_amount"),
        _money("total_profit_amount"),
        _exact("win_rate", 7, 6, nullable=False),
        _number("total_trades"),
        _number("previous_level", nullable=True),
        Column("level_changed_at", utc_ms()),
        _text("level_change_reason", 300, nullable=True),
        Column("stats_start_date", utc_ms()),
        Column("stats_end_date", utc_ms()),
        _ms("updated_ms"),
        CheckConstraint("rating_level BETWEEN 0 AND 3", name="rating_level"),
    )
    tables.add(
        "oi_anomaly_records",
        Column("id", big_id(), primary_key=True),
        _text("symbol", 30),
        _number("period_seconds"),
        _exact("percent_change", 12, 9, nullable=False),
        _notional("oi_before"),
        _notional("oi_after"),
        _exact("threshold_value", 12, 9, nullable=False),
        _ms("poll_ms"),
        _text("severity", 6),
        _flag("suspect"),
        _price("price_before"),
        _price("price_after"),
        _exact("price_change_percent", 12, 9),
        _exact("funding_rate", 14, 8),
        _exact("ratio_top_position", 12, 6),
        _exact("ratio_taker", 12, 6),
        _exact("ratio_top_account", 12, 6),
        _exact("ratio_global", 12, 6),
        Column("group_id", BigInteger, nullable=False),
        _number("primary_period", nullable=True),
        _exact("signal_score", 6, 4),
        Column("score_parts", JSON),
        _flag("degraded"),
        _exact("signal_confidence", 4, 3),
        _text("signal_direction", 7, nullable=True),
        _text("reject_code", 30, nullable=True),
        _price("price_2h_low"),
        _exact("price_from_2h_low", 12, 9),
        _sha256("config_hash"),
        one_of("severity", "low", "medium", "high"),
        one_of("signal_direction", "LONG", "SHORT", "NEUTRAL"),
        Unique("symbol", "period_seconds", "poll_ms"),
        Index(None, "poll_ms"),
        Index(None, "reject_code", "poll_ms"),
        Index(None, "group_id"),
    )
    tables.add(
        "oi_monitoring_config",
        Column("config_key", String(60), primary_key=True),
        Column("config_value", long_text(), nullable=False),
        _text("description", 300, nullable=True),
        _flag("is_active"),
        _ms("updated_ms"),
    )


def _grid(tables: Tables) -> None:
    tables.add(
        "grid_zones",
        Column("id", sa.CHAR(16), primary_key=True),
        _text("symbol", 30),
        _ms("as_of_ms"),
        _text("kind", 2),
        _text("side", 10),
        _price("center", nullable=False),
        _price("lo", nullable=False),
        _price("hi", nullable=False),
        _exact("strength", 10, 9, nullable=False),
        _number("confidence"),
        _flag("ma_adjusted"),
        _flag("kmeans_ok"),
        _ms("valid_from_ms"),
        _ms("expires_ms"),
        _params_hash(),
        _ms("created_ms"),
        one_of("side", "SUPPORT", "RESISTANCE"),
        Unique("symbol", "as_of_ms", "kind", "params_hash"),
        Index(None, "symbol", "valid_from_ms", "expires_ms"),
    )
    tables.add(
        "trading_signals",
        Column("id", sa.CHAR(64), primary_key=True),
        _text("symbol", 30),
        _ms("bar_close_ms"),
        _text("side", 5),
        _text("type", 24),
        Column("matched_mask", BigInteger, nullable=False),
        Column("zone_id", sa.CHAR(16), ForeignKey("grid_zones.id"), nullable=False),
        _price("low", nullable=False),
        _price("high", nullable=False),
        _text("status", 10),
        _ms("confirmed_ms", nullable=True),
        _ms("expires_ms"),
        Column("run_id", BigInteger),
        _params_hash(),
        _ms("created_ms"),
        one_of("side", "LONG", "SHORT"),
        one_of("status", "PENDING", "CONFIRMED", "REJECTED", "EXPIRED"),
        Unique("symbol", "bar_close_ms", "side", "params_hash"),
        Index(None, "symbol", "status", "expires_ms"),
    )
    tables.add(
        "grid_orders",
        Column("client_id", String(36), primary_key=True),
        Column("run_id", BigInteger, nullable=False),
        _number("account_id"),
        _text("symbol", 30),
        _number("level"),
        _text("intent", 10),
        _number("attempt"),
        _text("side", 4),
        _price("price"),
        Column("lots", BigInteger, nullable=False),
        Column("cum_lots", BigInteger, nullable=False),
        _text("status", 20),
        _flag("terminal"),
        _flag("is_algo"),
        Column("venue_order_id", BigInteger),
        _ms("sent_ts_ms", nullable=True),
        Column("lease_epoch", BigInteger, nullable=False),
        _params_hash(),
        _ms("created_ms"),
        _ms("updated_ms"),
        one_of("side", "BUY", "SELL"),
        Unique("account_id", "symbol", "is_algo", "venue_order_id", name="uq_grid_orders_venue_order"),
        Index(None, "run_id"),
    )
    tables.partial_unique(
        "uq_grid_orders_live",
        "grid_orders",
        ("run_id", "level", "intent"),
        "NOT terminal AND intent IN ('ENTRY', 'EXIT')",
        "live_key",
    )
