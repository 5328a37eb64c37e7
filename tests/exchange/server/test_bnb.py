"""Commissions in BNB at a discount, and what multi-assets mode refuses."""

from __future__ import annotations

from decimal import Decimal

from tests.conformance.wire import BTC, Wire, running
from tests.exchange.server.test_replay import control
from tests.exchange.server.traffic import check_books

from perpdesk.exchange.core.world import Rules

FEE_BURN, MULTI = "/fapi/v1/feeBurn", "/fapi/v1/multiAssetsMargin"


async def give_bnb(wire: Wire, amount: str) -> None:
    await control(wire, do="deposit", amount=amount, asset="BNB")


async def test_a_commission_in_bnb() -> None:
    """90 % of the fee at the price of BNB; fill, income, events and balances name the asset."""
    async with running(control=True, rules=Rules(bnb_price_e8=500 * 10**8)) as wire:
        await give_bnb(wire, "0.002")
        assert await wire.ok("POST", FEE_BURN, feeBurn="true") == {"code": 200, "msg": "success"}
        assert await wire.ok("GET", FEE_BURN) == {"feeBurn": True}
        wallet = wire.server.ledger(0)["wallet_e8"]
        async with wire.user_stream() as stream:
            await wire.market("BUY", "0.02")  # 50000.1 × 0.02 × 0.05 % = 0.500001 USDT = 0.0009000018 BNB
            events = await stream.settled()
        body, update = events[-1]["o"], events[-2]["a"]
        assert (body["n"], body["N"]) == ("0.00090000", "BNB")
        assert [(row["a"], row["wb"]) for row in update["B"]] == [
            ("USDT", "10000.00000000"),
            ("BNB", "0.00110000"),
        ]
        fill = (await wire.ok("GET", "/fapi/v1/userTrades", symbol=BTC))[0]
        assert (fill["commission"], fill["commissionAsset"]) == ("0.00090000", "BNB")
        row = (await wire.ok("GET", "/fapi/v1/income", incomeType="COMMISSION"))[0]
        assert (row["income"], row["asset"]) == ("-0.00090000", "BNB")
        assert wire.server.ledger(0)["wallet_e8"] == wallet
        balances = {row["asset"]: row["balance"] for row in await wire.ok("GET", "/fapi/v3/balance")}
        assert balances == {"USDT": "10000.00000000", "BNB": "0.00110000"}
        assets = {row["asset"]: row for row in (await wire.ok("GET", "/fapi/v3/account"))["assets"]}
        assert (assets["BNB"]["walletBalance"], assets["BNB"]["marginBalance"]) == ("0.00110000",) * 2
        assert assets["BNB"]["updateTime"] > 0
        check_books(wire.server.world)


async def test_when_the_bnb_is_gone_usdt_pays() -> None:
    """Each fill is paid in one asset; too little BNB for it stays where it is."""
    async with running(control=True, rules=Rules(bnb_price_e8=500 * 10**8)) as wire:
        await give_bnb(wire, "0.001")
        await wire.ok("POST", FEE_BURN, feeBurn="true")
        for _ in range(2):
            await wire.market("BUY", "0.02")
        await wire.ok("POST", FEE_BURN, feeBurn="false")
        await give_bnb(wire, "1")
        await wire.market("BUY", "0.02")
        fills = await wire.ok("GET", "/fapi/v1/userTrades", symbol=BTC)
        assert [row["commissionAsset"] for row in fills] == ["BNB", "USDT", "USDT"]
        assert Decimal(fills[1]["commission"]) > Decimal("0.5")
        assert wire.server.ledger(0)["bnb_e8"] == 100_010_000
        check_books(wire.server.world)


async def test_the_price_is_that_of_its_own_contract() -> None:
    async with running(control=True, prices={BTC: "50000", "BNBUSDT": "1000"}) as wire:
        assert wire.server.world.bnb_price_e8 == 1000 * 10**8
        await give_bnb(wire, "1")
        await wire.ok("POST", FEE_BURN, feeBurn="true")
        await wire.market("BUY", "0.02")
        assert wire.server.ledger(0)["bnb_e8"] == 10**8 - 45_000


async def test_bnb_in_and_out() -> None:
    async with running(control=True) as wire, wire.user_stream() as stream:
        await give_bnb(wire, "2")
        await give_bnb(wire, "-0.5")
        told = [(e["a"]["m"], e["a"]["B"][0]["a"], e["a"]["B"][0]["bc"]) for e in await stream.settled()]
        assert told == [("DEPOSIT", "BNB", "2"), ("WITHDRAW", "BNB", "-0.5")]
        async with wire.session.post(
            wire.server.rest_url + "/control", json={"do": "deposit", "amount": "-2", "asset": "BNB"}
        ) as answer:
            assert answer.status == 400


async def test_multi_assets_mode_counts_usdt_only() -> None:
    """With USDT alone both modes count the same; another asset is refused instead of ignored."""
    async with running(control=True) as wire:
        await wire.market("BUY", "0.02")
        before = await wire.ok("GET", "/fapi/v3/account")
        await wire.ok("POST", MULTI, multiAssetsMargin="true")
        assert await wire.ok("GET", MULTI) == {"multiAssetsMargin": True}
        after = await wire.ok("GET", "/fapi/v3/account")
        assert {k: v for k, v in before.items() if k != "assets"} == {
            k: v for k, v in after.items() if k != "assets"
        }
        await wire.refused(-4171, "POST", MULTI, multiAssetsMargin="true")
        await wire.refused(-4168, "POST", "/fapi/v1/marginType", symbol="ETHUSDT", marginType="ISOLATED")
        async with wire.session.post(
            wire.server.rest_url + "/control", json={"do": "deposit", "amount": "1", "asset": "BNB"}
        ) as answer:
            assert answer.status == 400
        await wire.ok("POST", MULTI, multiAssetsMargin="false")
        await give_bnb(wire, "1")
        text = await wire.refused(-4169, "POST", MULTI, multiAssetsMargin="true")
        assert (
            text == "Unable to adjust Multi-Assets Mode with insufficient margin balance in USDⓈ-M Futures."
        )
        await wire.limit("BUY", 49000, "0.01")
        await wire.refused(-4170, "POST", MULTI, multiAssetsMargin="true")
