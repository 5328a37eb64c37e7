"""What the books hold of what strategies saw: symbol ratings, open interest, grid zones and signals.

Prices, quantities and money are Decimals, times UTC ms, ratios fractions. A field has the name of its column,
except that a time which people read as a date ends in ``_ms`` here.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpdesk.domain.books import Json
from perpdesk.domain.order import PositionSide, Side


class SymbolRating(msgspec.Struct, frozen=True, kw_only=True):
    """How a symbol has treated us: level 0 (trusted) to 3 (banned)."""

    symbol: str
    rating_level: int
    margin_multiplier: Decimal
    score_bonus: Decimal
    updated_ms: int
    reason: str | None = None
    hard_stop_loss_count: int = 0
    total_loss_amount: Decimal = Decimal(0)
    total_profit_amount: Decimal = Decimal(0)
    win_rate: Decimal = Decimal(0)
    total_trades: int = 0
    previous_level: int | None = None
    level_changed_ms: int | None = None
    level_change_reason: str | None = None
    stats_start_ms: int | None = None
    stats_end_ms: int | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a score version saw at the moment an entry was judged."""

    bar_open_ms: int
    score: Decimal
    other_score: Decimal
    signal: str
    components: dict[str, float]


class ScoreSignal(msgspec.Struct, frozen=True, kw_only=True):
    """What a score version wanted of a symbol at its newest bar, and what became of it.

    act: OPEN (approved, ``attempted``: once for each bar) or NONE with the gate's reason. components:
    everything that the score was made of.
    """

    account_id: int
    version: str
    symbol: str
    side: PositionSide
    bar_open_ms: int
    score: Decimal
    other_score: Decimal | None
    components: Json | None
    act: str
    reason: str | None
    attempted: bool
    params_hash: str
    created_ms: int


class Big4Regime(msgspec.Struct, frozen=True, kw_only=True):
    """Which way the four largest coins went at a 15-minute close. coins: what each was judged by."""

    account_id: int
    bar_close_ms: int
    direction: str
    strength: Decimal
    coins: Json


class OiSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Open interest of one symbol as it was received; it belongs to the poll of ``poll_ms``."""

    symbol: str
    open_interest: Decimal
    received_ms: int
    poll_ms: int
    sum_open_interest: Decimal | None = None
    mark_price: Decimal | None = None
    funding_rate: Decimal | None = None
    funding_interval_h: int | None = None


class OiAnomaly(msgspec.Struct, frozen=True, kw_only=True):
    """A change of open interest beyond a threshold; one row per symbol, period and poll."""

    symbol: str
    period_seconds: int
    poll_ms: int
    group_id: int
    percent_change: Decimal
    oi_before: Decimal
    oi_after: Decimal
    threshold_value: Decimal
    severity: str
    config_hash: str
    suspect: bool = False
    degraded: bool = False
    price_before: Decimal | None = None
    price_after: Decimal | None = None
    price_change_percent: Decimal | None = None
    funding_rate: Decimal | None = None
    ratio_top_position: Decimal | None = None
    ratio_taker: Decimal | None = None
    ratio_top_account: Decimal | None = None
    ratio_global: Decimal | None = None
    primary_period: int | None = None
    signal_score: Decimal | None = None
    score_parts: Json | None = None
    signal_confidence: Decimal | None = None
    signal_direction: str | None = None
    reject_code: str | None = None
    price_2h_low: Decimal | None = None
    price_from_2h_low: Decimal | None = None


class OiSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting of the open-interest radar that was written into the database; it wins over the file."""

    config_key: str
    config_value: str
    updated_ms: int
    description: str | None = None
    is_active: bool = True


class GridZone(msgspec.Struct, frozen=True, kw_only=True):
    """A price zone of one scan: (symbol, as_of_ms, params_hash). Valid within (valid_from_ms, expires_ms)."""

    id: str
    symbol: str
    as_of_ms: int
    kind: str
    side: str
    center: Decimal
    lo: Decimal
    hi: Decimal
    strength: Decimal
    confidence: int
    ma_adjusted: bool
    kmeans_ok: bool
    valid_from_ms: int
    expires_ms: int
    params_hash: str
    created_ms: int


class TradingSignal(msgspec.Struct, frozen=True, kw_only=True):
    """A signal at the close of one 15-minute bar. ``run_id``: the grid run that used it."""

    id: str
    symbol: str
    bar_close_ms: int
    side: PositionSide
    type: str
    matched_mask: int
    zone_id: str
    low: Decimal
    high: Decimal
    status: str
    expires_ms: int
    params_hash: str
    created_ms: int
    confirmed_ms: int | None = None
    run_id: int | None = None


class GridOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order of a grid's level. ``terminal``: it can trade no more, and its place is free."""

    client_id: str
    run_id: int
    account_id: int
    symbol: str
    level: int
    intent: str
    attempt: int
    side: Side
    price: Decimal | None
    lots: int
    status: str
    lease_epoch: int
    params_hash: str
    created_ms: int
    updated_ms: int
    cum_lots: int = 0
    terminal: bool = False
    is_algo: bool = False
    venue_order_id: int | None = None
    sent_ts_ms: int | None = None
