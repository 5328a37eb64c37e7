"""What volume_target keeps: runs, pairs, orders, fills, days, readings, halts, acceptances, leases.

Revision ID: 0003
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String
from sqlalchemy import UniqueConstraint as Unique

from perpdesk.adapters.sqlstore.migrations.ddl import Tables, big_id, exact, long_text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; rows that are there stay as they are."""
    tables = Tables()
    tables.refer_to("params_snapshots", Column("sha256", sa.CHAR(64), primary_key=True))
    _runs(tables)
    _orders(tables)
    _rest(tables)
    place = ("user_id", "token_key")
    over = "state NOT IN ('STOPPED', 'DAY_ENDED', 'HALTED', 'DONE', 'SKIPPED', 'DONE_UNCONFIRMED')"
    tables.partial_unique("uq_volume_runs_live", "volume_runs", place, over, "live_key")
    tables.partial_unique("uq_volume_pairs_live", "volume_pairs", place, "state <> 'FLAT'", "live_key")
    tables.create()


def _params_hash() -> Column[str]:
    return Column("params_hash", sa.CHAR(64), ForeignKey("params_snapshots.sha256"), nullable=False)


def _ms(name: str, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _text(name: str, length: int, nullable: bool = False) -> Column[str]:
    return Column(name, String(length), nullable=nullable)


def _amount(name: str, nullable: bool = False) -> Column[Any]:
    return Column(name, exact(38, 18), nullable=nullable)


def _number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


def _key(name: str) -> Column[int]:
    return Column(name, Integer, primary_key=True, autoincrement=False)


def _runs(tables: Tables) -> None:
    tables.add(
        "volume_runs",
        Column("run_id", big_id(), primary_key=True),
        _text("strategy_id", 64),
        _number("user_id"),
        _text("token_key", 160),
        _number("day"),
        _text("state", 20),
        _text("reason", 80),
        _amount("target"),
        _text("scope", 10),
        _text("mode", 10),
        _number("pairs"),
        _number("failures"),
        _params_hash(),
        _ms("lease_epoch"),
        _ms("created_ms"),
        _ms("updated_ms"),
        _ms("ended_ms", nullable=True),
        Column("document", long_text(), nullable=False),
        Index(None, "strategy_id", "user_id"),
    )
    tables.add(
        "volume_pairs",
        Column("pair_id", String(36), primary_key=True),
        Column("run_id", big_id(), ForeignKey("volume_runs.run_id"), nullable=False),
        _number("seq"),
        _number("user_id"),
        _text("token_key", 160),
        _text("state", 16),
        _text("outcome", 16, nullable=True),
        _amount("p_ref"),
        _amount("buy_price"),
        _amount("sell_price"),
        _amount("qty"),
        _ms("sent_ms", nullable=True),
        _number("recv_window_ms"),
        _ms("buy_deadline_ms", nullable=True),
        _ms("sell_deadline_ms", nullable=True),
        _amount("dust"),
        _amount("loss_usdt"),
        _amount("counted_usdt"),
        _params_hash(),
        _ms("created_ms"),
        _ms("updated_ms"),
        _ms("ended_ms", nullable=True),
        Column("document", long_text(), nullable=False),
        Unique("run_id", "seq"),
    )


def _orders(tables: Tables) -> None:
    tables.add(
        "volume_orders",
        Column("client_id", String(36), primary_key=True),
        Column("pair_id", String(36), ForeignKey("volume_pairs.pair_id"), nullable=False),
        _number("user_id"),
        _text("token_key", 160),
        _text("leg", 4),
        _number("attempt"),
        _text("venue_order_id", 40, nullable=True),
        _amount("price", nullable=True),
        _amount("qty"),
        _amount("cum_qty"),
        _amount("cum_quote"),
        _text("status", 20),
        Column("terminal", Boolean, nullable=False),
        _params_hash(),
        Unique("user_id", "token_key", "venue_order_id"),
        Index(None, "pair_id"),
    )
    tables.add(
        "volume_fills",
        Column("client_id", String(36), ForeignKey("volume_orders.client_id"), primary_key=True),
        Column("trade_id", BigInteger, primary_key=True, autoincrement=False),
        # DECIMAL on the servers, text on SQLite: both may be part of a key
        Column("cum_qty", exact(38, 18), primary_key=True),
        _number("user_id"),
        _text("token_key", 160),
        _text("leg", 4),
        _amount("qty"),
        _amount("price"),
        _amount("quote"),
        _amount("commission"),
        Column("in_base", Boolean, nullable=False),
        _ms("venue_ms"),
        Index(None, "user_id", "token_key", "venue_ms"),
    )


def _rest(tables: Tables) -> None:
    tables.add(
        "volume_days",
        _key("user_id"),
        Column("token_key", String(160), primary_key=True),
        _key("day"),
        _amount("baseline"),
        _amount("best", nullable=True),
        _amount("quote"),
        _amount("rebased"),
        _amount("loss_usdt"),
    )
    tables.add(
        "volume_readings",
        Column("id", big_id(), primary_key=True),
        _number("user_id"),
        _text("token_key", 160),
        _number("day"),
        _amount("displayed", nullable=True),
        _ms("read_ms"),
        _text("error", 200, nullable=True),
        Index(None, "user_id", "token_key", "day", "read_ms"),
    )
    tables.add(
        "volume_halts",
        Column("id", big_id(), primary_key=True),
        _text("strategy_id", 64),
        _number("user_id"),
        _ms("since_ms"),
        _text("reason", 80),
        _ms("cleared_ms", nullable=True),
        _text("cleared_by", 100, nullable=True),
        Index(None, "strategy_id", "user_id"),
    )
    tables.add(
        "volume_acceptances",
        _key("user_id"),
        Column("notice_hash", sa.CHAR(64), primary_key=True),
        _ms("accepted_ms"),
        _text("accepted_by", 100),
    )
    tables.add(
        "volume_leases",
        Column("name", String(160), primary_key=True),
        _text("owner", 120),
        _ms("epoch"),
        _ms("expires_ms"),
    )
