"""A person with the app and the same account: everything that happens without any program of ours.

``{"do": "actor", "account": 0, "action": …}``. A person's orders are named ``web_…``. The answer is
``{"done": […]}``: what the exchange answered to each request that the action made, refusals included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perpdesk.domain import units
from perpdesk.domain.errors import InputError
from perpdesk.exchange.core import conditional, entry, settings
from perpdesk.exchange.core.accounts import Account, Position
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server.running import RunningServer
from perpdesk.exchange.server.trading import text_of

Arguments = dict[str, Any]
_PPM = 1_000_000


def act(server: RunningServer, a: Arguments) -> Any:
    """One action of a person. Raises InputError, KeyError for what it does not understand."""
    action = ACTIONS.get(a["action"])
    if action is None:
        raise InputError(f"must be one of {', '.join(ACTIONS)}", field="action")
    index = int(a.get("account", 0))
    done = action(server, server.world.accounts[index], a)
    server.flush()
    return {"done": [one.body() if isinstance(one, Refusal) else one for one in done]}


def _params(a: Arguments) -> dict[str, str]:
    return {name: text_of(value) for name, value in a["params"].items()}


def _order(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    return [_place(server, account, _params(a))]


def _place(server: RunningServer, account: Account, params: dict[str, str]) -> Any:
    world = server.world
    if not params.get("newClientOrderId"):
        params["newClientOrderId"] = "web_" + entry.auto_client_id(world.rules.seed, world.next_seq())
    return entry.place(world, account, params, server.now_ms())


def _stop(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    """A conditional order of a person."""
    params = {"algoType": "CONDITIONAL"} | _params(a)
    return [conditional.place(server.world, account, params, server.now_ms())]


def _held(server: RunningServer, account: Account, a: Arguments) -> list[Position]:
    index = server.contract(a["symbol"]).index if a.get("symbol") else None
    side = a.get("position_side")
    return [one for one in account.held(index) if side is None or one.side == side]


def _market(server: RunningServer, account: Account, position: Position, lots: int, *, closing: bool) -> Any:
    contract = server.world.contracts[position.contract]
    sells = (position.lots > 0) == closing
    params = {
        "symbol": contract.symbol,
        "side": "SELL" if sells else "BUY",
        "type": "MARKET",
        "quantity": contract.qty_text(lots),
    }
    if account.hedge:
        params["positionSide"] = position.side
    elif closing:
        params["reduceOnly"] = "true"
    return _place(server, account, params)


def _close(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    """Close everything, or a symbol (and side)."""
    held = _held(server, account, a)
    return [_market(server, account, one, abs(one.lots), closing=True) for one in held]


def _close_part(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    """Close share_ppm (half of it, if not said) of each position, rounded up to a lot."""
    share = int(a.get("share_ppm", _PPM // 2))
    if not 0 < share <= _PPM:
        raise InputError(f"must be 1 to {_PPM}", field="share_ppm")
    return [
        _market(server, account, one, -(-abs(one.lots) * share // _PPM), closing=True)
        for one in _held(server, account, a)
    ]


def _add(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    """Add to each position: qty, or as much again."""
    done = []
    for one in _held(server, account, a):
        step = server.world.contracts[one.contract].lot_step
        lots = units.lots_of(str(a["qty"]), step) if "qty" in a else abs(one.lots)
        done.append(_market(server, account, one, lots, closing=False))
    return done


def _reverse(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    """Turn each position round (one-way mode: one order of twice its size)."""
    done: list[Any] = []
    for one in _held(server, account, a):
        contract, lots, was_long = server.world.contracts[one.contract], abs(one.lots), one.lots > 0
        params = {"symbol": contract.symbol, "side": "SELL" if was_long else "BUY", "type": "MARKET"}
        if not account.hedge:
            done.append(_place(server, account, params | {"quantity": contract.qty_text(2 * lots)}))
            continue
        done.append(_market(server, account, one, lots, closing=True))
        other = {"positionSide": "SHORT" if was_long else "LONG", "quantity": contract.qty_text(lots)}
        done.append(_place(server, account, params | other))
    return done


def _cancel(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    """One ordinary order: ``params`` with symbol and orderId or origClientOrderId."""
    return [entry.cancel(server.world, account, _params(a), server.now_ms())]


def _cancel_stop(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    """One conditional order by ``params`` (algoId or clientAlgoId), or all of a symbol."""
    world, now_ms = server.world, server.now_ms()
    if "params" in a:
        return [conditional.cancel(world, account, _params(a), now_ms)]
    return [{"cancelled": conditional.cancel_all(world, account, server.contract(a["symbol"]), now_ms)}]


def _cancel_all(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    world, now_ms = server.world, server.now_ms()
    count = 0
    for contract in [server.contract(a["symbol"])] if a.get("symbol") else world.contracts:
        count += entry.cancel_all(world, account, contract, now_ms)
        count += conditional.cancel_all(world, account, contract, now_ms)
    return [{"cancelled": count}]


def _leverage(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    params = {"symbol": a["symbol"], "leverage": text_of(a["leverage"])}
    return [settings.set_leverage(server.world, account, params, server.now_ms())]


def _margin_type(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    params = {"symbol": a["symbol"], "marginType": a["margin_type"]}
    return [settings.set_margin_type(server.world, account, params, server.now_ms())]


def _position_mode(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    params = {"dualSidePosition": text_of(a["hedge"])}
    return [settings.set_hedge(server.world, account, params, server.now_ms())]


def _position_margin(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    return [settings.move_margin(server.world, account, _params(a), server.now_ms())]


def _transfer(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    """Money from or to the spot wallet: amount > 0 comes in."""
    server.deposit(account.index, str(a["amount"]), a.get("asset", "USDT"))
    return [{"wallet": units.plain(units.money_of(account.cash_e8))}]


def _delete_key(server: RunningServer, account: Account, a: Arguments) -> list[Any]:
    """The account's keys (or one of them) stop working, and its user stream goes silent."""
    wanted = a.get("api_key")
    gone = [
        key
        for key, keys in server.gate.keys.items()
        if keys.account == account.index and (wanted is None or key == wanted)
    ]
    for key in gone:
        del server.gate.keys[key]
    if gone:
        server.expire_listen_key(account.index, silently=True)
    return [{"deleted": len(gone)}]


ACTIONS: dict[str, Callable[[RunningServer, Account, Arguments], list[Any]]] = {
    "order": _order,
    "stop": _stop,
    "close": _close,
    "close_part": _close_part,
    "add": _add,
    "reverse": _reverse,
    "cancel": _cancel,
    "cancel_stop": _cancel_stop,
    "cancel_all": _cancel_all,
    "leverage": _leverage,
    "margin_type": _margin_type,
    "position_mode": _position_mode,
    "position_margin": _position_margin,
    "transfer": _transfer,
    "delete_key": _delete_key,
}
