"""ccxt.pro: the same life, and on top market streams, user streams and orders over the WebSocket API."""

from __future__ import annotations

import asyncio
import sys

import ccxt.pro as ccxt
from ccxt_common import options
from ccxt_life import PAIR, REDUCE, books, life
from life import Report, ledger, money, new_account, price

WAIT_S = 60


async def nudge(prices: tuple[str, ...]) -> None:
    """Keep the market moving while somebody watches."""
    while True:
        for text in prices:
            await asyncio.to_thread(price, text)
            await asyncio.sleep(0.2)


async def first(report: Report, name: str, watching: object) -> object:
    """The first answer of a watch_ method."""
    try:
        answer = await asyncio.wait_for(watching, WAIT_S)
        report.check(name, bool(answer), answer)
        return answer
    except TimeoutError:
        report.check(name, False, "nothing came")
        return None


async def listening(x: ccxt.Exchange, count: int) -> None:
    """Until a private socket is open and the user's watchers wait for messages."""
    for _ in range(WAIT_S * 10):
        sockets = [one for url, one in x.clients.items() if "private" in url]
        if sockets and sum(len(one.futures) for one in sockets if one.connected.done()) >= count:
            return
        await asyncio.sleep(0.1)


async def streams(x: ccxt.Exchange, report: Report, account: int) -> None:
    """Streams of the market, then of the user."""
    report.part = "market data"
    price("50000")
    mover = asyncio.create_task(nudge(("50000", "50000.5")))
    try:
        await first(report, "watch_ticker", x.watch_ticker(PAIR))
        await first(report, "watch_bids_asks", x.watch_bids_asks([PAIR]))
        await first(report, "watch_mark_price", x.watch_mark_price(PAIR))
        await first(report, "watch_ohlcv", x.watch_ohlcv(PAIR, "1m"))
        book = await first(report, "watch_order_book", x.watch_order_book(PAIR))
        report.check("book is not crossed", book and book["bids"][0][0] < book["asks"][0][0], book)
        report.part = "user stream"
        trades = asyncio.ensure_future(x.watch_trades(PAIR))
        watching = asyncio.ensure_future(x.watch_orders(PAIR))
        await listening(x, 1)
        await asyncio.sleep(1)
        made = await x.create_order(PAIR, "market", "buy", 0.01)
        await first(report, "watch_trades", trades)
        orders = await first(report, "watch_orders", watching)
        report.check("the order is mine", orders and orders[-1]["id"] == made["id"], orders)
    finally:
        mover.cancel()
    price("50000")
    mine = asyncio.ensure_future(x.watch_my_trades(PAIR))
    position = asyncio.ensure_future(x.watch_positions([PAIR]))
    balance = asyncio.ensure_future(x.watch_balance())
    await listening(x, 3)
    await asyncio.sleep(1)
    limit = await x.create_order_ws(PAIR, "limit", "buy", 0.01, 49500)
    report.check("create_order_ws", limit["status"] == "open", limit)
    await x.edit_order_ws(limit["id"], PAIR, "limit", "buy", 0.01, 49400)
    fetched = await x.fetch_order_ws(limit["id"], PAIR)
    report.equal("fetch_order_ws", fetched["price"], 49400)
    await x.cancel_order_ws(limit["id"], PAIR)
    await x.create_order_ws(PAIR, "market", "sell", 0.01, None, REDUCE)
    for name, one in (("watch_my_trades", mine), ("watch_positions", position), ("watch_balance", balance)):
        await first(report, name, one)
    total = (await x.fetch_balance_ws())["USDT"]["total"]
    report.equal("balance over the socket", total, money(ledger(account)["wallet_e8"]))
    await books(x, report, account)


async def main() -> int:
    """The life of one account."""
    report = Report("ccxt pro")
    account = new_account()
    x = ccxt.binanceusdm(options(account["api_key"], account["secret"]))
    try:
        await life(x, report, account["account"])
        await streams(x, report, account["account"])
        report.check("no client exception", True)
    except Exception as error:
        report.crashed(error)
    finally:
        await x.close()
    return report.close()


sys.exit(asyncio.run(main()))
