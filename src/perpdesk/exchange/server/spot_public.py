"""Spot market data: rules, quotes, depth, prints, klines."""

from __future__ import annotations

from typing import Any

import msgspec

from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.numbers import fixed
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server.call import Answer, Call, Table
from perpdesk.exchange.server.spot_call import book_of, endpoint, limit_of, side_of, time_of
from perpdesk.exchange.spot.bars import INTERVALS, Bar
from perpdesk.exchange.spot.book import Book
from perpdesk.exchange.spot.checks import STP_DEFAULT, TYPES
from perpdesk.exchange.spot.orders import BUY, SELL
from perpdesk.exchange.spot.pairs import E8, Pair
from perpdesk.exchange.spot.views import amount

_DEPTH_MAX = 5_000
_DAY_MINUTES = 1_440


def ping(call: Call) -> Answer:
    """GET ping."""
    return {}


def time(call: Call) -> Answer:
    """GET time."""
    return {"serverTime": call.server.shown_ms()}


def _symbols(call: Call) -> list[Book] | None | Refusal:
    """``symbol`` or ``symbols``; None without either."""
    side, params = side_of(call), call.params
    if params.get("symbol") and params.get("symbols"):
        return no.BAD_COMBINATION
    if params.get("symbol"):
        book = book_of(call)
        return book if isinstance(book, Refusal) else [book]
    text = params.get("symbols", "")
    if not text:
        return None
    try:
        names = msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError:
        return Refusal(-1100, "Illegal characters found in parameter 'symbols'; legal range is '[\"…\"]'.")
    pairs = [side.pair(name) for name in names]
    if not names or any(pair is None for pair in pairs):
        return no.BAD_SYMBOL
    return [side.world.books[pair.index] for pair in pairs if pair is not None]


def exchange_info(call: Call) -> Answer:
    """GET exchangeInfo."""
    chosen = _symbols(call)
    if isinstance(chosen, Refusal):
        return chosen
    side = call.server.spot
    books = side.world.books if chosen is None else chosen
    return {
        "timezone": "UTC",
        "serverTime": call.now_ms,
        "rateLimits": side.limits.rules(),
        "exchangeFilters": [],
        "symbols": [symbol_row(book.pair) for book in books],
    }


def symbol_row(pair: Pair) -> dict[str, Any]:
    """One element of ``symbols``."""
    return {
        "symbol": pair.symbol,
        "status": pair.status,
        "baseAsset": pair.base,
        "baseAssetPrecision": 8,
        "quoteAsset": pair.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(TYPES),
        "icebergAllowed": False,
        "ocoAllowed": pair.oco_allowed,
        "otoAllowed": pair.oto_allowed,
        "opoAllowed": pair.opo_allowed,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": pair.filters(),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": STP_DEFAULT,
        "allowedSelfTradePreventionModes": list(pair.stp_modes),
    }


def _each(call: Call, row: Any) -> Answer:
    """One row for ``symbol``, a list otherwise."""
    chosen = _symbols(call)
    if isinstance(chosen, Refusal):
        return chosen
    if chosen is not None and call.params.get("symbol"):
        return row(call, chosen[0])
    return [row(call, book) for book in chosen or call.server.spot.world.books]


def _price(call: Call, book: Book) -> dict[str, Any]:
    return {"symbol": book.pair.symbol, "price": amount(book.last_e8)}


def _quote(call: Call, book: Book) -> dict[str, Any]:
    bid, bid_qty, ask, ask_qty = book.ticker()
    return {
        "symbol": book.pair.symbol,
        "bidPrice": amount(bid),
        "bidQty": amount(bid_qty),
        "askPrice": amount(ask),
        "askQty": amount(ask_qty),
    }


def day_row(call: Call, book: Book) -> dict[str, Any]:
    """The last 24 hours of a pair."""
    rows = book.bars.rows("1m", None, None, _DAY_MINUTES, call.now_ms)
    opening = rows[0].open_e8 if rows else book.last_e8
    qty, quote = sum(row.qty_e8 for row in rows), sum(row.quote_e8 for row in rows)
    count, change = sum(row.count for row in rows), book.last_e8 - opening
    last_qty = book.prints[-1].qty_e8 if book.prints else 0
    return {
        "priceChange": amount(change),
        "priceChangePercent": fixed(change * 100_000 // max(1, opening), 3),
        "weightedAvgPrice": amount(quote * E8 // qty if qty else book.last_e8),
        "prevClosePrice": amount(opening),
        "lastQty": amount(last_qty),
        **_quote(call, book),
        "lastPrice": amount(book.last_e8),
        "openPrice": amount(opening),
        "highPrice": amount(max((row.high_e8 for row in rows), default=book.last_e8)),
        "lowPrice": amount(min((row.low_e8 for row in rows), default=book.last_e8)),
        "volume": amount(qty),
        "quoteVolume": amount(quote),
        "openTime": rows[0].open_ms if rows else call.now_ms,
        "closeTime": call.now_ms,
        "firstId": book.trade_id - count + 1 if count else -1,
        "lastId": book.trade_id if count else -1,
        "count": count,
    }


def ticker_price(call: Call) -> Answer:
    """GET ticker/price."""
    return _each(call, _price)


def book_ticker(call: Call) -> Answer:
    """GET ticker/bookTicker."""
    return _each(call, _quote)


def ticker_day(call: Call) -> Answer:
    """GET ticker/24hr."""
    return _each(call, day_row)


def average_price(call: Call) -> Answer:
    """GET avgPrice: the last price, as the filters here use it."""
    book = book_of(call)
    if isinstance(book, Refusal):
        return book
    return {"mins": 0, "price": amount(book.last_e8), "closeTime": book.quoted_ms}


def depth(call: Call) -> Answer:
    """GET depth."""
    book, limit = book_of(call), limit_of(call.params, 100, _DEPTH_MAX)
    if isinstance(book, Refusal) or isinstance(limit, Refusal):
        return book if isinstance(book, Refusal) else limit
    sides = {name: book.shown(side, limit) for name, side in (("bids", SELL), ("asks", BUY))}
    rows = {name: [[amount(price), amount(qty)] for price, qty in side] for name, side in sides.items()}
    return {"lastUpdateId": book.quotes + book.trade_id, **rows}


def _depth_weight(params: dict[str, str]) -> int:
    limit = limit_of(params, 100, _DEPTH_MAX)
    count = 100 if isinstance(limit, Refusal) else limit
    return 5 if count <= 100 else 25 if count <= 500 else 50 if count <= 1000 else 250


def trades(call: Call) -> Answer:
    """GET trades: the newest, oldest first."""
    book, limit = book_of(call), limit_of(call.params)
    if isinstance(book, Refusal) or isinstance(limit, Refusal):
        return book if isinstance(book, Refusal) else limit
    return [
        {
            "id": one.id,
            "price": amount(one.price_e8),
            "qty": amount(one.qty_e8),
            "quoteQty": amount(one.quote_e8),
            "time": one.ms,
            "isBuyerMaker": one.buyer_maker,
            "isBestMatch": True,
        }
        for one in list(book.prints)[-limit:]
    ]


def klines(call: Call) -> Answer:
    """GET klines, from 1s on."""
    rows = kline_rows(call)
    if isinstance(rows, Refusal):
        return rows
    length = INTERVALS[call.params["interval"]]
    return [kline_row(row, length) for row in rows]


def kline_rows(call: Call) -> list[Bar] | Refusal:
    """The bars that a request asks for."""
    book, limit = book_of(call), limit_of(call.params)
    if isinstance(book, Refusal) or isinstance(limit, Refusal):
        return book if isinstance(book, Refusal) else limit  # type: ignore[return-value]  # one of them is
    interval = call.params.get("interval", "")
    if interval not in INTERVALS:
        return no.BAD_INTERVAL if interval else no.mandatory("interval")
    start, end = time_of(call.params, "startTime"), time_of(call.params, "endTime")
    if isinstance(start, Refusal) or isinstance(end, Refusal):
        return start if isinstance(start, Refusal) else end  # type: ignore[return-value]  # one of them is
    return book.bars.rows(interval, start, end, limit, call.now_ms)


def kline_row(bar: Bar, length_ms: int) -> list[Any]:
    """Twelve columns."""
    return [
        bar.open_ms,
        amount(bar.open_e8),
        amount(bar.high_e8),
        amount(bar.low_e8),
        amount(bar.close_e8),
        amount(bar.qty_e8),
        bar.open_ms + length_ms - 1,
        amount(bar.quote_e8),
        bar.count,
        amount(bar.taker_qty_e8),
        amount(bar.taker_quote_e8),
        "0",
    ]


def _ticker_weight(one: int, many: int) -> Any:
    return lambda params: one if params.get("symbol") else many


TABLE: Table = {
    ("GET", "/api/v3/ping"): endpoint(ping),
    ("GET", "/api/v3/time"): endpoint(time),
    ("GET", "/api/v3/exchangeInfo"): endpoint(exchange_info, weight=20),
    ("GET", "/api/v3/ticker/price"): endpoint(ticker_price, weight=_ticker_weight(2, 4)),
    ("GET", "/api/v3/ticker/bookTicker"): endpoint(book_ticker, weight=_ticker_weight(2, 4)),
    ("GET", "/api/v3/ticker/24hr"): endpoint(ticker_day, weight=_ticker_weight(2, 80)),
    ("GET", "/api/v3/avgPrice"): endpoint(average_price, weight=2),
    ("GET", "/api/v3/depth"): endpoint(depth, weight=_depth_weight),
    ("GET", "/api/v3/trades"): endpoint(trades, weight=25),
    ("GET", "/api/v3/klines"): endpoint(klines, weight=2),
}
