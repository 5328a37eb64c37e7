"""The tables of what strategies saw: ratings, open interest, grid zones, signals and orders."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, String
from sqlalchemy import UniqueConstraint as Unique

from perpdesk.adapters.sqlstore.columns import (
    NAMES,
    PartialUnique,
    money,
    ms,
    notional,
    one_of,
    params_hash,
    price,
    sha256,
    table,
    text,
)
from perpdesk.adapters.sqlstore.types import Exact, UtcMs, big_id, json_column, long_text


def _exact(name: str, precision: int, scale: int, nullable: bool = True) -> Column[object]:
    return Column(name, Exact(precision, scale), nullable=nullable)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _number(name: str, nullable: bool = False) -> Column[int]:
    return Column(name, Integer, nullable=nullable)


RATINGS = table(
    "trading_symbol_rating",
    Column("symbol", String(30), primary_key=True),
    _number("rating_level"),
    _exact("margin_multiplier", 6, 4, nullable=False),
    _exact("score_bonus", 6, 4, nullable=False),
    text("reason", 300, nullable=True),
    _number("hard_stop_loss_count"),
    money("total_loss_amount"),
    money("total_profit_amount"),
    _exact("win_rate", 7, 6, nullable=False),
    _number("total_trades"),
    _number("previous_level", nullable=True),
    Column("level_changed_at", UtcMs(), key="level_changed_ms"),
    text("level_change_reason", 300, nullable=True),
    Column("stats_start_date", UtcMs(), key="stats_start_ms"),
    Column("stats_end_date", UtcMs(), key="stats_end_ms"),
    ms("updated_ms"),
    CheckConstraint("rating_level BETWEEN 0 AND 3", name="rating_level"),
)

OI_ANOMALIES = table(
    "oi_anomaly_records",
    Column("id", big_id(), primary_key=True),
    text("symbol", 30),
    _number("period_seconds"),
    _exact("percent_change", 12, 9, nullable=False),
    notional("oi_before"),
    notional("oi_after"),
    _exact("threshold_value", 12, 9, nullable=False),
    ms("poll_ms"),
    text("severity", 6),
    _flag("suspect"),
    price("price_before"),
    price("price_after"),
    _exact("price_change_percent", 12, 9),
    _exact("funding_rate", 14, 8),
    _exact("ratio_top_position", 12, 6),
    _exact("ratio_taker", 12, 6),
    _exact("ratio_top_account", 12, 6),
    _exact("ratio_global", 12, 6),
    Column("group_id", BigInteger, nullable=False),
    _number("primary_period", nullable=True),
    _exact("signal_score", 6, 4),
    Column("score_parts", json_column()),
    _flag("degraded"),
    _exact("signal_confidence", 4, 3),
    text("signal_direction", 7, nullable=True),
    text("reject_code", 30, nullable=True),
    price("price_2h_low"),
    _exact("price_from_2h_low", 12, 9),
    sha256("config_hash"),
    one_of("severity", "low", "medium", "high"),
    one_of("signal_direction", "LONG", "SHORT", "NEUTRAL"),
    Unique("symbol", "period_seconds", "poll_ms"),
    Index(None, "poll_ms"),
    Index(None, "reject_code", "poll_ms"),
    Index(None, "group_id"),
)

OI_CONFIG = table(
    "oi_monitoring_config",
    Column("config_key", String(60), primary_key=True),
    Column("config_value", long_text(), nullable=False),
    text("description", 300, nullable=True),
    _flag("is_active"),
    ms("updated_ms"),
)

GRID_ZONES = table(
    "grid_zones",
    Column("id", sa.CHAR(16), primary_key=True),
    text("symbol", 30),
    ms("as_of_ms"),
    text("kind", 2),
    text("side", 10),
    price("center", nullable=False),
    price("lo", nullable=False),
    price("hi", nullable=False),
    _exact("strength", 10, 9, nullable=False),
    _number("confidence"),
    _flag("ma_adjusted"),
    _flag("kmeans_ok"),
    ms("valid_from_ms"),
    ms("expires_ms"),
    params_hash(),
    ms("created_ms"),
    one_of("side", "SUPPORT", "RESISTANCE"),
    Unique("symbol", "as_of_ms", "kind", "params_hash"),
    Index(None, "symbol", "valid_from_ms", "expires_ms"),
)

SIGNALS = table(
    "trading_signals",
    Column("id", sa.CHAR(64), primary_key=True),
    text("symbol", 30),
    ms("bar_close_ms"),
    text("side", 5),
    text("type", 24),
    Column("matched_mask", BigInteger, nullable=False),
    Column("zone_id", sa.CHAR(16), ForeignKey("grid_zones.id"), nullable=False),
    price("low", nullable=False),
    price("high", nullable=False),
    text("status", 10),
    ms("confirmed_ms", nullable=True),
    ms("expires_ms"),
    Column("run_id", BigInteger),
    params_hash(),
    ms("created_ms"),
    one_of("side", "LONG", "SHORT"),
    one_of("status", "PENDING", "CONFIRMED", "REJECTED", "EXPIRED"),
    Unique("symbol", "bar_close_ms", "side", "params_hash"),
    Index(None, "symbol", "status", "expires_ms"),
)

GRID_ORDERS = table(
    "grid_orders",
    Column("client_id", String(36), primary_key=True),
    Column("run_id", BigInteger, nullable=False),
    _number("account_id"),
    text("symbol", 30),
    _number("level"),
    text("intent", 10),
    _number("attempt"),
    text("side", 4),
    price("price"),
    Column("lots", BigInteger, nullable=False),
    Column("cum_lots", BigInteger, nullable=False),
    text("status", 20),
    _flag("terminal"),
    _flag("is_algo"),
    Column("venue_order_id", BigInteger),
    ms("sent_ts_ms", nullable=True),
    Column("lease_epoch", BigInteger, nullable=False),
    params_hash(),
    ms("created_ms"),
    ms("updated_ms"),
    one_of("side", "BUY", "SELL"),
    Unique("account_id", "symbol", "is_algo", "venue_order_id", name="uq_grid_orders_venue_order"),
    Index(None, "run_id"),
)

# One live entry and one live exit per level of a grid.
GRID_PLACE = PartialUnique(
    "uq_grid_orders_live",
    GRID_ORDERS,
    ("run_id", "level", "intent"),
    "NOT terminal AND intent IN ('ENTRY', 'EXIT')",
    "live_key",
)

SIGNAL_TABLES = (RATINGS, OI_ANOMALIES, OI_CONFIG, GRID_ZONES, SIGNALS, GRID_ORDERS)

OI_DAY_PREFIX = "oi_snapshots_"


def oi_day_table(day: str) -> sa.Table:
    """The table of one UTC day (``20260524``): one a day, so that old ones go in an instant."""
    return table(
        f"{OI_DAY_PREFIX}{day}",
        Column("id", big_id(), primary_key=True),
        text("symbol", 30),
        notional("open_interest"),
        notional("sum_open_interest", nullable=True),
        Column("timestamp", BigInteger, key="received_ms", nullable=False),
        price("mark_price"),
        _exact("funding_rate", 14, 8),
        _number("funding_interval_h", nullable=True),
        ms("poll_ms"),
        Unique("symbol", "received_ms"),
        metadata=sa.MetaData(naming_convention=NAMES),
    )
