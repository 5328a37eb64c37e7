"""ccxt (sync): the order life with blocking calls."""

from __future__ import annotations

import sys

import ccxt
from ccxt_common import options
from life import Report, control, ledger, money, new_account

PAIR = "BTC/USDT:USDT"


def life(x: ccxt.Exchange, report: Report, account: int) -> None:
    """Market data, settings, orders, history."""
    x.load_markets()
    report.equal("fetch_ticker", x.fetch_ticker(PAIR)["last"], 50000)
    x.set_leverage(10, PAIR)
    limit = x.create_order(PAIR, "limit", "buy", 0.01, 49000)
    report.check("open", [o["id"] for o in x.fetch_open_orders(PAIR)] == [limit["id"]])
    x.cancel_order(limit["id"], PAIR)
    market = x.create_order(PAIR, "market", "buy", 0.01)
    report.check("filled", market["status"] == "closed", market)
    stop = x.create_order(PAIR, "market", "sell", 0.01, None, {"stopLossPrice": 49000, "reduceOnly": True})
    control("tick", symbol="BTCUSDT", price="48900", walk=True)
    report.check("stopped out", not x.fetch_positions([PAIR]), stop)
    books = ledger(account)
    report.equal("balance", x.fetch_balance()["USDT"]["total"], money(books["wallet_e8"]))
    report.check("fills", len(x.fetch_my_trades(PAIR)) == len(books["fills"]) == 2)


def main() -> int:
    """The life of one account."""
    report = Report("ccxt sync")
    account = new_account()
    control("tick", symbol="BTCUSDT", price="50000")
    x = ccxt.binanceusdm(options(account["api_key"], account["secret"]))
    try:
        x.load_time_difference()
        life(x, report, account["account"])
        report.check("no client exception", True)
    except Exception as error:
        report.crashed(error)
    return report.close()


sys.exit(main())
