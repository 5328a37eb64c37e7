"""The tables as the code uses them. ``migrations`` makes them; a test compares the two on every database.

People query these tables by hand: names and columns are part of the interface. Here is what is traded;
``schema_accounts`` and ``schema_signals`` hold the rest of the same METADATA.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String
from sqlalchemy import UniqueConstraint as Unique

from perpdesk.adapters.sqlstore.columns import (
    METADATA,
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
from perpdesk.adapters.sqlstore.schema_accounts import ACCOUNT_TABLES
from perpdesk.adapters.sqlstore.schema_grid import GRID_RUN_PLACE, GRID_TABLES
from perpdesk.adapters.sqlstore.schema_score import ATTEMPTED_BAR, SCORE_TABLES
from perpdesk.adapters.sqlstore.schema_signals import GRID_PLACE, SIGNAL_TABLES
from perpdesk.adapters.sqlstore.schema_volume import PAIR_PLACE, RUN_PLACE, VOLUME_TABLES
from perpdesk.adapters.sqlstore.types import Exact, UtcMs, big_id, json_column, long_text

PARAMS = table(
    "params_snapshots",
    Column("sha256", sa.CHAR(64), primary_key=True),
    Column("params", long_text(), nullable=False),
    ms("created_ms"),
)

VERSIONS = table(
    "strategy_versions",
    Column("name", String(20), primary_key=True),
    text("scorer", 20),
    Column("params", json_column(), nullable=False),
    params_hash(),
    Column("enabled", Boolean, nullable=False),
    ms("created_ms"),
)

RUNS = table(
    "runs",
    Column("id", big_id(), primary_key=True),
    text("mode", 20),
    Column("strategies", json_column(), nullable=False),
    Column("account_id", Integer, nullable=False),
    params_hash(),
    text("build_hash", 64),
    ms("started_ms"),
    ms("ended_ms", nullable=True),
    Column("summary", json_column()),
    one_of("mode", "demo", "backtest", "paper", "simulate", "live"),
)

CONTROL = table(
    "trading_control",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    text("trading_type", 20),
    Column("trading_enabled", Boolean, nullable=False, server_default=sa.false()),
    text("updated_by", 100),
    Column("updated_at", UtcMs(), key="updated_ms", nullable=False),
    Column("created_at", UtcMs(), key="created_ms", nullable=False),
    one_of("trading_type", "usdt_futures", "coin_futures"),
    Unique("account_id", "trading_type"),
)

POSITIONS = table(
    "futures_positions",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    text("symbol", 30),
    text("position_side", 5),
    text("signal_version", 20, ForeignKey("strategy_versions.name")),
    text("status", 10),
    text("position_code", 20, nullable=True),
    text("position_key", 80, nullable=True),
    text("origin", 10),
    Column("entry_score", Exact(7, 4)),
    Column("entry_max", Exact(7, 4)),
    text("entry_signal_type", 20, nullable=True),
    Column("signal_components", json_column()),
    Column("leverage", Integer, nullable=False),
    price("quantity", nullable=False),
    price("initial_quantity"),
    notional("notional_value"),
    money("margin"),
    price("avg_entry_price"),
    price("liquidation_price"),
    price("best_price"),
    price("exit_price"),
    money("realized_pnl"),
    money("commission"),
    money("funding"),
    money("net_pnl"),
    Column("open_time", UtcMs(), key="open_ms"),
    Column("close_time", UtcMs(), key="close_ms"),
    Column("timeout_at", UtcMs(), key="timeout_at_ms"),
    text("entry_time_source", 20, nullable=True),
    ms("first_seen_ms", nullable=True),
    Column("batch_plan", json_column()),
    Column("batch_filled", json_column()),
    Column("exit_legs", json_column()),
    Column("stop_algo_id", BigInteger),
    Column("guard_params", json_column()),
    params_hash(),
    text("close_reason", 20, nullable=True),
    Column("exit_hits", json_column()),
    ms("suspect_since_ms", nullable=True),
    ms("created_ms"),
    ms("updated_ms"),
    one_of("position_side", "LONG", "SHORT"),
    one_of("status", "building", "open", "closing", "closed", "liquidated"),
    one_of("origin", "signal", "adopted", "backfill"),
    one_of("entry_time_source", "fill", "reconstructed", "older_than_window", "first_seen"),
    Unique("account_id", "position_code"),
    Unique("account_id", "position_key"),
    Index("idx_signal_version", "signal_version", "status", "symbol", "position_side"),
    Index(None, "account_id", "status"),
    Index(None, "close_ms"),
)

INTENTS = table(
    "order_intents",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    text("symbol", 30),
    Column("position_id", BigInteger, ForeignKey("futures_positions.id")),
    text("leg", 8),
    Column("attempt", Integer, nullable=False),
    text("client_id", 36),
    text("delivery", 6),
    text("state", 7),
    ms("signed_ms", nullable=True),
    ms("fence_ms", nullable=True),
    Column("request", json_column(), nullable=False),
    Column("result", json_column()),
    params_hash(),
    ms("created_ms"),
    ms("updated_ms"),
    one_of("delivery", "once", "repeat"),
    one_of("state", "new", "sent", "live", "filled", "dead", "unknown"),
    Unique("client_id"),
    Unique("position_id", "leg", "attempt"),
    Index(None, "state"),
)

ORDERS = table(
    "order_records",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    text("trading_mode", 7),
    Column("order_id", BigInteger),
    text("client_id", 36),
    text("symbol", 30),
    text("side", 4),
    text("position_side", 5),
    text("order_type", 5),
    text("kind", 20),
    text("status", 20),
    price("price"),
    price("trigger_price"),
    price("orig_quantity", nullable=False),
    price("quantity", nullable=False),
    notional("quote_quantity"),
    money("realized_pnl"),
    money("commission"),
    text("commission_asset", 20, nullable=True),
    Column("position_id", BigInteger, ForeignKey("futures_positions.id")),
    text("position_key", 80, nullable=True),
    Column("related_order_id", BigInteger),
    text("close_reason", 20, nullable=True),
    text("leg", 8, nullable=True),
    Column("signal_id", BigInteger),
    Column("order_time", BigInteger, key="order_ms", nullable=False),
    params_hash(),
    ms("updated_ms"),
    one_of("trading_mode", "PAPER", "TESTNET", "LIVE"),
    one_of("side", "BUY", "SELL"),
    one_of("position_side", "LONG", "SHORT", "BOTH"),
    one_of("order_type", "OPEN", "CLOSE"),
    # Order ids are unique per symbol only.
    Unique("account_id", "trading_mode", "symbol", "order_id", "order_type", name="uq_order_records_order"),
    Unique("account_id", "client_id", "order_type"),
    Index(None, "position_id"),
    Index(None, "order_ms"),
)

FILLS = table(
    "fills",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    text("symbol", 30),
    Column("trade_id", BigInteger, nullable=False),
    Column("position_id", BigInteger, ForeignKey("futures_positions.id")),
    Column("order_id", BigInteger),
    text("client_id", 36, nullable=True),
    text("side", 4),
    price("qty", nullable=False),
    price("price", nullable=False),
    money("commission"),
    text("commission_asset", 20),
    money("realized_pnl_venue"),
    Column("is_maker", Boolean, nullable=False),
    ms("fill_ms"),
    text("source", 8),
    one_of("side", "BUY", "SELL"),
    one_of("source", "stream", "rest", "backfill"),
    Unique("account_id", "symbol", "trade_id"),
    Index(None, "position_id"),
    Index(None, "fill_ms"),
)

STATES = table(
    "strategy_states",
    Column("account_id", Integer, primary_key=True, autoincrement=False),
    Column("strategy", String(20), primary_key=True),
    Column("symbol", String(30), primary_key=True),
    Column("state", json_column()),
    # Bytes as text: no driver, dump or client treats them differently.
    Column("state_base64", long_text()),
    params_hash(),
    ms("updated_ms"),
)

JOURNAL = table(
    "journal",
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    ms("ms"),
    text("kind", 40),
    Column("payload", long_text(), nullable=False),
    sha256("prev_hash"),
    sha256("hash"),
    Unique("prev_hash"),
    Unique("hash"),
)

# One row. Writers take it in turn, and it knows how long the journal is: a cut tail is found.
JOURNAL_HEAD = table(
    "journal_head",
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    sha256("hash"),
)


LIVE = "status IN ('building', 'open', 'closing')"

POSITION_PLACE = PartialUnique(
    "uq_futures_positions_live",
    POSITIONS,
    ("account_id", "symbol", "position_side", "signal_version"),
    LIVE,
    "live_key",
)
# An open-interest position is alone on its symbol, whatever its side.
OI_PLACE = PartialUnique(
    "uq_futures_positions_oi_live",
    POSITIONS,
    ("account_id", "symbol"),
    f"{LIVE} AND signal_version = 'oi'",
    "oi_live_key",
)
# At most one attempt of an order that may be placed once is not dead.
ATTEMPT_PLACE = PartialUnique(
    "uq_order_intents_once",
    INTENTS,
    ("position_id", "leg"),
    "delivery = 'once' AND state IN ('new', 'sent', 'live', 'filled', 'unknown')",
    "once_key",
)
PARTIAL_UNIQUES = (
    POSITION_PLACE,
    OI_PLACE,
    ATTEMPT_PLACE,
    GRID_PLACE,
    RUN_PLACE,
    PAIR_PLACE,
    GRID_RUN_PLACE,
    ATTEMPTED_BAR,
)

__all__ = [
    "ACCOUNT_TABLES",
    "ATTEMPT_PLACE",
    "CONTROL",
    "FILLS",
    "GRID_TABLES",
    "INTENTS",
    "JOURNAL",
    "JOURNAL_HEAD",
    "METADATA",
    "OI_PLACE",
    "ORDERS",
    "PARAMS",
    "PARTIAL_UNIQUES",
    "POSITIONS",
    "POSITION_PLACE",
    "RUNS",
    "SCORE_TABLES",
    "SIGNAL_TABLES",
    "STATES",
    "VERSIONS",
    "VOLUME_TABLES",
    "PartialUnique",
]
