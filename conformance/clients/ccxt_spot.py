"""ccxt (async) on the Spot half: order lists of every kind, and its view against the server's ledger."""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal

import ccxt.async_support as ccxt
from ccxt_common import options
from life import Report, control, new_account

PAIR, SYMBOL = "BTC/USDT", "BTCUSDT"


def quote(bid: str, ask: str, symbol: str = SYMBOL, **sizes: str) -> None:
    """The market goes there."""
    control("spot_quote", symbol=symbol, bid=bid, ask=ask, **sizes)


def oto(price: str, sell: str, qty: str, symbol: str = SYMBOL) -> dict:
    """Parameters of a list that buys, then sells."""
    return {
        "symbol": symbol,
        "workingType": "LIMIT",
        "workingSide": "BUY",
        "workingPrice": price,
        "workingQuantity": qty,
        "workingTimeInForce": "GTC",
        "pendingType": "LIMIT",
        "pendingSide": "SELL",
        "pendingPrice": sell,
        "pendingQuantity": qty,
        "pendingTimeInForce": "GTC",
    }


async def market_data(x: ccxt.Exchange, report: Report) -> None:
    markets = await x.load_markets()
    report.check("load_markets has Spot", PAIR in markets, list(markets)[:5])
    report.check("otoAllowed", x.market(PAIR)["info"]["otoAllowed"], x.market(PAIR)["info"])
    report.equal("tick", x.market(PAIR)["precision"]["price"], "0.1")
    ticker = await x.fetch_ticker(PAIR)
    book = await x.fetch_order_book(PAIR, 5)
    report.check("fetch_order_book", book["bids"][0][0] == ticker["bid"] < ticker["ask"], book)
    bars = await x.fetch_ohlcv(PAIR, "1s", limit=60)
    report.check("sixty bars of a second", len(bars) == 60, len(bars))
    for name, answer in {
        "fetch_time": await x.fetch_time(),
        "fetch_tickers": await x.fetch_tickers([PAIR]),
        "fetch_bids_asks": await x.fetch_bids_asks([PAIR]),
        "fetch_trading_fee": await x.fetch_trading_fee(PAIR),
    }.items():
        report.check(name, bool(answer), answer)


async def orders(x: ccxt.Exchange, report: Report) -> None:
    limit = await x.create_order(PAIR, "limit", "buy", 0.01, 49000)
    report.check("limit order open", limit["status"] == "open", limit)
    report.check("fetch_open_orders", [o["id"] for o in await x.fetch_open_orders(PAIR)] == [limit["id"]])
    await x.cancel_order(limit["id"], PAIR)
    fetched = await x.fetch_order(limit["id"], PAIR)
    report.check("canceled", fetched["status"] == "canceled", fetched)
    market = await x.create_order(PAIR, "market", "buy", 0.05)
    report.check("market order closed", market["status"] == "closed", market)
    stop = await x.create_order(PAIR, "STOP_LOSS_LIMIT", "sell", 0.01, 47000, {"stopPrice": 48000})
    report.check("stop order open", stop["status"] == "open", stop)
    await x.cancel_order(stop["id"], PAIR)


async def lists(x: ccxt.Exchange, report: Report) -> None:
    quote("50000", "50000.1")
    placed = await x.private_post_orderlist_oto(oto("49000", "51000", "0.01"))
    statuses = [row["status"] for row in placed["orderReports"]]
    report.check("OTO placed", statuses == ["NEW", "PENDING_NEW"], placed)
    quote("48990", "48999", ask_qty="0.004")
    buy, sell = [await x.fetch_order(row["orderId"], PAIR) for row in placed["orders"]]
    report.check(
        "bought in part, not selling yet", (buy["filled"], sell["info"]["status"]) == (0.004, "PENDING_NEW")
    )
    quote("48990", "48999")
    buy, sell = [await x.fetch_order(row["orderId"], PAIR) for row in placed["orders"]]
    report.check("bought, selling", (buy["status"], sell["info"]["status"]) == ("closed", "NEW"), sell)
    quote("51001", "51002")
    sell = await x.fetch_order(placed["orders"][1]["orderId"], PAIR)
    report.check("sold", (sell["status"], sell["average"]) == ("closed", 51000), sell)
    done = await x.private_get_orderlist({"orderListId": placed["orderListId"]})
    report.check("list done", done["listOrderStatus"] == "ALL_DONE", done)

    trap = await x.private_post_orderlist_oto(oto("51003", "55000", "0.01"))
    statuses = [row["status"] for row in trap["orderReports"]]
    report.check("immediate fill answers PENDING_NEW", statuses == ["FILLED", "PENDING_NEW"], statuses)
    sell = await x.fetch_order(trap["orders"][1]["orderId"], PAIR)
    report.check("and yet it is on the book", sell["info"]["status"] == "NEW", sell)
    await x.cancel_order(sell["id"], PAIR)
    done = await x.private_get_orderlist({"orderListId": trap["orderListId"]})
    report.check("one leg cancelled, list done", done["listOrderStatus"] == "ALL_DONE", done)

    both = oto("50900", "0", "0.01")
    for name in ("Type", "Price", "TimeInForce"):
        del both[f"pending{name}"]
    both |= {
        "pendingAboveType": "LIMIT_MAKER",
        "pendingAbovePrice": "53000",
        "pendingBelowType": "STOP_LOSS_LIMIT",
        "pendingBelowStopPrice": "50000",
        "pendingBelowPrice": "49900",
        "pendingBelowTimeInForce": "GTC",
    }
    otoco = await x.private_post_orderlist_otoco(both)
    report.check("three orders", len(otoco["orders"]) == 3, otoco)
    quote("50890", "50899")
    quote("49990", "49991")
    ends = [(await x.fetch_order(row["orderId"], PAIR))["status"] for row in otoco["orders"]]
    report.check("bought, stopped out, the other expired", ends == ["closed", "expired", "closed"], ends)

    alive = await x.private_post_orderlist_oto(oto("40000", "51000", "0.01"))
    open_now = await x.private_get_openorderlist()
    report.check(
        "openOrderList", [row["orderListId"] for row in open_now] == [alive["orderListId"]], open_now
    )
    gone = await x.private_delete_orderlist({"symbol": SYMBOL, "orderListId": alive["orderListId"]})
    statuses = [row["status"] for row in gone["orderReports"]]
    report.check("list cancelled", statuses == ["CANCELED", "CANCELED"], gone)
    history = await x.private_get_allorderlist()
    report.check("allOrderList", len(history) == 4, len(history))


async def paying_list(x: ccxt.Exchange, report: Report) -> None:
    """KOGE: the venue sizes the SELL."""
    symbol = next(m["id"] for m in x.markets.values() if m["id"].startswith("ALPHA_22"))
    quote("48", "48.00000001", symbol)
    params = oto("48.1", "47.9", "2", symbol)
    del params["pendingQuantity"]
    placed = await x.private_post_orderlist_opo(params)
    rows = await x.private_get_allorders({"symbol": symbol})
    sizes = [(row["status"], row["executedQty"]) for row in rows]
    report.check("bought and sold", sizes == [("FILLED", "2.00000000"), ("FILLED", "1.99000000")], sizes)
    report.check("paying list answers size 0", placed["orderReports"][1]["origQty"] == "0.00000000", placed)


async def errors(x: ccxt.Exchange, report: Report) -> None:
    for name, kind, call in (
        ("too poor", ccxt.InsufficientFunds, lambda: x.create_order(PAIR, "limit", "buy", 5, 49000)),
        ("below the minimum", ccxt.InvalidOrder, lambda: x.private_post_order(
            {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001",
             "price": "10000.5"} | {"quantity": "0.0001"})),
        ("cancel of unknown", ccxt.OrderNotFound, lambda: x.cancel_order("999999", PAIR)),
        ("taking maker", ccxt.OrderImmediatelyFillable, lambda: x.create_order(
            PAIR, "limit", "buy", 0.001, 52000, {"postOnly": True})),
    ):  # fmt: skip
        try:
            await call()
            report.check(name, False, "was accepted")
        except kind as error:
            report.check(name, True, error)


async def compare(x: ccxt.Exchange, report: Report, account: int) -> None:
    books = control("spot_ledger", account=account)
    balance = await x.fetch_balance()
    for asset, row in books["balances"].items():
        if Decimal(row["free"]) + Decimal(row["locked"]):
            report.equal(f"free {asset}", balance[asset]["free"], row["free"])
            report.equal(f"locked {asset}", balance[asset]["used"], row["locked"])
    trades = await x.fetch_my_trades(PAIR)
    booked = [fill for fill in books["fills"] if fill["symbol"] == SYMBOL]
    report.check("fills", len(trades) == len(booked), (len(trades), len(booked)))
    report.check(
        "every fill agrees",
        [(t["id"], Decimal(str(t["amount"])), Decimal(str(t["fee"]["cost"]))) for t in trades]
        == [(str(f["id"]), Decimal(f["qty"]), Decimal(f["commission"])) for f in booked],
        trades,
    )
    spent = sum((1 if f["isBuyer"] else -1) * Decimal(f["quoteQty"]) for f in books["fills"])
    paid = sum(Decimal(f["commission"]) for f in books["fills"] if f["commissionAsset"] == "USDT")
    left = Decimal(books["deposited"]["USDT"]) - spent - paid
    row = books["balances"]["USDT"]
    report.equal("fills add up to the wallet", left, Decimal(row["free"]) + Decimal(row["locked"]))
    lists_seen = await x.private_get_allorderlist()
    report.check(
        "every order list agrees",
        [(int(row["orderListId"]), row["listOrderStatus"]) for row in lists_seen]
        == [(row["orderListId"], row["listOrderStatus"]) for row in books["lists"]],
        lists_seen,
    )


async def main() -> int:
    """The life of one Spot wallet."""
    report = Report("ccxt spot")
    account = new_account()
    common = options(account["api_key"], account["secret"])
    common["options"] |= {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False}
    x = ccxt.binance(common)
    try:
        await market_data(x, report)
        await orders(x, report)
        await lists(x, report)
        await paying_list(x, report)
        await errors(x, report)
        await compare(x, report, account["account"])
        report.check("no client exception", True)
    except Exception as error:
        report.crashed(error)
    finally:
        await x.close()
    return report.close()


sys.exit(asyncio.run(main()))
