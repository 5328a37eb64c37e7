"""The shapes of everything hot: one numpy record per word of the glossary.

Units are in the names. Prices are integers in the symbol's data scale, lots are integers,
money ends in ``_e8`` (1e-8 of the quote currency), shares and rates end in ``_ppm``
(parts per million) or ``_e8`` (rates), times are UTC milliseconds. Field names must not be
numpy methods (``tests/test_tidy.py`` checks it), so that attribute access works compiled and plain.
"""

from __future__ import annotations

import numpy as np

# Order kinds of a slot. NONE means: nothing is wanted here.
NONE, MARKET, LIMIT, STOP, TAKE_PROFIT, TRAILING = 0, 1, 2, 3, 4, 5
BUY, SELL = 1, -1

# The first slots of every symbol belong to the shared step; a strategy's own follow.
SLOT_ENTRY, SLOT_STOP, SLOT_EXIT, SLOT_TRAIL, SLOT_OWN = 0, 1, 2, 3, 4

# A price or time that is never reached, and the open time of a bar that does not exist.
FAR = 1 << 60
ABSENT_MS = -1
MINUTE_MS = 60_000
DAY_MS = 86_400_000
# When ratings are looked at every day, after 00:00 UTC.
RATING_DAILY_MS = 10 * MINUTE_MS

# Why an order was wanted (slot.tag, fill.tag, position.closed_tag).
(
    TAG_NONE,
    TAG_ENTRY,
    TAG_EXCHANGE_STOP,
    TAG_TRAILING,
    TAG_FIXED_STOP,
    TAG_FAST_STOP,
    TAG_FIXED_TP,
    TAG_TIMEOUT,
    TAG_SIGNAL,
    TAG_LIQUIDATION,
    TAG_COMMAND,
    TAG_LADDER,
    TAG_TAKE_PROFIT,
    TAG_MANUAL,
    TAG_DISASTER_STOP,
    TAG_ADL,
    TAG_SETTLEMENT,
    TAG_UNPROTECTED,
) = range(18)
TAG_NAMES = (
    "NONE",
    "ENTRY",
    "EXCHANGE_STOP",
    "TRAILING",
    "FIXED_STOP",
    "FAST_STOP",
    "FIXED_TP",
    "TIMEOUT",
    "SIGNAL",
    "LIQUIDATION",
    "COMMAND",
    "LADDER",
    "TAKE_PROFIT",
    "MANUAL",
    "DISASTER_STOP",
    "ADL",
    "SETTLEMENT",
    "UNPROTECTED",
)

# A timed stop's tag carries its window: TAG_FAST_STOP + TAG_MINUTES * minutes.
TAG_MINUTES = 1000


def tag_name(tag: int) -> str:
    """The close reason of a tag: ``FIXED_STOP``, ``FAST_10M``, ``TIMEOUT`` …"""
    minutes, base = divmod(int(tag), TAG_MINUTES)
    return f"FAST_{minutes}M" if base == TAG_FAST_STOP else TAG_NAMES[base]


# The gate's verdicts. Every refusal has a reason.
(
    VERDICT_NONE,
    APPROVED,
    GATE_SHUT,
    TRADING_DISABLED,
    POSITION_EXISTS,
    SYMBOL_TAKEN,
    COOLDOWN,
    MAX_POSITIONS,
    EXPOSURE_LIMIT,
    DAILY_LOSS,
    WORST_CASE,
    QTY_ZERO,
    QTY_BELOW_MIN,
    QTY_ABOVE_MAX,
    MIN_NOTIONAL,
    LEVERAGE_BRACKET,
    STOP_BEYOND_LIQUIDATION,
    INSUFFICIENT_BALANCE,
    OPPOSITE_SIDE,
    RATING_BANNED,
    BIG4_VETO,
    REGIME_UNKNOWN,
) = range(22)
VERDICT_NAMES = (
    "NONE",
    "APPROVED",
    "GATE_SHUT",
    "TRADING_DISABLED",
    "POSITION_EXISTS",
    "SYMBOL_TAKEN",
    "COOLDOWN",
    "MAX_POSITIONS",
    "EXPOSURE_LIMIT",
    "DAILY_LOSS",
    "WORST_CASE",
    "QTY_ZERO",
    "QTY_BELOW_MIN",
    "QTY_ABOVE_MAX",
    "MIN_NOTIONAL",
    "LEVERAGE_BRACKET",
    "STOP_BEYOND_LIQUIDATION",
    "INSUFFICIENT_BALANCE",
    "OPPOSITE_SIDE",
    "RATING_BANNED",
    "BIG4_VETO",
    "REGIME_UNKNOWN",
)
VERDICT_COUNT = len(VERDICT_NAMES)
BRACKETS_MAX = 12
ISOLATED, CROSS = 0, 1


def _ints(*names: str) -> list[tuple[str, str]]:
    return [(name, "i8") for name in names]


# One minute of one symbol. open_ms is ABSENT_MS where the symbol has no bar in that minute.
bar_dt = np.dtype(_ints("open_ms", "open", "high", "low", "close", "volume_lots"), align=True)

# What may be ordered and what it costs. unit_e8 = money of one price unit times one lot.
# tick = price units per exchange tick; brackets ascend by cap_e8.
instrument_dt = np.dtype(
    _ints(
        "tick",
        "unit_e8",
        "lots_min",
        "lots_max",
        "market_lots_max",
        "notional_min_e8",
        "maker_ppm",
        "taker_ppm",
        "liquidation_fee_ppm",
        "bracket_count",
    )
    + [
        ("bracket_cap_e8", "i8", (BRACKETS_MAX,)),
        ("bracket_leverage", "i8", (BRACKETS_MAX,)),
        ("bracket_mmr_ppm", "i8", (BRACKETS_MAX,)),
        ("bracket_cum_e8", "i8", (BRACKETS_MAX,)),
    ],
    align=True,
)

# A stable place for one wanted order. lots is what remains. extreme is the best price a TRAILING
# order has seen since it became active (0: not active). crossing: a LIMIT that was marketable when
# placed. bought/sold/last_ms survive the order: per-slot inventory is a function of records.
slot_dt = np.dtype(
    _ints(
        "kind",
        "side",
        "price",
        "lots",
        "reduce_only",
        "activation",
        "callback_ppm",
        "extreme",
        "crossing",
        "tag",
        "bought",
        "sold",
        "last_ms",
    ),
    align=True,
)

# Take-profit stages whose triggers the guard works out for a strategy to place.
STAGES_MAX = 2

# A sleeve's share of one symbol. lots is signed. cost_e8 is the entry notional of the lots held.
# The *_e8 sums are since the start of the run. entry_* are set by the gate when it approves. *_price are
# the guard's triggers, worked out once for each average price (priced_cost_e8, priced_lots).
position_dt = np.dtype(
    _ints(
        "lots",
        "cost_e8",
        "margin_e8",
        "leverage",
        "liquidation_price",
        "best",
        "armed",
        "opened_ms",
        "last_fill_ms",
        "closed_ms",
        "closed_tag",
        "closed_side",
        "round_trips",
        "realised_e8",
        "fees_e8",
        "funding_e8",
        "entry_timeout_ms",
        "entry_stop_ppm",
        "priced_cost_e8",
        "priced_lots",
        "stop_price",
        "ratchet_price",
        "trail_price",
    )
    + [("stage_price", "i8", (STAGES_MAX,)), ("entry_score", "f8"), ("entry_score_max", "f8")],
    align=True,
)

# One wallet. cash = initial + realised - fees + funding, after every step. Below equity_floor_e8 a drawdown
# is deeper than the deepest so far; at or below trip_e8 the day's loss breaker trips. stops_at_close: the
# compiled loop returns after a step in which a position closed, and once a day at 00:10, for ratings.
account_dt = np.dtype(
    _ints(
        "initial_e8",
        "cash_e8",
        "realised_e8",
        "fees_e8",
        "funding_e8",
        "margin_e8",
        "equity_e8",
        "equity_peak_e8",
        "equity_floor_e8",
        "day_end_ms",
        "day_start_e8",
        "trip_e8",
        "tripped",
        "open_positions",
        "round_trips",
        "stops_at_close",
        "fills",
        "liquidations",
        "gate_shut",
        "trading_enabled",
        "margin_mode",
        "slippage_ppm",
        "volume_share_ppm",
        "positions_max",
        "exposure_max_e8",
        "daily_loss_ppm",
        "worst_case_ppm",
        "worst_case_base_e8",
        "liquidation_share_ppm",
    )
    + [("drawdown_max", "f8"), ("verdicts", "i8", (VERDICT_COUNT,))],
    align=True,
)

# Limits of one sleeve. family: sleeves of one family may hold the same symbol.
sleeve_dt = np.dtype(_ints("family", "positions_max", "cooldown_ms", "cooldown_manual_ms"), align=True)

# What the shared guard does for every position of a sleeve. Moves are fractions of the entry price;
# 0 switches a rule off. stop_ppm and trail_* rest on the exchange, the float levels are watched on
# the mark price in front of them. fixed_stop and timed_level are negative. stage_ppm: position.stage_price,
# for a strategy that takes profit in stages with slots of its own.
TIMED_MAX = 4
guard_dt = np.dtype(
    _ints("stop_ppm", "trail_activation_ppm", "trail_callback_ppm", "ratchet_ppm", "timeout_ms")
    + [
        ("fixed_stop", "f8"),
        ("trailing_activation", "f8"),
        ("trailing_retrace", "f8"),
        ("trailing_floor", "f8"),
        ("fixed_tp", "f8"),
        ("stage_ppm", "i8", (STAGES_MAX,)),
        ("timed_within_ms", "i8", (TIMED_MAX,)),
        ("timed_level", "f8", (TIMED_MAX,)),
    ],
    align=True,
)

# An entry in batches (kernel/building.py). lots: planned in all, 0: none is under way. part: lots of the
# first and second batch. held: lots of the position when the last batch was booked; filled: batches booked.
# since_ms: of the signal; fill_ms, first_price: of the last batch's fill and the price of the first.
# quartile, median: closes before the signal (ladder.baseline).
plan_dt = np.dtype(
    _ints(
        "side",
        "lots",
        "part",
        "held",
        "filled",
        "since_ms",
        "fill_ms",
        "first_price",
        "quartile",
        "median",
    ),
    align=True,
)

# Per sleeve and symbol: the price band inside which nothing can happen (lo, hi exclusive), the next
# time somebody wants to be asked, watched levels, and the candidate entry that the gate judges.
# fire_*: react at this price on the path; peak_*: react at the end of a leg that reaches it.
# act_lo, act_hi: the band of what acts where it is reached, so without peak_*.
# trails, crosses: does a slot hold a trailing order, or a marketable limit (matching.band finds out)?
# calm: told of a peak inside the bar, the strategy has nothing to add at its close, if nothing else happens.
# entries_on: may a strategy's own slots open? The account's word, for strategies that ask no gate.
# margin_cut_ppm, bonus_ppm: what the symbol's rating takes from the margin (all of it: banned) and adds to
# the thresholds (share of the highest score). cand_veto: the verdict by which the strategy itself forbids the
# entry (VERDICT_NONE: it does not). cand_batch: lots of the next batch of a plan; cand_plan: 1 asks for one.
head_dt = np.dtype(
    _ints(
        "lo",
        "hi",
        "next_ms",
        "last",
        "step_ms",
        "held",
        "cand_side",
        "fire_lo",
        "fire_hi",
        "peak_lo",
        "peak_hi",
        "liquidation_lo",
        "liquidation_hi",
        "cand_notional_e8",
        "cand_leverage",
        "cand_stop_ppm",
        "cand_timeout_ms",
        "verdict",
        "verdict_ms",
        "verdict_side",
        "approved_ms",
        "entries_on",
        "act_lo",
        "act_hi",
        "trails",
        "crosses",
        "calm",
        "margin_cut_ppm",
        "bonus_ppm",
        "cand_veto",
        "cand_batch",
        "cand_plan",
        "cand_quartile",
        "cand_median",
    )
    + [("cand_score", "f8"), ("cand_score_max", "f8"), ("plan", plan_dt)],
    align=True,
)

# Where a bar's path stands. leg 0 is the jump from the previous close to the open. asked: a level was told
# at this very price and nothing has happened since. acted: the walk of this bar met an event.
walk_dt = np.dtype(
    _ints(
        "leg",
        "cursor",
        "p0",
        "p1",
        "p2",
        "p3",
        "open_ms",
        "ms",
        "jump",
        "dirty",
        "asked",
        "acted",
        "budget_lots",
    ),
    align=True,
)

# A fact. lots is unsigned, held_lots is the sleeve's signed position afterwards.
fill_dt = np.dtype(
    _ints(
        "ms",
        "sleeve",
        "symbol",
        "slot",
        "side",
        "price",
        "lots",
        "taker",
        "tag",
        "fee_e8",
        "realised_e8",
        "held_lots",
        "cash_e8",
    ),
    align=True,
)

# How much work a replay did: bars present, bars whose path was walked, times the strategy was asked.
counters_dt = np.dtype(_ints("bars", "walked", "asked"), align=True)

# A funding rate that takes effect at ms. mark 0: use the last close of the path. mark ASSUMED: the same,
# and the rate is only assumed, so that whoever holds pays.
ASSUMED = -1
funding_dt = np.dtype(_ints("ms", "symbol", "rate_e8", "mark"), align=True)


def zeros(shape: int | tuple[int, ...], dtype: np.dtype) -> np.recarray:
    """A zeroed record array whose fields are attributes, compiled and plain alike."""
    return np.zeros(shape, dtype).view(np.recarray)
