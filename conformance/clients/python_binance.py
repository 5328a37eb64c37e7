"""python-binance: REST and streams of its asyncio client."""

from __future__ import annotations

import asyncio
import sys

from binance import AsyncClient, BinanceSocketManager
from life import REST, SYMBOL, WS, Report, control, ledger, money, new_account

AsyncClient.FUTURES_URL = REST + "/fapi"
AsyncClient.FUTURES_DATA_URL = REST + "/futures/data"
AsyncClient.API_URL = REST + "/api"
AsyncClient.WS_FUTURES_URL = WS + "/ws-fapi/v1"
BinanceSocketManager.FSTREAM_URL = WS + "/"


async def rest(x: AsyncClient, report: Report, account: int) -> None:
    """Market data, settings, orders."""
    report.check(
        "exchange info", any(s["symbol"] == SYMBOL for s in (await x.futures_exchange_info())["symbols"])
    )
    report.check("klines", bool(await x.futures_klines(symbol=SYMBOL, interval="1m")))
    report.check("order book", bool((await x.futures_order_book(symbol=SYMBOL, limit=5))["bids"]))
    await x.futures_mark_price(symbol=SYMBOL)
    await x.futures_ticker(symbol=SYMBOL)
    await x.futures_funding_rate(symbol=SYMBOL)
    await x.futures_change_leverage(symbol=SYMBOL, leverage=10)
    limit = await x.futures_create_order(
        symbol=SYMBOL,
        side="BUY",
        type="LIMIT",
        timeInForce="GTC",
        quantity=0.01,
        price=49000,
        newClientOrderId="a:b/c",
    )
    report.check("client id with signs", limit["clientOrderId"] == "a:b/c", limit)
    report.check("open orders", len(await x.futures_get_open_orders(symbol=SYMBOL)) == 1)
    await x.futures_cancel_orders(symbol=SYMBOL, orderIdList=[limit["orderId"]])
    market = await x.futures_create_order(
        symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.02, newOrderRespType="RESULT"
    )
    report.check("market order", market["status"] == "FILLED", market)
    stop = await x.futures_create_order(
        symbol=SYMBOL, side="SELL", type="STOP_MARKET", stopPrice=49500, quantity=0.02, reduceOnly="true"
    )
    report.check("stop went to the algo service", "algoId" in stop, stop)
    control("tick", symbol=SYMBOL, price="49400", walk=True)
    rows = [p for p in await x.futures_position_information(symbol=SYMBOL) if float(p["positionAmt"])]
    report.check("stopped out", not rows, rows)
    books = ledger(account)
    balance = {row["asset"]: row["balance"] for row in await x.futures_account_balance()}
    report.equal("balance", balance["USDT"], money(books["wallet_e8"]))
    trades = await x.futures_account_trades(symbol=SYMBOL)
    report.check("fills", len(trades) == len(books["fills"]) == 2, trades)
    income = await x.futures_income_history()
    report.equal("income", sum(round(float(row["income"]) * 10**8) for row in income), books["wallet_e8"])


async def streams(x: AsyncClient, report: Report) -> None:
    """Klines and the user stream."""
    manager = BinanceSocketManager(x)
    async with manager.kline_futures_socket(SYMBOL) as socket:
        message = await asyncio.wait_for(socket.recv(), 20)
        report.check("kline stream", message["e"] == "continuous_kline", message)
    async with manager.futures_user_socket() as socket:
        await asyncio.sleep(0.5)
        await x.futures_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01)
        seen = {(await asyncio.wait_for(socket.recv(), 20))["e"] for _ in range(4)}
        report.check("user stream", {"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"} <= seen, seen)


async def main() -> int:
    """The life of one account."""
    report = Report("python-binance")
    account = new_account()
    control("tick", symbol=SYMBOL, price="50000")
    x = AsyncClient(account["api_key"], account["secret"])
    try:
        x.timestamp_offset = (await x.futures_time())["serverTime"] - int(__import__("time").time() * 1000)
        await rest(x, report, account["account"])
        await streams(x, report)
        report.check("no client exception", True)
    except Exception as error:
        report.crashed(error)
    finally:
        await x.close_connection()
    return report.close()


sys.exit(asyncio.run(main()))
