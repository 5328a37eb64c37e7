"""A Spot wallet: balances, executions, commissions, limits, and the listen key."""

from __future__ import annotations

from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.numbers import fixed, integer
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server.call import Answer, Call, Table
from perpdesk.exchange.server.spot_call import account_of, book_of, endpoint, limit_of, side_of
from perpdesk.exchange.server.spot_trading import span_of
from perpdesk.exchange.spot import checks, views
from perpdesk.exchange.spot import refusals as spot_no
from perpdesk.exchange.spot.pairs import SPOT_FEE_PPM

_RATE_DIGITS = 8


def _rate(ppm: int) -> str:
    return fixed(ppm * 100, _RATE_DIGITS)


def account(call: Call) -> Answer:
    """GET account."""
    side_of(call)
    one = account_of(call)
    hide_empty = call.params.get("omitZeroBalances", "").lower() == "true"
    rows = [
        {"asset": asset, "free": views.amount(free), "locked": views.amount(locked)}
        for asset in sorted({*one.free, *one.locked})
        for free, locked in [(one.free.get(asset, 0), one.locked.get(asset, 0))]
        if free or locked or not hide_empty
    ]
    basis_points = SPOT_FEE_PPM // 100
    return {
        "makerCommission": basis_points,
        "takerCommission": basis_points,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": _rate(SPOT_FEE_PPM),
            "taker": _rate(SPOT_FEE_PPM),
            "buyer": _rate(0),
            "seller": _rate(0),
        },
        "canTrade": True,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": one.updated_ms,
        "accountType": "SPOT",
        "balances": rows,
        "permissions": ["SPOT"],
        "uid": one.index + 1,
    }


def commission(call: Call) -> Answer:
    """GET account/commission: the pair's own rates."""
    book = book_of(call)
    if isinstance(book, Refusal):
        return book
    pair, nothing = book.pair, {"buyer": _rate(0), "seller": _rate(0)}
    return {
        "symbol": pair.symbol,
        "standardCommission": {"maker": _rate(pair.maker_ppm), "taker": _rate(pair.taker_ppm), **nothing},
        "specialCommission": {"maker": _rate(0), "taker": _rate(0), **nothing},
        "taxCommission": {"maker": _rate(0), "taker": _rate(0), **nothing},
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": _rate(0),
        },
    }


def trade_fees(call: Call) -> Answer:
    """GET tradeFee of the wallet service, for one symbol or all."""
    books = side_of(call).world.books
    if call.params.get("symbol"):
        book = book_of(call)
        if isinstance(book, Refusal):
            return book
        books = [book]
    return [
        {
            "symbol": book.pair.symbol,
            "makerCommission": _rate(book.pair.maker_ppm),
            "takerCommission": _rate(book.pair.taker_ppm),
        }
        for book in books
    ]


def my_trades(call: Call) -> Answer:
    """GET myTrades: from an id or a time on, else the newest; oldest first."""
    book = book_of(call)
    if isinstance(book, Refusal):
        return book
    limit, span = limit_of(call.params), span_of(call)
    if isinstance(limit, Refusal) or isinstance(span, Refusal):
        return limit if isinstance(limit, Refusal) else span
    order_id, first = checks.order_id(call.params), integer(call.params.get("fromId", ""))
    if isinstance(order_id, Refusal):
        return order_id
    if call.params.get("fromId") and first is None:
        return no.mandatory("fromId")
    timed = bool(call.params.get("startTime") or call.params.get("endTime"))
    if timed and (first is not None or order_id is not None):
        return no.BAD_COMBINATION
    rows = [
        fill
        for fill in account_of(call).fills
        if fill.order.pair == book.pair.index
        and (order_id is None or fill.order.id == order_id)
        and (first is None or fill.id >= first)
        and span[0] <= fill.ms <= span[1]
    ]
    from_start = first is not None or bool(call.params.get("startTime"))
    chosen = rows[:limit] if from_start else rows[-limit:]
    return [views.fill_row(call.server.spot.world, fill) for fill in chosen]


def _trades_weight(params: dict[str, str]) -> int:
    return 5 if params.get("orderId") else 20


def order_limits(call: Call) -> Answer:
    """GET rateLimit/order."""
    limits = call.server.spot.limits
    used = limits.orders_used(call.account.index, call.server.session_ms())
    return [rule | {"count": count} for rule, count in zip(limits.order_rules(), used, strict=True)]


def listen_start(call: Call) -> Answer:
    """POST userDataStream."""
    side = call.server.spot
    account_of(call)
    return {"listenKey": side.listen_keys.start(call.account.index, side.session_ms())}


def _own_key(call: Call) -> Refusal | None:
    given = call.params.get("listenKey", "")
    if not given:
        return no.mandatory("listenKey")
    owner = call.server.spot.listen_keys.owners.get(given)
    return None if owner == call.account.index else spot_no.BAD_LISTEN_KEY


def listen_keep(call: Call) -> Answer:
    """PUT userDataStream."""
    side, wrong = call.server.spot, _own_key(call)
    if wrong is None:
        side.listen_keys.extend(call.account.index, side.session_ms())
    return wrong or {}


def listen_stop(call: Call) -> Answer:
    """DELETE userDataStream."""
    wrong = _own_key(call)
    if wrong is None:
        call.server.spot.listen_keys.stop(call.account.index)
    return wrong or {}


TABLE: Table = {
    ("GET", "/api/v3/account"): endpoint(account, "SIGNED", 20),
    ("GET", "/api/v3/account/commission"): endpoint(commission, "SIGNED", 20),
    ("GET", "/sapi/v1/asset/tradeFee"): endpoint(trade_fees, "SIGNED", 1),
    ("GET", "/api/v3/myTrades"): endpoint(my_trades, "SIGNED", _trades_weight),
    ("GET", "/api/v3/rateLimit/order"): endpoint(order_limits, "SIGNED", 40),
    ("POST", "/api/v3/userDataStream"): endpoint(listen_start, "KEY", 2),
    ("PUT", "/api/v3/userDataStream"): endpoint(listen_keep, "KEY", 2),
    ("DELETE", "/api/v3/userDataStream"): endpoint(listen_stop, "KEY", 2),
}
