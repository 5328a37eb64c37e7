"""Positions, margin, liquidation and funding, with Binance's own worked numbers (reference §8, §14)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.conformance.wire import BTC, START_MS, Wire, kinds, limit, market, running

from perpdesk.exchange.core.margin import Leg, liquidation_fraction
from perpdesk.exchange.core.world import Rules

ORDER = "/fapi/v1/order"
HOUR_MS = 3_600_000


def price_of(wallet: str, quantity: str, entry: str, mmr_ppm: int, cum: str) -> Decimal:
    """The official formula for one long position, in whole 1e-8 units."""
    size = int(Decimal(quantity) * 10**3)
    cost = int(Decimal(entry) * Decimal(quantity) * 10**8)
    leg = Leg(1, size * 10**3, cost, mmr_ppm, int(Decimal(cum) * 10**8))  # price unit 0.01, lot 0.001
    numerator, denominator = liquidation_fraction(int(Decimal(wallet) * 10**8), [leg])
    return Decimal(numerator) / Decimal(denominator) / 100


def test_official_liquidation_prices() -> None:
    """LIQ-1: both worked examples of the exchange."""
    wallet = str(Decimal("1535443.01") - Decimal("71200.81") + Decimal("-56354.57"))
    first = price_of(wallet, "3683.979", "1456.84", 100_000, "135365.00")
    assert round(first, 7) == Decimal("1153.2564643")
    wallet = str(Decimal("1535443.01") - Decimal("356512.508") + Decimal("-448192.89"))
    second = price_of(wallet, "109.488", "32481.980", 25_000, "16300.000")
    assert round(second, 7) == Decimal("26316.8933089")


async def test_averages_and_realised(wire: Wire) -> None:
    """POS-1 POS-2: weighted average on increase, unchanged on reduction; realised by entry."""
    wire.server.set_book(BTC, {"50000.1": "0.01", "50000.3": "0.03", "50000": "9"})
    await wire.market("BUY", "0.04")
    assert (await wire.position())["entryPrice"] == "50000.25"
    await wire.market("SELL", "0.01")
    position = await wire.position()
    assert (position["entryPrice"], position["positionAmt"]) == ("50000.25", "0.030")
    trades = await wire.ok("GET", "/fapi/v1/userTrades", symbol=BTC)
    assert trades[-1]["realizedPnl"] == "-0.00250000"


async def test_flip(wire: Wire) -> None:
    """POS-3: a fill larger than the position closes it and opens the rest at the trade's price."""
    await wire.market("BUY", "0.01")
    await wire.market("SELL", "0.03")
    position = await wire.position()
    assert (position["positionAmt"], position["entryPrice"]) == ("-0.020", "50000.0")


async def test_hedge_legs(wire: Wire) -> None:
    """POS-4: LONG and SHORT live side by side and close apart."""
    await wire.ok("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
    await wire.market("BUY", "0.02", positionSide="LONG")
    await wire.market("SELL", "0.01", positionSide="SHORT")
    rows = await wire.ok("GET", "/fapi/v3/positionRisk")
    assert [(r["positionSide"], r["positionAmt"]) for r in rows] == [("LONG", "0.020"), ("SHORT", "-0.010")]
    await wire.market("BUY", "0.01", positionSide="SHORT")
    rows = await wire.ok("GET", "/fapi/v3/positionRisk")
    assert [r["positionAmt"] for r in rows] == ["0.020", "0.000"]


async def test_break_even_vectors() -> None:
    """POS-5: 0.385 bought as maker breaks even at 0.385077; 70.92841 sold as 4 bp taker at 70.900038636."""
    async with running(prices={"ADAUSDT": "0.386"}) as wire:
        ada = {"symbol": "ADAUSDT"}
        await wire.limit("BUY", "0.385", "100", **ada)
        wire.server.tick("ADAUSDT", "0.3849")
        row = (await wire.ok("GET", "/fapi/v3/positionRisk"))[0]
        assert (row["entryPrice"], row["breakEvenPrice"]) == ("0.385", "0.385077")
    async with running(prices={"SOLUSDT": "70.92"}) as wire:
        wire.server.contract("SOLUSDT").taker_ppm = 400
        wire.server.set_book("SOLUSDT", {"70.92": "1.59"})
        other = Wire(wire.server, wire.session, 1)
        await other.limit("BUY", "70.93", "8.41", symbol="SOLUSDT")
        await wire.market("SELL", "10", symbol="SOLUSDT")
        row = (await wire.ok("GET", "/fapi/v3/positionRisk"))[0]
        assert (row["entryPrice"], row["breakEvenPrice"]) == ("70.92841", "70.900038636")


async def test_margin_figures(wire: Wire) -> None:
    """POS-6: initial margin at mark over leverage; maintenance is notional times rate minus cum."""
    await wire.ok("POST", "/fapi/v1/leverage", symbol=BTC, leverage=20)
    await wire.market("BUY", "0.2")
    wire.server.set_mark(BTC, "51000")
    row = (await wire.ok("GET", "/fapi/v3/positionRisk"))[0]
    assert (row["notional"], row["positionInitialMargin"]) == ("10200.00000000", "510.00000000")
    assert (row["maintMargin"], row["unRealizedProfit"]) == ("40.80000000", "199.98000000")
    account = await wire.ok("GET", "/fapi/v3/account")
    wallet = Decimal(account["totalWalletBalance"])
    assert wallet == Decimal(10000) - Decimal("10000.02") * Decimal("0.0005")
    assert Decimal(account["availableBalance"]) == wallet + Decimal("199.98") - 510
    assert Decimal(account["totalMarginBalance"]) == wallet + Decimal("199.98")


async def test_order_margin(wire: Wire) -> None:
    """POS-6: the requirement is the larger side of position and orders, over leverage."""
    await wire.market("BUY", "0.02")
    await wire.limit("BUY", 49000, "0.02")
    await wire.limit("SELL", 51000, "0.01")
    row = (await wire.ok("GET", "/fapi/v3/positionRisk"))[0]
    assert (row["bidNotional"], row["askNotional"]) == ("980", "510")
    assert row["openOrderInitialMargin"] == "49.00000000"


async def test_margin_insufficient(wire: Wire) -> None:
    """MAR-1: -2019 exactly above what is free."""
    await wire.ok("POST", "/fapi/v1/leverage", symbol=BTC, leverage=10)
    await wire.refused(-2019, "POST", ORDER, **limit("BUY", 50000, "2.001"))
    await wire.limit("BUY", 50000, "2")
    assert (await wire.ok("GET", "/fapi/v3/account"))["availableBalance"] == "0.00000000"


async def test_bracket_cap() -> None:
    """MAR-2: above the bracket's cap at the leverage in force: -2027."""
    async with running(balance="100000") as wire:
        answer = await wire.ok("POST", "/fapi/v1/leverage", symbol=BTC, leverage=125)
        assert answer == {"leverage": 125, "maxNotionalValue": "300000", "symbol": BTC}
        await wire.limit("BUY", 50000, "6")
        text = await wire.refused(-2027, "POST", ORDER, **limit("BUY", 50000, "0.003"))
        assert text == "Exceeded the maximum allowable position at current leverage."
        for leverage in (0, 151, "x"):
            await wire.refused(-4028, "POST", "/fapi/v1/leverage", symbol=BTC, leverage=leverage)
        assert await wire.refused(-2028, "POST", "/fapi/v1/leverage", symbol=BTC, leverage=2)


async def test_isolated_leverage_cannot_fall(wire: Wire) -> None:
    """MAR-3: -4161 with an isolated position."""
    await wire.ok("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
    await wire.market("BUY", "0.01")
    await wire.refused(-4161, "POST", "/fapi/v1/leverage", symbol=BTC, leverage=10)
    await wire.ok("POST", "/fapi/v1/leverage", symbol=BTC, leverage=50)


async def test_margin_type(wire: Wire) -> None:
    """MAR-4: -4046, -4047, -4048."""
    path, isolated = "/fapi/v1/marginType", {"symbol": BTC, "marginType": "ISOLATED"}
    text = await wire.refused(-4046, "POST", path, symbol=BTC, marginType="CROSSED")
    assert text == "No need to change margin type."
    await wire.limit("BUY", 49000, "0.01")
    await wire.refused(-4047, "POST", path, **isolated)
    answer = await wire.ok("DELETE", "/fapi/v1/allOpenOrders", symbol=BTC)
    assert answer == {"code": 200, "msg": "The operation of cancel all open order is done."}
    await wire.market("BUY", "0.01")
    await wire.refused(-4048, "POST", path, **isolated)
    await wire.market("SELL", "0.01")
    assert await wire.ok("POST", path, **isolated) == {"code": 200, "msg": "success"}
    rows = await wire.ok("GET", "/fapi/v1/symbolConfig", symbol=BTC)
    assert rows[0]["marginType"] == "ISOLATED"


async def test_position_mode(wire: Wire) -> None:
    """MAR-5: -4059, -4067, -4068."""
    path = "/fapi/v1/positionSide/dual"
    assert (
        await wire.refused(-4059, "POST", path, dualSidePosition="false")
        == "No need to change position side."
    )
    await wire.algo("BUY", "STOP_MARKET", triggerPrice=51000, quantity="0.01")
    await wire.refused(-4067, "POST", path, dualSidePosition="true")
    await wire.ok("DELETE", "/fapi/v1/algoOpenOrders", symbol=BTC)
    await wire.market("BUY", "0.01")
    await wire.refused(-4068, "POST", path, dualSidePosition="true")


async def test_position_margin(wire: Wire) -> None:
    """MAR-3: isolated margin is added and taken within what is needed and free."""
    path = "/fapi/v1/positionMargin"
    await wire.refused(-4049, "POST", path, symbol=BTC, amount=5, type=1)
    await wire.ok("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
    await wire.refused(-4054, "POST", path, symbol=BTC, amount=5, type=1)
    await wire.market("BUY", "0.02")
    await wire.refused(-4055, "POST", path, symbol=BTC, amount=-5, type=1)
    await wire.refused(-4050, "POST", path, symbol=BTC, amount=50000, type=1)
    await wire.refused(-4051, "POST", path, symbol=BTC, amount=5, type=2)
    answer = await wire.ok("POST", path, symbol=BTC, amount=100, type=1)
    assert answer == {"amount": 100.0, "code": 200, "msg": "Successfully modify position margin.", "type": 1}
    assert (await wire.position())["isolatedWallet"] == "150.00010000"
    await wire.ok("POST", path, symbol=BTC, amount=90, type=2)
    assert len(await wire.ok("GET", path + "/history", symbol=BTC)) == 2


@pytest.mark.parametrize(("side", "direction"), [("BUY", -1), ("SELL", 1)])
async def test_isolated_liquidation(wire: Wire, side: str, direction: int) -> None:
    """LIQ-2 LIQ-3: at its price, not before; the loss ends at its margin; history and events say so."""
    await wire.ok("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
    await wire.market(side, "0.1")
    await wire.limit(side, 50000 + direction * 1000, "0.01")
    level = Decimal((await wire.position())["liquidationPrice"])
    inside = level.quantize(Decimal("0.1")) - direction
    async with wire.user_stream() as stream:
        wire.server.set_mark(BTC, str(inside))
        assert (await wire.position())["positionAmt"] != "0.000"
        assert "MARGIN_CALL" in kinds(await stream.settled())
        wire.server.set_mark(BTC, str(inside + 2 * direction))
        events = await stream.settled()
    assert (await wire.position())["positionAmt"] == "0.000"
    ended = [e["o"] for e in events if e["e"] == "ORDER_TRADE_UPDATE"]
    assert [(o["X"], o["er"]) for o in ended if o["x"] == "EXPIRED"] == [("EXPIRED", "5")]
    assert any(
        o["c"].startswith("autoclose-") and o["o"] == "LIQUIDATION" and o["x"] == "TRADE" for o in ended
    )
    forced = await wire.ok("GET", "/fapi/v1/forceOrders", symbol=BTC)
    assert [row["clientOrderId"].startswith("autoclose-") for row in forced] == [True]
    ledger = wire.server.ledger(0)
    lost = Decimal(ledger["initial_e8"] - ledger["wallet_e8"]).scaleb(-8)
    assert lost <= Decimal("250.1") + Decimal("2.51")


async def test_cross_liquidation(wire: Wire) -> None:
    """LIQ-4: the whole wallet stands behind it, every open order ends, the fund takes what is left."""
    await wire.ok("POST", "/fapi/v1/leverage", symbol=BTC, leverage=20)
    await wire.market("BUY", "3")
    await wire.limit("BUY", 49000, "0.01")
    other = await wire.limit("BUY", "140", "1", symbol="SOLUSDT")
    wire.server.tick(BTC, "45000")
    assert await wire.ok("GET", "/fapi/v3/positionRisk") == []
    assert await wire.ok("GET", "/fapi/v1/openOrders") == []
    row = await wire.ok("GET", ORDER, symbol="SOLUSDT", orderId=other["orderId"])
    assert row["status"] == "EXPIRED"
    assert wire.server.ledger(0)["wallet_e8"] == 0
    kinds_of_income = {row["incomeType"] for row in await wire.ok("GET", "/fapi/v1/income", symbol=BTC)}
    assert kinds_of_income == {"REALIZED_PNL", "COMMISSION", "INSURANCE_CLEAR"}


async def test_liquidation_price_in_its_own_bracket() -> None:
    """LIQ-1: the bracket at the liquidation price decides, not the one at the entry."""
    async with running(balance="60000") as wire:
        await wire.ok("POST", "/fapi/v1/leverage", symbol=BTC, leverage=20)
        wire.server.set_book(BTC, {"50000.1": "20"})
        await wire.market("BUY", "6.5")
        world = wire.server.world
        position = world.accounts[0].position(0, "BOTH")
        level = Decimal((await wire.position())["liquidationPrice"])
        assert level * Decimal("6.5") < 300_000 < Decimal("50000.1") * Decimal("6.5")
        wallet = Decimal(world.accounts[0].cash_e8).scaleb(-8)
        cost = Decimal(position.cost_e8).scaleb(-8)
        assert round((cost - wallet) / (Decimal("6.5") * (1 - Decimal("0.004"))), 8) == level


@pytest.mark.parametrize(("hours", "settlements"), [(8, 3), (4, 6), (1, 24)])
async def test_funding_schedule(wire: Wire, hours: int, settlements: int) -> None:
    """FUN-1: every 8, 4 or 1 hours on the boundary, at mark; longs pay a positive rate."""
    wire.server.set_funding(BTC, "0.0001", hours)
    await wire.market("BUY", "0.02")
    for _ in range(24):
        wire.server.skip_time(HOUR_MS)
    rows = await wire.ok("GET", "/fapi/v1/income", incomeType="FUNDING_FEE", limit=1000)
    assert [row["income"] for row in rows] == ["-0.10000000"] * settlements
    assert all(row["time"] % (hours * HOUR_MS) == 0 for row in rows)
    rates = (await wire.get("/fapi/v1/fundingRate", symbol=BTC, limit=1000)).body
    assert [row["fundingRate"] for row in rates] == ["0.00010000"] * settlements
    info = (await wire.get("/fapi/v1/fundingInfo")).body
    assert [row["fundingIntervalHours"] for row in info] == ([] if hours == 8 else [hours])


async def test_funding_sign(wire: Wire) -> None:
    """FUN-2: shorts receive a positive rate, and pay a negative one."""
    await wire.market("SELL", "0.02")
    for rate, amount in (("0.0001", "0.10000000"), ("-0.0002", "-0.20000000")):
        wire.server.set_funding(BTC, rate)
        wire.server.skip_time(8 * HOUR_MS)
        rows = await wire.ok("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")
        assert rows[-1]["income"] == amount


@pytest.mark.parametrize("isolated", [False, True])
async def test_funding_event(wire: Wire, isolated: bool) -> None:
    """FUN-3 FUN-4: a cross position shows the balance only, an isolated one itself too."""
    if isolated:
        await wire.ok("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
    await wire.market("BUY", "0.02")
    wallet = Decimal((await wire.position())["isolatedWallet"])
    wire.server.set_funding(BTC, "0.0001")
    wire.server.skip_time(8 * HOUR_MS - START_MS % (8 * HOUR_MS) - 1)
    async with wire.user_stream() as stream:
        wire.server.skip_time(1)
        events = await stream.settled()
    part = next(e["a"] for e in events if e["e"] == "ACCOUNT_UPDATE")
    assert (part["m"], part["B"][0]["bc"], len(part["P"])) == ("FUNDING_FEE", "-0.1", int(isolated))
    if isolated:
        assert Decimal((await wire.position())["isolatedWallet"]) == wallet - Decimal("0.1")


async def test_short_orders_count_at_their_assuming_price(wire: Wire) -> None:
    """MAR-1: a short order's margin is counted at the higher of last plus 5 bp, mark and its price."""
    await wire.ok("POST", "/fapi/v1/leverage", symbol=BTC, leverage=10)
    await wire.limit("SELL", 50000.5, "0.1")
    account = await wire.ok("GET", "/fapi/v3/account")
    assert account["totalOpenOrderInitialMargin"] == "500.25000000"


async def test_maintenance_of_the_second_bracket() -> None:
    """POS-6: 400,000 at 0.5 % minus 300."""
    async with running(balance="100000") as wire:
        wire.server.set_book(BTC, {"50000.1": "20"})
        await wire.market("BUY", "8")
        assert (await wire.ok("GET", "/fapi/v3/account"))["totalMaintMargin"] == "1700.00000000"


async def test_reduce_only_needs_no_margin(wire: Wire) -> None:
    """MAR-1: an order that only reduces is accepted with nothing free."""
    await wire.market("BUY", "3.9")
    await wire.refused(-2019, "POST", ORDER, **market("BUY", "0.5"))
    done = await wire.market("SELL", "3.9")
    assert done["executedQty"] == "3.900"


async def test_liquidation_by_bracket() -> None:
    """LIQ-3: a large position is cut to the bracket below first; an event tells that a part is still held."""
    async with running(balance="10000") as wire:
        wire.server.set_book(BTC, {"50000.1": "20"})
        await wire.ok("POST", "/fapi/v1/leverage", symbol=BTC, leverage=75)
        await wire.ok("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
        await wire.market("BUY", "10")
        level = Decimal((await wire.position())["liquidationPrice"])
        async with wire.user_stream() as stream:
            wire.server.set_mark(BTC, str(level.quantize(Decimal("0.1"), "ROUND_FLOOR")))
            events = await stream.settled()
        left = Decimal((await wire.position())["positionAmt"])
        mark = Decimal((await wire.position())["markPrice"])
        assert 0 < left * mark <= 300_000 < (left + Decimal("0.001")) * mark
        forced = await wire.ok("GET", "/fapi/v1/forceOrders", symbol=BTC, autoCloseType="LIQUIDATION")
        assert [Decimal(row["executedQty"]) for row in forced] == [10 - left]
        assert await wire.ok("GET", "/fapi/v1/forceOrders", autoCloseType="ADL") == []
        assert (await wire.ok("GET", "/fapi/v1/adlQuantile"))[0]["adlQuantile"] == {"BOTH": 4}
        fill = next(e for e in events if e["e"] == "ORDER_TRADE_UPDATE" and e["o"]["x"] == "TRADE")
        told = next(e for e in events if e["e"] == "ACCOUNT_UPDATE")
        assert (fill["o"]["c"][:10], fill["T"]) == ("autoclose-", told["T"])
        assert Decimal(told["a"]["P"][0]["pa"]) == left  # not zero: a partial liquidation
        wire.server.set_mark(BTC, "45000")
        assert (await wire.position())["positionAmt"] == "0.000"
        assert wire.server.ledger(0)["wallet_e8"] >= 0


async def test_auto_deleveraging() -> None:
    """LIQ-5: the fund is empty: the winner is closed at the loser's bankruptcy price, by the exchange's id."""
    async with running(balance="1000", rules=Rules(insurance_e8=0)) as wire:
        other = Wire(wire.server, wire.session, 1)
        await wire.market("BUY", "0.3")
        await other.market("SELL", "0.3")
        assert (await other.ok("GET", "/fapi/v1/adlQuantile"))[0]["adlQuantile"] == {"BOTH": 4}
        async with other.user_stream() as stream:
            wire.server.tick(BTC, "46000")
            events = await stream.settled()
        assert kinds(events)[-1] == "ORDER_TRADE_UPDATE/FILLED"
        body = events[-1]["o"]
        assert (body["c"], body["o"], body["l"]) == ("adl_autoclose", "LIQUIDATION", "0.300")
        assert Decimal("46600") < Decimal(body["L"]) < Decimal("46720")  # 50000.1 − (1000 − fee) ÷ 0.3
        row = (await other.ok("GET", "/fapi/v1/forceOrders", autoCloseType="ADL"))[0]
        assert (row["clientOrderId"], row["status"], row["type"]) == ("adl_autoclose", "FILLED", "LIMIT")
        assert await other.ok("GET", "/fapi/v1/forceOrders", autoCloseType="LIQUIDATION") == []
        assert await other.ok("GET", "/fapi/v3/positionRisk") == []
        fund = (await wire.get("/fapi/v1/insuranceBalance")).body["assets"][0]["marginBalance"]
        assert fund == "0"
