"""The algo service: conditional orders that wait outside the book (reference §7)."""

from __future__ import annotations

from typing import Any

from perpdesk.exchange.core import checks, entry, events, matching, settling, views
from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.accounts import Account
from perpdesk.exchange.core.checks import CONDITIONAL_TYPES, TIFS, Draft, Params
from perpdesk.exchange.core.contracts import PPM, Contract
from perpdesk.exchange.core.numbers import flag, integer, number, short
from perpdesk.exchange.core.orders import BUY, SELL, SIDES, Conditional, Order
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.core.world import Market, World

TRAILING = "TRAILING_STOP_MARKET"
_CALLBACK_MIN, _CALLBACK_MAX = 1_000, 200_000
_PERCENT_PPM = 10_000
_TERMINAL = ("CANCELED", "EXPIRED", "REJECTED", "FINISHED")


def place(world: World, account: Account, params: Params, now_ms: int) -> dict[str, Any] | Refusal:
    """A new conditional order; no margin is asked for."""
    contract = checks.contract_of(world, params)
    if isinstance(contract, Refusal):
        return contract
    algo = _read(world, account, contract, params, now_ms)
    if isinstance(algo, Refusal):
        return algo
    market = world.markets[contract.index]
    refusal = _judge(world, account, market, algo)
    if refusal is not None:
        return refusal
    if not algo.client_id:
        algo.client_id = entry.auto_client_id(world.rules.seed, algo.id)
    account.algos[algo.id] = algo
    account.open_algos[algo.id] = algo
    if algo.good_till_ms:
        account.remind(algo.good_till_ms)
    account.algo_by_client_id[algo.client_id] = algo
    world.open_algos[contract.index][algo.id] = algo
    events.algo_update(world, algo, now_ms)
    if world.walks is not None:
        world.walks.wait(algo)
    elif algo.type == TRAILING:
        _touch(world, market, algo, now_ms)
    return views.algo_ack(world, algo)


def _read(
    world: World, account: Account, contract: Contract, params: Params, now_ms: int
) -> Conditional | Refusal:
    for name in ("algoType", "side", "type"):
        if not params.get(name):
            return no.mandatory(name)
    if params["algoType"] != "CONDITIONAL":
        return no.invalid_value("algoType")
    side, kind = SIDES.get(params["side"]), params["type"]
    if side is None:
        return no.BAD_SIDE
    if kind not in CONDITIONAL_TYPES:
        return no.BAD_TYPE
    tif = params.get("timeInForce", "") or "GTC"
    if tif not in (*TIFS, "GTE_GTC"):
        return no.BAD_TIF
    closing = flag(params.get("closePosition", "") or "false")
    protect = flag(params.get("priceProtect", "") or "false")
    if closing is None:
        return no.invalid_value("closePosition")
    if protect is None:
        return no.invalid_value("priceProtect")
    working = params.get("workingType", "") or "CONTRACT_PRICE"
    if working not in ("CONTRACT_PRICE", "MARK_PRICE"):
        return no.WORKING_TYPE
    wrong = checks.client_id(params.get("clientAlgoId", ""))
    if wrong is not None:
        return wrong
    where = checks.position_side(account, params)
    if isinstance(where, Refusal):
        return where
    if closing and params.get("quantity"):
        return no.CLOSE_WITH_QUANTITY
    if closing and params.get("reduceOnly"):
        return no.CLOSE_WITH_REDUCE_ONLY
    reducing = checks.reduce_only(account, params)
    if isinstance(reducing, Refusal):
        return reducing
    opens = account.hedge and side == (1 if where == "LONG" else -1)
    if closing and (opens or kind not in ("STOP_MARKET", "TAKE_PROFIT_MARKET")):
        return (
            no.BAD_COMBINATION if kind not in ("STOP_MARKET", "TAKE_PROFIT_MARKET") else no.BAD_POSITION_SIDE
        )
    stp = checks.self_trade_mode(params, entry.STP_SINGLE)
    if isinstance(stp, Refusal):
        return stp
    till = checks.good_till_ms(params, tif, now_ms)
    if isinstance(till, Refusal):
        return till
    numbers = _numbers(world, contract, params, kind, closing)
    if isinstance(numbers, Refusal):
        return numbers
    lots, price, trigger, activation, callback = numbers
    return Conditional(
        id=world.next_algo_id(),
        account=account.index,
        contract=contract.index,
        client_id=params.get("clientAlgoId", ""),
        side=side,
        position_side=where,
        type=kind,
        tif="GTE_GTC" if closing else tif,
        lots=lots,
        price=price,
        trigger=trigger,
        working_type=working,
        price_match=params.get("priceMatch", "") or "NONE",
        stp=stp,
        close_position=closing,
        price_protect=protect,
        reduce_only=reducing or closing,
        activation=activation,
        activation_given=activation > 0,
        callback_ppm=callback,
        good_till_ms=till,
        created_ms=now_ms,
        updated_ms=now_ms,
    )


def _numbers(
    world: World, contract: Contract, params: Params, kind: str, closing: bool
) -> tuple[int, int, int, int, int] | Refusal:
    """(lots, limit price, trigger, activation, callback in ppm)."""
    limited = kind in ("STOP", "TAKE_PROFIT")
    matched = params.get("priceMatch", "") or "NONE"
    lots: int | Refusal = 0
    price: int | Refusal = 0
    trigger: int | Refusal = 0
    activation: int | Refusal = 0
    callback = 0
    if not closing:
        if not params.get("quantity"):
            return no.mandatory("quantity")
        lots = checks.lots(contract, params["quantity"], not limited)
    if isinstance(lots, Refusal):
        return lots
    if limited:
        if matched != "NONE" and matched not in checks.PRICE_MATCHES:
            return no.BAD_PRICE_MATCH
        if not params.get("price") and matched == "NONE":
            return no.mandatory("price")
        if params.get("price") and matched != "NONE":
            return no.BAD_COMBINATION
        price = checks.price(contract, params["price"]) if params.get("price") else 0
    if isinstance(price, Refusal):
        return price
    if kind == TRAILING:
        rate = number(params.get("callbackRate", ""))
        if rate is None:
            return no.mandatory("callbackRate")
        if not callback_in_bounds(rate):
            return no.invalid_value("callbackRate")
        callback = int(rate * _PERCENT_PPM)
        text = params.get("activatePrice", "") or params.get("activationPrice", "")
        if text and number(text) != 0:
            activation = checks.free_price(contract, text)
    else:
        if not params.get("triggerPrice"):
            return no.mandatory("triggerPrice")
        trigger = checks.free_price(contract, params["triggerPrice"])
    if isinstance(trigger, Refusal):
        return trigger
    if isinstance(activation, Refusal):
        return no.BAD_ACTIVATION
    if limited and price:
        far = _limit_near_trigger(contract, SIDES[params["side"]], price, trigger)
        if far is not None:
            return far
    return lots, price, trigger, activation, callback


def callback_in_bounds(rate: Any) -> bool:
    """Is a callback rate (percent) within bounds, in steps of 0.1?"""
    ppm = rate * _PERCENT_PPM
    return bool(_CALLBACK_MIN <= ppm <= _CALLBACK_MAX and ppm == int(ppm))


def _limit_near_trigger(contract: Contract, side: int, price: int, trigger: int) -> Refusal | None:
    if side == BUY:
        bound = trigger * contract.percent_up_ppm // PPM
        if price > bound:
            return no.stop_limit_too_high(short(bound, contract.price_digits))
    else:
        bound = -(-trigger * contract.percent_down_ppm // PPM)
        if price < bound:
            return no.stop_limit_too_low(short(bound, contract.price_digits))
    return None


def watched(market: Market, algo: Conditional) -> int:
    """The price that it waits for: last or mark."""
    return market.mark if algo.working_type == "MARK_PRICE" else market.last


def _judge(world: World, account: Account, market: Market, algo: Conditional) -> Refusal | None:
    if len(account.open_algos) >= world.rules.conditional_max:
        return no.CONDITIONAL_LIMIT
    if algo.client_id and any(one.client_id == algo.client_id for one in account.open_algos.values()):
        return no.DUPLICATE_CLIENT_ID
    now = watched(market, algo)
    if now <= 0:
        return no.NO_LIQUIDITY
    if algo.type == TRAILING:
        # a buy waits for a low below the market, a sell for a high above it
        if algo.activation_given and (now - algo.activation) * algo.side <= 0:
            return no.WOULD_TRIGGER
        if not algo.activation_given:
            algo.activation = now
    elif _reached(algo, now):
        return no.WOULD_TRIGGER
    if algo.close_position:
        kind = "STOP" if algo.type.startswith("STOP") else "TAKE"
        for one in account.open_algos.values():
            if (
                one.close_position
                and one.type.startswith(kind)
                and (one.contract, one.side, one.position_side)
                == (algo.contract, algo.side, algo.position_side)
            ):
                return no.CLOSE_POSITION_EXISTS
    return None


def _reached(algo: Conditional, price: int) -> bool:
    """Is the trigger satisfied at this price?"""
    upwards = (algo.side == BUY) == algo.type.startswith("STOP")
    return price >= algo.trigger if upwards else price <= algo.trigger


def trailing_level(algo: Conditional) -> int:
    """The price at which an activated trailing order fires; 0: not activated."""
    if algo.extreme == 0:
        return 0
    if algo.side == BUY:
        return -(-algo.extreme * (PPM + algo.callback_ppm) // PPM)
    return algo.extreme * (PPM - algo.callback_ppm) // PPM


def _touch(world: World, market: Market, algo: Conditional, now_ms: int) -> None:
    """Let a trailing order see the price: activate it, carry its extreme on."""
    price = watched(market, algo)
    if algo.extreme == 0:
        if (price - algo.activation) * algo.side > 0:
            return
        algo.extreme = price
        algo.updated_ms = now_ms
        events.algo_update(world, algo, now_ms, activated=True)
    elif (price - algo.extreme) * algo.side < 0:
        algo.extreme = price


def next_level(market: Market, algo: Conditional, start: int, end: int) -> int:
    """The first price on the way from start to end where this order acts; 0: none."""
    trails = algo.type == TRAILING
    level = (trailing_level(algo) or algo.activation) if trails else algo.trigger
    return level if min(start, end) < level <= max(start, end) or level == end else 0


def react(world: World, market: Market, now_ms: int) -> None:
    """After a price change: activate, trail and trigger, oldest first."""
    if world.walks is not None:
        return  # the kernel's path says what triggers
    waiting = world.open_algos[market.contract.index]
    for algo in list(waiting.values()):
        if not algo.is_open or algo.id not in waiting:
            continue
        price = watched(market, algo)
        if algo.type == TRAILING:
            _touch(world, market, algo, now_ms)
            level = trailing_level(algo)
            due = level > 0 and (price - level) * algo.side >= 0 and price != algo.extreme
        else:
            due = _reached(algo, price)
        if due and _protected(market, algo):
            fire(world, market, algo, now_ms)


def _protected(market: Market, algo: Conditional) -> bool:
    """priceProtect: fire only while mark and last are near each other."""
    if not algo.price_protect:
        return True
    return abs(market.mark - market.last) * PPM <= market.mark * market.contract.trigger_protect_ppm


def fire(world: World, market: Market, algo: Conditional, now_ms: int) -> None:
    """The trigger is reached: its child order, or the reason why there is none."""
    account = world.accounts[algo.account]
    algo.status = "TRIGGERING"
    algo.triggered_ms = now_ms
    algo.updated_ms = now_ms
    settling.forget_algo(world, algo)
    events.algo_update(world, algo, now_ms)
    injected = world.trigger_refusal(algo) if world.trigger_refusal is not None else None
    draft = None if injected else _child(world, account, market, algo)
    reason = injected or (draft.msg if isinstance(draft, Refusal) else None)
    if reason is not None or draft is None or isinstance(draft, Refusal):
        algo.status = "REJECTED"
        algo.reject_reason = reason or ""
        events.algo_update(world, algo, now_ms)
        return
    order: Order = entry.accept(world, account, draft, now_ms, algo)
    matching.execute(world, order, now_ms)
    algo.status = "TRIGGERED"
    events.algo_update(world, algo, now_ms)
    settling.finish_algo(world, order, now_ms)


def _child(world: World, account: Account, market: Market, algo: Conditional) -> Draft | Refusal:
    """The ordinary order that a trigger sends, judged by the engine's own rules."""
    room = settling.closable(account, algo.contract, algo.position_side, algo.side)
    closes = account.hedge and algo.side == (SELL if algo.position_side == "LONG" else BUY)
    if (algo.reduce_only or closes) and room == 0:
        return no.REDUCE_ONLY
    lots = room if algo.close_position else algo.lots
    if (algo.reduce_only or closes) and world.walks is None:
        lots = min(lots, room)  # the bar model cuts it each time it acts
    limited = algo.type in ("STOP", "TAKE_PROFIT")
    price = algo.price
    if limited and price == 0:
        found = checks.matched_price(world, market.contract, algo.side, algo.price_match)
        if isinstance(found, Refusal):
            return found
        price = found
    draft = Draft(
        contract=market.contract,
        side=algo.side,
        position_side=algo.position_side,
        type="LIMIT" if limited else "MARKET",
        tif=algo.tif,
        price=price,
        lots=lots,
        reduce_only=algo.reduce_only and not account.hedge,
        closes=closes,
        client_id=algo.client_id,
        stp=algo.stp,
        price_match=algo.price_match,
        good_till_ms=algo.good_till_ms,
        response="ACK",
    )
    if account.liquidating:
        return no.IN_LIQUIDATION
    if limited:
        far = checks.percent_price(world, market.contract, algo.side, price)
        if far is not None:
            return far
    if algo.client_id in account.open_client_ids:
        return no.DUPLICATE_CLIENT_ID
    if not (algo.reduce_only or closes):
        wrong = checks.min_notional(world, market.contract, price, lots) or checks.affordable(
            world, account, draft
        )
        if wrong is not None:
            return wrong
    return checks.matchable(world, account, draft) or draft


def find(
    world: World, account: Account, params: Params, now_ms: int, missing: Refusal
) -> Conditional | Refusal:
    """The order that algoId or clientAlgoId names, as far as it is visible yet."""
    algo_id, client_id = params.get("algoId", ""), params.get("clientAlgoId", "")
    if not algo_id and not client_id:
        return no.either("algoId", "clientAlgoId")
    if algo_id:
        value = integer(algo_id)
        algo = account.algos.get(value) if value is not None else None
    else:
        algo = account.algo_by_client_id.get(client_id)
    if algo is None or now_ms < algo.created_ms + world.rules.algo_visibility_delay_ms:
        return missing
    return algo


def cancel(world: World, account: Account, params: Params, now_ms: int) -> dict[str, Any] | Refusal:
    """Cancel one that has not triggered."""
    algo = find(world, account, params, now_ms, no.UNKNOWN_ORDER)
    if isinstance(algo, Refusal):
        return algo
    if not algo.is_open:
        return no.UNKNOWN_ORDER
    settling.end_algo(world, algo, "CANCELED", now_ms)
    return {"algoId": algo.id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def cancel_all(world: World, account: Account, contract: Contract, now_ms: int) -> int:
    """Cancel a symbol's waiting conditional orders."""
    found = [algo for algo in account.open_algos.values() if algo.contract == contract.index]
    for algo in found:
        settling.end_algo(world, algo, "CANCELED", now_ms)
    return len(found)
