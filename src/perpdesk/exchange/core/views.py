"""The JSON of orders, positions and accounts, as the REST endpoints answer it."""

from __future__ import annotations

from typing import Any

from perpdesk.exchange.core import adl, margin
from perpdesk.exchange.core.accounts import Account, Position
from perpdesk.exchange.core.checks import Draft
from perpdesk.exchange.core.events import break_even_text, entry_text, price_text
from perpdesk.exchange.core.numbers import money, ratio, short
from perpdesk.exchange.core.orders import SIDE_NAMES, Conditional, Order
from perpdesk.exchange.core.world import World


def ack(world: World, order: Order) -> dict[str, Any]:
    """The answer to placing, amending or cancelling (§6.2): since 2026-07 without averages."""
    contract = world.contracts[order.contract]
    row: dict[str, Any] = {
        "orderId": order.id,
        "symbol": contract.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": contract.price_text(order.price),
        "origQty": contract.qty_text(order.lots),
        "executedQty": contract.qty_text(order.filled),
        "cumQty": contract.qty_text(order.filled),
        "timeInForce": order.tif,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": SIDE_NAMES[order.side],
        "positionSide": order.position_side,
        "stopPrice": contract.price_text(order.trigger),
        "workingType": order.working_type,
        "priceProtect": order.price_protect,
        "origType": order.original_type,
        "priceMatch": order.price_match,
        "selfTradePreventionMode": order.stp,
        "goodTillDate": order.good_till_ms,
        "updateTime": order.updated_ms,
    }
    if world.rules.ack_fields == "legacy":
        row |= {"avgPrice": average(world, order), "cumQuote": money(order.quote_e8)}
    return row


def average(world: World, order: Order) -> str:
    """``0.00`` while nothing has traded."""
    contract = world.contracts[order.contract]
    if order.filled == 0:
        return contract.price_text(0)
    return price_text(contract, order.quote_e8, order.filled)


def order_row(world: World, order: Order, *, with_pair: bool = False) -> dict[str, Any]:
    """The order object of the queries."""
    contract = world.contracts[order.contract]
    row = ack(world, order)
    del row["cumQty"]
    if order.type == "LIQUIDATION":
        row["type"] = "LIMIT"
    row |= {"avgPrice": average(world, order), "cumQuote": money(order.quote_e8), "time": order.created_ms}
    if order.original_type == "TRAILING_STOP_MARKET":
        row |= {"activatePrice": contract.price_text(order.activation), "priceRate": order.callback}
    if with_pair:
        row |= {"cumBase": contract.qty_text(order.filled), "pair": contract.symbol}
    return row


def tested(world: World, draft: Draft, client_id: str, now_ms: int) -> dict[str, Any]:
    """The answer of order/test: still with averages."""
    contract = draft.contract
    return {
        "orderId": 0,
        "symbol": contract.symbol,
        "status": "NEW",
        "clientOrderId": client_id,
        "price": contract.price_text(draft.price),
        "avgPrice": contract.price_text(0),
        "origQty": contract.qty_text(draft.lots),
        "executedQty": contract.qty_text(0),
        "cumQty": contract.qty_text(0),
        "cumQuote": money(0),
        "timeInForce": draft.tif,
        "type": draft.type,
        "reduceOnly": draft.reduce_only,
        "closePosition": False,
        "side": SIDE_NAMES[draft.side],
        "positionSide": draft.position_side,
        "stopPrice": contract.price_text(0),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": draft.type,
        "priceMatch": draft.price_match,
        "selfTradePreventionMode": draft.stp,
        "goodTillDate": draft.good_till_ms,
        "updateTime": now_ms,
    }


def algo_ack(world: World, algo: Conditional) -> dict[str, Any]:
    """The answer to placing a conditional order."""
    contract = world.contracts[algo.contract]
    trailing = algo.type == "TRAILING_STOP_MARKET"
    return {
        "algoId": algo.id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type,
        "symbol": contract.symbol,
        "side": SIDE_NAMES[algo.side],
        "positionSide": algo.position_side,
        "timeInForce": algo.tif,
        "quantity": contract.qty_text(algo.lots),
        "algoStatus": algo.status,
        "triggerPrice": contract.price_text(algo.trigger),
        "price": contract.price_text(algo.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": algo.stp,
        "workingType": algo.working_type,
        "priceMatch": algo.price_match,
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
        "activatePrice": contract.price_text(algo.activation) if trailing else "",
        "callbackRate": short(algo.callback_ppm, 4) if trailing else "",
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.triggered_ms,
        "goodTillDate": algo.good_till_ms,
    }


def algo_row(world: World, algo: Conditional, *, legs: bool = False) -> dict[str, Any]:
    """The algo object of the queries."""
    contract = world.contracts[algo.contract]
    child = world.accounts[algo.account].orders.get(algo.child)
    row = algo_ack(world, algo) | {
        "actualOrderId": str(algo.child) if algo.child else "",
        "actualPrice": average(world, child) if child is not None else "0.00000",
        "actualType": child.type if child is not None else "",
        "actualQty": contract.qty_text(child.filled) if child is not None else "0.00000",
        "tpOrderType": "",
    }
    if legs:
        row |= dict.fromkeys(("tpTriggerPrice", "tpPrice", "slTriggerPrice", "slPrice"), "0.000")
    return row


def fill_row(world: World, fill: dict[str, Any]) -> dict[str, Any]:
    """One row of userTrades."""
    contract = world.contracts[fill["contract"]]
    return {
        "symbol": contract.symbol,
        "pair": contract.symbol,
        "id": fill["id"],
        "orderId": fill["orderId"],
        "side": fill["side"],
        "positionSide": fill["positionSide"],
        "price": contract.price_text(fill["price"]),
        "qty": contract.qty_text(fill["lots"]),
        "quoteQty": money(contract.notional_e8(fill["price"], fill["lots"])),
        "baseQty": "0",
        "realizedPnl": money(fill["realised_e8"]),
        "marginAsset": contract.instrument.quote,
        "commission": money(fill["fee_e8"]),
        "commissionAsset": fill["fee_asset"],
        "time": fill["time"],
        "buyer": fill["buyer"],
        "maker": fill["maker"],
    }


def liquidation_text(world: World, account: Account, position: Position) -> str:
    """``0`` where no price liquidates."""
    numerator, denominator = margin.liquidation_price(world, account, position)
    if numerator == 0:
        return "0"
    contract = world.contracts[position.contract]
    digits = max(8, contract.price_digits)
    value = ratio(numerator * 10 ** (digits - contract.price_digits), denominator, 0)
    return short(value, digits)


def position_rows(world: World, account: Account, contract: int | None, version: int) -> list[dict[str, Any]]:
    """positionRisk: v3 only symbols with a position or orders, v2 all."""
    rows = []
    busy = {order.contract for order in account.open_orders.values()}
    busy |= {position.contract for position in account.held()}
    for one in world.contracts:
        if contract is not None and one.index != contract:
            continue
        if version == 3 and one.index not in busy:
            continue
        sides = (
            ("BOTH",)
            if not account.hedge
            else ("LONG", "SHORT")
            if version == 3
            else ("BOTH", "LONG", "SHORT")
        )
        for side in sides:
            position = account.position(one.index, side)
            rows.append(_risk_row(world, account, position, version))
    return rows


def _risk_row(world: World, account: Account, position: Position, version: int) -> dict[str, Any]:
    contract = world.contracts[position.contract]
    setting = account.of(position.contract)
    market = world.markets[position.contract]
    unrealised = margin.unrealised_e8(world, position)
    isolated = setting.isolated and position.lots != 0
    row: dict[str, Any] = {
        "symbol": contract.symbol,
        "positionSide": position.side,
        "positionAmt": contract.qty_text(position.lots),
        "entryPrice": entry_text(contract, position),
        "breakEvenPrice": break_even_text(contract, position),
        "markPrice": contract.price_text(market.mark),
        "unRealizedProfit": money(unrealised),
        "liquidationPrice": liquidation_text(world, account, position),
        "isolatedMargin": money(position.margin_e8 + unrealised) if isolated else "0",
        "notional": money(margin.notional_e8(world, position)),
        "isolatedWallet": money(position.margin_e8) if isolated else "0",
        "updateTime": position.updated_ms,
    }
    if version == 2:
        return row | {
            "leverage": str(setting.leverage),
            "maxNotionalValue": short(contract.cap_e8(setting.leverage), 8),
            "marginType": "isolated" if setting.isolated else "cross",
            "isAutoAddMargin": "false",
        }
    held = margin.initial_e8(world, account, position)
    waiting, bids, asks = _waiting(world, account, position)
    return row | {
        "marginAsset": contract.instrument.quote,
        "initialMargin": money(held + waiting),
        "maintMargin": money(margin.maintenance_e8(world, position)),
        "positionInitialMargin": money(held),
        "openOrderInitialMargin": money(waiting),
        "adl": adl.quantile(world, position),
        "bidNotional": short(bids, 8),
        "askNotional": short(asks, 8),
    }


def _waiting(world: World, account: Account, position: Position) -> tuple[int, int, int]:
    """(open order margin, bid notional, ask notional) of one position side."""
    sides = margin.opening_notionals_e8(world, account, position.contract)
    bids, asks = sides.get(position.side, (0, 0))
    signed = margin.notional_e8(world, position)
    need = max(abs(signed + bids), abs(signed - asks)) - abs(signed)
    return -(-max(0, need) // account.of(position.contract).leverage), bids, asks


def totals(world: World, account: Account) -> dict[str, int]:
    """Sums of the account in 1e-8 USDT."""
    held = account.held()
    initial = sum(margin.initial_e8(world, account, p) for p in held)
    waiting = sum(
        margin.order_margin_e8(world, account, contract)
        for contract in {order.contract for order in account.open_orders.values()}
    )
    unrealised = sum(margin.unrealised_e8(world, p) for p in held)
    cross = margin.cross_wallet_e8(account)
    available = margin.available_e8(world, account)
    return {
        "initial": initial + waiting,
        "maintenance": sum(margin.maintenance_e8(world, p) for p in held),
        "wallet": account.cash_e8,
        "unrealised": unrealised,
        "margin": account.cash_e8 + unrealised,
        "position_initial": initial,
        "order_initial": waiting,
        "cross_wallet": cross,
        "cross_unrealised": margin.cross_unrealised_e8(world, account),
        "available": available,
        "withdrawable": max(0, min(cross, available)),
    }


def account_view(world: World, account: Account, version: int) -> dict[str, Any]:
    """account v2 or v3."""
    sums = totals(world, account)
    view: dict[str, Any] = {
        "totalInitialMargin": money(sums["initial"]),
        "totalMaintMargin": money(sums["maintenance"]),
        "totalWalletBalance": money(sums["wallet"]),
        "totalUnrealizedProfit": money(sums["unrealised"]),
        "totalMarginBalance": money(sums["margin"]),
        "totalPositionInitialMargin": money(sums["position_initial"]),
        "totalOpenOrderInitialMargin": money(sums["order_initial"]),
        "totalCrossWalletBalance": money(sums["cross_wallet"]),
        "totalCrossUnPnl": money(sums["cross_unrealised"]),
        "availableBalance": money(sums["available"]),
        "maxWithdrawAmount": money(sums["withdrawable"]),
    }
    asset = {
        "asset": "USDT",
        "walletBalance": money(sums["wallet"]),
        "unrealizedProfit": money(sums["unrealised"]),
        "marginBalance": money(sums["margin"]),
        "maintMargin": money(sums["maintenance"]),
        "initialMargin": money(sums["initial"]),
        "positionInitialMargin": money(sums["position_initial"]),
        "openOrderInitialMargin": money(sums["order_initial"]),
        "crossWalletBalance": money(sums["cross_wallet"]),
        "crossUnPnl": money(sums["cross_unrealised"]),
        "availableBalance": money(sums["available"]),
        "maxWithdrawAmount": money(sums["withdrawable"]),
        "updateTime": account.updated_ms,
    }
    if version == 2:
        asset["marginAvailable"] = True
        view |= {
            "feeTier": 0,
            "feeBurn": account.fee_burn,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": True,
            "updateTime": 0,
            "multiAssetsMargin": account.multi_assets,
            "tradeGroupId": -1,
        }
    view["assets"] = [asset] + ([_bnb_asset(account, version)] if account.bnb_e8 else [])
    view["positions"] = _account_positions(world, account, version)
    return view


def _bnb_asset(account: Account, version: int) -> dict[str, Any]:
    """BNB: held, free, and behind no position (single-asset mode)."""
    held, none = money(account.bnb_e8), money(0)
    row: dict[str, Any] = {
        "asset": "BNB",
        "walletBalance": held,
        "unrealizedProfit": none,
        "marginBalance": held,
        "maintMargin": none,
        "initialMargin": none,
        "positionInitialMargin": none,
        "openOrderInitialMargin": none,
        "crossWalletBalance": held,
        "crossUnPnl": none,
        "availableBalance": held,
        "maxWithdrawAmount": held,
        "updateTime": account.updated_ms,
    }
    return row | ({"marginAvailable": True} if version == 2 else {})


def _account_positions(world: World, account: Account, version: int) -> list[dict[str, Any]]:
    rows = []
    for risk in position_rows(world, account, None, 3 if version == 3 else 2):
        contract = world.by_symbol[risk["symbol"]]
        position = account.position(contract.index, risk["positionSide"])
        setting = account.of(contract.index)
        held = margin.initial_e8(world, account, position)
        waiting, bids, asks = _waiting(world, account, position)
        row = {
            "symbol": contract.symbol,
            "positionSide": position.side,
            "positionAmt": risk["positionAmt"],
            "unrealizedProfit": risk["unRealizedProfit"],
            "isolatedMargin": risk["isolatedMargin"],
            "notional": risk["notional"],
            "isolatedWallet": risk["isolatedWallet"],
            "initialMargin": money(held + waiting),
            "maintMargin": money(margin.maintenance_e8(world, position)),
            "updateTime": position.updated_ms,
        }
        if version == 2:
            row |= {
                "positionInitialMargin": money(held),
                "openOrderInitialMargin": money(waiting),
                "leverage": str(setting.leverage),
                "isolated": setting.isolated,
                "entryPrice": risk["entryPrice"],
                "breakEvenPrice": risk["breakEvenPrice"],
                "maxNotional": short(contract.cap_e8(setting.leverage), 8),
                "bidNotional": short(bids, 8),
                "askNotional": short(asks, 8),
            }
        rows.append(row)
    return rows


def balance_rows(world: World, account: Account) -> list[dict[str, Any]]:
    """balance v2 and v3."""
    sums = totals(world, account)
    rows = [
        {
            "accountAlias": f"Sim{account.index:05d}",
            "asset": "USDT",
            "balance": money(sums["wallet"]),
            "crossWalletBalance": money(sums["cross_wallet"]),
            "crossUnPnl": money(sums["cross_unrealised"]),
            "availableBalance": money(sums["available"]),
            "maxWithdrawAmount": money(sums["withdrawable"]),
            "marginAvailable": True,
            "updateTime": account.updated_ms,
        }
    ]
    if account.bnb_e8:
        held = money(account.bnb_e8)
        same = dict.fromkeys(("balance", "crossWalletBalance", "availableBalance", "maxWithdrawAmount"), held)
        rows.append(rows[0] | {"asset": "BNB", "crossUnPnl": money(0)} | same)
    return rows
