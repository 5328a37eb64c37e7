"""The tables of accounts: who owns them, who may trade what, foreign lots, days, income, corrections."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String
from sqlalchemy import UniqueConstraint as Unique

from perpdesk.adapters.sqlstore.columns import money, ms, one_of, price, table, text
from perpdesk.adapters.sqlstore.types import big_id, json_column


def _account_key() -> Column[int]:
    return Column("account_id", Integer, primary_key=True, autoincrement=False)


def _key(name: str, length: int) -> Column[str]:
    return Column(name, String(length), primary_key=True)


ACCOUNTS = table(
    "accounts",
    _account_key(),
    text("name", 40),
    text("exchange", 20),
    text("vault_ref", 100, nullable=True),
    text("status", 10),
    Column("params", json_column(), nullable=False),
    ms("last_check_ms", nullable=True),
    text("last_check_problem", 300, nullable=True),
    ms("created_ms"),
    ms("updated_ms"),
    one_of("status", "active", "disabled", "removed"),
    Unique("name"),
)

LEASES = table(
    "account_leases",
    _account_key(),
    text("owner", 120),
    Column("epoch", BigInteger, nullable=False),
    ms("expires_ms"),
    ms("taken_ms"),
    ms("renewed_ms"),
    text("build_hash", 64),
    text("params_hash", 64, nullable=True),
    text("host", 120),
    Column("pid", Integer, nullable=False),
)

HEARTBEATS = table(
    "guardian_heartbeat",
    _account_key(),
    _key("strategy", 20),
    text("instance", 120),
    Column("epoch", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    ms("beat_ms"),
    text("build_hash", 64),
    text("config_hash", 64, nullable=True),
)

SYMBOL_OWNERS = table(
    "symbol_owners",
    _account_key(),
    _key("symbol", 30),
    text("strategy", 20),
    ms("since_ms"),
)

CONTROL_ACTIONS = table(
    "control_actions",
    Column("sha256", sa.CHAR(64), primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    text("rung", 10),
    text("reason", 300),
    text("said_by", 100, key="by"),
    ms("ms"),
    ms("recorded_ms"),
    one_of("rung", "normal", "halt", "reduce", "cancel", "flatten"),
    Index(None, "account_id", "ms"),
)

EXTERNAL_LOTS = table(
    "external_lots",
    _account_key(),
    _key("symbol", 30),
    _key("position_side", 5),
    price("qty", nullable=False),
    price("avg_price"),
    text("client_id", 36, nullable=True),
    ms("first_seen_ms"),
    ms("updated_ms"),
    ms("acknowledged_ms", nullable=True),
    text("acknowledged_by", 100, nullable=True),
    one_of("position_side", "LONG", "SHORT", "BOTH"),
)

BREAKER_DAYS = table(
    "breaker_days",
    _account_key(),
    _key("strategy", 20),
    Column("day", sa.CHAR(10), primary_key=True),
    money("base_equity"),
    money("unrealised_start"),
    money("realised"),
    money("transfers"),
    ms("tripped_ms", nullable=True),
    money("trip_pnl", nullable=True),
    text("trip_reason", 200, nullable=True),
    ms("reset_ms", nullable=True),
    text("reset_by", 100, nullable=True),
    text("reset_reason", 300, nullable=True),
    ms("created_ms"),
    ms("updated_ms"),
)

INCOME = table(
    "income_rows",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    text("income_type", 40),
    Column("tran_id", BigInteger, nullable=False),
    text("symbol", 30),
    text("asset", 20),
    money("amount"),
    Column("trade_id", BigInteger),
    ms("time_ms"),
    ms("imported_ms"),
    Unique("account_id", "tran_id", "income_type", "symbol"),
    Index(None, "account_id", "time_ms"),
)

ADJUSTMENTS = table(
    "position_adjustments",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("position_id", BigInteger, ForeignKey("futures_positions.id")),
    text("symbol", 30),
    text("position_side", 5),
    text("kind", 20),
    price("qty", nullable=False),
    price("price"),
    money("realized_pnl"),
    money("commission"),
    money("funding"),
    text("source_key", 100),
    text("note", 200, nullable=True),
    ms("ms"),
    one_of("position_side", "LONG", "SHORT", "BOTH"),
    Unique("account_id", "source_key"),
    Index(None, "position_id"),
)

ACCOUNT_TABLES = (
    ACCOUNTS,
    LEASES,
    HEARTBEATS,
    SYMBOL_OWNERS,
    CONTROL_ACTIONS,
    EXTERNAL_LOTS,
    BREAKER_DAYS,
    INCOME,
    ADJUSTMENTS,
)
