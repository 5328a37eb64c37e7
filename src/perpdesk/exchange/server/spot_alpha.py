"""The Alpha-like market on the wire: its public data as Binance serves them, and the volume counter.

Orders go through Spot's order lists on the tokens' symbols. The counter's path exists only here: Binance
documents no private part of Alpha.
"""

from __future__ import annotations

from typing import Any

from perpdesk.domain.units import plain
from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.numbers import number
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server.call import Answer, Call, Table
from perpdesk.exchange.server.spot_call import account_of, book_of, endpoint, side_of
from perpdesk.exchange.server.spot_public import day_row, kline_row, kline_rows
from perpdesk.exchange.spot.bars import INTERVALS
from perpdesk.exchange.spot.counters import COUNTED, DAY_MS
from perpdesk.exchange.spot.pairs import Pair
from perpdesk.exchange.spot.views import amount

COUNTER_PATH = "/sim/v1/alpha/volume"
_PUBLIC = "/bapi/defi/v1/public"
_CHAINS = {"BSC": "56"}


def enveloped(content: Any) -> dict[str, Any]:
    """Everything under ``/bapi`` comes in this envelope."""
    return {"code": "000000", "message": None, "messageDetail": None, "data": content, "success": True}


def _tokens(call: Call) -> list[Pair]:
    return [pair for pair in side_of(call).world.pairs if pair.is_alpha]


def _multiplier(pair: Pair) -> Any:
    """As the venue writes it: a JSON number, null where it says nothing."""
    if pair.multiplier is None:
        return None
    value = number(pair.multiplier)
    return pair.multiplier if value is None else int(value) if value == int(value) else float(plain(value))


def token_list(call: Call) -> Answer:
    """GET token/list: names, chains, contracts and multipliers."""
    rows = []
    for pair in _tokens(call):
        last = call.server.spot.world.books[pair.index].last_e8
        rows.append(
            {
                "tokenId": f"{pair.index:032X}",
                "chainId": _CHAINS.get(pair.chain, pair.chain),
                "chainName": pair.chain,
                "contractAddress": pair.contract,
                "name": pair.token,
                "symbol": pair.token,
                "price": amount(last),
                "decimals": 18,
                "listingCex": False,
                "offline": pair.status != "TRADING",
                "tradeDecimal": pair.price_digits,
                "alphaId": pair.base,
                "offsell": False,
                "mulPoint": _multiplier(pair),
            }
        )
    return enveloped(rows)


def alpha_info(call: Call) -> Answer:
    """GET get-exchange-info."""
    tokens = _tokens(call)
    symbols = [
        {
            "symbol": pair.symbol,
            "status": pair.status,
            "baseAsset": pair.base,
            "quoteAsset": pair.quote,
            "pricePrecision": pair.price_digits,
            "quantityPrecision": pair.qty_digits,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "filters": pair.filters(),
            "orderTypes": ["LIMIT"],
        }
        for pair in tokens
    ]
    assets = [{"asset": asset} for asset in sorted({name for p in tokens for name in (p.base, p.quote)})]
    return enveloped({"timezone": "UTC", "assets": assets, "symbols": symbols, "orderTypes": ["LIMIT"]})


def ticker(call: Call) -> Answer:
    """GET ticker of one token."""
    book = book_of(call)
    return book if isinstance(book, Refusal) else enveloped(day_row(call, book))


def klines(call: Call) -> Answer:
    """GET klines of one token."""
    rows = kline_rows(call)
    if isinstance(rows, Refusal):
        return rows
    length = INTERVALS[call.params["interval"]]
    return enveloped([kline_row(row, length) for row in rows])


def volume(call: Call) -> Answer:
    """The caller's volume counters of today: multiplied, late, as JSON numbers with their binary noise.

    ``symbol``: one token; ``side``: buy (what rewards count), sell or both.
    """
    side = call.params.get("side", "") or "buy"
    if side not in COUNTED:
        return no.BAD_SIDE
    tokens = _tokens(call)
    if call.params.get("symbol"):
        book = book_of(call)
        if isinstance(book, Refusal):
            return book
        if not book.pair.is_alpha:
            return no.BAD_SYMBOL
        tokens = [book.pair]
    world, account = call.server.spot.world, account_of(call)
    now_ms = call.now_ms
    rows: list[dict[str, Any]] = [
        {
            "alphaId": pair.base,
            "symbol": pair.symbol,
            "tokenName": pair.token,
            "contractAddress": pair.contract,
            "volume": shown,
        }
        for pair in tokens
        for shown in [world.counters.displayed(account.index, pair, now_ms, side)]
        if shown or call.params.get("symbol")
    ]
    total = sum(row["volume"] for row in rows)
    day_ms = now_ms // DAY_MS * DAY_MS
    return enveloped({"dayStart": day_ms, "side": side, "totalVolume": total, "tradeVolumeInfoList": rows})


TABLE: Table = {
    ("GET", f"{_PUBLIC}/wallet-direct/buw/wallet/cex/alpha/all/token/list"): endpoint(token_list),
    ("GET", f"{_PUBLIC}/alpha-trade/get-exchange-info"): endpoint(alpha_info),
    ("GET", f"{_PUBLIC}/alpha-trade/ticker"): endpoint(ticker),
    ("GET", f"{_PUBLIC}/alpha-trade/klines"): endpoint(klines),
    ("GET", COUNTER_PATH): endpoint(volume, "SIGNED", 1),
}
