"""Captured payloads go through the parser and back with nothing lost."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.adapters.binance import parse, payloads
from perpdesk.adapters.binance import stream_events as ev
from perpdesk.adapters.binance.errors import MalformedAnswer

# Files of the testnet captures and the paths that gave them.
CAPTURED = {
    "account.json": "/fapi/v3/account",
    "balance.json": "/fapi/v3/balance",
    "depth.json": "/fapi/v1/depth",
    "funding_rate.json": "/fapi/v1/fundingRate",
    "klines.json": "/fapi/v1/klines",
    "open_orders.json": "/fapi/v1/openOrders",
    "order.json": "/fapi/v1/order",
    "position_risk.json": "/fapi/v2/positionRisk",
    "premium_index.json": "/fapi/v1/premiumIndex",
    "server_time.json": "/fapi/v1/time",
    "ticker_price.json": "/fapi/v1/ticker/price",
}


def load(path: Path) -> Any:
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)


def survives(kind: Any, said: Any) -> None:
    read = parse.whole(kind, json.dumps(said).encode())
    assert json.loads(parse.write(read)) == said


def rest_payloads(folder: Path) -> Iterator[tuple[str, str, Any]]:
    for row in load(folder / "usdm_doc_example_payloads.json"):
        if row["kind"] == "rest_api":
            yield row["method"], row["path"], row["resp"]
    for name, said in load(folder / "fapi_rest_responses_testnet_2026-04.json.gz").items():
        if name in CAPTURED:
            yield "GET", CAPTURED[name], said
    for name in (
        "fapi_exchangeInfo_testnet_2026-04-08.json.gz",
        "fapi_exchangeInfo_mainnet_2021-07-21.json.gz",
    ):
        yield "GET", "/fapi/v1/exchangeInfo", load(folder / name)
    yield "GET", "/fapi/v2/ticker/price", load(folder / "fapi_ticker_price_all_2025-06-29.json.gz")


@pytest.mark.real_data
def test_rest_answers_come_back_whole(real_data: Path) -> None:
    typed = 0
    for method, path, said in rest_payloads(real_data / "api_json"):
        kind = payloads.SHAPES.get((method, path))
        survives(Any if kind is None else kind, said)
        typed += kind is not None
    assert typed >= 55


@pytest.mark.real_data
def test_recorded_answers_of_another_library_come_back_whole(real_data: Path) -> None:
    recorded = load(real_data / "api_json" / "gct_recorded_fapi_and_futures_data.json.gz")
    answers = 0
    for path, methods in recorded.items():
        for method, calls in methods.items():
            for call in calls:
                said = call["data"] if isinstance(call, dict) and "data" in call else call
                kind = payloads.SHAPES.get((method, path))
                refused = said is None or (isinstance(said, dict) and "code" in said)
                survives(Any if kind is None or refused else kind, said)
                answers += 1
    assert answers >= 21


def frames(folder: Path) -> Iterator[Any]:
    for line in (folder / "user_and_market_stream_frames_2026-02.jsonl").read_text().splitlines():
        yield json.loads(line)
    lean = gzip.decompress((folder / "user_stream_lean_futures_2026-03.jsonl.gz").read_bytes())
    for line in lean.decode().splitlines():
        yield json.loads(line)["event"]
    for row in load(folder / "usdm_doc_example_payloads.json"):
        if row["kind"] == "websocket_streams":
            yield row["resp"]


@pytest.mark.real_data
def test_stream_frames_come_back_whole_and_no_event_of_ours_is_a_stranger(real_data: Path) -> None:
    names: set[str] = set()
    strangers: set[str] = set()
    count = 0
    for said in frames(real_data / "api_json"):
        raw = json.dumps(said).encode()
        frame = parse.frame(raw)
        assert frame is not None
        inner = said.get("data", said) if isinstance(said, dict) else said
        rows = inner if isinstance(inner, list) else [inner]
        assert len(frame.events) == len(rows)
        for event, row in zip(frame.events, rows, strict=True):
            if isinstance(event, ev.Stranger):
                strangers.add(event.name)
                assert json.loads(event.raw) == row
            else:
                survives(type(event), row)
                names.add(row["e"])
            count += 1
    assert count >= 70
    assert {"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "TRADE_LITE", "kline", "markPriceUpdate"} <= names
    ours = {"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE", "ALGO_UPDATE", "kline", "markPriceUpdate", "aggTrade"}
    assert not strangers & ours


ORDER = {
    "orderId": 22542179,
    "symbol": "BTCUSDT",
    "status": "A_NEW_WORD",
    "clientOrderId": "x",
    "side": "BUY",
    "price": "50000.00",
}


def test_a_new_word_and_a_new_field_survive() -> None:
    said = ORDER | {"newField": {"deep": [1, None, "2"]}, "icebergQuantity": None, "price": None}
    read = parse.whole(payloads.Order, json.dumps(said).encode())
    assert read.value.status == "A_NEW_WORD"
    assert read.rest == {"newField": {"deep": [1, None, "2"]}, "icebergQuantity": None}
    assert json.loads(parse.write(read)) == said


def test_a_number_written_as_text_is_read_and_written_as_it_came() -> None:
    said = ORDER | {"orderId": "22542179"}
    read = parse.whole(payloads.Order, json.dumps(said).encode())
    assert read.value.order_id == 22542179
    assert json.loads(parse.write(read)) == said


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=4), max_size=3))
def test_any_stranger_beside_known_fields_survives(more: list[dict[str, Any]]) -> None:
    typed = set(ORDER) | {
        "type", "origQty", "executedQty", "avgPrice", "cumQty", "cumQuote", "positionSide", "reduceOnly",
        "closePosition", "timeInForce", "stopPrice", "workingType", "origType", "time", "updateTime",
        "goodTillDate",
    }  # fmt: skip
    said = [{key: value for key, value in row.items() if key not in typed} | ORDER for row in more]
    survives(list[payloads.Order], said)


@pytest.mark.parametrize(
    "raw",
    [b"", b"<html>", b"[", b'{"e":"kline"', b"\xff\xfe", b'{"data":', b'{"stream":"x","data":5}', b"[5]"],
)
def test_garbage_is_one_kind_of_error(raw: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        parse.frame(raw)


def test_the_answer_to_a_subscription_is_no_event() -> None:
    assert parse.frame(b'{"result":null,"id":1}') is None


def test_an_event_that_does_not_fit_its_type_is_kept_as_it_came() -> None:
    raw = b'{"e":"ORDER_TRADE_UPDATE","T":"soon"}'
    frame = parse.frame(raw)
    assert frame is not None
    assert frame.events == (ev.Stranger("ORDER_TRADE_UPDATE", raw),)
