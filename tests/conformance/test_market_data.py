"""Market data over REST and its agreement with the streams (reference §9, §11)."""

from __future__ import annotations

import pytest
from tests.conformance.wire import BTC, START_MS, Events, Wire, running

from perpdesk.domain.units import price_of, qty_of
from perpdesk.market.synthetic import synthetic_tape

MINUTE_MS = 60_000


async def test_klines_are_the_rows_of_the_tape() -> None:
    """MKT-1: a client that downloads page by page gets exactly the recorded bars."""
    tape = synthetic_tape(3, 2, 700)
    async with running(tape=tape, lockstep=True, control=True, recv_window_mode="skip") as wire:
        server = wire.server
        assert server.replay is not None
        while server.replay.step < 650:
            server.replay.play_step()
        for s, symbol in enumerate(tape.universe.symbols):
            digits, lot = tape.universe.price_digits[s], tape.universe.lot_step[s]
            rows = []
            start = tape.start_ms
            while True:
                page = (
                    await wire.get("/fapi/v1/klines", symbol=symbol, interval="1m", startTime=start, limit=99)
                ).body
                rows += page
                if len(page) < 99:
                    break
                start = page[-1][0] + 1
            expected = [
                (bar[0], *(str(price_of(p, digits)) for p in bar[1:5]), str(qty_of(bar[5], lot)))
                for bar in tape.bars[:650, s].tolist()
            ]
            assert [tuple(row[:6]) for row in rows[:650]] == expected
            newest = (await wire.get("/fapi/v1/klines", symbol=symbol, interval="1m", limit=3)).body
            assert [row[0] for row in newest] == [row[0] for row in rows[-3:]]
            hours = (
                await wire.get("/fapi/v1/klines", symbol=symbol, interval="1h", startTime=tape.start_ms)
            ).body
            group = [row for row in rows if row[0] < tape.start_ms + 60 * MINUTE_MS]
            assert hours[0][2] == max((row[2] for row in group), key=float)
            assert (hours[0][1], hours[0][4]) == (group[0][1], group[-1][4])


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"limit": 1501}, -1130),
        ({"limit": 0}, -1130),
        ({"interval": "1s"}, -1120),
        ({"interval": ""}, -1102),
        ({"symbol": "NOPEUSDT"}, -1121),
        ({"startTime": 2, "endTime": 1}, -1023),
    ],
)
async def test_kline_parameters(wire: Wire, params: dict[str, object], code: int) -> None:
    """MKT-1: limits, intervals and windows."""
    reply = await wire.get("/fapi/v1/klines", **{"symbol": BTC, "interval": "1m", **params})
    assert (reply.status, reply.body["code"]) == (400, code)


@pytest.mark.parametrize(("limit", "weight"), [(99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10)])
async def test_kline_weights(wire: Wire, limit: int, weight: int) -> None:
    """MKT-2: the weight follows the limit."""
    reply = await wire.get("/fapi/v1/klines", symbol=BTC, interval="1m", limit=limit)
    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


async def test_depth_snapshot_and_diffs(wire: Wire) -> None:
    """MKT-3: snapshot plus diffs is the book, by the documented procedure; a lost diff shows as a gap."""
    url = f"{wire.server.ws_url}/public/ws/btcusdt@depth@100ms"
    async with wire.session.ws_connect(url) as socket:
        stream, publisher = Events(socket), wire.server.publisher
        await stream.settled()

        def send() -> None:
            publisher.send("btcusdt@depth@100ms", wire.server.now_ms())

        async def depth_events() -> list[dict]:
            return [event for event in await stream.settled() if event["e"] == "depthUpdate"]

        send()
        await depth_events()
        snapshot = (await wire.get("/fapi/v1/depth", symbol=BTC, limit=100)).body
        bids = {level[0]: level[1] for level in snapshot["bids"]}
        used: list[dict] = []
        for price in ("50010", "49990.5", "50000"):
            wire.server.tick(BTC, price)
            await wire.market("BUY", "0.01")
            send()
            used += await depth_events()
        used = [event for event in used if event["u"] >= snapshot["lastUpdateId"]]
        for i, event in enumerate(used):
            if i:
                assert event["pu"] == used[i - 1]["u"]
            for price, quantity in event["b"]:
                bids.pop(price, None)
                if float(quantity):
                    bids[price] = quantity
        now = (await wire.get("/fapi/v1/depth", symbol=BTC, limit=100)).body
        assert bids == {level[0]: level[1] for level in now["bids"]}
        publisher.skip_diffs = 1
        for price in ("50010", "50020"):
            wire.server.tick(BTC, price)
            send()
        event = (await depth_events())[-1]
        assert event["pu"] != used[-1]["u"]


@pytest.mark.parametrize(("limit", "status"), [(5, 200), (1000, 200), (7, 400)])
async def test_depth_limits(wire: Wire, limit: int, status: int) -> None:
    """MKT-3: only the listed depths."""
    reply = await wire.get("/fapi/v1/depth", symbol=BTC, limit=limit)
    assert reply.status == status
    if status == 200:
        assert len(reply.body["bids"]) == limit
    else:
        assert reply.body == {"code": -4021, "msg": "'7' is not valid depth limit."}


async def test_aggregate_trades(wire: Wire) -> None:
    """MKT-4: fills of one price and taker side within 100 ms are one aggregate; REST and stream agree."""
    url = f"{wire.server.ws_url}/market/ws/btcusdt@aggTrade"
    async with wire.session.ws_connect(url) as socket:
        stream = Events(socket)
        await stream.settled()
        wire.server.set_book(BTC, {"50000.1": "1", "50000.2": "1", "50000": "1"})
        await wire.market("BUY", "0.4")
        await wire.market("BUY", "0.6")
        await wire.market("BUY", "0.1")
        await wire.market("SELL", "0.1")
        events = await stream.settled()
    rows = (await wire.get("/fapi/v1/aggTrades", symbol=BTC)).body
    assert [(row["p"], row["q"], row["m"], row["f"], row["l"]) for row in rows] == [
        ("50000.1", "1.000", False, 1, 2),
        ("50000.2", "0.100", False, 3, 3),
        ("50000.0", "0.100", True, 4, 4),
    ]
    assert {event["a"] for event in events} == {row["a"] for row in rows}
    trades = (await wire.get("/fapi/v1/trades", symbol=BTC)).body
    assert [trade["id"] for trade in trades] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("openInterestHist", 0),
        ("topLongShortAccountRatio", 30),
        ("topLongShortPositionRatio", 30),
        ("globalLongShortAccountRatio", 30),
        ("takerlongshortRatio", 30),
    ],
)
async def test_statistics(wire: Wire, path: str, rows: int) -> None:
    """MKT-5: what nothing is known of has no rows; parameters are checked. (Gaps: test_ratios.)"""
    url = f"/futures/data/{path}"
    found = (await wire.get(url, symbol=BTC, period="5m")).body
    times = [row["timestamp"] for row in found]
    assert (len(times), times) == (rows, sorted(set(times)))
    assert (await wire.get(url, symbol=BTC, period="7m")).body["code"] == -1130
    assert (await wire.get(url, symbol=BTC)).body["code"] == -1102
    assert (await wire.get(url, symbol="NOPE", period="5m")).body["code"] == -1121
    old = START_MS - 40 * 86_400_000
    assert (await wire.get(url, symbol=BTC, period="5m", startTime=old)).body["code"] == -1130


async def test_exchange_info(wire: Wire) -> None:
    """MKT-6: every field that clients read is there."""
    info = (await wire.get("/fapi/v1/exchangeInfo")).body
    assert [rule["limit"] for rule in info["rateLimits"]] == [2400, 1200, 300]
    btc = next(row for row in info["symbols"] if row["symbol"] == BTC)
    assert {row["filterType"] for row in btc["filters"]} == {
        "PRICE_FILTER",
        "LOT_SIZE",
        "MARKET_LOT_SIZE",
        "MAX_NUM_ORDERS",
        "MIN_NOTIONAL",
        "PERCENT_PRICE",
        "POSITION_RISK_CONTROL",
    }
    assert (btc["pricePrecision"], btc["quantityPrecision"], btc["contractType"]) == (2, 3, "PERPETUAL")
    assert "TRAILING_STOP_MARKET" in btc["orderTypes"]


@pytest.mark.parametrize(
    "path",
    [
        "/fapi/v1/ticker/price",
        "/fapi/v2/ticker/price",
        "/fapi/v1/ticker/bookTicker",
        "/fapi/v1/ticker/24hr",
        "/fapi/v1/premiumIndex",
    ],
)
async def test_one_symbol_or_all(wire: Wire, path: str) -> None:
    """MKT-6: an object for one symbol, an array for all."""
    assert (await wire.get(path, symbol=BTC)).body["symbol"] == BTC
    assert len((await wire.get(path)).body) == 3
    assert (await wire.get(path, symbol="NOPE")).body == {"code": -1121, "msg": "Invalid symbol."}


async def test_unknown_paths_are_empty_404s(wire: Wire) -> None:
    """MKT-6: a missing endpoint is remembered."""
    reply = await wire.get("/fapi/v1/nothing")
    assert (reply.status, reply.body) == (404, None)
    assert wire.server.unknown_paths == ["GET /fapi/v1/nothing"]
