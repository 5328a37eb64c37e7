"""The validation pipeline of an order, in the exchange's own sequence (reference §6.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from perpdesk.domain import units
from perpdesk.exchange.core import margin, matching, settling
from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.accounts import Account
from perpdesk.exchange.core.contracts import PPM, Contract
from perpdesk.exchange.core.numbers import flag, integer, number, scaled, short
from perpdesk.exchange.core.orders import BUY, SIDES
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.core.world import World

Params = Mapping[str, str]

CONDITIONAL_TYPES = ("STOP", "TAKE_PROFIT", "STOP_MARKET", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
TIFS = ("GTC", "IOC", "FOK", "GTX", "GTD")
STP_MODES = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "NONE")
PRICE_MATCHES = {"OPPONENT": 0, "OPPONENT_5": 4, "QUEUE": 0, "QUEUE_5": 4}
_CLIENT_ID = re.compile(r"[\.A-Z\:/a-z0-9_-]{1,36}")
_CLIENT_ID_LENGTH = 36
_GTD_LEAD_MS = 600_000
_GTD_MAX_MS = 253_402_300_799_000


@dataclass(slots=True)
class Draft:
    """A request that passed: an order that only has to be matched. price 0: market."""

    contract: Contract
    side: int
    position_side: str
    type: str
    tif: str
    price: int
    lots: int
    reduce_only: bool
    closes: bool
    client_id: str
    stp: str
    price_match: str
    good_till_ms: int
    response: str


def contract_of(world: World, params: Params) -> Contract | Refusal:
    """The symbol of a request."""
    symbol = params.get("symbol", "")
    if not symbol:
        return no.mandatory("symbol")
    return world.by_symbol.get(symbol.upper()) or no.BAD_SYMBOL


def client_id(text: str) -> Refusal | None:
    """Length, then characters."""
    if len(text) > _CLIENT_ID_LENGTH:
        return no.CLIENT_ID_LENGTH
    if text and not _CLIENT_ID.fullmatch(text):
        return no.CLIENT_ID_CHARACTERS
    return None


def position_side(account: Account, params: Params) -> str | Refusal:
    """BOTH in one-way mode, LONG or SHORT in hedge mode."""
    text = params.get("positionSide", "") or "BOTH"
    if text not in ("BOTH", "LONG", "SHORT"):
        return no.BAD_POSITION_SIDE
    if (text == "BOTH") == account.hedge:
        return no.POSITION_SIDE_MISMATCH
    return text


def reduce_only(account: Account, params: Params) -> bool | Refusal:
    """The flag; hedge mode takes none."""
    text = params.get("reduceOnly", "")
    if text == "":
        return False
    if account.hedge:
        return no.not_required("reduceOnly")
    value = flag(text)
    return no.BAD_REDUCE_ONLY if value is None else value


def self_trade_mode(params: Params, default: str) -> str | Refusal:
    """Who expires when an account would meet itself."""
    text = params.get("selfTradePreventionMode", "") or default
    return text if text in STP_MODES else no.BAD_STP


def good_till_ms(params: Params, tif: str, now_ms: int) -> int | Refusal:
    """The end of a GTD order in whole seconds; 0 for the others."""
    if tif != "GTD":
        return 0
    value = integer(params.get("goodTillDate", ""))
    if value is None:
        return no.mandatory("goodTillDate")
    if not now_ms + _GTD_LEAD_MS < value < _GTD_MAX_MS:
        return no.BAD_GTD
    return value // 1000 * 1000


def lots(contract: Contract, text: str, market: bool) -> int | Refusal:
    """A quantity as whole lots within LOT_SIZE or MARKET_LOT_SIZE."""
    value = number(text)
    if value is None:
        return no.BAD_NUMBER_QUANTITY
    if value <= 0:
        return no.QUANTITY_ZERO
    amount = scaled(value, contract.qty_precision)
    if amount is None:
        return no.PRECISION
    largest = contract.market_lots_max if market else contract.lots_max
    if amount > largest * contract.lot_units:
        return no.QUANTITY_ABOVE_MAX
    if amount < contract.lots_min * contract.lot_units:
        return no.QUANTITY_BELOW_MIN
    count, rest = divmod(amount, contract.lot_units)
    return no.OFF_STEP if rest else count


def price(contract: Contract, text: str) -> int | Refusal:
    """A price within PRICE_FILTER, on the tick."""
    value = number(text)
    if value is None:
        return no.BAD_NUMBER_PRICE
    digits = max(contract.price_precision, contract.price_digits)
    amount = scaled(value, contract.price_precision)
    if amount is None:
        return no.PRECISION
    amount *= 10 ** (digits - contract.price_precision)
    unit = 10 ** (digits - contract.price_digits)
    if amount < contract.price_min * unit:
        return no.PRICE_BELOW_MIN
    if amount > contract.price_max * unit:
        return no.PRICE_ABOVE_MAX
    found, rest = divmod(amount, unit)
    return no.OFF_TICK if rest or (found - contract.price_min) % contract.tick else found


def free_price(contract: Contract, text: str) -> int | Refusal:
    """A trigger or activation price: any precision the contract can count; the tick is not asked for."""
    value = number(text)
    if value is None or value <= 0:
        return no.BAD_NUMBER_PRICE
    if value > units.price_of(contract.price_max, contract.price_digits):
        return no.PRICE_ABOVE_MAX
    if units.digits_of(value) > contract.price_digits:
        return no.PRECISION
    return units.price_to_units(value, contract.price_digits)


def percent_price(world: World, contract: Contract, side: int, limit: int) -> Refusal | None:
    """PERCENT_PRICE: buys not too high, sells not too low, against the mark."""
    mark = world.markets[contract.index].mark
    if side == BUY:
        bound = mark * contract.percent_up_ppm // PPM
        if limit > bound:
            return no.price_too_high(short(bound, contract.price_digits))
    else:
        bound = -(-mark * contract.percent_down_ppm // PPM)
        if limit < bound:
            return no.price_too_low(short(bound, contract.price_digits))
    return None


def min_notional(world: World, contract: Contract, at_price: int, size: int) -> Refusal | None:
    """MIN_NOTIONAL; price 0: at mark."""
    reference = at_price or world.markets[contract.index].mark
    if contract.notional_e8(reference, size) < contract.notional_min_e8:
        return no.notional_too_small(short(contract.notional_min_e8, 8))
    return None


def matched_price(world: World, contract: Contract, side: int, mode: str) -> int | Refusal:
    """The price of a priceMatch order, fixed at arrival."""
    if mode not in PRICE_MATCHES:
        return no.BAD_PRICE_MATCH
    rank = PRICE_MATCHES[mode]
    book = world.markets[contract.index].depth
    levels = book.levels(side if mode.startswith("OPPONENT") else -side)
    for i, (level, _) in enumerate(levels):
        if i == rank:
            return level
    return no.NO_DEPTH


def reduces(world: World, account: Account, draft: Draft) -> Refusal | None:
    """Can a reduce-only order (or a closing one in hedge mode) reduce? A too large one is cut."""
    room = settling.closable(account, draft.contract.index, draft.position_side, draft.side)
    if draft.closes:
        return None if draft.lots <= room else no.REDUCE_ONLY
    if not draft.reduce_only:
        return None
    if room == 0:
        return no.REDUCE_ONLY
    if world.walks is not None:
        return None  # cut to the position when it acts
    same = [
        order
        for order in account.open_orders.values()
        if order.contract == draft.contract.index
        and order.side == draft.side
        and order.position_side == draft.position_side
    ]
    if sum(order.left for order in same if not order.reduce_only) + min(draft.lots, room) > room:
        return no.REDUCE_ONLY_CONFLICT
    ahead = sum(
        order.left
        for order in same
        if order.reduce_only and (draft.price and (order.price - draft.price) * draft.side >= 0)
    )
    if ahead >= room:
        return no.REDUCE_ONLY
    draft.lots = min(draft.lots, room - ahead)
    return None


def draft(world: World, account: Account, params: Params, now_ms: int, default_stp: str) -> Draft | Refusal:
    """Steps 3 to 17 up to matching. Nothing is changed."""
    contract = contract_of(world, params)
    if isinstance(contract, Refusal):
        return contract
    found = _read(world, account, contract, params, now_ms, default_stp)
    if isinstance(found, Refusal):
        return found
    return _judge(world, account, found) or found


def _read(
    world: World, account: Account, contract: Contract, params: Params, now_ms: int, default_stp: str
) -> Draft | Refusal:
    for name in ("side", "type"):
        if not params.get(name):
            return no.mandatory(name)
    side = SIDES.get(params["side"])
    kind = params["type"]
    if side is None:
        return no.BAD_SIDE
    if kind in CONDITIONAL_TYPES:
        return no.USE_ALGO
    if kind not in ("LIMIT", "MARKET"):
        return no.BAD_TYPE
    tif = params.get("timeInForce", "")
    matched = params.get("priceMatch", "") or "NONE"
    if kind == "LIMIT":
        if not tif:
            return no.mandatory("timeInForce")
        if tif not in (*TIFS, "GTE_GTC"):
            return no.BAD_TIF
    else:
        tif = "GTC"
    if not params.get("quantity"):
        return no.mandatory("quantity")
    if kind == "LIMIT" and not params.get("price") and matched == "NONE":
        return no.mandatory("price")
    response = params.get("newOrderRespType", "") or "ACK"
    if response not in ("ACK", "RESULT"):
        return no.BAD_RESPONSE_TYPE
    till = good_till_ms(params, tif, now_ms)
    if isinstance(till, Refusal):
        return till
    stp = self_trade_mode(params, default_stp)
    if isinstance(stp, Refusal):
        return stp
    wrong = client_id(params.get("newClientOrderId", ""))
    if wrong is not None:
        return wrong
    where = position_side(account, params)
    if isinstance(where, Refusal):
        return where
    reducing = reduce_only(account, params)
    if isinstance(reducing, Refusal):
        return reducing
    closes = account.hedge and side == (-1 if where == "LONG" else 1)
    if contract.status != "TRADING":
        closed = contract.status in ("CLOSE", "DELIVERED", "SETTLING", "PENDING_TRADING")
        if closed:
            return no.SYMBOL_CLOSED
        if not (reducing or closes):
            return no.NOT_TRADING
    size = lots(contract, params["quantity"], kind == "MARKET")
    if isinstance(size, Refusal):
        return size
    limit: int | Refusal = 0
    if kind == "LIMIT" and matched != "NONE":
        if params.get("price"):
            return no.BAD_COMBINATION
        limit = matched_price(world, contract, side, matched)
    elif kind == "LIMIT":
        limit = price(contract, params["price"])
    elif matched != "NONE":
        return no.PRICE_MATCH_TYPE
    if isinstance(limit, Refusal):
        return limit
    return Draft(
        contract,
        side,
        where,
        kind,
        tif,
        limit,
        size,
        reducing,
        closes,
        params.get("newClientOrderId", ""),
        stp,
        matched,
        till,
        response,
    )


def _judge(world: World, account: Account, one: Draft) -> Refusal | None:
    contract, market = one.contract, world.markets[one.contract.index]
    if account.liquidating:
        return no.IN_LIQUIDATION
    if market.mark <= 0:
        return no.NO_LIQUIDITY
    if one.type == "LIMIT":
        wrong = percent_price(world, contract, one.side, one.price)
        if wrong is not None:
            return wrong
    exempt = one.reduce_only or one.closes
    if not exempt:
        wrong = min_notional(world, contract, one.price, one.lots)
        if wrong is not None:
            return wrong
    if one.client_id and one.client_id in account.open_client_ids:
        return no.DUPLICATE_CLIENT_ID
    resting = sum(1 for order in account.open_orders.values() if order.contract == contract.index)
    if one.type == "LIMIT" and resting >= contract.orders_max:
        return no.TOO_MANY_ORDERS
    wrong = reduces(world, account, one)
    if wrong is not None:
        return wrong
    if not exempt:
        wrong = affordable(world, account, one)
        if wrong is not None:
            return wrong
    return matchable(world, account, one)


def affordable(world: World, account: Account, one: Draft) -> Refusal | None:
    """Bracket cap, then margin."""
    contract = one.contract
    position = account.positions.get((contract.index, one.position_side))
    held = position.lots if position is not None else 0
    if held * one.side < 0 and one.lots <= -held * one.side:
        return None
    cap = contract.cap_e8(account.of(contract.index).leverage)
    exposure = margin.exposure_after_e8(
        world, account, contract, one.side, one.position_side, one.price, one.lots
    )
    if exposure > cap:
        return no.ABOVE_BRACKET
    if not margin.suffices(world, account, contract, one.side, one.position_side, one.price, one.lots):
        return no.MARGIN
    return None


def matchable(world: World, account: Account, one: Draft) -> Refusal | None:
    """What only the book can say: post-only, fill-or-kill, a market without a counter side."""
    market = world.markets[one.contract.index]
    if world.walks is not None:
        crosses = one.type == "LIMIT" and (one.price - market.last) * one.side >= 0
        if one.tif == "GTX" and crosses:
            return no.GTX
        return no.FOK if one.tif == "FOK" and one.type == "LIMIT" and not crosses else None
    best = market.best(one.side)
    if one.type == "MARKET":
        if best == 0:
            return no.NO_LIQUIDITY
        if (best - matching.take_bound(market, one.side)) * one.side > 0:
            return no.TAKE_BOUND
    elif one.tif == "GTX" and best and (best - one.price) * one.side <= 0:
        return no.GTX
    elif one.tif == "FOK" and not matching.fillable(market, one.side, one.price, one.lots):
        return no.FOK
    return None
