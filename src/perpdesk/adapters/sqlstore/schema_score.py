"""The tables of what the score trader saw: signals and the market regime."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer

from perpdesk.adapters.sqlstore.columns import PartialUnique, ms, one_of, params_hash, table, text
from perpdesk.adapters.sqlstore.types import Exact, big_id, json_column

SCORE_SIGNALS = table(
    "score_signals",
    Column("id", big_id(), primary_key=True),
    Column("account_id", Integer, nullable=False),
    text("version", 20),
    text("symbol", 30),
    text("side", 5),
    ms("bar_open_ms"),
    Column("score", Exact(7, 4), nullable=False),
    Column("other_score", Exact(7, 4)),
    Column("components", json_column()),
    text("act", 10),
    text("reason", 30, nullable=True),
    Column("attempted", Boolean, nullable=False),
    params_hash(),
    ms("created_ms"),
    one_of("side", "LONG", "SHORT"),
    one_of("act", "OPEN", "NONE"),
    Index(None, "created_ms"),
    Index(None, "version", "reason", "created_ms"),
)

BIG4_REGIME = table(
    "big4_regime",
    Column("account_id", Integer, primary_key=True, autoincrement=False),
    Column("bar_close_ms", ms("bar_close_ms").type, primary_key=True, autoincrement=False),
    text("direction", 8),
    Column("strength", Exact(7, 4), nullable=False),
    Column("coins", json_column(), nullable=False),
    one_of("direction", "BULL", "BEAR", "NEUTRAL", "UNKNOWN"),
)

# One attempt for each newest bar of a symbol, side and version.
ATTEMPTED_BAR = PartialUnique(
    "uq_score_signals_attempted",
    SCORE_SIGNALS,
    ("account_id", "version", "symbol", "side", "bar_open_ms"),
    "attempted",
    "attempted_key",
)
SCORE_TABLES = (SCORE_SIGNALS, BIG4_REGIME)
