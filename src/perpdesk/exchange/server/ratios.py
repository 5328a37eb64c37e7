"""Statistics of /futures/data: who is long, who takes, and the basis, from the served candles.

A row belongs to a period of candles that is over; a period without candles has none. What the tape knows is
exact (taker volumes where the file has them, prices). What no file knows is invented, the same for the same
seed: a share of longs per contract that drifts every four hours and wavers every period, in which the crowd
leans against the move of the period and the big positions lean with it. A file of open interest that has
ratios, too, is told as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perpdesk.exchange.core import history
from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.contracts import HOUR_MS, PPM, Contract
from perpdesk.exchange.core.depth import mixed
from perpdesk.exchange.core.numbers import fixed, integer, ratio, short
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server import candles
from perpdesk.exchange.server.call import Answer, Call, Endpoint, Table

PERIODS = ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
_DAYS = 30
_PLACES = 4
_DRIFT_PPM, _WAVER_PPM = 30_000, 5_000
_SHARE_MIN_PPM = 50_000
# name → (number of the stream, usual share of longs, how much of a move it follows: negative is against it)
_CROWDS = {
    "globalLongShortAccountRatio": (1, 540_000, -20),
    "topLongShortAccountRatio": (2, 520_000, -10),
    "topLongShortPositionRatio": (3, 500_000, 15),
}

Span = tuple[int, int, int, bool]


def checked(call: Call, *mandatory: str) -> Refusal | None:
    """What all of these endpoints ask of their parameters."""
    for name in mandatory:
        if not call.params.get(name):
            return no.mandatory(name)
    for name in ("symbol", "pair"):
        if name in mandatory and call.params[name].upper() not in call.world.by_symbol:
            return no.BAD_SYMBOL
    if "period" in mandatory and call.params["period"] not in PERIODS:
        return no.invalid_value("period")
    start = integer(call.params.get("startTime", ""))
    if start is not None and start < call.now_ms - (_DAYS + 1) * history.DAY_MS:
        return no.invalid_value("startTime")
    return None


def span(call: Call) -> Span | Refusal:
    """(first ms, last ms, limit, whether it counts from the start) of a query: the newest 30 days."""
    limit = history.limit_of(call.params, 30, 500)
    if isinstance(limit, Refusal):
        return limit
    start, end = (integer(call.params.get(name, "")) for name in ("startTime", "endTime"))
    oldest = call.now_ms - _DAYS * history.DAY_MS
    first_ms = oldest if start is None else max(start, oldest)
    last_ms = call.now_ms if end is None else min(end, call.now_ms)
    return first_ms, last_ms, limit, start is not None


def _rows(call: Call, contract: Contract, found: Span) -> list[candles.Row]:
    """The candles of the periods that are over, oldest first."""
    first_ms, last_ms, limit, from_start = found
    period = call.params["period"]
    length = candles.INTERVALS[period]
    last_ms = min(last_ms, call.now_ms // length * length - 1)
    if last_ms < first_ms:
        return []
    if not from_start:
        first_ms = max(first_ms, candles.start_of(period, last_ms) - (limit - 1) * length)
    series = call.server.publisher.candles[contract.index]
    rows = series.rows(period, first_ms, last_ms, limit, call.now_ms)
    return [row for row in rows if first_ms <= row[0] <= last_ms]


def _noise(seed: int, *words: int, width_ppm: int) -> int:
    """A draw from −width to +width."""
    return (mixed(seed, *words) & 0xFFFF) * 2 * width_ppm // 0xFFFF - width_ppm


def long_share_ppm(seed: int, contract: int, name: str, row: candles.Row) -> int:
    """The share of longs in one period."""
    stream, usual, follows = _CROWDS[name]
    move_ppm = (row[4] - row[1]) * PPM // max(1, row[1])
    share = usual + follows * move_ppm
    share += _noise(seed, contract, stream, row[0] // (4 * HOUR_MS), width_ppm=_DRIFT_PPM)
    share += _noise(seed, contract, stream, row[0], width_ppm=_WAVER_PPM)
    return max(_SHARE_MIN_PPM, min(PPM - _SHARE_MIN_PPM, share))


def bought_lots(seed: int, contract: int, row: candles.Row) -> int:
    """What takers bought: as recorded, else by where the period closed in its range."""
    if row[8] or row[5] == 0:
        return row[8]
    reach = max(1, row[2] - row[3])
    share = PPM // 2 + (row[4] - row[1]) * (PPM // 5) // reach
    share += _noise(seed, contract, 4, row[0], width_ppm=_DRIFT_PPM)
    return int(row[5] * max(0, min(PPM, share)) // PPM)


def _recorded(call: Call, name: str, found: Span) -> list[tuple[int, str]] | None:
    """(time, ratio) of a file's rows on the period's grid; None where no file tells any."""
    interest = call.server.options.open_interest.get(call.params["symbol"].upper())
    if interest is None or not interest.ratios:
        return None
    first_ms, last_ms, limit, from_start = found
    length = candles.INTERVALS[call.params["period"]]
    rows = sorted(interest.ratios.get(name, {}).items())
    on_grid = [(ms, told) for ms, told in rows if ms % length == 0 and first_ms <= ms <= last_ms]
    return on_grid[:limit] if from_start else on_grid[-limit:]


def _crowd(name: str) -> Callable[[Call], Answer]:
    def answer(call: Call) -> Answer:
        wrong = checked(call, "symbol", "period")
        found = wrong or span(call)
        if isinstance(found, Refusal):
            return found
        contract = call.world.by_symbol[call.params["symbol"].upper()]
        told = _recorded(call, name, found)
        if told is not None:
            return [{"symbol": contract.symbol, "longShortRatio": r, "timestamp": ms} for ms, r in told]
        out: list[dict[str, Any]] = []
        for row in _rows(call, contract, found):
            share = long_share_ppm(call.world.rules.seed, contract.index, name, row) // 100
            out.append(
                {
                    "symbol": contract.symbol,
                    "longShortRatio": fixed(ratio(share, PPM // 100 - share, _PLACES), _PLACES),
                    "longAccount": fixed(share, _PLACES),
                    "shortAccount": fixed(PPM // 100 - share, _PLACES),
                    "timestamp": row[0],
                }
            )
        return out

    return answer


def takers(call: Call) -> Answer:
    """GET takerlongshortRatio."""
    wrong = checked(call, "symbol", "period")
    found = wrong or span(call)
    if isinstance(found, Refusal):
        return found
    contract = call.world.by_symbol[call.params["symbol"].upper()]
    told = _recorded(call, "takerlongshortRatio", found)
    if told is not None:
        return [{"buySellRatio": r, "timestamp": ms} for ms, r in told]
    out = []
    for row in _rows(call, contract, found):
        bought = bought_lots(call.world.rules.seed, contract.index, row)
        sold = row[5] - bought
        out.append(
            {
                "buySellRatio": fixed(ratio(bought, sold, _PLACES), _PLACES) if sold else "0.0000",
                "buyVol": contract.qty_text(bought),
                "sellVol": contract.qty_text(sold),
                "timestamp": row[0],
            }
        )
    return out


def basis(call: Call) -> Answer:
    """GET basis: the index follows the contract here (indexPriceKlines), so the basis is nothing."""
    wrong = checked(call, "pair", "contractType", "period")
    found = wrong or span(call)
    if isinstance(found, Refusal):
        return found
    kind = call.params["contractType"]
    if kind not in ("PERPETUAL", "CURRENT_QUARTER", "NEXT_QUARTER"):
        return no.invalid_value("contractType")
    contract = call.world.by_symbol[call.params["pair"].upper()]
    if kind != "PERPETUAL":
        return []
    return [
        {
            "indexPrice": contract.price_text(row[4]),
            "contractType": kind,
            "basisRate": "0.0000",
            "futuresPrice": contract.price_text(row[4]),
            "annualizedBasisRate": "",
            "basis": short(0, contract.price_digits, 1),
            "pair": contract.symbol,
            "timestamp": row[0],
        }
        for row in _rows(call, contract, found)
    ]


def interest_history(call: Call) -> Answer:
    """GET openInterestHist: recorded rows on the period's grid, newest 30 days, gaps omitted."""
    wrong = checked(call, "symbol", "period")
    found = wrong or span(call)
    if isinstance(found, Refusal):
        return found
    symbol = call.params["symbol"].upper()
    recorded = call.server.options.open_interest.get(symbol)
    if recorded is None:
        return []
    first_ms, last_ms, limit, from_start = found
    rows = recorded.on_grid(candles.INTERVALS[call.params["period"]], first_ms, last_ms)
    return [
        {
            "symbol": symbol,
            "sumOpenInterest": quantity,
            "sumOpenInterestValue": value,
            "CMCCirculatingSupply": "0",
            "timestamp": ms,
        }
        for ms, quantity, value in (rows[:limit] if from_start else rows[-limit:])
    ]


def deliveries(call: Call) -> Answer:
    """GET delivery-price: perpetuals are never delivered."""
    return checked(call, "pair") or []


TABLE: Table = {
    ("GET", "/futures/data/openInterestHist"): Endpoint(interest_history, weight=0, pool="data"),
    ("GET", "/futures/data/takerlongshortRatio"): Endpoint(takers, weight=0, pool="data"),
    ("GET", "/futures/data/basis"): Endpoint(basis, weight=0, pool="data"),
    ("GET", "/futures/data/delivery-price"): Endpoint(deliveries, weight=0, pool="data"),
    **{("GET", f"/futures/data/{name}"): Endpoint(_crowd(name), weight=0, pool="data") for name in _CROWDS},
}
