"""Instruments from what the exchange really answers."""

from __future__ import annotations

import copy
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpdesk.domain import units
from perpdesk.domain.errors import InputError, ScaleError
from perpdesk.domain.instrument import (
    DEFAULT_BRACKETS,
    FALLBACK_BRACKETS,
    brackets_for,
    brackets_from_leverage_bracket,
    instruments_from_exchange_info,
)

ROW: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "contractType": "PERPETUAL",
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "pricePrecision": 2,
    "liquidationFee": "0.020000",
    "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "261.10", "maxPrice": "809484"},
        {"filterType": "LOT_SIZE", "minQty": "0.0001", "maxQty": "1000", "stepSize": "0.0001"},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.0001", "maxQty": "120", "stepSize": "0.0001"},
        {"filterType": "MIN_NOTIONAL", "notional": "100"},
        {"filterType": "A_FILTER_OF_TOMORROW", "limit": None},
    ],
}

LADDER = {
    "symbol": "BTCUSDT",
    "notionalCoef": 1.0,
    "brackets": [
        {"bracket": 2, "initialLeverage": 100, "notionalCap": 800000, "notionalFloor": 300000,
         "maintMarginRatio": 0.005, "cum": 300.0},
        {"bracket": 1, "initialLeverage": 150, "notionalCap": 300000, "notionalFloor": 0,
         "maintMarginRatio": 0.004, "cum": 0.0},
    ],
}  # fmt: skip


def info(**changes: Any) -> dict[str, Any]:
    return {"symbols": [{**copy.deepcopy(ROW), **changes}]}


def with_filter(name: str, **changes: Any) -> dict[str, Any]:
    filters = [{**f, **changes} if f["filterType"] == name else f for f in ROW["filters"]]
    return info(filters=filters)


def test_one_row_becomes_one_instrument() -> None:
    (btc,) = instruments_from_exchange_info(info()).values()
    assert (btc.symbol, btc.base, btc.quote, btc.status, btc.contract_type) == (
        "BTCUSDT", "BTC", "USDT", "TRADING", "PERPETUAL",
    )  # fmt: skip
    assert btc.is_trading
    assert btc.price_tick == Decimal("0.1")
    assert btc.lot_step == btc.qty_min == Decimal("0.0001")
    assert (btc.qty_max, btc.market_qty_max, btc.notional_min) == (1000, 120, 100)
    assert btc.liquidation_fee_fraction == Decimal("0.02")
    assert (btc.maker_fee_fraction, btc.taker_fee_fraction) == (Decimal("0.0002"), Decimal("0.0005"))
    assert btc.brackets == DEFAULT_BRACKETS["BTCUSDT"]


def test_words_the_exchange_invents_tomorrow_survive() -> None:
    (row,) = instruments_from_exchange_info(info(status="NAPPING", contractType="")).values()
    assert (row.status, row.contract_type, row.is_trading) == ("NAPPING", "", False)


def test_a_lot_suits_every_order_kind() -> None:
    (row,) = instruments_from_exchange_info(with_filter("LOT_SIZE", stepSize="0.0003")).values()
    assert row.lot_step == Decimal("0.0003")
    (row,) = instruments_from_exchange_info(with_filter("MARKET_LOT_SIZE", stepSize="0.0003")).values()
    assert row.lot_step == Decimal("0.0003")
    (row,) = instruments_from_exchange_info(with_filter("MARKET_LOT_SIZE", stepSize="0")).values()
    assert row.lot_step == Decimal("0.0001")


def test_nothing_is_below_one_lot() -> None:
    (row,) = instruments_from_exchange_info(with_filter("LOT_SIZE", minQty="0")).values()
    assert row.qty_min == Decimal("0.0001")


def test_tick_zero_means_no_tick_rule() -> None:
    (row,) = instruments_from_exchange_info(with_filter("PRICE_FILTER", tickSize="0")).values()
    assert row.price_tick == Decimal("0.01")


@pytest.mark.parametrize(
    ("decoded", "field"),
    [
        ([], "exchangeInfo"),
        ({"symbols": None}, "exchangeInfo.symbols"),
        ({"symbols": [1]}, "exchangeInfo.symbols"),
        ({"symbols": [ROW, ROW]}, "exchangeInfo.symbols.BTCUSDT"),
        (info(symbol=7), "symbols[].symbol"),
        (info(baseAsset=None), "BTCUSDT.baseAsset"),
        (info(filters=[f for f in ROW["filters"] if f["filterType"] != "LOT_SIZE"]), "BTCUSDT.LOT_SIZE"),
        (info(liquidationFee="abc"), "BTCUSDT.liquidationFee"),
        (with_filter("LOT_SIZE", stepSize="NaN"), "BTCUSDT.LOT_SIZE.stepSize"),
        (with_filter("LOT_SIZE", stepSize="0"), "BTCUSDT.LOT_SIZE.stepSize"),
        (with_filter("PRICE_FILTER", tickSize="-1"), "BTCUSDT.PRICE_FILTER.tickSize"),
        (with_filter("MIN_NOTIONAL", notional=True), "BTCUSDT.MIN_NOTIONAL.notional"),
    ],
)
def test_an_unusable_answer_names_symbol_and_field(decoded: object, field: str) -> None:
    with pytest.raises(InputError) as caught:
        instruments_from_exchange_info(decoded)
    assert caught.value.field == field


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "count", "trading"),
    [
        ("fapi_exchangeInfo_mainnet_2021-07-21.json.gz", 122, 121),
        ("fapi_exchangeInfo_testnet_2026-04-08.json.gz", 705, 589),
    ],
)
def test_recorded_answers_are_read_completely(real_data: Path, name: str, count: int, trading: int) -> None:
    path = real_data / "api_json" / name
    if not path.exists():
        pytest.skip(f"{name} is not in the data folder")
    decoded = json.loads(gzip.decompress(path.read_bytes()))
    found = instruments_from_exchange_info(decoded)
    assert list(found) == [row["symbol"] for row in decoded["symbols"]]
    assert len(found) == count
    assert sum(row.is_trading for row in found.values()) == trading
    for symbol, row in found.items():
        raw = next(r for r in decoded["symbols"] if r["symbol"] == symbol)
        assert (row.status, row.contract_type) == (raw["status"], raw["contractType"])
        digits = units.digits_of(row.price_tick)
        # every contract of the exchange can be held exactly in the kernel's integers
        assert units.unit_e8(digits, row.lot_step, symbol) >= 1
        assert units.price_to_units(row.price_tick, digits) >= 1
        assert units.lots_of(row.qty_min, row.lot_step) >= 1
        assert units.lots_floor(row.market_qty_max, row.lot_step) >= 1


@pytest.mark.parametrize("symbol", sorted(DEFAULT_BRACKETS))
def test_the_maintenance_margin_is_continuous_at_every_cap(symbol: str) -> None:
    """cum_n = floor_n × (mmr_n − mmr_{n−1}) + cum_{n−1}, the rule of the exchange."""
    ladder = DEFAULT_BRACKETS[symbol]
    assert ladder[0].cum == 0
    for low, high in zip(ladder, ladder[1:], strict=False):
        assert high.cum == low.notional_max * (high.mmr_fraction - low.mmr_fraction) + low.cum
        assert high.notional_max > low.notional_max
        assert high.leverage_max < low.leverage_max


def test_brackets_come_from_the_file_then_the_snapshot_then_one_cautious_bracket() -> None:
    table = brackets_from_leverage_bracket([LADDER])
    assert [b.leverage_max for b in brackets_for("BTCUSDT", table)] == [150, 100]
    assert brackets_for("ETHUSDT", table) == DEFAULT_BRACKETS["ETHUSDT"]
    assert brackets_for("NEWUSDT", table) == FALLBACK_BRACKETS
    (only,) = FALLBACK_BRACKETS
    assert (only.leverage_max, only.mmr_fraction, only.cum) == (20, Decimal("0.025"), 0)
    units.money_e8(only.notional_max)  # fits the kernel


def test_leverage_brackets_are_read_as_list_or_object_and_sorted() -> None:
    assert brackets_from_leverage_bracket(LADDER) == brackets_from_leverage_bracket([LADDER])
    first, second = brackets_from_leverage_bracket(LADDER)["BTCUSDT"]
    assert (first.notional_max, first.mmr_fraction, first.cum) == (300_000, Decimal("0.004"), 0)
    assert (second.notional_max, second.mmr_fraction, second.cum) == (800_000, Decimal("0.005"), 300)


@pytest.mark.parametrize(
    "changes",
    [
        {"notionalCap": 300000},
        {"initialLeverage": 151},
        {"initialLeverage": 20.5},
        {"initialLeverage": 0},
        {"maintMarginRatio": 0.003},
        {"maintMarginRatio": 1},
        {"cum": None},
    ],
)
def test_a_ladder_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    ladder = copy.deepcopy(LADDER)
    ladder["brackets"][0].update(changes)  # type: ignore[index]
    with pytest.raises(InputError, match="BTCUSDT.brackets"):
        brackets_from_leverage_bracket([ladder])
    with pytest.raises(InputError, match="at least one"):
        brackets_from_leverage_bracket({"symbol": "X", "brackets": []})
    with pytest.raises(InputError, match="twice"):
        brackets_from_leverage_bracket([LADDER, LADDER])


def test_too_fine_a_data_scale_is_an_error_with_a_remedy() -> None:
    (btc,) = instruments_from_exchange_info(info()).values()
    with pytest.raises(ScaleError, match="fewer digits"):
        units.unit_e8(5, btc.lot_step, btc.symbol)
