"""Kernel integers to the exchange's text by its filters, exactly, and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.adapters.binance.payloads import SymbolRow
from perpdesk.adapters.binance.quantise import Rules, callback_text, money_near_e8, rules_of
from perpdesk.domain.errors import InputError
from perpdesk.kernel.records import BUY, LIMIT, SELL, STOP, TAKE_PROFIT


def row(**filters: dict[str, Any]) -> SymbolRow:
    """BTCUSDT as the exchange describes it, with some filters changed."""
    usual: dict[str, dict[str, Any]] = {
        "PRICE_FILTER": {"minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
        "LOT_SIZE": {"minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        "MARKET_LOT_SIZE": {"minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
        "MIN_NOTIONAL": {"notional": "50"},
    }
    said = {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "quoteAsset": "USDT",
        "pricePrecision": 2,
        "filters": [{"filterType": name} | body for name, body in (usual | filters).items() if body],
    }
    return msgspec.convert(said, SymbolRow)


RULES = rules_of(row(), 2, Decimal("0.001"))


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_text_and_back(price: int, lots: int) -> None:
    assert RULES.price_units(RULES.price_text(price)) == price
    assert RULES.lots(RULES.quantity_text(lots)) == lots
    assert "E" not in RULES.price_text(price) + RULES.quantity_text(lots)


@given(st.sampled_from([LIMIT, STOP, TAKE_PROFIT]), st.sampled_from([BUY, SELL]), st.integers(100, 10**9))
def test_prices_go_to_the_nearest_tick_on_the_safe_side(kind: int, side: int, price: int) -> None:
    placed = RULES.order_price(kind, side, price)
    assert placed % RULES.tick == 0
    assert abs(placed - price) < RULES.tick
    if kind in (LIMIT, STOP):  # a limit never worse than asked, a stop never later
        assert side * (price - placed) >= 0
    else:
        assert side * (placed - price) >= 0


@pytest.mark.parametrize(
    ("lots", "price", "is_market", "reduce_only", "code"),
    [
        (1, 50_00000, False, False, None),
        (0, 50_00000, False, False, "-4004"),
        (1_000_000, 50_00000, False, False, None),
        (1_000_001, 50_00000, False, False, "-4005"),
        (120_000, 0, True, False, None),
        (120_001, 0, True, False, "-4005"),
        (1, 55_679, False, True, "-4002"),
        (1, 55_680, False, True, None),
        (1, 49_999_90, False, False, "-4164"),
        (1, 49_999_90, False, True, None),
        (2, 49_999_90, False, False, None),
    ],
)
def test_filters_on_both_sides_of_their_bounds(
    lots: int, price: int, is_market: bool, reduce_only: bool, code: str | None
) -> None:
    problem = RULES.refusal(lots, price, is_market=is_market, reduce_only=reduce_only)
    assert (problem is None) if code is None else (problem or "").startswith(code)


def test_a_market_step_coarser_than_the_lot() -> None:
    rules = rules_of(
        row(MARKET_LOT_SIZE={"minQty": "0.01", "maxQty": "1", "stepSize": "0.01"}), 2, Decimal("0.001")
    )
    assert (rules.refusal(15, 0, is_market=True, reduce_only=False) or "").startswith("-4023")
    assert rules.refusal(20, 0, is_market=True, reduce_only=False) is None
    assert rules.refusal(15, 5_000_000, is_market=False, reduce_only=False) is None


def test_no_tick_rule_means_the_price_precision() -> None:
    rules = rules_of(
        row(PRICE_FILTER={"minPrice": "0", "maxPrice": "0", "tickSize": "0"}), 4, Decimal("0.001")
    )
    assert rules.tick == 100
    assert rules.refusal(1, 1_000_000_000, is_market=False, reduce_only=False) is None


@pytest.mark.parametrize("name", ["PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE"])
def test_a_missing_filter_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"BTCUSDT.{name}"):
        rules_of(row(**{name: {}}), 2, Decimal("0.001"))


def test_a_tick_finer_than_the_scale_is_refused() -> None:
    with pytest.raises(InputError, match="tick_size"):
        rules_of(row(), 0, Decimal("0.001"))


@pytest.mark.parametrize(
    ("ppm", "text"), [(1_000, "0.1"), (5_000, "0.5"), (10_000, "1"), (12_345, "1.2345"), (200_000, "20")]
)
def test_callback_rates(ppm: int, text: str) -> None:
    assert callback_text(ppm) == text


@pytest.mark.parametrize("ppm", [0, 999, 200_001, -5_000])
def test_callback_rates_out_of_range(ppm: int) -> None:
    with pytest.raises(InputError, match="20 %"):
        callback_text(ppm)


def test_numbers_of_the_exchange_are_read_exactly() -> None:
    assert RULES.signed_lots("-0.010") == -10
    assert RULES.signed_lots("0") == 0
    assert RULES.price_near("50000.005") == 5_000_001
    assert money_near_e8("-0.123456785") == -12_345_679
    with pytest.raises(InputError):
        RULES.lots("0.0001")
    with pytest.raises(InputError):
        RULES.price_units("50000.001")


def test_rules_hold_for_every_rule_value() -> None:
    assert Rules(
        symbol="BTCUSDT", quote="USDT", status="TRADING", price_digits=2, lot_step=Decimal("0.001"), tick=10,
        price_min=55_680, price_max=452_976_400, step=1, market_step=1, lots_min=1, lots_max=1_000_000,
        market_lots_min=1, market_lots_max=120_000, notional_min_e8=50 * 10**8, unit_e8=1_000,
    ) == RULES  # fmt: skip
