"""ccxt (async): a whole order life, and its view against the ledger."""

from __future__ import annotations

import asyncio
import sys

import ccxt.async_support as ccxt
from ccxt_common import options
from life import Report, control, ledger, money, new_account

PAIR = "BTC/USDT:USDT"


async def market_data(x: ccxt.Exchange, report: Report) -> None:
    markets = await x.load_markets()
    report.check("load_markets", PAIR in markets, list(markets)[:5])
    report.check(
        "conditional types are listed", x.market(PAIR)["info"]["orderTypes"].count("STOP_MARKET") == 1
    )
    ticker = await x.fetch_ticker(PAIR)
    report.equal("fetch_ticker last", ticker["last"], 50000)
    book = await x.fetch_order_book(PAIR, 20)
    report.check("fetch_order_book", book["bids"][0][0] < book["asks"][0][0], book)
    for name, answer in {
        "fetch_time": await x.fetch_time(),
        "fetch_tickers": await x.fetch_tickers([PAIR]),
        "fetch_bids_asks": await x.fetch_bids_asks([PAIR]),
        "fetch_ohlcv": await x.fetch_ohlcv(PAIR, "1m"),
        "fetch_mark_price": await x.fetch_mark_price(PAIR),
        "fetch_funding_rate": await x.fetch_funding_rate(PAIR),
        "fetch_funding_rates": await x.fetch_funding_rates([PAIR]),
        "fetch_open_interest": await x.fetch_open_interest(PAIR),
    }.items():
        report.check(name, bool(answer), answer)
    await x.fetch_trades(PAIR)
    await x.fetch_funding_rate_history(PAIR)
    await x.fetch_funding_intervals()
    tiers = await x.fetch_leverage_tiers([PAIR])
    report.check("fetch_leverage_tiers", len(tiers[PAIR]) == 6, tiers)


async def settings(x: ccxt.Exchange, report: Report) -> None:
    await x.set_position_mode(False, PAIR) if (await x.fetch_position_mode(PAIR))["hedged"] else None
    await x.set_leverage(10, PAIR)
    await x.set_margin_mode("isolated", PAIR)
    await x.set_margin_mode("cross", PAIR)
    leverage = await x.fetch_leverage(PAIR)
    report.check(
        "leverage 10, cross", (leverage["longLeverage"], leverage["marginMode"]) == (10, "cross"), leverage
    )
    fee = await x.fetch_trading_fee(PAIR)
    report.check("fetch_trading_fee", (fee["maker"], fee["taker"]) == (0.0002, 0.0005), fee)


async def orders(x: ccxt.Exchange, report: Report, account: int) -> None:
    limit = await x.create_order(PAIR, "limit", "buy", 0.01, 49000)
    report.check("limit order open", limit["status"] == "open", limit)
    report.check("fetch_open_orders", [o["id"] for o in await x.fetch_open_orders(PAIR)] == [limit["id"]])
    edited = await x.edit_order(limit["id"], PAIR, "limit", "buy", 0.02, 48900)
    report.check("edit_order", edited["price"] == 48900 and edited["amount"] == 0.02, edited)
    await x.cancel_order(limit["id"], PAIR)
    fetched = await x.fetch_order(limit["id"], PAIR)
    report.check("canceled", fetched["status"] == "canceled", fetched)

    market = await x.create_order(PAIR, "market", "buy", 0.02)
    report.check("market order closed", market["status"] == "closed", market)
    fetched = await x.fetch_order(market["id"], PAIR)
    report.check("average after fetching", fetched["average"] == 50000.1, fetched["average"])

    control("book", symbol="BTCUSDT", levels={"50000.1": "0.004", "50000": "0.004", "51000": "1"})
    partly = await x.create_order(PAIR, "limit", "buy", 0.01, 50000.1)
    fetched = await x.fetch_order(partly["id"], PAIR)
    report.check("partial fill", (fetched["filled"], fetched["remaining"]) == (0.004, 0.006), fetched)
    await x.cancel_order(partly["id"], PAIR)
    control("book", symbol="BTCUSDT", levels=None)

    stop = await x.create_order(
        PAIR, "STOP_MARKET", "sell", 0.01, None, {"stopPrice": 49500, "reduceOnly": True}
    )
    profit = await x.create_order(
        PAIR, "market", "sell", 0.01, None, {"takeProfitPrice": 52000, "reduceOnly": True}
    )
    trailing = await x.create_order(
        PAIR, "TRAILING_STOP_MARKET", "sell", 0.004, None, {"trailingPercent": 1, "reduceOnly": True}
    )
    waiting = await x.fetch_open_orders(PAIR, None, None, {"conditional": True})
    report.check("conditional orders open", len(waiting) == 3, waiting)
    await x.fetch_order(stop["id"], PAIR, {"conditional": True})
    await x.cancel_order(profit["id"], PAIR, {"conditional": True})
    control("tick", symbol="BTCUSDT", price="49400", walk=True)
    rows = ledger(account)["positions"]
    report.check(
        "stop and trailing have sold", rows == [{"symbol": "BTCUSDT", "side": "BOTH", "qty": "0.010"}], rows
    )
    report.check(
        "trailing is gone", not await x.fetch_open_orders(PAIR, None, None, {"conditional": True}), trailing
    )

    good = {"symbol": PAIR, "type": "limit", "side": "buy", "amount": 0.01, "price": 48000}
    made = await x.create_orders([good, {**good, "price": 48100}])
    report.check("create_orders", len(made) == 2, made)
    await x.cancel_orders([one["id"] for one in made], PAIR)
    await x.create_order(PAIR, "limit", "buy", 0.01, 48000)
    await x.cancel_all_orders(PAIR)
    report.check("no open orders left", not await x.fetch_open_orders(PAIR))
    await x.create_order(PAIR, "market", "sell", 0.01, None, {"reduceOnly": True})


async def errors(x: ccxt.Exchange, report: Report) -> None:
    x.exceptions["exact"].update(x.exceptions["linear"]["exact"])
    for name, kind, arguments in (
        ("too much margin", ccxt.InsufficientFunds, (PAIR, "limit", "buy", 15, 49000)),
        (
            "post only that takes",
            ccxt.OrderNotFillable,
            (PAIR, "limit", "buy", 0.01, 50500, {"timeInForce": "PO"}),
        ),
        (
            "reduce only without position",
            ccxt.InvalidOrder,
            (PAIR, "market", "sell", 0.01, None, {"reduceOnly": True}),
        ),
    ):
        try:
            await x.create_order(*arguments)
            report.check(name, False, "was accepted")
        except kind as error:
            report.check(name, True, error)
    try:
        await x.cancel_order("1", PAIR)
        report.check("cancel of unknown", False, "was accepted")
    except ccxt.OrderNotFound:
        report.check("cancel of unknown", True)


async def hedge(x: ccxt.Exchange, report: Report) -> None:
    await x.set_position_mode(True, PAIR)
    await x.create_order(PAIR, "market", "buy", 0.02, None, {"positionSide": "LONG"})
    await x.create_order(PAIR, "market", "sell", 0.01, None, {"positionSide": "SHORT"})
    legs = await x.fetch_positions([PAIR])
    report.check("two legs", sorted(p["side"] for p in legs) == ["long", "short"], legs)
    await x.create_order(PAIR, "market", "sell", 0.02, None, {"positionSide": "LONG"})
    await x.create_order(PAIR, "market", "buy", 0.01, None, {"positionSide": "SHORT"})
    await x.set_position_mode(False, PAIR)


async def funding(x: ccxt.Exchange, report: Report) -> None:
    control("funding", symbol="BTCUSDT", rate="0.0001", hours=1)
    await x.create_order(PAIR, "market", "buy", 0.02)
    control("skip_time", ms=3_600_000)
    await x.load_time_difference()
    rows = await x.fetch_funding_history(PAIR)
    report.check("funding was paid", len(rows) == 1 and rows[0]["amount"] < 0, rows)
    control("funding", symbol="BTCUSDT", rate="0", hours=8)
    await x.create_order(PAIR, "market", "sell", 0.02, None, {"reduceOnly": True})


async def liquidation(x: ccxt.Exchange, report: Report) -> None:
    await x.set_leverage(100, PAIR)
    await x.set_margin_mode("isolated", PAIR)
    await x.create_order(PAIR, "market", "buy", 0.1)
    before = (await x.fetch_positions([PAIR]))[0]
    report.check(
        "isolated position", before["marginMode"] == "isolated" and before["liquidationPrice"] > 0, before
    )
    await x.add_margin(PAIR, 5)
    control("tick", symbol="BTCUSDT", price="48500", walk=True)
    report.check("liquidated", not await x.fetch_positions([PAIR]))
    report.check("fetch_my_liquidations", len(await x.fetch_my_liquidations(PAIR)) == 1)
    await x.set_margin_mode("cross", PAIR)


async def compare(x: ccxt.Exchange, report: Report, account: int) -> None:
    books = ledger(account)
    balance = await x.fetch_balance()
    report.equal("balance", balance["USDT"]["total"], money(books["wallet_e8"]))
    trades = await x.fetch_my_trades(PAIR)
    report.check("number of fills", len(trades) == len(books["fills"]), (len(trades), len(books["fills"])))
    fees = sum(x.number_to_string(t["fee"]["cost"]) and round(t["fee"]["cost"] * 10**8) for t in trades)
    report.equal("fees", fees, books["fees_e8"])
    orders = await x.fetch_orders(PAIR)
    report.check("fetch_orders", len(orders) >= 10, len(orders))
    income = await x.fetch_ledger("USDT")
    total = sum(round(row["amount"] * 10**8) * (1 if row["direction"] == "in" else -1) for row in income)
    report.equal("income adds up to the wallet", total, books["wallet_e8"])


async def main() -> int:
    """The life of one account."""
    report = Report("ccxt async")
    account = new_account()
    x = ccxt.binanceusdm(options(account["api_key"], account["secret"]))
    control("tick", symbol="BTCUSDT", price="50000")
    try:
        await market_data(x, report)
        await settings(x, report)
        await orders(x, report, account["account"])
        await errors(x, report)
        await hedge(x, report)
        await funding(x, report)
        await liquidation(x, report)
        await compare(x, report, account["account"])
        report.check("no client exception", True)
    except Exception as error:
        report.crashed(error)
    finally:
        await x.close()
    return report.close()


sys.exit(asyncio.run(main()))
