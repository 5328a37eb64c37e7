"""The fill rules of docs/simulation.md as candle tables: bars in, wanted orders in, fills out."""

from __future__ import annotations

import pytest
from tests.kernel.actors import ACTOR, LADDER, actor_params
from tests.kernel.tables import (
    desk,
    guard_record,
    instrument_records,
    rows,
    script_params,
    walk,
)

from perpdesk.kernel.matching import slipped
from perpdesk.kernel.records import (
    BUY,
    FAR,
    LIMIT,
    MARKET,
    NONE,
    SELL,
    SLOT_OWN,
    TAG_LADDER,
)

# name, bars, orders, options, fills
TABLES = [
    # --- the path: nearer extreme first, on a tie close >= open goes low first
    (
        "the low is nearer, so it comes first",
        "100 110 97 105",
        "LIMIT SELL 1 @ 108\nLIMIT BUY 1 @ 98",
        {"last": 100},
        "0 +20s b BUY 1 @ 98 maker\n0 +40s a SELL 1 @ 108 maker",
    ),
    (
        "the high is nearer, so it comes first",
        "107 110 97 105",
        "LIMIT SELL 1 @ 108\nLIMIT BUY 1 @ 98",
        {"last": 107},
        "0 +20s a SELL 1 @ 108 maker\n0 +40s b BUY 1 @ 98 maker",
    ),
    (
        "a tie that closes up goes low first",
        "100 105 95 101",
        "LIMIT SELL 1 @ 104\nLIMIT BUY 1 @ 96",
        {"last": 100},
        "0 +20s b BUY 1 @ 96 maker\n0 +40s a SELL 1 @ 104 maker",
    ),
    (
        "a tie that closes where it opened goes low first",
        "100 105 95 100",
        "LIMIT SELL 1 @ 104\nLIMIT BUY 1 @ 96",
        {"last": 100},
        "0 +20s b BUY 1 @ 96 maker\n0 +40s a SELL 1 @ 104 maker",
    ),
    (
        "a tie that closes down goes high first",
        "100 105 95 99",
        "LIMIT SELL 1 @ 104\nLIMIT BUY 1 @ 96",
        {"last": 100},
        "0 +20s a SELL 1 @ 104 maker\n0 +40s b BUY 1 @ 96 maker",
    ),
    (
        "on one leg the nearer price comes first, whatever the slot",
        "100 101 90 95",
        "LIMIT BUY 1 @ 92\nLIMIT BUY 1 @ 97\nLIMIT BUY 1 @ 95",
        {"last": 100},
        "0 +40s b BUY 1 @ 97 maker\n0 +40s c BUY 1 @ 95 maker\n0 +40s a BUY 1 @ 92 maker",
    ),
    (
        "a passed stop acts at the open, the other waits for its price",
        "100 110 99 103",
        "STOP SELL 3 @ 105\nTAKE_PROFIT SELL 2 @ 108",
        {"last": 106, "held": 5},
        "0 +0s a SELL 3 @ 100 taker\n0 +40s b SELL 2 @ 108 taker",
    ),
    (
        "the last leg, from the second extreme to the close",
        "100 110 99 101",
        "TRAILING SELL 5 arm 105 back 5%",
        {"last": 100, "held": 5},
        "0 +59.999s a SELL 5 @ 105 taker",
    ),
    # --- MARKET
    (
        "a market order fills at the next open",
        "102 103 99 100",
        "MARKET BUY 5",
        {"last": 100},
        "0 +0s a BUY 5 @ 102 taker",
    ),
    (
        "slippage is against the order",
        "1000 1001 999 1000",
        "MARKET BUY 5\nMARKET SELL 5",
        {"last": 1000, "slippage_ppm": 2_000},
        "0 +0s a BUY 5 @ 1002 taker\n0 +0s b SELL 5 @ 998 taker",
    ),
    (
        "slippage is rounded to the tick, against the order",
        "1000 1001 999 1000",
        "MARKET BUY 5\nMARKET SELL 5",
        {"last": 1000, "slippage_ppm": 500, "instruments": instrument_records(tick=5)},
        "0 +0s a BUY 5 @ 1005 taker\n0 +0s b SELL 5 @ 995 taker",
    ),
    (
        "a minute without a bar is waited out",
        "-\n-\n101 102 100 101",
        "MARKET BUY 5",
        {"last": 100},
        "2 +0s a BUY 5 @ 101 taker",
    ),
    # --- LIMIT
    ("a touch does not fill a buy", "101 102 100 101", "LIMIT BUY 5 @ 100", {"last": 101}, ""),
    ("a touch does not fill a sell", "101 102 100 101", "LIMIT SELL 5 @ 102", {"last": 101}, ""),
    (
        "one price unit through the limit fills a buy at its price",
        "101 102 99 101",
        "LIMIT BUY 5 @ 100",
        {"last": 101},
        "0 +40s a BUY 5 @ 100 maker",
    ),
    (
        "one price unit through the limit fills a sell at its price",
        "101 103 100 101",
        "LIMIT SELL 5 @ 102",
        {"last": 101},
        "0 +40s a SELL 5 @ 102 maker",
    ),
    (
        "a jump fills a buy it crosses, at its price and not at the better open",
        "95 96 94 95",
        "LIMIT BUY 5 @ 98",
        {"last": 100},
        "0 +0s a BUY 5 @ 98 maker",
    ),
    (
        "a jump fills a sell it crosses",
        "105 106 104 105",
        "LIMIT SELL 5 @ 102",
        {"last": 100},
        "0 +0s a SELL 5 @ 102 maker",
    ),
    ("a jump onto the limit does not fill it", "98 99 98 99", "LIMIT BUY 5 @ 98", {"last": 100}, ""),
    (
        "two limits in one jump, in price order",
        "95 96 94 95",
        "LIMIT BUY 5 @ 97\nLIMIT BUY 5 @ 99",
        {"last": 100},
        "0 +0s b BUY 5 @ 99 maker\n0 +0s a BUY 5 @ 97 maker",
    ),
    (
        "a jump over a limit and a stop: the limit fills in the jump, the stop at the open",
        "95 96 94 95",
        "STOP SELL 5 @ 98\nLIMIT BUY 2 @ 97",
        {"last": 100, "held": 5},
        "0 +0s b BUY 2 @ 97 maker\n0 +0s a SELL 5 @ 95 taker",
    ),
    (
        "a limit that is marketable when placed takes at the open, with slippage",
        "1002 1003 1001 1002",
        "LIMIT BUY 5 @ 1010\nLIMIT SELL 5 @ 990",
        {"last": 1000, "slippage_ppm": 1_000},
        "0 +0s a BUY 5 @ 1004 taker\n0 +0s b SELL 5 @ 1000 taker",
    ),
    (
        "but never beyond its own price",
        "1002 1003 1001 1002",
        "LIMIT BUY 5 @ 1003\nLIMIT SELL 5 @ 1001",
        {"last": 1002, "slippage_ppm": 10_000},
        "0 +0s a BUY 5 @ 1003 taker\n0 +0s b SELL 5 @ 1001 taker",
    ),
    (
        "a limit at the last price is marketable",
        "100 101 99 100",
        "LIMIT BUY 5 @ 100",
        {"last": 100},
        "0 +0s a BUY 5 @ 100 taker",
    ),
    (
        "marketable at the close, not at the open: it rests like any other",
        "103 104 101 102\n102 103 100 101",
        "LIMIT BUY 5 @ 101",
        {"last": 100},
        "1 +40s a BUY 5 @ 101 maker",
    ),
    # --- STOP
    (
        "a stop fires when the price reaches it",
        "100 101 95 97",
        "STOP SELL 5 @ 95",
        {"last": 100, "held": 5},
        "0 +40s a SELL 5 @ 95 taker",
    ),
    ("and not one unit before", "100 101 96 97", "STOP SELL 5 @ 95", {"last": 100, "held": 5}, ""),
    (
        "a short's stop",
        "100 105 99 101",
        "STOP BUY 5 @ 105",
        {"last": 100, "held": -5},
        "0 +40s a BUY 5 @ 105 taker",
    ),
    (
        "slippage after a stop",
        "1000 1001 950 970",
        "STOP SELL 5 @ 955",
        {"last": 1000, "held": 5, "slippage_ppm": 10_000},
        "0 +40s a SELL 5 @ 945 taker",
    ),
    (
        "a gap beyond a stop fills at the open",
        "90 91 85 89",
        "STOP SELL 5 @ 95",
        {"last": 100, "held": 5},
        "0 +0s a SELL 5 @ 90 taker",
    ),
    (
        "a gap beyond a short's stop fills at the open",
        "110 111 109 110",
        "STOP BUY 5 @ 105",
        {"last": 100, "held": -5},
        "0 +0s a BUY 5 @ 110 taker",
    ),
    (
        "a stop that the last price has passed acts at the next open, if that is still beyond it",
        "97 98 96 97\n94 95 93 94",
        "STOP SELL 5 @ 95",
        {"last": 94, "held": 5, "at": 100},
        "1 +0s a SELL 5 @ 94 taker",
    ),
    # --- TAKE_PROFIT
    (
        "a take-profit fires when the price reaches it, and takes",
        "100 105 99 101",
        "TAKE_PROFIT SELL 5 @ 105",
        {"last": 100, "held": 5, "slippage_ppm": 5_000},
        "0 +40s a SELL 5 @ 104 taker",
    ),
    (
        "a short's take-profit",
        "100 101 95 97",
        "TAKE_PROFIT BUY 5 @ 95",
        {"last": 100, "held": -5},
        "0 +40s a BUY 5 @ 95 taker",
    ),
    (
        "a gap beyond a take-profit fills at the better open",
        "108 109 107 108",
        "TAKE_PROFIT SELL 5 @ 105",
        {"last": 100, "held": 5},
        "0 +0s a SELL 5 @ 108 taker",
    ),
    # --- TRAILING
    (
        "a trailing order arms, follows the high and fires below it",
        "1000 1030 995 1025\n1025 1100 1020 1090\n1090 1091 1060 1070",
        "TRAILING SELL 5 arm 1020 back 2%",
        {"last": 1000, "held": 5},
        "2 +40s a SELL 5 @ 1078 taker",
    ),
    (
        "before it is armed it does nothing",
        "1000 1019 900 950",
        "TRAILING SELL 5 arm 1020 back 2%",
        {"last": 1000, "held": 5},
        "",
    ),
    (
        "arming and firing inside one bar: high first",
        "1015 1050 950 960",
        "TRAILING SELL 5 arm 1020 back 2%",
        {"last": 1015, "held": 5},
        "0 +40s a SELL 5 @ 1029 taker",
    ),
    (
        "the same bar, low first: it fires on the way to the close, below the high",
        "1000 1050 960 1010",
        "TRAILING SELL 5 arm 1020 back 2%",
        {"last": 1000, "held": 5},
        "0 +59.999s a SELL 5 @ 1029 taker",
    ),
    (
        "an opening gap arms it; the open is its first extreme",
        "1040 1041 1019 1020",
        "TRAILING SELL 5 arm 1020 back 2%",
        {"last": 1000, "held": 5},
        "0 +40s a SELL 5 @ 1021 taker",
    ),
    (
        "a short's trailing order arms, follows the low and fires above it",
        "1000 1005 970 975\n975 980 900 910\n910 930 905 925",
        "TRAILING BUY 5 arm 980 back 2%",
        {"last": 1000, "held": -5},
        "2 +40s a BUY 5 @ 918 taker",
    ),
    (
        "without an activation price it is armed as it is placed",
        "999 1000 979 985",
        "TRAILING SELL 5 back 2%",
        {"last": 1000, "held": 5},
        "0 +40s a SELL 5 @ 980 taker",
    ),
    (
        "a gap beyond the trailing trigger fills at the open",
        "950 960 940 955",
        "TRAILING SELL 5 back 2%",
        {"last": 1000, "held": 5},
        "0 +0s a SELL 5 @ 950 taker",
    ),
    # --- ties
    (
        "at one price limits come before stops",
        "100 101 94 97",
        "STOP SELL 2 @ 94\nLIMIT BUY 3 @ 95",
        {"last": 100, "held": 5},
        "0 +40s b BUY 3 @ 95 maker\n0 +40s a SELL 2 @ 94 taker",
    ),
    (
        "at one price the lower slot comes first",
        "100 101 94 97",
        "STOP SELL 2 @ 95\nSTOP SELL 3 @ 95",
        {"last": 100, "held": 5},
        "0 +40s a SELL 2 @ 95 taker\n0 +40s b SELL 3 @ 95 taker",
    ),
    # --- reduce-only
    (
        "a reduce-only order is cut to the position and expires",
        "100 106 99 105\n105 110 104 109",
        "LIMIT SELL 8 @ 104 reduce",
        {"last": 100, "held": 5},
        "0 +40s a SELL 5 @ 104 maker",
    ),
    (
        "the second exit finds nothing left and expires; nothing is reversed",
        "100 101 90 92\n92 93 85 88",
        "STOP SELL 5 @ 96\nSTOP SELL 5 @ 94",
        {"last": 100, "held": 5},
        "0 +40s a SELL 5 @ 96 taker",
    ),
    (
        "a reduce-only order never increases: it expires",
        "100 101 90 92",
        "LIMIT BUY 5 @ 95 reduce\nMARKET BUY 5 reduce",
        {"last": 100, "held": 5},
        "",
    ),
    (
        "without reduce-only the same order reverses the position",
        "100 106 99 105",
        "LIMIT SELL 8 @ 104",
        {"last": 100, "held": 5},
        "0 +40s a SELL 8 @ 104 maker",
    ),
    # --- volume
    (
        "a tenth of the volume a bar, over several bars",
        "100 101 99 100 30\n101 102 100 101 40\n102 103 101 102 100",
        "MARKET BUY 12",
        {"last": 100, "volume_share_ppm": 100_000},
        "0 +0s a BUY 3 @ 100 taker\n1 +0s a BUY 4 @ 101 taker\n2 +0s a BUY 5 @ 102 taker",
    ),
    (
        "any volume gives at least one lot",
        "100 101 99 100 3\n100 101 99 100 1",
        "MARKET BUY 5",
        {"last": 100, "volume_share_ppm": 100_000},
        "0 +0s a BUY 1 @ 100 taker\n1 +0s a BUY 1 @ 100 taker",
    ),
    (
        "no volume, no fill",
        "100 101 90 100 0\n100 101 99 100 50",
        "MARKET BUY 5\nLIMIT BUY 5 @ 95",
        {"last": 100, "volume_share_ppm": 100_000},
        "1 +0s a BUY 5 @ 100 taker",
    ),
    (
        "a share of 0 switches the budget off",
        "100 101 99 100 0",
        "MARKET BUY 5",
        {"last": 100, "volume_share_ppm": 0},
        "0 +0s a BUY 5 @ 100 taker",
    ),
    (
        "one budget for all orders of the bar",
        "100 101 90 95 60",
        "LIMIT BUY 4 @ 97\nLIMIT BUY 4 @ 95",
        {"last": 100, "volume_share_ppm": 100_000},
        "0 +40s a BUY 4 @ 97 maker\n0 +40s b BUY 2 @ 95 maker",
    ),
    (
        "what is left of a limit fills at its price as soon as there is volume, if the market is through it",
        "100 101 90 92 20\n92 93 91 92 30\n96 97 95 96 30",
        "LIMIT BUY 9 @ 95",
        {"last": 100, "volume_share_ppm": 100_000},
        "0 +40s a BUY 2 @ 95 maker\n1 +0s a BUY 3 @ 95 maker",
    ),
    (
        "a stop that triggers without volume becomes a market order, even if the price comes back",
        "100 101 94 100 0\n101 102 100 101 100",
        "STOP SELL 5 @ 95",
        {"last": 100, "held": 5, "volume_share_ppm": 100_000},
        "1 +0s a SELL 5 @ 101 taker",
    ),
    (
        "so does what is left of a triggered stop",
        "100 101 94 100 20\n101 102 100 101 20\n103 104 102 103 20",
        "STOP SELL 5 @ 95",
        {"last": 100, "held": 5, "volume_share_ppm": 100_000},
        "0 +40s a SELL 2 @ 95 taker\n1 +0s a SELL 2 @ 101 taker\n2 +0s a SELL 1 @ 103 taker",
    ),
    (
        "and a take-profit and a trailing order",
        "1000 1050 999 1000 0\n970 971 969 970 1000",
        "TAKE_PROFIT SELL 2 @ 1040\nTRAILING SELL 3 back 2%",
        {"last": 1000, "held": 5, "volume_share_ppm": 100_000},
        "1 +0s a SELL 2 @ 970 taker\n1 +0s b SELL 3 @ 970 taker",
    ),
    (
        "a resting limit has its share before a stop at the same place",
        "100 101 90 95 40",
        "STOP SELL 3 @ 96\nLIMIT BUY 3 @ 97",
        {"last": 100, "held": 5, "volume_share_ppm": 100_000},
        "0 +40s b BUY 3 @ 97 maker\n0 +40s a SELL 1 @ 96 taker",
    ),
]


@pytest.mark.parametrize(
    ("bars", "orders", "options", "fills"), [t[1:] for t in TABLES], ids=[t[0] for t in TABLES]
)
def test_table(bars, orders, options, fills):
    assert walk(bars, orders, **options) == rows(fills)


# 10 lots at 1000 with unit 1000: cost 1e7, tenfold leverage: margin 1e6, 0.5 % maintenance.
# Long: (1e7 − 1e6) / (1e4 × 0.995) = 904.52 → 905. Short: (1e7 + 1e6) / (1e4 × 1.005) = 1094.5 → 1094.
LIQUIDATIONS = [
    (
        "a long is liquidated when the bar reaches its level",
        "1000 1001 905 950",
        10,
        "",
        {},
        "0 +40s stop SELL 10 @ 905 taker",
    ),
    ("and not one unit before", "1000 1001 906 950", 10, "", {}, ""),
    ("a short is liquidated", "1000 1094 999 1050", -10, "", {}, "0 +40s stop BUY 10 @ 1094 taker"),
    ("and not one unit before it", "1000 1093 999 1050", -10, "", {}, ""),
    ("a gap beyond it: at the open", "800 810 790 800", 10, "", {}, "0 +0s stop SELL 10 @ 800 taker"),
    (
        "at one price liquidation comes before a limit and a stop",
        "1000 1001 900 950",
        10,
        "STOP SELL 10 @ 905\nLIMIT BUY 1 @ 906",
        {},
        "0 +40s stop SELL 10 @ 905 taker",
    ),
    (
        "a stop in front of it acts first",
        "1000 1001 900 950",
        10,
        "STOP SELL 10 @ 906",
        {},
        "0 +40s a SELL 10 @ 906 taker",
    ),
    (
        "after a gap beyond both, liquidation comes first",
        "890 900 880 895",
        10,
        "STOP SELL 10 @ 950",
        {},
        "0 +0s stop SELL 10 @ 890 taker",
    ),
    (
        "volume does not limit it, slippage does apply",
        "1000 1001 900 950 10",
        10,
        "",
        {"volume_share_ppm": 100_000, "slippage_ppm": 10_000},
        "0 +40s stop SELL 10 @ 895 taker",
    ),
    (
        "it cancels every order of the symbol",
        "1000 1001 900 950\n950 1200 800 1000",
        10,
        "LIMIT BUY 5 @ 850\nLIMIT SELL 5 @ 1150",
        {},
        "0 +40s stop SELL 10 @ 905 taker",
    ),
]


@pytest.mark.parametrize(
    ("bars", "held", "orders", "options", "fills"),
    [t[1:] for t in LIQUIDATIONS],
    ids=[t[0] for t in LIQUIDATIONS],
)
def test_liquidation_table(bars, held, orders, options, fills):
    for skip in (True, False):
        run = desk(last=1000, skip=skip, **options)
        run.hold(held, 1000, leverage=10)
        run.want(orders) if orders else None
        assert run.play(bars).fills() == rows(fills)


# --- software levels of the guard, on the same path
GUARDED = [
    (
        "a software stop acts at its level on the leg, with slippage",
        "1000 1001 950 960",
        {"fixed_stop": -0.03},
        {"slippage_ppm": 1_000},
        "0 +40s exit SELL 10 @ 969 taker",
    ),
    (
        "across a jump it acts at the open",
        "940 950 930 945",
        {"fixed_stop": -0.03},
        {},
        "0 +0s exit SELL 10 @ 940 taker",
    ),
    (
        "a resting stop at the same price comes first",
        "1000 1001 950 960",
        {"fixed_stop": -0.03, "stop_ppm": 30_000},
        {},
        "0 +40s stop SELL 10 @ 970 taker",
    ),
    (
        "the software stop in front of the resting one acts first",
        "1000 1001 950 960",
        {"fixed_stop": -0.03, "stop_ppm": 40_000},
        {},
        "0 +40s exit SELL 10 @ 970 taker",
    ),
    (
        "after a gap beyond both, a resting stop of the strategy comes before the software stop",
        "940 950 930 945",
        {"fixed_stop": -0.03},
        {"orders": "STOP SELL 4 @ 960"},
        "0 +0s a SELL 4 @ 940 taker\n0 +0s exit SELL 6 @ 940 taker",
    ),
    (
        "a software take-profit",
        "1000 1070 990 1000",
        {"fixed_tp": 0.06},
        {},
        "0 +40s exit SELL 10 @ 1060 taker",
    ),
    (
        "a software trail: armed at the end of a leg, acts on the next",
        "1000 1050 999 1010",
        {"trailing_activation": 0.03, "trailing_retrace": 0.015, "trailing_floor": 0.0015},
        {},
        "0 +59.999s exit SELL 10 @ 1035 taker",
    ),
    (
        "the resting trail of the guard follows the same path",
        "1000 1050 999 1010",
        {"trail_activation_ppm": 30_000, "trail_callback_ppm": 20_000},
        {},
        "0 +59.999s trail SELL 10 @ 1029 taker",
    ),
    (
        "the exit of a software stop waits for volume as a market order",
        "1000 1001 950 990 0\n1005 1010 1000 1005 1000",
        {"fixed_stop": -0.03},
        {"volume_share_ppm": 100_000},
        "1 +0s exit SELL 10 @ 1005 taker",
    ),
]


@pytest.mark.parametrize(
    ("bars", "guard", "options", "fills"), [t[1:] for t in GUARDED], ids=[t[0] for t in GUARDED]
)
def test_guarded_table(bars, guard, options, fills):
    options = dict(options)
    orders = options.pop("orders", None)
    for skip in (True, False):
        run = desk(last=1000, guard=guard_record(**guard), skip=skip, **options)
        run.hold(10, 1000)
        run.head().next_ms = 0  # the guard sees the new position at the first step
        run.rest(1000)
        if orders:
            run.want(orders)
        run.play(bars)
        assert run.fills() == rows(fills)


# --- fills re-enter
def ladder(bars, *, last=1010, skip=True, **params):
    record = actor_params(LADDER, **{"top": 1000, "step": 10, "levels": 3, "lots": 2, **params})
    run = desk(ACTOR, record, last=last, skip=skip)
    run.rest(1010)
    return run.play(bars)


LADDERS = [
    (
        "what is bought on the way down is sold on the way up, in one bar",
        "1010 1030 985 1020",
        """
        0 +40s a BUY 2 @ 1000 maker
        0 +40s b BUY 2 @ 990 maker
        0 +59.999s b SELL 2 @ 1000 maker
        0 +59.999s a SELL 2 @ 1010 maker
        """,
    ),
    (
        "low first: bought at 20 s, sold at 40 s, bought again on the way to the close",
        "1005 1030 985 992",
        """
        0 +20s a BUY 2 @ 1000 maker
        0 +20s b BUY 2 @ 990 maker
        0 +40s b SELL 2 @ 1000 maker
        0 +40s a SELL 2 @ 1010 maker
        0 +59.999s a BUY 2 @ 1000 maker
        """,
    ),
    (
        "a jump over two levels is one event: the sales are placed at the open, not inside the jump",
        "985 1030 984 1020",
        """
        0 +0s a BUY 2 @ 1000 maker
        0 +0s b BUY 2 @ 990 maker
        0 +40s b SELL 2 @ 1000 maker
        0 +40s a SELL 2 @ 1010 maker
        """,
    ),
]


@pytest.mark.parametrize(("bars", "fills"), [t[1:] for t in LADDERS], ids=[t[0] for t in LADDERS])
def test_fills_re_enter(bars, fills):
    assert ladder(bars).fills() == rows(fills)
    assert ladder(bars, skip=False).fills() == rows(fills)


def test_nobody_acts_inside_a_jump():
    """Bought at 1000 in a jump from 1010 to 985: at the old price the take-profit of 0.5 % would leave, but
    nobody can be there any more. It is asked at the open, and 985 is no profit."""
    for skip in (True, False):
        run = desk(last=1010, guard=guard_record(fixed_tp=0.005), skip=skip)
        run.want("LIMIT BUY 10 @ 1000")
        run.play("985 990 984 988\n988 1010 987 1000")
        assert run.fills() == rows("0 +0s a BUY 10 @ 1000 maker\n1 +40s exit SELL 10 @ 1005 taker")


def test_inventory_of_a_level_is_a_function_of_its_slot():
    run = ladder("1005 1030 985 992")
    first, second, third = (run.slot(SLOT_OWN + k) for k in range(3))
    assert (first.bought, first.sold, second.bought, second.sold) == (4, 2, 2, 2)
    assert (third.bought, third.kind, third.side, third.price) == (0, LIMIT, BUY, 980)
    assert (first.kind, first.side, first.price, first.lots) == (LIMIT, SELL, 1010, 2)
    assert run.position().lots == 2
    assert all(fill.tag == TAG_LADDER for fill in run.replay.all_fills())


# --- details that a table does not show
@pytest.mark.parametrize("price", [1, 999, 1000, 64_123_400])
@pytest.mark.parametrize("ppm", [0, 1, 500, 1_000, 999_999])
@pytest.mark.parametrize("tick", [1, 5, 10])
def test_slippage_is_never_better_than_the_market_and_on_the_tick(price, ppm, tick):
    bought, sold = slipped(BUY, price, ppm, tick), slipped(SELL, price, ppm, tick)
    assert bought % tick == 0
    assert sold % tick == 0
    assert bought >= price * (1_000_000 + ppm) / 1_000_000
    assert bought - tick < price * (1_000_000 + ppm) / 1_000_000
    assert sold <= max(tick, price * (1_000_000 - ppm) / 1_000_000)
    assert sold >= tick


def test_fees_are_of_the_maker_or_the_taker():
    run = desk(last=100, instruments=instrument_records(maker_ppm=200, taker_ppm=500))
    run.want("LIMIT BUY 5 @ 98\nMARKET BUY 5")
    run.play("100 101 95 96")
    fills = run.replay.all_fills()
    assert [(f.taker, f.price, f.fee_e8) for f in fills] == [(1, 100, 250), (0, 98, 98)]
    # 100 × 5 × 1000 × 500 ppm = 250; 98 × 5 × 1000 × 200 ppm = 98


def test_fills_carry_the_books_after_them():
    run = desk(last=100, cash=1)
    run.hold(5, 100)
    run.want("TAKE_PROFIT SELL 2 @ 104\nSTOP SELL 3 @ 95")
    run.play("100 105 90 92")
    first, second = run.replay.all_fills()
    assert (first.side, first.held_lots, first.realised_e8) == (SELL, 3, 4 * 2 * 1000)
    assert (second.held_lots, second.realised_e8) == (0, -5 * 3 * 1000)
    assert second.cash_e8 == run.account.cash_e8
    assert first.cash_e8 == 100_000_000 + 8_000 - first.fee_e8


def test_the_first_bar_ever_has_no_jump():
    assert walk("95 96 94 95", "LIMIT BUY 5 @ 98", last=0) == ["0 +0s a BUY 5 @ 95 taker"]


def test_a_symbol_without_trades_for_hours_jumps_from_its_last_close():
    assert walk("-\n" * 200 + "90 91 89 90", "LIMIT BUY 5 @ 95\nSTOP SELL 5 @ 96", last=100, held=5) == [
        "200 +0s a BUY 5 @ 95 maker",
        "200 +0s b SELL 5 @ 90 taker",
    ]


def test_symbols_are_walked_in_universe_order():
    run = desk(symbols=2, last=100)
    run.want("LIMIT BUY 1 @ 95", s=0)
    run.want("LIMIT BUY 1 @ 98", s=1)
    run.play("100 101 90 91", "99 100 90 91")
    assert run.fills() == ["0 +40s a BUY 1 @ 95 maker", "0 +40s s1 a BUY 1 @ 98 maker"]


def test_an_entry_that_finds_no_volume_is_stale_after_two_bars():
    bars = "100 101 99 100 0\n" * 3 + "100 101 99 100 1000\n" * 2
    run = desk(last=100, plan={0: 1}, volume_share_ppm=100_000, params=script_params(notional_e8=1_000_000))
    run.play(bars)
    assert run.fills() == []
    run = desk(last=100, plan={1: 1}, volume_share_ppm=100_000, params=script_params(notional_e8=1_000_000))
    run.play(bars)
    assert run.fills() == ["3 +0s entry BUY 10 @ 100 taker"]


def test_what_is_left_of_an_entry_is_stale_after_two_bars():
    bars = "100 101 99 100 40\n" * 6
    run = desk(last=100, plan={0: 1}, volume_share_ppm=100_000, params=script_params(notional_e8=2_000_000))
    run.play(bars)
    assert run.fills() == ["1 +0s entry BUY 4 @ 100 taker", "2 +0s entry BUY 4 @ 100 taker"]
    assert run.position().lots == 8
    assert run.slot(0).kind == NONE


def test_a_limit_that_came_to_rest_closes_its_band():
    """Otherwise every later bar is walked for nothing."""
    run = desk(last=100)
    run.want("LIMIT BUY 5 @ 101")
    assert run.head().lo == FAR
    run.play("105 106 104 105")
    assert (run.slot(SLOT_OWN).kind, run.slot(SLOT_OWN).crossing) == (LIMIT, 0)
    assert (run.head().lo, run.head().hi) == (100, FAR)


def test_a_triggered_order_is_a_market_order():
    run = desk(last=100, volume_share_ppm=100_000)
    run.hold(5, 100)
    run.want("STOP SELL 5 @ 95")
    run.play("100 101 90 95 0")
    slot = run.slot(SLOT_OWN)
    assert (slot.kind, slot.side, slot.lots, slot.reduce_only) == (MARKET, SELL, 5, 1)
