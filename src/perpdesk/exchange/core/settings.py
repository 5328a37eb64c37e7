"""Leverage, margin type, position mode, isolated margin (reference §8)."""

from __future__ import annotations

from typing import Any

from perpdesk.domain import units
from perpdesk.exchange.core import checks, events, margin
from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.accounts import Account
from perpdesk.exchange.core.checks import Params
from perpdesk.exchange.core.numbers import flag, integer, number, short
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.core.world import World

DONE = {"code": 200, "msg": "success"}


def set_leverage(world: World, account: Account, params: Params, now_ms: int) -> dict[str, Any] | Refusal:
    """1 to the symbol's largest."""
    contract = checks.contract_of(world, params)
    if isinstance(contract, Refusal):
        return contract
    text = params.get("leverage", "")
    if not text:
        return no.mandatory("leverage")
    leverage = integer(text)
    if leverage is None or not 1 <= leverage <= contract.leverage_max:
        return no.bad_leverage(text)
    setting = account.of(contract.index)
    held = account.held(contract.index)
    cap = contract.cap_e8(leverage)
    if any(abs(margin.notional_e8(world, position)) > cap for position in held):
        return no.ABOVE_BRACKET
    if leverage < setting.leverage and setting.isolated and held:
        return no.ISOLATED_REDUCTION
    before = setting.leverage
    if leverage < before and (held or account.open_orders):
        free = margin.cross_wallet_e8(account) + margin.cross_unrealised_e8(world, account)
        setting.leverage = leverage
        used = sum(
            margin.initial_e8(world, account, p)
            for p in account.held()
            if not account.of(p.contract).isolated
        )
        used += sum(
            margin.order_margin_e8(world, account, index)
            for index in {order.contract for order in account.open_orders.values()}
        )
        if used > free:
            setting.leverage = before
            return no.LEVERAGE_MARGIN
    setting.leverage = leverage
    setting.updated_ms = now_ms
    for position in held:
        position.record.leverage = leverage
    if leverage != before:
        events.config_update(world, account, now_ms, {"ac": {"s": contract.symbol, "l": leverage}})
    return {"leverage": leverage, "maxNotionalValue": short(cap, 8), "symbol": contract.symbol}


def set_margin_type(world: World, account: Account, params: Params, now_ms: int) -> dict[str, Any] | Refusal:
    """ISOLATED or CROSSED, only while the symbol is idle."""
    contract = checks.contract_of(world, params)
    if isinstance(contract, Refusal):
        return contract
    text = params.get("marginType", "")
    if not text:
        return no.mandatory("marginType")
    if text not in ("ISOLATED", "CROSSED"):
        return no.invalid_value("marginType")
    setting = account.of(contract.index)
    if setting.isolated == (text == "ISOLATED"):
        return no.MARGIN_TYPE_SAME
    if account.multi_assets and text == "ISOLATED":
        return no.ISOLATED_IN_MULTI
    if any(order.contract == contract.index for order in account.open_orders.values()):
        return no.MARGIN_TYPE_ORDERS
    if account.held(contract.index):
        return no.MARGIN_TYPE_POSITION
    setting.isolated = text == "ISOLATED"
    setting.updated_ms = now_ms
    events.account_update(world, account, "MARGIN_TYPE_CHANGE", now_ms, contract.index, balances=False)
    return dict(DONE)


def set_hedge(world: World, account: Account, params: Params, now_ms: int) -> dict[str, Any] | Refusal:
    """One-way or hedge mode, for the whole account."""
    text = params.get("dualSidePosition", "")
    value = flag(text) if text else None
    if value is None:
        return no.mandatory("dualSidePosition")
    if value == account.hedge:
        return no.MODE_SAME
    if account.open_orders or account.open_algos:
        return no.MODE_ORDERS
    if account.held():
        return no.MODE_POSITION
    account.hedge = value
    return dict(DONE)


def set_multi_assets(world: World, account: Account, params: Params, now_ms: int) -> dict[str, Any] | Refusal:
    """Single-asset or multi-assets mode. With USDT alone both count the same; a wallet with BNB is refused,
    because nothing public says at which rate it would be counted as margin."""
    text = params.get("multiAssetsMargin", "")
    value = flag(text) if text else None
    if value is None:
        return no.mandatory("multiAssetsMargin")
    if value == account.multi_assets:
        return no.MULTI_SAME
    if account.open_orders:
        return no.MULTI_WITH_ORDERS
    if value and any(account.of(p.contract).isolated for p in account.held()):
        return no.MULTI_WITH_ISOLATED
    if value and account.cash_e8 < 0:
        return no.MULTI_NEGATIVE
    if value and account.bnb_e8:
        return no.MULTI_MARGIN
    account.multi_assets = value
    events.config_update(world, account, now_ms, {"ai": {"j": value}})
    return dict(DONE)


def set_fee_burn(world: World, account: Account, params: Params, now_ms: int) -> dict[str, Any] | Refusal:
    """Pay commissions in BNB, ten percent off, as long as there is enough of it."""
    text = params.get("feeBurn", "")
    value = flag(text) if text else None
    if value is None:
        return no.mandatory("feeBurn")
    account.fee_burn = value
    return dict(DONE)


def move_margin(world: World, account: Account, params: Params, now_ms: int) -> dict[str, Any] | Refusal:
    """Add margin to an isolated position (type 1) or take some out (type 2)."""
    contract = checks.contract_of(world, params)
    if isinstance(contract, Refusal):
        return contract
    for name in ("amount", "type"):
        if not params.get(name):
            return no.mandatory(name)
    kind = params["type"]
    if kind not in ("1", "2"):
        return no.invalid_value("type")
    amount = number(params["amount"])
    if amount is None:
        return no.mandatory("amount")
    if amount <= 0:
        return no.AMOUNT_POSITIVE
    if units.digits_of(amount) > units.MONEY_DIGITS:
        return no.PRECISION
    where = checks.position_side(account, params)
    if isinstance(where, Refusal):
        return where
    position = account.position(contract.index, where)
    if not account.of(contract.index).isolated:
        return no.ADD_MARGIN_CROSS
    if position.lots == 0:
        return no.NO_POSITION_MARGIN
    if amount > units.money_of(units.LIMIT // 4):
        return no.CROSS_INSUFFICIENT
    change = units.money_e8(amount)
    if kind == "1" and change > margin.available_e8(world, account):
        return no.CROSS_INSUFFICIENT
    if kind == "2":
        needed = margin.initial_e8(world, account, position)
        free = position.margin_e8 + min(0, margin.unrealised_e8(world, position)) - needed
        if change > free:
            return no.ISOLATED_INSUFFICIENT
        change = -change
    position.margin_e8 += change
    account.record.margin_e8 += change
    position.updated_ms = now_ms
    account.margin_changes.append(
        {
            "symbol": contract.symbol,
            "type": int(kind),
            "deltaType": "USER_ADJUST",
            "amount": short(abs(change), 8),
            "asset": "USDT",
            "time": now_ms,
            "positionSide": where,
        }
    )
    events.account_update(world, account, "MARGIN_TRANSFER", now_ms, contract.index)
    return {
        "amount": float(amount),
        "code": 200,
        "msg": "Successfully modify position margin.",
        "type": int(kind),
    }
