"""What the score trader saw: signals, each newest bar attempted once, and the market regime.

Revision ID: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String

from perpdesk.adapters.sqlstore.migrations.ddl import Tables, big_id, exact, one_of

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; rows that are there stay as they are."""
    tables = Tables()
    tables.refer_to("params_snapshots", Column("sha256", sa.CHAR(64), primary_key=True))
    tables.add(
        "score_signals",
        Column("id", big_id(), primary_key=True),
        Column("account_id", Integer, nullable=False),
        Column("version", String(20), nullable=False),
        Column("symbol", String(30), nullable=False),
        Column("side", String(5), nullable=False),
        Column("bar_open_ms", BigInteger, nullable=False),
        Column("score", exact(7, 4), nullable=False),
        Column("other_score", exact(7, 4)),
        Column("components", JSON),
        Column("act", String(10), nullable=False),
        Column("reason", String(30)),
        Column("attempted", Boolean, nullable=False),
        Column("params_hash", sa.CHAR(64), ForeignKey("params_snapshots.sha256"), nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        one_of("side", "LONG", "SHORT"),
        one_of("act", "OPEN", "NONE"),
        Index(None, "created_ms"),
        Index(None, "version", "reason", "created_ms"),
    )
    tables.add(
        "big4_regime",
        Column("account_id", Integer, primary_key=True, autoincrement=False),
        Column("bar_close_ms", BigInteger, primary_key=True, autoincrement=False),
        Column("direction", String(8), nullable=False),
        Column("strength", exact(7, 4), nullable=False),
        Column("coins", JSON, nullable=False),
        one_of("direction", "BULL", "BEAR", "NEUTRAL", "UNKNOWN"),
    )
    bar = ("account_id", "version", "symbol", "side", "bar_open_ms")
    tables.partial_unique("uq_score_signals_attempted", "score_signals", bar, "attempted", "attempted_key")
    tables.create()
