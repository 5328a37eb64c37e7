"""python-binance: a whole life over REST and the streams of its asyncio client."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from binance import AsyncClient, BinanceSocketManager
from life import (
    REST,
    SYMBOL,
    WS,
    Report,
    full_book,
    funding_hour,
    ledger,
    new_account,
    price,
    thin_book,
)

AsyncClient.FUTURES_URL = REST + "/fapi"
AsyncClient.FUTURES_DATA_URL = REST + "/futures/data"
AsyncClient.API_URL = REST + "/api"
AsyncClient.WS_FUTURES_URL = WS + "/ws-fapi/v1"
BinanceSocketManager.FSTREAM_URL = WS + "/"
WAIT_S = 60


async def order(x: AsyncClient, side: str, kind: str, quantity: float, **more: Any) -> dict:
    """One order on the symbol."""
    return await x.futures_create_order(symbol=SYMBOL, side=side, type=kind, quantity=quantity, **more)


async def market(x: AsyncClient, side: str, quantity: float, **more: Any) -> dict:
    """A market order that is told with its result."""
    return await order(x, side, "MARKET", quantity, newOrderRespType="RESULT", **more)


async def market_data(x: AsyncClient, report: Report) -> None:
    """Everything that is public."""
    info = await x.futures_exchange_info()
    report.check("exchange info", any(s["symbol"] == SYMBOL for s in info["symbols"]))
    report.check("klines", bool(await x.futures_klines(symbol=SYMBOL, interval="1m")))
    report.check("order book", bool((await x.futures_order_book(symbol=SYMBOL, limit=5))["bids"]))
    report.check("mark price", (await x.futures_mark_price(symbol=SYMBOL))["symbol"] == SYMBOL)
    report.check("ticker", (await x.futures_ticker(symbol=SYMBOL))["lastPrice"])
    report.check("book ticker", (await x.futures_orderbook_ticker(symbol=SYMBOL))["bidPrice"])
    report.check("open interest", (await x.futures_open_interest(symbol=SYMBOL))["openInterest"])
    await x.futures_funding_rate(symbol=SYMBOL)
    await x.futures_aggregate_trades(symbol=SYMBOL)


async def settings(x: AsyncClient, report: Report) -> None:
    """Position mode, leverage, margin type, brackets."""
    report.part = "settings"
    report.check("one-way mode", (await x.futures_get_position_mode())["dualSidePosition"] is False)
    report.check("leverage", (await x.futures_change_leverage(symbol=SYMBOL, leverage=10))["leverage"] == 10)
    await x.futures_change_margin_type(symbol=SYMBOL, marginType="ISOLATED")
    (row,) = await x.futures_symbol_config(symbol=SYMBOL)
    report.check("isolated", row["marginType"] == "ISOLATED", row)
    await x.futures_change_margin_type(symbol=SYMBOL, marginType="CROSSED")
    report.check("brackets", bool(await x.futures_leverage_bracket(symbol=SYMBOL)))


async def orders(x: AsyncClient, report: Report, account: int) -> None:
    """Limit, cancel, market, partial fill, stop, trailing."""
    report.part = "limit"
    limit = await order(x, "BUY", "LIMIT", 0.01, timeInForce="GTC", price=49000, newClientOrderId="a:b/c")
    report.check("client id with signs", limit["clientOrderId"] == "a:b/c", limit)
    report.check("open orders", len(await x.futures_get_open_orders(symbol=SYMBOL)) == 1)
    changed = await x.futures_modify_order(
        symbol=SYMBOL, side="BUY", orderId=limit["orderId"], quantity=0.01, price=48900
    )
    report.equal("modify", changed["price"], 48900)
    report.part = "cancel"
    await x.futures_cancel_orders(symbol=SYMBOL, orderIdList=[limit["orderId"]])
    found = await x.futures_get_order(symbol=SYMBOL, orderId=limit["orderId"])
    report.check("canceled", found["status"] == "CANCELED", found)

    report.part = "market"
    bought = await market(x, "BUY", 0.02)
    report.check("market order", bought["status"] == "FILLED", bought)

    report.part = "partial fill"
    thin_book()
    partly = await order(x, "BUY", "LIMIT", 0.01, timeInForce="GTC", price=50000.1)
    found = await x.futures_get_order(symbol=SYMBOL, orderId=partly["orderId"])
    report.check(
        "0.004 of 0.01", (found["status"], found["executedQty"]) == ("PARTIALLY_FILLED", "0.004"), found
    )
    await x.futures_cancel_order(symbol=SYMBOL, orderId=partly["orderId"])
    full_book()

    report.part = "stop"
    stop = await order(x, "SELL", "STOP_MARKET", 0.01, stopPrice=49500, reduceOnly="true")
    report.check("stop went to the algo service", "algoId" in stop, stop)
    trailing = await order(x, "SELL", "TRAILING_STOP_MARKET", 0.004, callbackRate=1, reduceOnly="true")
    waiting = await x.futures_get_open_algo_orders(symbol=SYMBOL)
    report.check(
        "open algo orders", {one["algoId"] for one in waiting} == {stop["algoId"], trailing["algoId"]}
    )
    price("49400", walk=True)
    report.holds("stop and trailing have sold", account, ("BOTH", "0.010"))
    report.part = "trailing"
    report.check("trailing is gone", not await x.futures_get_open_algo_orders(symbol=SYMBOL))
    await market(x, "SELL", 0.01, reduceOnly="true")


async def hedge(x: AsyncClient, report: Report, account: int) -> None:
    """Both legs at once."""
    report.part = "hedge"
    await x.futures_change_position_mode(dualSidePosition="true")
    await market(x, "BUY", 0.02, positionSide="LONG")
    await market(x, "SELL", 0.01, positionSide="SHORT")
    report.holds("two legs", account, ("LONG", "0.02"), ("SHORT", "-0.01"))
    await books(x, report, account)
    report.part = "hedge"
    await market(x, "SELL", 0.02, positionSide="LONG")
    await market(x, "BUY", 0.01, positionSide="SHORT")
    await x.futures_change_position_mode(dualSidePosition="false")
    report.holds("both legs are closed", account)


async def funding_and_liquidation(x: AsyncClient, report: Report) -> None:
    """A settlement; then an isolated position to its end."""
    report.part = "funding"
    await market(x, "BUY", 0.02)
    funding_hour()
    rows = await x.futures_income_history(incomeType="FUNDING_FEE")
    report.check("funding was paid", len(rows) == 1 and float(rows[0]["income"]) < 0, rows)
    await market(x, "SELL", 0.02, reduceOnly="true")
    report.part = "liquidation"
    await x.futures_change_leverage(symbol=SYMBOL, leverage=100)
    await x.futures_change_margin_type(symbol=SYMBOL, marginType="ISOLATED")
    await market(x, "BUY", 0.1)
    await x.futures_change_position_margin(symbol=SYMBOL, amount=5, type=1)
    price("48500", walk=True)
    rows = [p for p in await x.futures_position_information(symbol=SYMBOL) if float(p["positionAmt"])]
    report.check("liquidated", not rows, rows)
    forced = await x._request_futures_api("get", "forceOrders", True, data={"symbol": SYMBOL})
    report.check("forced orders", len(forced) == 1, forced)
    await x.futures_change_margin_type(symbol=SYMBOL, marginType="CROSSED")


async def history(x: AsyncClient, report: Report, account: int) -> None:
    """What the exchange remembers."""
    report.part = "history"
    made = await x.futures_get_all_orders(symbol=SYMBOL)
    report.check("all orders", len(made) >= 10, len(made))
    income = await x.futures_income_history(limit=1000)
    total = sum(round(float(row["income"]) * 10**8) for row in income)
    report.equal("income adds up to the wallet", total, ledger(account)["wallet_e8"])
    await books(x, report, account)


async def books(x: AsyncClient, report: Report, account: int) -> None:
    """Its view against the ledger."""
    report.part = "books"
    balance = {row["asset"]: row["balance"] for row in await x.futures_account_balance()}
    rows = await x.futures_position_information()
    report.books(
        account,
        wallet=balance["USDT"],
        positions=[(p["positionSide"], p["positionAmt"]) for p in rows if float(p["positionAmt"])],
        fills=[
            (t["id"], t["price"], t["qty"], t["commission"])
            for t in await x.futures_account_trades(symbol=SYMBOL, limit=1000)
        ],
    )


async def streams(x: AsyncClient, report: Report, account: int) -> None:
    """Klines and the user stream."""
    report.part = "user stream"
    manager = BinanceSocketManager(x)
    async with manager.kline_futures_socket(SYMBOL) as socket:
        message = await asyncio.wait_for(socket.recv(), WAIT_S)
        report.check("kline stream", message["e"] == "continuous_kline", message)
    async with manager.futures_user_socket() as socket:
        await asyncio.sleep(1)
        bought = await market(x, "BUY", 0.01)
        seen: dict[str, Any] = {}
        while not {"ORDER_TRADE_UPDATE/FILLED", "ACCOUNT_UPDATE"} <= set(seen):
            event = await asyncio.wait_for(socket.recv(), WAIT_S)
            seen[event["e"] + ("/" + event["o"]["X"] if "o" in event else "")] = event
        told = seen["ORDER_TRADE_UPDATE/FILLED"]["o"]
        report.check("the fill is mine", told["i"] == bought["orderId"], told)
        (held,) = [p for p in seen["ACCOUNT_UPDATE"]["a"]["P"] if float(p["pa"])]
        report.equal("the position is told", held["pa"], "0.01")
        (row,) = [b for b in seen["ACCOUNT_UPDATE"]["a"]["B"] if b["a"] == "USDT"]
        report.equal("the wallet is told", round(float(row["wb"]) * 10**8), ledger(account)["wallet_e8"])
    await books(x, report, account)


async def main() -> int:
    """The life of one account."""
    report = Report("python-binance")
    made = new_account()
    account = made["account"]
    price("50000")
    x = AsyncClient(made["api_key"], made["secret"])
    try:
        await market_data(x, report)
        await settings(x, report)
        await orders(x, report, account)
        await hedge(x, report, account)
        await funding_and_liquidation(x, report)
        await history(x, report, account)
        await streams(x, report, account)
        report.check("no client exception", True)
    except Exception as error:
        report.crashed(error)
    finally:
        await x.close_connection()
    return report.close()


sys.exit(asyncio.run(main()))
