"""User events, rendered at the moment they happen (reference §12)."""

from __future__ import annotations

from typing import Any

from perpdesk.exchange.core import margin
from perpdesk.exchange.core.accounts import Account, Position
from perpdesk.exchange.core.contracts import PPM, Contract
from perpdesk.exchange.core.numbers import fixed, money, ratio, short
from perpdesk.exchange.core.orders import ER_NONE, SIDE_NAMES, Conditional, Order
from perpdesk.exchange.core.world import World

PRICE_PLACES = 10


def entry_text(contract: Contract, position: Position) -> str:
    """Entry price of a position."""
    return price_text(contract, position.cost_e8, abs(position.lots))


def break_even_text(contract: Contract, position: Position) -> str:
    """Entry corrected by the commission that the lots held have paid."""
    sign = 1 if position.lots > 0 else -1
    return price_text(contract, position.cost_e8 + sign * position.fees_open_e8, abs(position.lots))


def price_text(contract: Contract, amount_e8: int, lots: int) -> str:
    """amount per lot as a price, up to ten places; ``0.0`` for no lots."""
    if lots == 0:
        return "0.0"
    digits = max(PRICE_PLACES, contract.price_digits)
    scale = 10 ** (digits - contract.price_digits)
    return short(ratio(amount_e8 * scale, lots * contract.unit_e8, 0), digits, 1)


def average_text(contract: Contract, order: Order) -> str:
    """Average price of what an order has traded, ``0`` for nothing."""
    return price_text(contract, order.quote_e8, order.filled) if order.filled else "0"


def order_update(
    world: World,
    order: Order,
    execution: str,
    now_ms: int,
    *,
    lots: int = 0,
    price: int = 0,
    fee_e8: int = 0,
    fee_asset: str = "",
    trade_id: int = 0,
    maker: bool = False,
    realised_e8: int = 0,
) -> None:
    """Put an ORDER_TRADE_UPDATE into the outbox."""
    if not world.is_heard(order.account):
        return
    account, contract = world.accounts[order.account], world.contracts[order.contract]
    bids, asks = margin.opening_notionals_e8(world, account, order.contract).get(order.position_side, (0, 0))
    body: dict[str, Any] = {
        "s": contract.symbol,
        "c": order.client_id,
        "S": SIDE_NAMES[order.side],
        "o": order.type,
        "f": order.tif,
        "q": contract.qty_text(order.lots),
        "p": contract.price_text(order.price),
        "ap": average_text(contract, order),
        "sp": contract.price_text(order.trigger),
        "x": execution,
        "X": order.status,
        "i": order.id,
        "l": contract.qty_text(lots),
        "z": contract.qty_text(order.filled),
        "L": contract.price_text(price),
        "n": money(fee_e8) if lots else "0",
        "N": fee_asset or contract.instrument.quote,
        "T": now_ms,
        "t": trade_id,
        "b": short(bids, 8),
        "a": short(asks, 8),
        "m": maker,
        "R": order.reduce_only or order.closes,
        "wt": order.working_type,
        "ot": order.original_type or order.type,
        "ps": order.position_side,
        "cp": order.close_position,
        "rp": short(realised_e8, 8),
        "pP": order.price_protect,
        "si": 0,
        "ss": 0,
        "V": order.stp,
        "pm": order.price_match,
        "gtd": order.good_till_ms,
        "er": str(order.expire_reason if execution != "NEW" else ER_NONE),
    }
    if order.activation:
        body["AP"] = contract.price_text(order.activation)
        body["cr"] = order.callback
    if order.modify_id:
        body["M"] = order.modify_id
    world.events.append((account.index, {"e": "ORDER_TRADE_UPDATE", "T": now_ms, "E": now_ms, "o": body}))


def trade_lite(
    world: World, order: Order, price: int, lots: int, trade_id: int, maker: bool, now_ms: int
) -> None:
    """The short form of a fill."""
    if not world.is_heard(order.account):
        return
    contract = world.contracts[order.contract]
    world.events.append(
        (
            order.account,
            {
                "e": "TRADE_LITE",
                "E": now_ms,
                "T": now_ms,
                "s": contract.symbol,
                "q": contract.qty_text(order.lots),
                "p": contract.price_text(order.price),
                "m": maker,
                "c": order.client_id,
                "S": SIDE_NAMES[order.side],
                "L": contract.price_text(price),
                "l": contract.qty_text(lots),
                "t": trade_id,
                "i": order.id,
            },
        )
    )


def position_row(world: World, account: Account, position: Position) -> dict[str, Any]:
    """One element of ``P``."""
    contract = world.contracts[position.contract]
    isolated = account.of(position.contract).isolated
    return {
        "s": contract.symbol,
        "pa": contract.qty_text(position.lots),
        "ep": entry_text(contract, position),
        "bep": break_even_text(contract, position),
        "cr": short(position.realised_e8, 8),
        "up": short(margin.unrealised_e8(world, position), 8),
        "mt": "isolated" if isolated else "cross",
        "iw": short(position.margin_e8, 8) if isolated else "0",
        "ps": position.side,
        "ma": contract.instrument.quote,
    }


def account_update(
    world: World,
    account: Account,
    reason: str,
    now_ms: int,
    contract: int | None = None,
    *,
    change_e8: int = 0,
    positions: bool = True,
    balances: bool = True,
    bnb: bool = False,
    bnb_change_e8: int = 0,
) -> None:
    """Put an ACCOUNT_UPDATE into the outbox; all sides of the changed symbol are shown."""
    account.updated_ms = now_ms
    if not world.is_heard(account.index):
        return
    rows = []
    if contract is not None and positions:
        sides = ("BOTH", "LONG", "SHORT") if account.hedge else ("BOTH",)
        rows = [position_row(world, account, account.position(contract, side)) for side in sides]
    balance = {
        "a": "USDT",
        "wb": money(account.cash_e8),
        "cw": money(margin.cross_wallet_e8(account)),
        "bc": short(change_e8, 8),
    }
    changed = [balance] if balances else []
    if bnb:
        held = money(account.bnb_e8)
        changed.append({"a": "BNB", "wb": held, "cw": held, "bc": short(bnb_change_e8, 8)})
    body: dict[str, Any] = {"m": reason, "B": changed, "P": rows}
    if contract is not None:
        body["S"] = world.contracts[contract].symbol
    world.events.append((account.index, {"e": "ACCOUNT_UPDATE", "T": now_ms, "E": now_ms, "a": body}))


def config_update(world: World, account: Account, now_ms: int, part: dict[str, Any]) -> None:
    """``part``: ``{"ac": {"s", "l"}}`` or ``{"ai": {"j"}}``."""
    world.events.append((account.index, {"e": "ACCOUNT_CONFIG_UPDATE", "E": now_ms, "T": now_ms, **part}))


def algo_update(
    world: World, algo: Conditional, now_ms: int, status: str | None = None, activated: bool = False
) -> None:
    """Put an ALGO_UPDATE into the outbox."""
    if not world.is_heard(algo.account):
        return
    contract = world.contracts[algo.contract]
    child = world.accounts[algo.account].orders.get(algo.child)
    body: dict[str, Any] = {
        "caid": algo.client_id,
        "aid": algo.id,
        "at": "CONDITIONAL",
        "o": algo.type,
        "s": contract.symbol,
        "S": SIDE_NAMES[algo.side],
        "ps": algo.position_side,
        "f": algo.tif,
        "q": contract.qty_text(algo.lots),
        "X": status or algo.status,
        "ai": str(algo.child) if algo.child else "",
        "ap": average_text(contract, child) if child is not None else "0.00000",
        "aq": contract.qty_text(child.filled) if child is not None else "0.00000",
        "act": child.type if child is not None else "0",
        "tp": contract.price_text(algo.trigger),
        "p": contract.price_text(algo.price),
        "V": algo.stp,
        "wt": algo.working_type,
        "pm": algo.price_match,
        "cp": algo.close_position,
        "pP": algo.price_protect,
        "R": algo.reduce_only,
        "tt": algo.triggered_ms,
        "gtd": algo.good_till_ms,
        "ia": activated,
    }
    if algo.type == "TRAILING_STOP_MARKET":
        body["AP"] = contract.price_text(algo.activation)
        body["cr"] = short(algo.callback_ppm, 4)
    if algo.reject_reason:
        body["rm"] = algo.reject_reason
    world.events.append((algo.account, {"e": "ALGO_UPDATE", "T": now_ms, "E": now_ms, "o": body}))


def margin_call(world: World, account: Account, positions: list[Position], cross: bool, now_ms: int) -> None:
    """The warning before a liquidation."""
    rows = []
    for position in positions:
        contract = world.contracts[position.contract]
        isolated = account.of(position.contract).isolated
        rows.append(
            {
                "s": contract.symbol,
                "ps": position.side,
                "pa": contract.qty_text(position.lots),
                "mt": "ISOLATED" if isolated else "CROSSED",
                "iw": short(position.margin_e8, 8) if isolated else "0",
                "mp": contract.price_text(world.markets[position.contract].mark),
                "up": short(margin.unrealised_e8(world, position), 8),
                "mm": short(margin.maintenance_e8(world, position), 8),
            }
        )
    event: dict[str, Any] = {"e": "MARGIN_CALL", "E": now_ms, "p": rows}
    if cross:
        event["cw"] = money(margin.cross_wallet_e8(account))
    world.events.append((account.index, event))


def rate_text(ppm: int) -> str:
    """A fee rate: 200 → 0.000200."""
    return fixed(ppm, len(str(PPM)) - 1)
