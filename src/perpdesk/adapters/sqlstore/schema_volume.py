"""The tables of volume_target."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String
from sqlalchemy import UniqueConstraint as Unique

from perpdesk.adapters.sqlstore.columns import PartialUnique, ms, params_hash, table, text
from perpdesk.adapters.sqlstore.types import Exact, big_id, long_text


def _amount(name: str, nullable: bool = False) -> Column[Any]:
    return Column(name, Exact(38, 18), nullable=nullable)


def _number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


def _document() -> Column[str]:
    return Column("document", long_text(), nullable=False)


RUNS = table(
    "volume_runs",
    Column("run_id", big_id(), primary_key=True),
    text("strategy_id", 64),
    _number("user_id"),
    text("token_key", 160),
    _number("day"),
    text("state", 20),
    text("reason", 80),
    _amount("target"),
    text("scope", 10),
    text("mode", 10),
    _number("pairs"),
    _number("failures"),
    params_hash(),
    Column("lease_epoch", BigInteger, nullable=False),
    ms("created_ms"),
    ms("updated_ms"),
    ms("ended_ms", nullable=True),
    _document(),
    Index(None, "strategy_id", "user_id"),
)

PAIRS = table(
    "volume_pairs",
    Column("pair_id", String(36), primary_key=True),
    Column(
        "run_id",
        BigInteger().with_variant(Integer(), "sqlite"),
        ForeignKey("volume_runs.run_id"),
        nullable=False,
    ),
    _number("seq"),
    _number("user_id"),
    text("token_key", 160),
    text("state", 16),
    text("outcome", 16, nullable=True),
    _amount("p_ref"),
    _amount("buy_price"),
    _amount("sell_price"),
    _amount("qty"),
    ms("sent_ms", nullable=True),
    _number("recv_window_ms"),
    ms("buy_deadline_ms", nullable=True),
    ms("sell_deadline_ms", nullable=True),
    _amount("dust"),
    _amount("loss_usdt"),
    _amount("counted_usdt"),
    params_hash(),
    ms("created_ms"),
    ms("updated_ms"),
    ms("ended_ms", nullable=True),
    _document(),
    Unique("run_id", "seq"),
)

ORDERS = table(
    "volume_orders",
    Column("client_id", String(36), primary_key=True),
    Column("pair_id", String(36), ForeignKey("volume_pairs.pair_id"), nullable=False),
    _number("user_id"),
    text("token_key", 160),
    text("leg", 4),
    _number("attempt"),
    text("venue_order_id", 40, nullable=True),
    _amount("price", nullable=True),
    _amount("qty"),
    _amount("cum_qty"),
    _amount("cum_quote"),
    text("status", 20),
    Column("terminal", Boolean, nullable=False),
    params_hash(),
    Unique("user_id", "token_key", "venue_order_id"),
    Index(None, "pair_id"),
)

FILLS = table(
    "volume_fills",
    Column("client_id", String(36), ForeignKey("volume_orders.client_id"), primary_key=True),
    Column("trade_id", BigInteger, primary_key=True, autoincrement=False),
    Column("cum_qty", Exact(38, 18), primary_key=True),
    _number("user_id"),
    text("token_key", 160),
    text("leg", 4),
    _amount("qty"),
    _amount("price"),
    _amount("quote"),
    _amount("commission"),
    Column("in_base", Boolean, nullable=False),
    ms("venue_ms"),
    Index(None, "user_id", "token_key", "venue_ms"),
)

DAYS = table(
    "volume_days",
    Column("user_id", Integer, primary_key=True, autoincrement=False),
    Column("token_key", String(160), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    _amount("baseline"),
    _amount("best", nullable=True),
    _amount("quote"),
    _amount("rebased"),
    _amount("loss_usdt"),
)

READINGS = table(
    "volume_readings",
    Column("id", big_id(), primary_key=True),
    _number("user_id"),
    text("token_key", 160),
    _number("day"),
    _amount("displayed", nullable=True),
    ms("read_ms"),
    text("error", 200, nullable=True),
    Index(None, "user_id", "token_key", "day", "read_ms"),
)

HALTS = table(
    "volume_halts",
    Column("id", big_id(), primary_key=True),
    text("strategy_id", 64),
    _number("user_id"),
    ms("since_ms"),
    text("reason", 80),
    ms("cleared_ms", nullable=True),
    text("cleared_by", 100, nullable=True),
    Index(None, "strategy_id", "user_id"),
)

ACCEPTANCES = table(
    "volume_acceptances",
    Column("user_id", Integer, primary_key=True, autoincrement=False),
    Column("notice_hash", sa.CHAR(64), primary_key=True),
    ms("accepted_ms"),
    text("accepted_by", 100),
)

LEASES = table(
    "volume_leases",
    Column("name", String(160), primary_key=True),
    text("owner", 120),
    Column("epoch", BigInteger, nullable=False),
    ms("expires_ms"),
)

# A user trades a token in one run, with one pair at a time. FLAT is the only state that is over.
RUN_OVER = "'STOPPED', 'DAY_ENDED', 'HALTED', 'DONE', 'SKIPPED', 'DONE_UNCONFIRMED'"
RUN_PLACE = PartialUnique(
    "uq_volume_runs_live", RUNS, ("user_id", "token_key"), f"state NOT IN ({RUN_OVER})", "live_key"
)
PAIR_PLACE = PartialUnique(
    "uq_volume_pairs_live", PAIRS, ("user_id", "token_key"), "state <> 'FLAT'", "live_key"
)
VOLUME_TABLES = (RUNS, PAIRS, ORDERS, FILLS, DAYS, READINGS, HALTS, ACCEPTANCES, LEASES)
