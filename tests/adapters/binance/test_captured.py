"""Captured frames and example payloads, every file of them: read, changed as Binance changes things, written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.adapters.binance.test_parse import CAPTURED, frames, load, rest_payloads, survives

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import parse, payloads, socket_api
from perpdesk.adapters.binance import stream_events as ev
from perpdesk.adapters.binance.endpoints import Endpoint
from perpdesk.adapters.binance.limits import Pool
from perpdesk.adapters.binance.quantise import rules_of
from perpdesk.domain import units

pytestmark = pytest.mark.real_data
# Which test reads which file; a file that is in no list is a failure, not an oversight.
READ = {
    "fapi_exchangeInfo_mainnet_2021-07-21.json.gz": "rest",
    "fapi_exchangeInfo_testnet_2026-04-08.json.gz": "rest, rules",
    "fapi_rest_responses_testnet_2026-04.json.gz": "rest",
    "fapi_symbol_filters_processed_2025-11.json.gz": "filters",
    "fapi_ticker_price_all_2025-06-29.json.gz": "rest",
    "gct_recorded_fapi_and_futures_data.json.gz": "test_parse",
    "usdm_doc_example_payloads.json": "rest, frames, socket",
    "usdm_sdk_18.0.1_methods.json": "methods",
    "user_and_market_stream_frames_2026-02.jsonl": "frames",
    "user_stream_lean_futures_2026-03.jsonl.gz": "frames",
}
# Captured answers of endpoints that the desk does not use: they are kept whole, untyped.
UNUSED = {"ping.json", "ticker_book.json", "trades.json"}
# Words of Binance that may become others tomorrow, by the field that holds them.
WORDS = {
    "status", "algoStatus", "type", "origType", "orderType", "side", "timeInForce", "workingType", "contractType",
    "incomeType", "positionSide", "marginType", "filterType", "rateLimitType", "priceMatch",
    "selfTradePreventionMode",
    # in the streams' one-letter names
    "X", "x", "m", "f", "ot", "wt", "er", "mt", "at", "V", "pm",
}  # fmt: skip


def tomorrow(said: Any) -> Any:
    """The same message after a change by Binance: a field more in every object, other words."""
    if isinstance(said, list):
        return [tomorrow(one) for one in said]
    if isinstance(said, dict):
        changed = {
            name: "A_WORD_OF_TOMORROW" if name in WORDS and isinstance(value, str) else tomorrow(value)
            for name, value in said.items()
        }
        return changed | {"fieldOfTomorrow": [{"a": None}]}
    return said


def test_every_file_is_read(real_data: Path) -> None:
    assert {path.name for path in (real_data / "api_json").iterdir()} == set(READ)


def test_every_captured_answer_has_a_type_or_is_not_used(real_data: Path) -> None:
    names = set(load(real_data / "api_json" / "fapi_rest_responses_testnet_2026-04.json.gz"))
    assert names == set(CAPTURED) | UNUSED


def typed(folder: Path) -> Iterator[tuple[Any, Any]]:
    for method, path, said in rest_payloads(folder):
        kind = payloads.SHAPES.get((method, path))
        if kind is not None:
            yield kind, said


def test_answers_of_tomorrow_are_read_and_come_back_whole(real_data: Path) -> None:
    count = 0
    for kind, said in typed(real_data / "api_json"):
        changed = tomorrow(said)
        survives(kind, changed)
        parse.read(kind, json.dumps(changed).encode())  # the way that is used in earnest
        count += 1
    assert count >= 55


def test_a_field_that_is_taken_away_is_an_error_or_unset_and_never_another_value(real_data: Path) -> None:
    """A missing field never becomes a zero: it is UNSET, or the answer is refused as a whole."""
    for kind, said in typed(real_data / "api_json"):
        if not isinstance(said, dict):
            continue
        for name in said:
            less = {key: value for key, value in said.items() if key != name}
            try:
                read = parse.whole(kind, json.dumps(less).encode())
            except parse.MalformedAnswer:
                continue
            assert json.loads(parse.write(read)) == less


def test_frames_of_tomorrow_stay_our_events(real_data: Path) -> None:
    ours = 0
    for said in frames(real_data / "api_json"):
        before = parse.frame(json.dumps(said).encode())
        changed = tomorrow(said)
        after = parse.frame(json.dumps(changed).encode())
        assert before is not None
        assert after is not None
        assert [type(event) for event in after.events] == [type(event) for event in before.events]
        inner = changed.get("data", changed) if isinstance(changed, dict) else changed
        for event, row in zip(after.events, inner if isinstance(inner, list) else [inner], strict=True):
            if isinstance(event, ev.Stranger):
                assert json.loads(event.raw) == row
            else:
                survives(type(event), row)
                ours += 1
    assert ours >= 40


def test_answers_of_the_websocket_api_are_read_like_those_of_rest(real_data: Path) -> None:
    rest_of = {
        one.socket_method: one for one in vars(to).values() if isinstance(one, Endpoint) and one.socket_method
    }
    seen = set()
    for row in load(real_data / "api_json" / "usdm_doc_example_payloads.json"):
        if row["kind"] != "websocket_api":
            continue
        said = row["resp"]
        answer = socket_api._ANSWER.decode(json.dumps(tomorrow(said)).encode())
        assert (answer.status, str(answer.id)) == (said["status"], str(said["id"]))
        endpoint = rest_of.get(row["path"])
        if endpoint is not None:
            survives(endpoint.shape, said["result"])
            survives(endpoint.shape, tomorrow(said["result"]))
            seen.add(row["path"])
    assert seen == set(rest_of)


def test_every_symbol_of_the_exchange_has_rules(real_data: Path) -> None:
    info = parse.read(
        payloads.ExchangeInfo,
        json.dumps(load(real_data / "api_json" / "fapi_exchangeInfo_testnet_2026-04-08.json.gz")).encode(),
    )
    for row in info.symbols:
        rules = rules_of(
            row, row.price_precision, units.qty_of(1, Decimal(1).scaleb(-row.quantity_precision))
        )
        assert rules.tick > 0
        assert rules.lots_min <= rules.lots_max
    assert len(info.symbols) == 705


def test_filters_mean_what_another_program_read_in_them(real_data: Path) -> None:
    rows = load(real_data / "api_json" / "fapi_symbol_filters_processed_2025-11.json.gz")
    without_tick: set[str] = set()
    for symbol, row in rows.items():
        told = row["symbol_info"]
        said = {
            "symbol": symbol, "status": "TRADING", "quoteAsset": told["quote_asset"],
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": told["min_price"], "maxPrice": told["max_price"],
                 "tickSize": told["tick_size"]},
                {"filterType": "LOT_SIZE", "minQty": told["min_qty"], "maxQty": "1000000000",
                 "stepSize": told["step_size"]},
                {"filterType": "MARKET_LOT_SIZE", "minQty": told["min_qty"], "maxQty": "1000000000",
                 "stepSize": told["step_size"]},
                {"filterType": "MIN_NOTIONAL", "notional": told["min_notional"]},
            ],
        }  # fmt: skip
        symbol_row = msgspec.convert(said, payloads.SymbolRow, strict=False)
        step = units.decimal_of(told["step_size"])
        tick = Decimal(str(row["tick_size"])).normalize()
        if tick == 0:  # one row: tick 0 means "any price within the precision"
            without_tick.add(symbol)
            continue
        digits = max(0, -int(tick.as_tuple().exponent))
        rules = rules_of(symbol_row, digits, step)
        assert units.price_of(rules.tick, digits) == tick
        assert units.money_of(rules.notional_min_e8) == Decimal(str(row["min_notional"]))
        assert rules.step == 1
    assert len(rows) == 638
    assert len(without_tick) <= 1


def test_our_endpoints_are_those_of_the_official_sdk(real_data: Path) -> None:
    """Path, signature and weight of everything that we send, against what Binance generated."""
    rows = load(real_data / "api_json" / "usdm_sdk_18.0.1_methods.json")
    official = {(row["method"], row["path"]): row for row in rows if row["kind"] == "rest_api"}
    sockets = {row["path"] or row["wsmethod"] for row in rows if row["kind"] == "websocket_api"}
    sockets |= {row["wsmethod"] for row in rows if row["kind"] == "websocket_api"}
    ours = {name: one for name, one in vars(to).items() if isinstance(one, Endpoint)}
    for name, one in ours.items():
        if one.on_spot:
            continue
        row = official[one.method, one.path]
        assert bool(row["signed"]) is one.signed, name
        weight = re.search(r"Weight\(IP\): (\d+)\s*$", row["doc"], re.MULTILINE)
        if weight is not None and one.cost.pool is Pool.WEIGHT and not name.endswith("_ALL"):
            assert one.cost.weight == int(weight[1]), name
        if one.socket_method:
            assert one.socket_method in sockets, name
    assert len(ours) >= 35
