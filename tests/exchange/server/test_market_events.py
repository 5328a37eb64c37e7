"""What happens to a contract while it is traded: halt, delisting, other brackets, another funding interval."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.conformance.wire import BTC, START_MS, Events, Wire, kinds, running
from tests.exchange.server.test_replay import control

HOUR_MS = 3_600_000


def listening(wire: Wire) -> Any:
    """A socket on !contractInfo."""
    return wire.session.ws_connect(f"{wire.server.ws_url}/market/ws/!contractInfo")


async def test_a_halt() -> None:
    """MKT-09: entries are refused, the position may still be closed; then it goes on."""
    async with running(control=True) as wire, listening(wire) as socket:
        stream = Events(socket)
        await wire.market("BUY", "0.02")
        order = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
        await control(wire, do="status", symbol=BTC, status="PRE_DELIVERING")
        await wire.refused(-4140, "POST", "/fapi/v1/order", **order)
        await wire.ok("POST", "/fapi/v1/order", **order | {"side": "SELL", "reduceOnly": "true"})
        await control(wire, do="status", symbol=BTC, status="CLOSE")
        await wire.refused(-4141, "POST", "/fapi/v1/order", **order | {"side": "SELL", "reduceOnly": "true"})
        await wire.ok("POST", "/fapi/v1/order", **order | {"symbol": "ETHUSDT", "quantity": "0.1"})
        rows = (await wire.get("/fapi/v1/exchangeInfo")).body["symbols"]
        assert {row["symbol"]: row["status"] for row in rows}[BTC] == "CLOSE"
        await control(wire, do="status", symbol=BTC, status="TRADING")
        await wire.ok("POST", "/fapi/v1/order", **order)
        told = [(e["e"], e["s"], e["cs"], e["st"]) for e in await stream.settled()]
        assert told == [("contractInfo", BTC, one, 1) for one in ("PRE_DELIVERING", "CLOSE", "TRADING")]


async def test_a_delisting() -> None:
    """MKT-08: orders expire with reason 7, the position is closed by settlement_autoclose- at the price."""
    async with running(control=True) as wire:
        await wire.market("BUY", "0.02")
        await wire.limit("BUY", 49000, "0.01")
        await wire.algo("SELL", "STOP_MARKET", quantity="0.02", triggerPrice="48000", reduceOnly="true")
        async with wire.user_stream() as stream:
            assert (await control(wire, do="settle", symbol=BTC, price="49500"))["positions"] == 1
            events = await stream.settled()
        assert kinds(events) == [
            "ORDER_TRADE_UPDATE/EXPIRED", "ALGO_UPDATE/EXPIRED", "ORDER_TRADE_UPDATE/NEW",
            "TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE/FILLED",
        ]  # fmt: skip
        assert events[0]["o"]["er"] == "7"
        fill = events[-1]["o"]
        assert fill["c"] == f"settlement_autoclose-{START_MS}"
        assert (fill["L"], fill["l"], fill["n"], fill["rp"]) == ("49500.0", "0.020", "0.00000000", "-10.002")
        assert await wire.ok("GET", "/fapi/v3/positionRisk") == []
        assert await wire.ok("GET", "/fapi/v1/forceOrders") == []
        order = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
        await wire.refused(-4141, "POST", "/fapi/v1/order", **order)
        ledger = wire.server.ledger(0)
        assert ledger["wallet_e8"] == ledger["initial_e8"] + ledger["realised_e8"] - ledger["fees_e8"]


async def test_other_brackets() -> None:
    """A new ladder is announced with bks, answered by leverageBracket, and judged by at once."""
    async with running(control=True) as wire, listening(wire) as socket:
        await wire.ok("POST", "/fapi/v1/leverage", symbol=BTC, leverage=20)
        await wire.market("BUY", "3")
        ladder = [
            {"cap": 50_000, "leverage": 20, "rate": "0.01"},
            {"cap": 500_000, "leverage": 10, "rate": "0.03"},
        ]
        await control(wire, do="brackets", symbol=BTC, brackets=ladder)
        event = (await Events(socket).settled())[0]
        assert event["bks"] == [
            {"bs": 1, "bnf": 0, "bnc": 50_000, "mmr": 0.01, "cf": 0.0, "mi": 11, "ma": 20},
            {"bs": 2, "bnf": 50_000, "bnc": 500_000, "mmr": 0.03, "cf": 1000.0, "mi": 1, "ma": 10},
        ]
        shown = (await wire.ok("GET", "/fapi/v1/leverageBracket", symbol=BTC))[0]["brackets"]
        assert [(row["initialLeverage"], row["cum"]) for row in shown] == [(20, 0.0), (10, 1000.0)]
        row = await wire.position()
        account = await wire.ok("GET", "/fapi/v3/account")
        expected = Decimal(row["notional"]) * Decimal("0.03") - 1000
        assert Decimal(account["totalMaintMargin"]) == expected
        await wire.refused(-4028, "POST", "/fapi/v1/leverage", symbol=BTC, leverage=21)
        await wire.refused(
            -2027, "POST", "/fapi/v1/order", symbol=BTC, side="BUY", type="MARKET", quantity="0.1"
        )
        harsh = [{"cap": 500_000, "leverage": 10, "rate": "0.2"}]
        await control(wire, do="brackets", symbol=BTC, brackets=harsh)
        assert (await wire.position())["positionAmt"] == "0.000"  # its margin is not enough any more
        async with wire.session.post(
            wire.server.rest_url + "/control", json={"do": "brackets", "symbol": BTC, "brackets": []}
        ) as answer:
            assert answer.status == 400


async def test_another_funding_interval() -> None:
    """MKT-07: 8 hours become 1 in the middle of a day; the times follow, and so does what is paid."""
    async with running(control=True) as wire:
        await wire.market("BUY", "0.02")
        await control(wire, do="funding", symbol=BTC, rate="0.0001")
        before = (await wire.get("/fapi/v1/premiumIndex", symbol=BTC)).body
        assert (before["nextFundingTime"] - START_MS) == 4 * HOUR_MS
        await control(wire, do="funding", symbol=BTC, rate="0.0002", hours=1)
        info = (await wire.get("/fapi/v1/fundingInfo")).body
        assert [(row["symbol"], row["fundingIntervalHours"]) for row in info] == [(BTC, 1)]
        assert (await wire.get("/fapi/v1/premiumIndex", symbol=BTC)).body[
            "nextFundingTime"
        ] == START_MS + HOUR_MS
        for _ in range(3):
            await control(wire, do="skip_time", ms=HOUR_MS)
        rows = await wire.ok("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")
        assert [(row["income"], row["time"] - START_MS) for row in rows] == [
            ("-0.20000000", hour * HOUR_MS) for hour in (1, 2, 3)
        ]
