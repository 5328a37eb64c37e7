"""The life of one account as ccxt's users write it, for the blocking and the asyncio client alike."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt
from life import SYMBOL, Report, full_book, funding_hour, price, thin_book

PAIR = "BTC/USDT:USDT"
REDUCE = {"reduceOnly": True}
CONDITIONAL = {"conditional": True}


class Awaitable:
    """A blocking client whose calls can be awaited: they run in a thread, as its users would do it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found) or name in ("market",):
            return found

        async def call(*arguments: Any) -> Any:
            return await asyncio.to_thread(found, *arguments)

        return call


async def market_data(x: Any, report: Report) -> None:
    """Everything that is public."""
    markets = await x.load_markets()
    report.check("load_markets", PAIR in markets, list(markets)[:5])
    types = x.market(PAIR)["info"]["orderTypes"]
    report.check("conditional types are listed", types.count("STOP_MARKET") == 1, types)
    report.equal("fetch_ticker last", (await x.fetch_ticker(PAIR))["last"], 50000)
    book = await x.fetch_order_book(PAIR, 20)
    report.check("fetch_order_book", book["bids"][0][0] < book["asks"][0][0], book)
    for name, arguments in {
        "fetch_time": (),
        "fetch_tickers": ([PAIR],),
        "fetch_bids_asks": ([PAIR],),
        "fetch_ohlcv": (PAIR, "1m"),
        "fetch_mark_price": (PAIR,),
        "fetch_funding_rate": (PAIR,),
        "fetch_funding_rates": ([PAIR],),
        "fetch_open_interest": (PAIR,),
    }.items():
        answer = await getattr(x, name)(*arguments)
        report.check(name, bool(answer), answer)
    await x.fetch_trades(PAIR)
    await x.fetch_funding_rate_history(PAIR)
    await x.fetch_funding_intervals()
    tiers = await x.fetch_leverage_tiers([PAIR])
    report.check("fetch_leverage_tiers", len(tiers[PAIR]) >= 6, tiers)


async def settings(x: Any, report: Report) -> None:
    """Position mode, leverage, margin mode, fees."""
    report.part = "settings"
    report.check("one-way mode", not (await x.fetch_position_mode(PAIR))["hedged"])
    await x.set_leverage(10, PAIR)
    await x.set_margin_mode("isolated", PAIR)
    report.check("isolated", (await x.fetch_leverage(PAIR))["marginMode"] == "isolated")
    await x.set_margin_mode("cross", PAIR)
    told = await x.fetch_leverage(PAIR)
    report.check("leverage 10, cross", (told["longLeverage"], told["marginMode"]) == (10, "cross"), told)
    fee = await x.fetch_trading_fee(PAIR)
    report.check("fetch_trading_fee", (fee["maker"], fee["taker"]) == (0.0002, 0.0005), fee)


async def orders(x: Any, report: Report, account: int) -> None:
    """Limit, cancel, market, partial fill, stop, trailing, batches."""
    report.part = "limit"
    limit = await x.create_order(PAIR, "limit", "buy", 0.01, 49000)
    report.check("limit order open", limit["status"] == "open", limit)
    open_ids = [order["id"] for order in await x.fetch_open_orders(PAIR)]
    report.check("fetch_open_orders", open_ids == [limit["id"]], open_ids)
    edited = await x.edit_order(limit["id"], PAIR, "limit", "buy", 0.02, 48900)
    report.check("edit_order", (edited["price"], edited["amount"]) == (48900, 0.02), edited)
    report.part = "cancel"
    await x.cancel_order(limit["id"], PAIR)
    fetched = await x.fetch_order(limit["id"], PAIR)
    report.check("canceled", fetched["status"] == "canceled", fetched)
    good = {"symbol": PAIR, "type": "limit", "side": "buy", "amount": 0.01, "price": 48000}
    made = await x.create_orders([good, {**good, "price": 48100}])
    report.check("create_orders", len(made) == 2, made)
    await x.cancel_orders([one["id"] for one in made], PAIR)
    await x.create_order(PAIR, "limit", "buy", 0.01, 48000)
    await x.cancel_all_orders(PAIR)
    report.check("no open orders left", not await x.fetch_open_orders(PAIR))

    report.part = "market"
    market = await x.create_order(PAIR, "market", "buy", 0.02)
    report.check("market order closed", market["status"] == "closed", market)
    fetched = await x.fetch_order(market["id"], PAIR)
    report.check("average after fetching", fetched["average"] == 50000.1, fetched["average"])

    report.part = "partial fill"
    thin_book()
    partly = await x.create_order(PAIR, "limit", "buy", 0.01, 50000.1)
    fetched = await x.fetch_order(partly["id"], PAIR)
    report.check("0.004 of 0.01", (fetched["filled"], fetched["remaining"]) == (0.004, 0.006), fetched)
    await x.cancel_order(partly["id"], PAIR)
    full_book()

    report.part = "stop"
    stop = await x.create_order(PAIR, "STOP_MARKET", "sell", 0.01, None, {"stopPrice": 49500, **REDUCE})
    profit = await x.create_order(PAIR, "market", "sell", 0.01, None, {"takeProfitPrice": 52000, **REDUCE})
    trail = {"trailingPercent": 1, **REDUCE}
    trailing = await x.create_order(PAIR, "TRAILING_STOP_MARKET", "sell", 0.004, None, trail)
    waiting = await x.fetch_open_orders(PAIR, None, None, CONDITIONAL)
    report.check("conditional orders open", len(waiting) == 3, waiting)
    await x.fetch_order(stop["id"], PAIR, CONDITIONAL)
    await x.cancel_order(profit["id"], PAIR, CONDITIONAL)
    price("49400", walk=True)
    report.holds("stop and trailing have sold", account, ("BOTH", "0.010"))
    report.part = "trailing"
    left = await x.fetch_open_orders(PAIR, None, None, CONDITIONAL)
    report.check("trailing is gone", not left, (left, trailing))
    await x.create_order(PAIR, "market", "sell", 0.01, None, REDUCE)


async def errors(x: Any, report: Report) -> None:
    """Refusals become the classes that ccxt has for them."""
    report.part = "limit"
    x.exceptions["exact"].update(x.exceptions["linear"]["exact"])
    for name, kind, arguments in (
        ("too much margin", ccxt.InsufficientFunds, (PAIR, "limit", "buy", 15, 49000)),
        (
            "post only that takes",
            ccxt.OrderNotFillable,
            (PAIR, "limit", "buy", 0.01, 49900, {"timeInForce": "PO"}),
        ),
        ("reduce only without position", ccxt.InvalidOrder, (PAIR, "market", "sell", 0.01, None, REDUCE)),
    ):
        try:
            await x.create_order(*arguments)
            report.check(name, False, "was accepted")
        except kind as error:
            report.check(name, True, error)
    report.part = "cancel"
    try:
        await x.cancel_order("1", PAIR)
        report.check("cancel of unknown", False, "was accepted")
    except ccxt.OrderNotFound:
        report.check("cancel of unknown", True)


async def hedge(x: Any, report: Report, account: int) -> None:
    """Both legs at once."""
    report.part = "hedge"
    await x.set_position_mode(True, PAIR)
    await x.create_order(PAIR, "market", "buy", 0.02, None, {"positionSide": "LONG"})
    await x.create_order(PAIR, "market", "sell", 0.01, None, {"positionSide": "SHORT"})
    legs = await x.fetch_positions([PAIR])
    report.check("two legs", sorted(p["side"] for p in legs) == ["long", "short"], legs)
    await books(x, report, account)
    report.part = "hedge"
    await x.create_order(PAIR, "market", "sell", 0.02, None, {"positionSide": "LONG"})
    await x.create_order(PAIR, "market", "buy", 0.01, None, {"positionSide": "SHORT"})
    await x.set_position_mode(False, PAIR)
    report.holds("both legs are closed", account)


async def funding(x: Any, report: Report) -> None:
    """A position over a settlement."""
    report.part = "funding"
    await x.create_order(PAIR, "market", "buy", 0.02)
    funding_hour()
    rows = await x.fetch_funding_history(PAIR)
    report.check("funding was paid", len(rows) == 1 and rows[0]["amount"] < 0, rows)
    await x.create_order(PAIR, "market", "sell", 0.02, None, REDUCE)


async def liquidation(x: Any, report: Report) -> None:
    """An isolated position to its end."""
    report.part = "liquidation"
    await x.set_leverage(100, PAIR)
    await x.set_margin_mode("isolated", PAIR)
    await x.create_order(PAIR, "market", "buy", 0.1)
    held = (await x.fetch_positions([PAIR]))[0]
    report.check("isolated position", held["marginMode"] == "isolated" and held["liquidationPrice"] > 0, held)
    await x.add_margin(PAIR, 5)
    price("48500", walk=True)
    report.check("liquidated", not await x.fetch_positions([PAIR]))
    forced = await x.fetch_my_liquidations(PAIR)
    report.check("fetch_my_liquidations", len(forced) == 1, forced)
    await x.set_margin_mode("cross", PAIR)


async def history(x: Any, report: Report, account: int) -> None:
    """What the exchange remembers, and the listen key that a user stream begins with."""
    report.part = "history"
    made = await x.fetch_orders(PAIR)
    report.check("fetch_orders", len(made) >= 10, len(made))
    income = await x.fetch_ledger("USDT")
    total = sum(round(row["amount"] * 10**8) * (1 if row["direction"] == "in" else -1) for row in income)
    report.equal(
        "income adds up to the wallet", total, round((await x.fetch_balance())["USDT"]["total"] * 10**8)
    )
    await books(x, report, account)


async def books(x: Any, report: Report, account: int) -> None:
    """ccxt's view against the ledger."""
    report.part = "books"
    trades = await x.fetch_my_trades(PAIR)
    assets = (await x.fetch_balance())["info"]["assets"]  # its total counts what is not realised yet
    report.books(
        account,
        wallet=next(one["walletBalance"] for one in assets if one["asset"] == "USDT"),
        positions=[
            (p["info"]["positionSide"], p["info"]["positionAmt"]) for p in await x.fetch_positions([PAIR])
        ],
        fills=[(t["id"], t["price"], t["amount"], t["fee"]["cost"]) for t in trades],
    )


async def listen_key(x: Any, report: Report) -> None:
    """All that a client without streams can do about a user stream."""
    report.part = "user stream"
    key = (await x.fapiPrivatePostListenKey())["listenKey"]
    kept = (await x.fapiPrivatePutListenKey({"listenKey": key}))["listenKey"]
    report.check("a listen key is made and kept", key == kept and len(key) == 64, (key, kept))
    await x.fapiPrivateDeleteListenKey()


async def life(x: Any, report: Report, account: int) -> None:
    """From market data to history."""
    price("50000")
    await x.load_time_difference()
    await market_data(x, report)
    await settings(x, report)
    await orders(x, report, account)
    await errors(x, report)
    await hedge(x, report, account)
    await funding(x, report)
    await liquidation(x, report)
    await history(x, report, account)


assert PAIR.partition(":")[0].replace("/", "") == SYMBOL
