"""The official SDK: REST (pydantic models read every answer), streams and the WebSocket API."""

from __future__ import annotations

import asyncio
import sys

from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (
    DerivativesTradingUsdsFutures,
)
from life import REST, SYMBOL, WS, Report, control, ledger, money, new_account


def rest(client: DerivativesTradingUsdsFutures, report: Report, account: int) -> None:
    """Market data, settings, orders, history."""
    x = client.rest_api
    info = x.exchange_information().data()
    report.check("exchange information", any(s.symbol == SYMBOL for s in info.symbols))
    report.check("klines", bool(x.kline_candlestick_data(symbol=SYMBOL, interval="1m").data()))
    report.check("order book", len(x.order_book(symbol=SYMBOL, limit=5).data().bids) == 5)
    for name, call in {
        "mark price": lambda: x.mark_price(symbol=SYMBOL),
        "24h ticker": lambda: x.ticker24hr_price_change_statistics(symbol=SYMBOL),
        "funding history": lambda: x.get_funding_rate_history(symbol=SYMBOL),
        "open interest": lambda: x.open_interest(symbol=SYMBOL),
        "brackets": x.notional_and_leverage_brackets,
        "account v3": x.account_information_v3,
        "account v2": x.account_information_v2,
        "symbol config": x.symbol_configuration,
        "account config": x.futures_account_configuration,
        "rate limits": x.query_user_rate_limit,
        "commission": lambda: x.user_commission_rate(symbol=SYMBOL),
    }.items():
        report.check(name, call().data() is not None)
    x.change_initial_leverage(symbol=SYMBOL, leverage=10)
    limit = x.new_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=49000.0
    ).data()
    report.check("limit order", limit.status == "NEW", limit)
    report.check(
        "query order", x.query_order(symbol=SYMBOL, order_id=limit.order_id).data().avg_price is not None
    )
    x.modify_order(symbol=SYMBOL, side="BUY", order_id=limit.order_id, quantity=0.01, price=48900.0)
    report.check("open orders", len(x.current_all_open_orders(symbol=SYMBOL).data()) == 1)
    x.cancel_order(symbol=SYMBOL, order_id=limit.order_id)
    market = x.new_order(
        symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.02, new_order_resp_type="RESULT"
    ).data()
    report.check("market order", market.status == "FILLED", market)
    stop = x.new_algo_order(
        algo_type="CONDITIONAL", symbol=SYMBOL, side="SELL", type="STOP_MARKET", quantity=0.02,
        trigger_price=49500.0, reduce_only="true",
    ).data()  # fmt: skip
    report.check("algo order", stop.algo_status == "NEW", stop)
    report.check("open algo orders", len(x.current_all_algo_open_orders(symbol=SYMBOL).data()) == 1)
    control("tick", symbol=SYMBOL, price="49400", walk=True)
    report.check("stopped out", not x.position_information_v3().data())
    books = ledger(account)
    balance = {row.asset: row.balance for row in x.futures_account_balance_v3().data()}
    report.equal("balance", balance["USDT"], money(books["wallet_e8"]))
    report.check("fills", len(x.account_trade_list(symbol=SYMBOL).data()) == len(books["fills"]) == 2)
    report.check("income", bool(x.get_income_history().data()))
    report.check("all orders", bool(x.all_orders(symbol=SYMBOL).data()))


async def streams(client: DerivativesTradingUsdsFutures, report: Report) -> None:
    """A market stream and the user stream."""
    seen: list[object] = []
    connection = await client.websocket_streams.create_connection()
    try:
        stream = await connection.kline_candlestick_streams(symbol=SYMBOL.lower(), interval="1m")
        stream.on("message", seen.append)
        key = client.rest_api.start_user_data_stream().data().listen_key
        user = await connection.user_data(key)
        events: list[object] = []
        user.on("message", events.append)
        await asyncio.sleep(1)
        client.rest_api.new_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01)
        for _ in range(40):
            if seen and len(events) >= 4:
                break
            await asyncio.sleep(0.25)
        report.check("kline stream", bool(seen))
        report.check("user stream", len(events) >= 4, events)
    finally:
        await connection.close_connection(close_session=True)


async def socket_api(client: DerivativesTradingUsdsFutures, report: Report) -> None:
    """Orders over the WebSocket API."""
    connection = await client.websocket_api.create_connection()
    try:
        answer = await connection.new_order(
            symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=47500.0
        )
        order = answer.data().result
        report.check("order.place", order.status == "NEW", order)
        answer = await connection.cancel_order(symbol=SYMBOL, order_id=order.order_id)
        report.check("order.cancel", answer.data().result.status == "CANCELED")
        answer = await connection.account_information_v2()
        report.check("v2/account.status", bool(answer.data().result.assets))
    finally:
        await connection.close_connection(close_session=True)


def main() -> int:
    """The life of one account."""
    report = Report("official SDK")
    account = new_account()
    key, secret = account["api_key"], account["secret"]
    control("tick", symbol=SYMBOL, price="50000")
    client = DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(api_key=key, api_secret=secret, base_path=REST),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=WS),
        config_ws_api=ConfigurationWebSocketAPI(
            api_key=key, api_secret=secret, stream_url=WS + "/ws-fapi/v1"
        ),
    )
    try:
        rest(client, report, account["account"])
        asyncio.run(streams(client, report))
        asyncio.run(socket_api(client, report))
        report.check("no client exception", True)
    except Exception as error:
        report.crashed(error)
    return report.close()


sys.exit(main())
