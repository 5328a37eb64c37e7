"""The tables as the code uses them. ``migrations`` makes them; a test compares the two on every database.

People query these tables by hand: names and columns are part of the interface.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, String
from sqlalchemy import UniqueConstraint as Unique

from perpdesk.adapters.sqlstore.types import Exact, UtcMs, big_id, json_column, long_text

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

METADATA = sa.MetaData(naming_convention=NAMES)


def _table(name: str, *parts: sa.schema.SchemaItem) -> sa.Table:
    # Binary collation: symbols, versions and client ids that differ in case are different everywhere.
    return sa.Table(
        name,
        METADATA,
        *parts,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _hash(name: str, *parts: Any, nullable: bool = False) -> Column[str]:
    return Column(name, sa.CHAR(64), *parts, nullable=nullable)


def _params_hash() -> Column[str]:
    return _hash("params_hash", ForeignKey("params_snapshots.sha256"))


def _ms(name: str, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _text(name: str, length: int, *parts: Any, nullable: bool = False) -> Column[str]:
    return Column(name, String(length), *parts, nullable=nullable)


def _money(name: str, nullable: bool = False) -> Column[Any]:
    return Column(name, Exact(20, 8), nullable=nullable)


def _notional(name: str, nullable: bool = False) -> Column[Any]:
    return Column(name, Exact(30, 8), nullable=nullable)


def _price(name: str, nullable: bool = True) -> Column[Any]:
    return Column(name, Exact(30, 12), nullable=nullable)


PARAMS = _table(
    "params_snapshots",
    Column("sha256", sa.CHAR(64), primary_key=True),
    Column("params", long_text(), nullable=False),
    _ms("created_ms"),
)

VERSIONS = _table(
    "strategy_versions",
    Column("name", String(20), primary_key=True),
    _text("scorer", 20),
    Column("params", json_column(), nullable=False),
    _params_hash(),
    Column("enabled", Boolean, nullable=False),
    _ms("created_ms"),
)

RUNS = _table(
    "runs",
    Column("id", big_id(), primary_key=True),
    _text("mode", 20),
    Column("strategies", json_column(), nullable=False),
    Column("account_id", Integer, nullable=False),
    _params_hash(),
    _text("build_hash", 64),
    _ms("started_ms"),
    _ms("ended_ms", nullable=True),
    Column("summary", json_column()),
    _one_of("mode", "demo", "backtest", "paper", "simulate", "live"),
)

CONTROL = _table(
    "trading_control",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    _text("trading_type", 20),
    Column("trading_enabled", Boolean, nullable=False, server_default=sa.false()),
    _text("updated_by", 100),
    Column("updated_at", UtcMs(), key="updated_ms", nullable=False),
    Column("created_at", UtcMs(), key="created_ms", nullable=False),
    _one_of("trading_type", "usdt_futures", "coin_futures"),
    Unique("account_id", "trading_type"),
)

POSITIONS = _table(
    "futures_positions",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    _text("symbol", 30),
    _text("position_side", 5),
    _text("signal_version", 20, ForeignKey("strategy_versions.name")),
    _text("status", 10),
    _text("position_code", 20, nullable=True),
    _text("position_key", 80, nullable=True),
    _text("origin", 10),
    Column("entry_score", Exact(7, 4)),
    Column("entry_max", Exact(7, 4)),
    _text("entry_signal_type", 20, nullable=True),
    Column("signal_components", json_column()),
    Column("leverage", Integer, nullable=False),
    _price("quantity", nullable=False),
    _price("initial_quantity"),
    _notional("notional_value"),
    _money("margin"),
    _price("avg_entry_price"),
    _price("liquidation_price"),
    _price("best_price"),
    _price("exit_price"),
    _money("realized_pnl"),
    _money("commission"),
    _money("funding"),
    _money("net_pnl"),
    Column("open_time", UtcMs(), key="open_ms"),
    Column("close_time", UtcMs(), key="close_ms"),
    Column("timeout_at", UtcMs(), key="timeout_at_ms"),
    _text("entry_time_source", 20, nullable=True),
    _ms("first_seen_ms", nullable=True),
    Column("batch_plan", json_column()),
    Column("batch_filled", json_column()),
    Column("exit_legs", json_column()),
    Column("stop_algo_id", BigInteger),
    Column("guard_params", json_column()),
    _params_hash(),
    _text("close_reason", 20, nullable=True),
    Column("exit_hits", json_column()),
    _ms("suspect_since_ms", nullable=True),
    _ms("created_ms"),
    _ms("updated_ms"),
    _one_of("position_side", "LONG", "SHORT"),
    _one_of("status", "building", "open", "closing", "closed", "liquidated"),
    _one_of("origin", "signal", "adopted", "backfill"),
    _one_of("entry_time_source", "fill", "reconstructed", "older_than_window", "first_seen"),
    Unique("account_id", "position_code"),
    Unique("account_id", "position_key"),
    Index("idx_signal_version", "signal_version", "status", "symbol", "position_side"),
    Index(None, "account_id", "status"),
    Index(None, "close_ms"),
)

INTENTS = _table(
    "order_intents",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    _text("symbol", 30),
    Column("position_id", BigInteger, ForeignKey("futures_positions.id")),
    _text("leg", 8),
    Column("attempt", Integer, nullable=False),
    _text("client_id", 36),
    _text("delivery", 6),
    _text("state", 7),
    _ms("signed_ms", nullable=True),
    _ms("fence_ms", nullable=True),
    Column("request", json_column(), nullable=False),
    Column("result", json_column()),
    _params_hash(),
    _ms("created_ms"),
    _ms("updated_ms"),
    _one_of("delivery", "once", "repeat"),
    _one_of("state", "new", "sent", "live", "filled", "dead", "unknown"),
    Unique("client_id"),
    Unique("position_id", "leg", "attempt"),
    Index(None, "state"),
)

ORDERS = _table(
    "order_records",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    _text("trading_mode", 7),
    Column("order_id", BigInteger),
    _text("client_id", 36),
    _text("symbol", 30),
    _text("side", 4),
    _text("position_side", 5),
    _text("order_type", 5),
    _text("kind", 20),
    _text("status", 20),
    _price("price"),
    _price("trigger_price"),
    _price("orig_quantity", nullable=False),
    _price("quantity", nullable=False),
    _notional("quote_quantity"),
    _money("realized_pnl"),
    _money("commission"),
    _text("commission_asset", 20, nullable=True),
    Column("position_id", BigInteger, ForeignKey("futures_positions.id")),
    _text("position_key", 80, nullable=True),
    Column("related_order_id", BigInteger),
    _text("close_reason", 20, nullable=True),
    _text("leg", 8, nullable=True),
    Column("signal_id", BigInteger),
    Column("order_time", BigInteger, key="order_ms", nullable=False),
    _params_hash(),
    _ms("updated_ms"),
    _one_of("trading_mode", "PAPER", "TESTNET", "LIVE"),
    _one_of("side", "BUY", "SELL"),
    _one_of("position_side", "LONG", "SHORT", "BOTH"),
    _one_of("order_type", "OPEN", "CLOSE"),
    # Order ids are unique per symbol only.
    Unique("account_id", "trading_mode", "symbol", "order_id", "order_type", name="uq_order_records_order"),
    Unique("account_id", "client_id", "order_type"),
    Index(None, "position_id"),
    Index(None, "order_ms"),
)

FILLS = _table(
    "fills",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    _text("symbol", 30),
    Column("trade_id", BigInteger, nullable=False),
    Column("position_id", BigInteger, ForeignKey("futures_positions.id")),
    Column("order_id", BigInteger),
    _text("client_id", 36, nullable=True),
    _text("side", 4),
    _price("qty", nullable=False),
    _price("price", nullable=False),
    _money("commission"),
    _text("commission_asset", 20),
    _money("realized_pnl_venue"),
    Column("is_maker", Boolean, nullable=False),
    _ms("fill_ms"),
    _text("source", 8),
    _one_of("side", "BUY", "SELL"),
    _one_of("source", "stream", "rest", "backfill"),
    Unique("account_id", "symbol", "trade_id"),
    Index(None, "position_id"),
    Index(None, "fill_ms"),
)

STATES = _table(
    "strategy_states",
    Column("account_id", Integer, primary_key=True, autoincrement=False),
    Column("strategy", String(20), primary_key=True),
    Column("symbol", String(30), primary_key=True),
    Column("state", json_column()),
    # Bytes as text: no driver, dump or client treats them differently.
    Column("state_base64", long_text()),
    _params_hash(),
    _ms("updated_ms"),
)

JOURNAL = _table(
    "journal",
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _ms("ms"),
    _text("kind", 40),
    Column("payload", long_text(), nullable=False),
    _hash("prev_hash"),
    _hash("hash"),
    Unique("prev_hash"),
    Unique("hash"),
)

# One row. Writers take it in turn, and it knows how long the journal is: a cut tail is found.
JOURNAL_HEAD = _table(
    "journal_head",
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    _hash("hash"),
)


class PartialUnique(NamedTuple):
    """Rows for which ``where`` holds are unique in ``columns``.

    A partial index on SQLite and PostgreSQL. MariaDB and MySQL have none: there ``key_column`` is generated,
    1 where the condition holds and NULL elsewhere, and part of the unique key (NULLs are never equal).
    """

    name: str
    table: sa.Table
    columns: tuple[str, ...]
    where: str
    key_column: str


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
PARTIAL_UNIQUES = (POSITION_PLACE, OI_PLACE, ATTEMPT_PLACE)
