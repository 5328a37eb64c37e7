"""Market data endpoints (reference §9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perpdesk.exchange.core import history
from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.contracts import FUNDING_MS, HOUR_MS, Contract
from perpdesk.exchange.core.numbers import fixed, integer, money, short
from perpdesk.exchange.core.orders import BUY, SELL
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.core.world import Market
from perpdesk.exchange.server import candles, ratios
from perpdesk.exchange.server.books import book_levels
from perpdesk.exchange.server.call import Answer, Call, Endpoint, Table, by_symbol
from perpdesk.exchange.server.catalogue import exchange_info
from perpdesk.exchange.server.publish import text_levels

_DEPTHS = {"5": 2, "10": 2, "20": 2, "50": 2, "100": 5, "500": 10, "1000": 20}
_KLINES_MAX = 1_500


def ping(call: Call) -> Answer:
    """GET ping."""
    return {}


def time(call: Call) -> Answer:
    """GET time."""
    return {"serverTime": call.server.shown_ms()}


def _each(call: Call, one: Callable[[Market], dict[str, Any]]) -> Answer:
    contract = call.contract_if_given()
    if isinstance(contract, Refusal):
        return contract
    if contract is not None:
        return one(call.world.markets[contract.index])
    return [one(market) for market in call.world.markets]


def ticker_price(call: Call) -> Answer:
    """GET ticker/price."""
    return _each(
        call,
        lambda market: {
            "symbol": market.contract.symbol,
            "price": market.contract.price_text(market.last),
            "time": market.updated_ms or call.now_ms,
        },
    )


def book_ticker(call: Call) -> Answer:
    """GET ticker/bookTicker."""

    def one(market: Market) -> dict[str, Any]:
        event = call.server.publisher.book_ticker(market)
        return {
            "symbol": market.contract.symbol,
            "bidPrice": event["b"],
            "bidQty": event["B"],
            "askPrice": event["a"],
            "askQty": event["A"],
            "time": market.updated_ms or call.now_ms,
            "lastUpdateId": market.update_id,
        }

    return _each(call, one)


def ticker_day(call: Call) -> Answer:
    """GET ticker/24hr."""

    def one(market: Market) -> dict[str, Any]:
        event = call.server.publisher.ticker_event(market, call.now_ms, True)
        return {
            "symbol": market.contract.symbol,
            "priceChange": event["p"],
            "priceChangePercent": event["P"],
            "weightedAvgPrice": event["w"],
            "lastPrice": event["c"],
            "lastQty": event["Q"],
            "openPrice": event["o"],
            "highPrice": event["h"],
            "lowPrice": event["l"],
            "volume": event["v"],
            "quoteVolume": event["q"],
            "openTime": event["O"],
            "closeTime": event["C"],
            "firstId": event["F"],
            "lastId": event["L"],
            "count": event["n"],
        }

    return _each(call, one)


def premium_index(call: Call) -> Answer:
    """GET premiumIndex."""

    def one(market: Market) -> dict[str, Any]:
        event = call.server.publisher.mark_event(market, call.now_ms)
        return {
            "symbol": market.contract.symbol,
            "markPrice": event["p"],
            "indexPrice": event["i"],
            "estimatedSettlePrice": event["P"],
            "lastFundingRate": event["r"],
            "interestRate": "0.00010000",
            "nextFundingTime": market.next_funding_ms,
            "time": call.now_ms,
        }

    return _each(call, one)


def depth(call: Call) -> Answer:
    """GET depth."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    text = call.params.get("limit", "") or "500"
    if text not in _DEPTHS:
        return no.bad_depth_limit(text)
    return depth_of(call, contract, int(text))


def depth_of(call: Call, contract: Contract, limit: int) -> dict[str, Any]:
    """A snapshot."""
    market = call.world.markets[contract.index]
    return {
        "lastUpdateId": market.update_id,
        "E": call.now_ms,
        "T": market.updated_ms or call.now_ms,
        "bids": text_levels(contract, dict(book_levels(market, SELL, limit))),
        "asks": text_levels(contract, dict(book_levels(market, BUY, limit))),
    }


def rpi_depth(call: Call) -> Answer:
    """GET rpiDepth: only the limit 1000."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    text = call.params.get("limit", "") or "1000"
    return depth_of(call, contract, 1000) if text == "1000" else no.bad_depth_limit(text)


def trades(call: Call) -> Answer:
    """GET trades."""
    return _trades(call, 500, 1000)


def old_trades(call: Call) -> Answer:
    """GET historicalTrades."""
    return _trades(call, 100, 500)


def _trades(call: Call, default: int, largest: int) -> Answer:
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    limit = history.limit_of(call.params, default, largest)
    if isinstance(limit, Refusal):
        return limit
    first = integer(call.params.get("fromId", ""))
    rows = [one for one in call.world.markets[contract.index].prints if first is None or one.id >= first]
    chosen = rows[-limit:] if first is None else rows[:limit]
    return [
        {
            "id": one.id,
            "price": contract.price_text(one.price),
            "qty": contract.qty_text(one.lots),
            "quoteQty": money(contract.notional_e8(one.price, one.lots)),
            "time": one.ms,
            "isBuyerMaker": one.buyer_maker,
            "isRPITrade": False,
        }
        for one in chosen
    ]


def agg_trades(call: Call) -> Answer:
    """GET aggTrades."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    limit = history.limit_of(call.params, 500, 1000)
    if isinstance(limit, Refusal):
        return limit
    first, start, end = (integer(call.params.get(name, "")) for name in ("fromId", "startTime", "endTime"))
    if first is not None and (start is not None or end is not None):
        return no.BAD_COMBINATION
    if start is not None and end is not None and end - start >= HOUR_MS:
        return Refusal(-1127, "More than 1 hours between startTime and endTime.")
    rows = [
        row
        for row in call.server.publisher.aggregates[contract.index]
        if (first is None or row["a"] >= first)
        and (start is None or row["T"] >= start)
        and (end is None or row["T"] <= end)
    ]
    from_start = first is not None or start is not None
    chosen = rows[:limit] if from_start else rows[-limit:]
    return [call.server.publisher.aggregate_row(contract.index, row) for row in chosen]


def _klines(call: Call, contract: Contract, *, volumes: bool) -> Answer:
    interval = call.params.get("interval", "")
    if not interval:
        return no.mandatory("interval")
    if interval not in candles.INTERVALS:
        return no.BAD_INTERVAL
    limit = history.limit_of(call.params, 500, _KLINES_MAX)
    if isinstance(limit, Refusal):
        return limit
    bounds: list[int | None] = []
    for name in ("startTime", "endTime"):
        text = call.params.get(name, "")
        value = integer(text) if text else None
        if text and (value is None or value < 0):
            return no.mandatory(name)
        bounds.append(value)
    if bounds[0] is not None and bounds[1] is not None and bounds[0] > bounds[1]:
        return no.START_AFTER_END
    rows = call.server.publisher.candles[contract.index].rows(
        interval, bounds[0], bounds[1], limit, call.now_ms
    )
    found = [candles.json_row(contract, interval, row) for row in rows]
    if not volumes:
        for row in found:
            row[5] = row[7] = row[9] = row[10] = "0"
    return found


def klines(call: Call) -> Answer:
    """GET klines."""
    contract = call.contract()
    return contract if isinstance(contract, Refusal) else _klines(call, contract, volumes=True)


def mark_klines(call: Call) -> Answer:
    """GET markPriceKlines: mark follows the last price unless it was parted from it."""
    contract = call.contract()
    return contract if isinstance(contract, Refusal) else _klines(call, contract, volumes=False)


def premium_klines(call: Call) -> Answer:
    """GET premiumIndexKlines: the premium is zero where mark, index and last are one."""
    contract = call.contract()
    rows = contract if isinstance(contract, Refusal) else _klines(call, contract, volumes=False)
    if not isinstance(rows, Refusal):
        for row in rows:
            row[1:5] = ["0.00000000"] * 4
    return rows


def _pair(call: Call) -> Contract | Refusal:
    pair = call.params.get("pair", "")
    if not pair:
        return no.mandatory("pair")
    return call.world.by_symbol.get(pair.upper()) or Refusal(-4144, "Invalid pair")


def continuous_klines(call: Call) -> Answer:
    """GET continuousKlines: perpetuals only."""
    contract = _pair(call)
    if isinstance(contract, Refusal):
        return contract
    kind = call.params.get("contractType", "")
    if not kind:
        return no.mandatory("contractType")
    if kind not in ("PERPETUAL", "CURRENT_QUARTER", "NEXT_QUARTER", "TRADIFI_PERPETUAL"):
        return Refusal(-4104, "Invalid contract type")
    return _klines(call, contract, volumes=True) if kind == "PERPETUAL" else []


def index_klines(call: Call) -> Answer:
    """GET indexPriceKlines."""
    contract = _pair(call)
    return contract if isinstance(contract, Refusal) else _klines(call, contract, volumes=False)


def funding_rate(call: Call) -> Answer:
    """GET fundingRate: settled rates, ascending."""
    contract = call.contract_if_given()
    if isinstance(contract, Refusal):
        return contract
    limit = history.limit_of(call.params, 100, 1000)
    if isinstance(limit, Refusal):
        return limit
    start, end = (integer(call.params.get(name, "")) for name in ("startTime", "endTime"))
    markets = call.world.markets if contract is None else [call.world.markets[contract.index]]
    rows = [
        (row["ms"], market.contract, row)
        for market in markets
        for row in market.funding
        if (start is None or row["ms"] >= start) and (end is None or row["ms"] <= end)
    ]
    rows.sort(key=lambda one: (one[0], one[1].index))
    chosen = rows[:limit] if start is not None else rows[-limit:]
    return [
        {
            "symbol": one.symbol,
            "fundingRate": fixed(row["rate_e8"], 8),
            "fundingTime": ms,
            "markPrice": fixed(row["mark"] * 10 ** max(0, 8 - one.price_digits), 8),
            "rateType": "Regular",
        }
        for ms, one, row in chosen
    ]


def funding_info(call: Call) -> Answer:
    """GET fundingInfo: only symbols that differ from eight hours."""
    return [
        {
            "symbol": contract.symbol,
            "adjustedFundingRateCap": "0.02500000",
            "adjustedFundingRateFloor": "-0.02500000",
            "fundingIntervalHours": contract.funding_ms // HOUR_MS,
            "disclaimer": False,
        }
        for contract in call.world.contracts
        if contract.funding_ms != FUNDING_MS
    ]


def open_interest(call: Call) -> Answer:
    """GET openInterest: what the source recorded, else what the clients hold."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    recorded = call.server.options.open_interest.get(contract.symbol)
    if recorded is not None:
        row = recorded.at(call.now_ms)
        if row is None:
            return Refusal(-1112, "No orders on book for symbol.")
        return {"symbol": contract.symbol, "openInterest": row[1], "time": row[0]}
    held = sum(
        max(0, position.lots) for account in call.world.accounts for position in account.held(contract.index)
    )
    return {"symbol": contract.symbol, "openInterest": contract.qty_text(held), "time": call.now_ms}


def empty_list(call: Call) -> Answer:
    """Nothing to tell, in the right shape."""
    return []


def adl_risk(call: Call) -> Answer:
    """GET symbolAdlRisk."""
    return _each(
        call,
        lambda market: {"symbol": market.contract.symbol, "adlRisk": "low", "updateTime": call.now_ms},
    )


def insurance(call: Call) -> Answer:
    """GET insuranceBalance: what the fund has."""
    balance = short(call.world.fund_e8, 8)
    return {
        "symbols": [contract.symbol for contract in call.world.contracts],
        "assets": [{"asset": "USDT", "marginBalance": balance, "updateTime": call.now_ms}],
    }


def _kline_weight(params: dict[str, str]) -> int:
    limit = integer(params.get("limit", "")) or 500
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def _depth_weight(params: dict[str, str]) -> int:
    return _DEPTHS.get(params.get("limit", "") or "500", 2)


TABLE: Table = {
    ("GET", "/fapi/v1/ping"): Endpoint(ping),
    ("GET", "/fapi/v1/time"): Endpoint(time),
    ("GET", "/fapi/v1/exchangeInfo"): Endpoint(exchange_info),
    ("GET", "/fapi/v1/ticker/price"): Endpoint(ticker_price, weight=by_symbol(1, 2)),
    ("GET", "/fapi/v2/ticker/price"): Endpoint(ticker_price, weight=by_symbol(1, 2)),
    ("GET", "/fapi/v1/ticker/bookTicker"): Endpoint(book_ticker, weight=by_symbol(2, 5)),
    ("GET", "/fapi/v1/ticker/24hr"): Endpoint(ticker_day, weight=by_symbol(1, 40)),
    ("GET", "/fapi/v1/premiumIndex"): Endpoint(premium_index, weight=by_symbol(1, 10)),
    ("GET", "/fapi/v1/depth"): Endpoint(depth, weight=_depth_weight),
    ("GET", "/fapi/v1/rpiDepth"): Endpoint(rpi_depth, weight=20),
    ("GET", "/fapi/v1/trades"): Endpoint(trades, weight=5),
    ("GET", "/fapi/v1/historicalTrades"): Endpoint(old_trades, "KEY", 200),
    ("GET", "/fapi/v1/aggTrades"): Endpoint(agg_trades, weight=20),
    ("GET", "/fapi/v1/klines"): Endpoint(klines, weight=_kline_weight),
    ("GET", "/fapi/v1/continuousKlines"): Endpoint(continuous_klines, weight=_kline_weight),
    ("GET", "/fapi/v1/indexPriceKlines"): Endpoint(index_klines, weight=_kline_weight),
    ("GET", "/fapi/v1/markPriceKlines"): Endpoint(mark_klines, weight=_kline_weight),
    ("GET", "/fapi/v1/premiumIndexKlines"): Endpoint(premium_klines, weight=_kline_weight),
    ("GET", "/fapi/v1/fundingRate"): Endpoint(funding_rate, weight=0, pool="funding"),
    ("GET", "/fapi/v1/fundingInfo"): Endpoint(funding_info, weight=0, pool="funding"),
    ("GET", "/fapi/v1/openInterest"): Endpoint(open_interest),
    ("GET", "/fapi/v1/symbolAdlRisk"): Endpoint(adl_risk),
    ("GET", "/fapi/v1/insuranceBalance"): Endpoint(insurance),
    ("GET", "/fapi/v1/indexInfo"): Endpoint(empty_list),
    ("GET", "/fapi/v1/assetIndex"): Endpoint(empty_list, weight=by_symbol(1, 10)),
    **ratios.TABLE,
}


def wallet_status(call: Call) -> Answer:
    """GET /sapi/v1/system/status."""
    return {"status": 0, "msg": "normal"}


TABLE["GET", "/sapi/v1/system/status"] = Endpoint(wallet_status)
TABLE["GET", "/sapi/v1/capital/config/getall"] = Endpoint(empty_list, "SIGNED")
