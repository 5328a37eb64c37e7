"""The official SDK: REST (pydantic models read every answer), streams and the WebSocket API."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (
    DerivativesTradingUsdsFutures,
)
from life import REST, SYMBOL, WS, Report, full_book, funding_hour, ledger, new_account, price, thin_book

WAIT_S = 60


def market(x: Any, side: str, quantity: float, **more: Any) -> Any:
    """A market order that is told with its result."""
    return x.new_order(
        symbol=SYMBOL, side=side, type="MARKET", quantity=quantity, new_order_resp_type="RESULT", **more
    ).data()


def limit(x: Any, quantity: float, at: float) -> Any:
    """A resting buy."""
    return x.new_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=quantity, price=at
    ).data()


def market_data(x: Any, report: Report) -> None:
    """Everything that is public."""
    info = x.exchange_information().data()
    report.check("exchange information", any(s.symbol == SYMBOL for s in info.symbols))
    report.check("klines", bool(x.kline_candlestick_data(symbol=SYMBOL, interval="1m").data()))
    report.check("order book", len(x.order_book(symbol=SYMBOL, limit=5).data().bids) == 5)
    for name, call in {
        "mark price": lambda: x.mark_price(symbol=SYMBOL),
        "24h ticker": lambda: x.ticker24hr_price_change_statistics(symbol=SYMBOL),
        "book ticker": lambda: x.symbol_order_book_ticker(symbol=SYMBOL),
        "recent trades": lambda: x.recent_trades_list(symbol=SYMBOL),
        "aggregate trades": lambda: x.compressed_aggregate_trades_list(symbol=SYMBOL),
        "funding history": lambda: x.get_funding_rate_history(symbol=SYMBOL),
        "open interest": lambda: x.open_interest(symbol=SYMBOL),
    }.items():
        report.check(name, call().data() is not None)


def settings(x: Any, report: Report) -> None:
    """Position mode, leverage, margin type, and what the account is told of itself."""
    report.part = "settings"
    report.check("one-way mode", x.get_current_position_mode().data().dual_side_position is False)
    for name, call in {
        "brackets": x.notional_and_leverage_brackets,
        "account v3": x.account_information_v3,
        "account v2": x.account_information_v2,
        "account config": x.futures_account_configuration,
        "rate limits": x.query_user_rate_limit,
        "commission": lambda: x.user_commission_rate(symbol=SYMBOL),
    }.items():
        report.check(name, call().data() is not None)
    report.check("leverage", x.change_initial_leverage(symbol=SYMBOL, leverage=10).data().leverage == 10)
    x.change_margin_type(symbol=SYMBOL, margin_type="ISOLATED")
    (row,) = [r for r in x.symbol_configuration(symbol=SYMBOL).data() if r.symbol == SYMBOL]
    report.check("isolated", row.margin_type == "ISOLATED", row)
    x.change_margin_type(symbol=SYMBOL, margin_type="CROSSED")


def orders(x: Any, report: Report, account: int) -> None:
    """Limit, cancel, market, partial fill, stop, trailing."""
    report.part = "limit"
    resting = limit(x, 0.01, 49000.0)
    report.check("limit order", resting.status == "NEW", resting)
    found = x.query_order(symbol=SYMBOL, order_id=resting.order_id).data()
    report.check("query order", found.avg_price is not None, found)
    x.modify_order(symbol=SYMBOL, side="BUY", order_id=resting.order_id, quantity=0.01, price=48900.0)
    report.check("open orders", len(x.current_all_open_orders(symbol=SYMBOL).data()) == 1)
    history = x.get_order_modify_history(symbol=SYMBOL, order_id=resting.order_id).data()
    report.check("modify history", len(history) == 1, history)
    report.part = "cancel"
    x.cancel_order(symbol=SYMBOL, order_id=resting.order_id)
    found = x.query_order(symbol=SYMBOL, order_id=resting.order_id).data()
    report.check("canceled", found.status == "CANCELED", found)

    report.part = "market"
    report.check("market order", market(x, "BUY", 0.02).status == "FILLED")

    report.part = "partial fill"
    thin_book()
    partly = limit(x, 0.01, 50000.1)
    found = x.query_order(symbol=SYMBOL, order_id=partly.order_id).data()
    report.check("0.004 of 0.01", (found.status, found.executed_qty) == ("PARTIALLY_FILLED", "0.004"), found)
    x.cancel_order(symbol=SYMBOL, order_id=partly.order_id)
    full_book()

    report.part = "stop"
    stop = x.new_algo_order(
        algo_type="CONDITIONAL", symbol=SYMBOL, side="SELL", type="STOP_MARKET", quantity=0.01,
        trigger_price=49500.0, reduce_only="true",
    ).data()  # fmt: skip
    report.check("algo order", stop.algo_status == "NEW", stop)
    trailing = x.new_algo_order(
        algo_type="CONDITIONAL", symbol=SYMBOL, side="SELL", type="TRAILING_STOP_MARKET", quantity=0.004,
        callback_rate=1.0, reduce_only="true",
    ).data()  # fmt: skip
    waiting = x.current_all_algo_open_orders(symbol=SYMBOL).data()
    report.check("open algo orders", {one.algo_id for one in waiting} == {stop.algo_id, trailing.algo_id})
    price("49400", walk=True)
    report.holds("stop and trailing have sold", account, ("BOTH", "0.010"))
    report.part = "trailing"
    ended = x.query_algo_order(algo_id=trailing.algo_id).data()
    report.check("trailing has ended", ended.algo_status == "FINISHED" and ended.actual_order_id, ended)
    report.check("none is open", not x.current_all_algo_open_orders(symbol=SYMBOL).data())
    market(x, "SELL", 0.01, reduce_only="true")


def hedge(x: Any, report: Report, account: int) -> None:
    """Both legs at once."""
    report.part = "hedge"
    x.change_position_mode(dual_side_position="true")
    market(x, "BUY", 0.02, position_side="LONG")
    market(x, "SELL", 0.01, position_side="SHORT")
    report.holds("two legs", account, ("LONG", "0.02"), ("SHORT", "-0.01"))
    books(x, report, account)
    report.part = "hedge"
    market(x, "SELL", 0.02, position_side="LONG")
    market(x, "BUY", 0.01, position_side="SHORT")
    x.change_position_mode(dual_side_position="false")
    report.holds("both legs are closed", account)


def funding_and_liquidation(x: Any, report: Report) -> None:
    """A settlement; then an isolated position to its end."""
    report.part = "funding"
    market(x, "BUY", 0.02)
    funding_hour()
    rows = x.get_income_history(income_type="FUNDING_FEE").data()
    report.check("funding was paid", len(rows) == 1 and float(rows[0].income) < 0, rows)
    market(x, "SELL", 0.02, reduce_only="true")
    report.part = "liquidation"
    x.change_initial_leverage(symbol=SYMBOL, leverage=100)
    x.change_margin_type(symbol=SYMBOL, margin_type="ISOLATED")
    market(x, "BUY", 0.1)
    x.modify_isolated_position_margin(symbol=SYMBOL, amount=5.0, type=1)
    price("48500", walk=True)
    report.check("liquidated", not x.position_information_v3(symbol=SYMBOL).data())
    forced = x.users_force_orders(symbol=SYMBOL).data()
    report.check("forced orders", len(forced) == 1, forced)
    x.change_margin_type(symbol=SYMBOL, margin_type="CROSSED")


def history(x: Any, report: Report, account: int) -> None:
    """What the exchange remembers."""
    report.part = "history"
    made = x.all_orders(symbol=SYMBOL).data()
    report.check("all orders", len(made) >= 10, len(made))
    report.check("all algo orders", len(x.query_all_algo_orders(symbol=SYMBOL).data()) == 2)
    income = x.get_income_history(limit=1000).data()
    total = sum(round(float(row.income) * 10**8) for row in income)
    report.equal("income adds up to the wallet", total, ledger(account)["wallet_e8"])
    books(x, report, account)


def books(x: Any, report: Report, account: int) -> None:
    """Its view against the ledger."""
    report.part = "books"
    balance = {row.asset: row.balance for row in x.futures_account_balance_v3().data()}
    report.books(
        account,
        wallet=balance["USDT"],
        positions=[
            (row.position_side, row.position_amt)
            for row in x.position_information_v3().data()
            if float(row.position_amt)
        ],
        fills=[
            (t.id, t.price, t.qty, t.commission)
            for t in x.account_trade_list(symbol=SYMBOL, limit=1000).data()
        ],
    )


async def streams(client: DerivativesTradingUsdsFutures, report: Report, account: int) -> None:
    """A market stream and the user stream."""
    report.part = "user stream"
    seen: list[object] = []
    connection = await client.websocket_streams.create_connection()
    try:
        stream = await connection.kline_candlestick_streams(symbol=SYMBOL.lower(), interval="1m")
        stream.on("message", seen.append)
        key = client.rest_api.start_user_data_stream().data().listen_key
        user = await connection.user_data(key)
        events: list[Any] = []
        user.on("message", events.append)
        await asyncio.sleep(1)
        market(client.rest_api, "BUY", 0.01)
        wanted = {"OrderTradeUpdate", "AccountUpdate", "TradeLite"}
        for _ in range(WAIT_S * 4):
            if seen and wanted <= {kind(event) for event in events}:
                break
            await asyncio.sleep(0.25)
        report.check("kline stream", bool(seen))
        report.check("user stream", wanted <= {kind(event) for event in events}, events)
        kept = client.rest_api.keepalive_user_data_stream().data()
        report.check("the listen key is kept", kept is not None)
    finally:
        await connection.close_connection(close_session=True)
    books(client.rest_api, report, account)


def kind(event: Any) -> str:
    """The model that the SDK has chosen for an event."""
    return type(getattr(event, "actual_instance", event)).__name__


async def socket_api(client: DerivativesTradingUsdsFutures, report: Report) -> None:
    """Orders over the WebSocket API."""
    report.part = "limit"
    connection = await client.websocket_api.create_connection()
    try:
        answer = await connection.new_order(
            symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=47500.0
        )
        order = answer.data().result
        report.check("order.place", order.status == "NEW", order)
        answer = await connection.query_order(symbol=SYMBOL, order_id=order.order_id)
        report.check("order.status", answer.data().result.status == "NEW")
        answer = await connection.cancel_order(symbol=SYMBOL, order_id=order.order_id)
        report.check("order.cancel", answer.data().result.status == "CANCELED")
        answer = await connection.account_information_v2()
        report.check("v2/account.status", bool(answer.data().result.assets))
    finally:
        await connection.close_connection(close_session=True)


def main() -> int:
    """The life of one account."""
    report = Report("official SDK")
    made = new_account()
    key, secret, account = made["api_key"], made["secret"], made["account"]
    price("50000")
    client = DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(api_key=key, api_secret=secret, base_path=REST, timeout=30_000),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=WS),
        config_ws_api=ConfigurationWebSocketAPI(
            api_key=key, api_secret=secret, stream_url=WS + "/ws-fapi/v1"
        ),
    )
    x = client.rest_api
    try:
        market_data(x, report)
        settings(x, report)
        orders(x, report, account)
        hedge(x, report, account)
        funding_and_liquidation(x, report)
        history(x, report, account)
        asyncio.run(streams(client, report, account))
        asyncio.run(socket_api(client, report))
        report.check("no client exception", True)
    except Exception as error:
        report.crashed(error)
    return report.close()


sys.exit(main())
