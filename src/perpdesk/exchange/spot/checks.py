"""A Spot request's parameters, in the exchange's own sequence and words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from perpdesk.domain import units
from perpdesk.exchange.core import refusals as shared
from perpdesk.exchange.core.numbers import integer, number
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.spot import fills
from perpdesk.exchange.spot import refusals as no
from perpdesk.exchange.spot.book import Book
from perpdesk.exchange.spot.orders import (
    BUY,
    CONDITIONAL,
    PROFIT_TYPES,
    SIDES,
    STOP_TYPES,
    WITHOUT_PRICE,
    NewList,
    NewOrder,
)
from perpdesk.exchange.spot.pairs import PPM, Pair

Params = Mapping[str, str]
TYPES = ("LIMIT", "MARKET", "LIMIT_MAKER", *sorted(CONDITIONAL))
WITH_TIF = ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")
TIFS = ("GTC", "IOC", "FOK")
RESPONSES = ("ACK", "RESULT", "FULL")
STP_DEFAULT = "EXPIRE_MAKER"
_CLIENT_ID = re.compile(r"[a-zA-Z0-9_-]{1,36}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)
_DECIMAL_RANGE = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_DIGITS = 8
_AMOUNT_MAX = 10**17


def name_of(prefix: str, name: str) -> str:
    """``price`` of the working leg is ``workingPrice``."""
    return prefix + name[0].upper() + name[1:] if prefix else name


def client_id(params: Params, name: str) -> str | Refusal:
    """A client id, "" if there is none."""
    text = params.get(name)
    if text is None:
        return ""
    if text == "":
        return no.empty(name)
    return text if _CLIENT_ID.fullmatch(text) else no.bad_client_id(name)


def amount_e8(params: Params, name: str) -> int | Refusal:
    """A decimal parameter that must be there."""
    text = params.get(name, "")
    if text == "":
        return shared.mandatory(name)
    value = number(text) if _DECIMAL.fullmatch(text) else None
    if value is None:
        return Refusal(
            -1100, f"Illegal characters found in parameter '{name}'; legal range is '{_DECIMAL_RANGE}'."
        )
    if value > _AMOUNT_MAX:
        return Refusal(-1108, f"Parameter '{name}' overflowed.")
    if units.digits_of(value) > _DIGITS:
        return no.too_precise(name)
    return units.to_units(value, _DIGITS)


def price_e8(pair: Pair, params: Params, name: str) -> int | Refusal:
    """A price within PRICE_FILTER."""
    value = amount_e8(params, name)
    if isinstance(value, Refusal):
        return value
    if not pair.tick_e8 <= value <= pair.price_max_e8 or value % pair.tick_e8:
        return no.filter_failure("PRICE_FILTER")
    return value


def quantity_e8(pair: Pair, params: Params, name: str, *, market: bool) -> int | Refusal:
    """A quantity within LOT_SIZE (and MARKET_LOT_SIZE)."""
    value = amount_e8(params, name)
    if isinstance(value, Refusal):
        return value
    if not pair.qty_floor_e8 <= value <= pair.qty_max_e8 or value % pair.step_e8:
        return no.filter_failure("LOT_SIZE")
    if market and value > pair.market_qty_max_e8:
        return no.filter_failure("MARKET_LOT_SIZE")
    return value


def stp_mode(pair: Pair, params: Params) -> str | Refusal:
    """Who expires when an account would meet itself."""
    mode = params.get("selfTradePreventionMode", "") or STP_DEFAULT
    return mode if mode in pair.stp_modes else no.BAD_STP


def response_type(params: Params, default: str) -> str | Refusal:
    """ACK, RESULT or FULL."""
    text = params.get("newOrderRespType", "") or default
    return text if text in RESPONSES else shared.invalid_value("newOrderRespType")


def order(
    book: Book,
    params: Params,
    prefix: str = "",
    *,
    leg: str | None = None,
    with_quantity: bool = True,
    types: tuple[str, ...] = TYPES,
) -> NewOrder | Refusal:
    """One order of a request. prefix: where side and quantity stand; leg: where everything else does."""
    pair, leg = book.pair, prefix if leg is None else leg
    side = SIDES.get(params.get(name_of(prefix, "side"), ""))
    if side is None:
        given = params.get(name_of(prefix, "side"))
        return shared.BAD_SIDE if given else shared.mandatory(name_of(prefix, "side"))
    kind = params.get(name_of(leg, "type"), "")
    if kind not in types:
        if not kind:
            return shared.mandatory(name_of(leg, "type"))
        return shared.BAD_TYPE if kind not in TYPES else no.BAD_COMPOSITION
    new = NewOrder(side, kind)
    for step in (_tif, _prices, _unsupported):
        refused = step(pair, params, leg, new)
        if refused is not None:
            return refused
    if with_quantity:
        refused = _quantity(pair, params, prefix, new)
        if refused is not None:
            return refused
    elif name_of(prefix, "quantity") in params:
        return shared.not_required(name_of(prefix, "quantity"))
    named = client_id(params, name_of(leg, "clientOrderId") if leg else "newClientOrderId")
    if isinstance(named, Refusal):
        return named
    mode = stp_mode(pair, params)
    if isinstance(mode, Refusal):
        return mode
    new.client_id, new.stp = named, mode
    return _worth(book, new)


def _tif(pair: Pair, params: Params, leg: str, new: NewOrder) -> Refusal | None:
    name = name_of(leg, "timeInForce")
    text = params.get(name, "")
    if new.type not in WITH_TIF:
        return shared.not_required(name) if text else None
    if not text:
        return shared.mandatory(name)
    if text not in TIFS:
        return shared.BAD_TIF
    new.tif = text
    return None


def _prices(pair: Pair, params: Params, leg: str, new: NewOrder) -> Refusal | None:
    for field, wanted in (
        ("price", new.type not in WITHOUT_PRICE),
        ("stopPrice", new.type in CONDITIONAL and not params.get(name_of(leg, "trailingDelta"))),
    ):
        name = name_of(leg, field)
        if not wanted:
            if params.get(name):
                return shared.not_required(name)
            continue
        value = price_e8(pair, params, name)
        if isinstance(value, Refusal):
            return value
        if field == "price":
            new.price_e8 = value
        else:
            new.stop_e8 = value
    return None


def _unsupported(pair: Pair, params: Params, leg: str, new: NewOrder) -> Refusal | None:
    """What the pairs here do not allow; exchangeInfo says so too."""
    if params.get(name_of(leg, "trailingDelta")):
        return no.NO_TRAILING
    name = name_of(leg, "icebergQty")
    if params.get(name):
        value = amount_e8(params, name)
        if isinstance(value, Refusal):
            return value
        return no.NO_ICEBERG if value else None
    return None


def _quantity(pair: Pair, params: Params, prefix: str, new: NewOrder) -> Refusal | None:
    name = name_of(prefix, "quantity")
    if not prefix and new.type == "MARKET" and params.get("quoteOrderQty"):
        if params.get(name):
            return shared.BAD_COMBINATION
        quote = amount_e8(params, "quoteOrderQty")
        if isinstance(quote, Refusal):
            return quote
        new.quote_qty_e8 = quote
        return None
    value = quantity_e8(pair, params, name, market=new.type == "MARKET")
    if isinstance(value, Refusal):
        return value
    new.qty_e8 = value
    return None


def _worth(book: Book, new: NewOrder) -> NewOrder | Refusal:
    """PERCENT_PRICE_BY_SIDE and NOTIONAL."""
    pair, last = book.pair, book.last_e8
    if new.price_e8 and last:
        up, down = last * pair.band_up_ppm // PPM, -(-last * pair.band_down_ppm // PPM)
        if not down <= new.price_e8 <= up:
            return no.filter_failure("PERCENT_PRICE_BY_SIDE")
    price = new.price_e8 or new.stop_e8
    worth = new.quote_qty_e8 or fills.quote_of(price or last, new.qty_e8)
    if new.qty_e8 == 0 and not new.quote_qty_e8:
        return new  # what a paying list buys is known when it has bought
    if worth < pair.notional_min_e8 or (price and worth > pair.notional_max_e8):
        return no.filter_failure("NOTIONAL")
    return new


def oto(book: Book, params: Params, *, pays: bool, pair_of: bool) -> NewList | Refusal:
    """OTO, OTOCO, OPO, OPOCO: a working order and what it triggers."""
    pair = book.pair
    if not pair.oto_allowed:
        return no.NO_OTO
    if pays and not pair.opo_allowed:
        return no.NO_OPO
    if pair_of and not pair.oco_allowed:
        return no.NO_OCO
    list_id = client_id(params, "listClientOrderId")
    if isinstance(list_id, Refusal):
        return list_id
    working = order(book, params, "working", types=("LIMIT", "LIMIT_MAKER"))
    if isinstance(working, Refusal):
        return working
    if pair_of:
        legs = _alternatives(book, params, "pending", "pending", with_quantity=not pays)
        if isinstance(legs, Refusal):
            return legs
    else:
        one = order(book, params, "pending", with_quantity=not pays)
        if isinstance(one, Refusal):
            return one
        legs = (one,)
    if pays and (working.side != BUY or any(leg.side == BUY for leg in legs)):
        return no.BAD_COMPOSITION
    return NewList(legs, working, list_id, pays)


def oco(book: Book, params: Params) -> NewList | Refusal:
    """A bare pair of alternatives around the market."""
    if not book.pair.oco_allowed:
        return no.NO_OCO
    list_id = client_id(params, "listClientOrderId")
    if isinstance(list_id, Refusal):
        return list_id
    legs = _alternatives(book, params, "", "", with_quantity=True)
    if isinstance(legs, Refusal):
        return legs
    above, below = legs
    last = book.last_e8
    if last and not (above.stop_e8 or above.price_e8) > last > (below.stop_e8 or below.price_e8):
        return no.BAD_RELATION
    return NewList(legs, None, list_id)


def _alternatives(
    book: Book, params: Params, prefix: str, where: str, *, with_quantity: bool
) -> tuple[NewOrder, ...] | Refusal:
    legs = []
    for place in ("above", "below"):
        leg = name_of(where, place)
        kind = params.get(name_of(leg, "type"), "")
        if kind in ("LIMIT", "MARKET"):
            return no.OCO_TYPE
        made = order(book, params, prefix, leg=leg, with_quantity=with_quantity)
        if isinstance(made, Refusal):
            return made
        legs.append(made)
    above, below = legs
    refused = _places(above, below)
    if refused is not None:
        return refused
    if (above.stop_e8 or above.price_e8) <= (below.stop_e8 or below.price_e8):
        return no.BAD_RELATION
    return above, below


def _places(above: NewOrder, below: NewOrder) -> Refusal | None:
    """Which kind of order may stand above the market, and which below."""
    if above.type == below.type == "LIMIT_MAKER":
        return no.BOTH_LIMITS
    if above.side == BUY:
        wrong = {"LIMIT_MAKER": no.BUY_LIMIT_BELOW} | dict.fromkeys(PROFIT_TYPES, no.BUY_PROFIT_BELOW)
        return wrong.get(above.type) or (no.BUY_STOP_ABOVE if below.type in STOP_TYPES else None)
    wrong = {"LIMIT_MAKER": no.SELL_LIMIT_ABOVE} | dict.fromkeys(PROFIT_TYPES, no.SELL_PROFIT_ABOVE)
    return wrong.get(below.type) or (no.SELL_STOP_BELOW if above.type in STOP_TYPES else None)


def order_id(params: Params) -> int | None | Refusal:
    """``orderId`` where it is given; None without it."""
    text = params.get("orderId", "")
    if not text:
        return None
    value = integer(text)
    return shared.mandatory("orderId") if value is None else value
