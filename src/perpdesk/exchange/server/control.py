"""The control channel: what a person, the market or a test does to the exchange. Loopback only.

``POST /control`` takes a JSON object with ``do`` and its arguments and answers JSON. It is not part of
Binance's protocol, exists only with ``ServeOptions.control``, and refuses every caller that is not local.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from perpdesk.domain.errors import InputError, PerpdeskError
from perpdesk.exchange.core import conditional, entry, views
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.faults import Fault
from perpdesk.exchange.server.running import RunningServer
from perpdesk.exchange.server.trading import text_of

Arguments = dict[str, Any]
encode = msgspec.json.Encoder().encode


def _account(arguments: Arguments) -> int:
    return int(arguments.get("account", 0))


def _tick(server: RunningServer, a: Arguments) -> Any:
    server.tick(a["symbol"], str(a["price"]), qty=a.get("qty"), walk=bool(a.get("walk", False)))


def _mark(server: RunningServer, a: Arguments) -> Any:
    server.set_mark(a["symbol"], str(a["price"]))


def _funding(server: RunningServer, a: Arguments) -> Any:
    server.set_funding(a["symbol"], str(a["rate"]), a.get("hours"))


def _book(server: RunningServer, a: Arguments) -> Any:
    server.set_book(a["symbol"], a.get("levels"))


def _skip_time(server: RunningServer, a: Arguments) -> Any:
    server.skip_time(int(a["ms"]))
    return {"now_ms": server.now_ms()}


def _deposit(server: RunningServer, a: Arguments) -> Any:
    server.deposit(_account(a), str(a["amount"]))


def _new_account(server: RunningServer, a: Arguments) -> Any:
    made = server.add_account(a.get("balance"))
    return {"account": made.index, "api_key": made.api_key, "secret": made.secret}


def _ledger(server: RunningServer, a: Arguments) -> Any:
    ledger = server.ledger(_account(a))
    contracts = server.world.by_symbol
    ledger["positions"] = [
        {"symbol": symbol, "side": side, "qty": contracts[symbol].qty_text(lots)}
        for (symbol, side), lots in ledger["positions"].items()
    ]
    account = server.world.accounts[_account(a)]
    ledger["fills"] = [views.fill_row(server.world, fill) for fill in account.fills]
    ledger["open_orders"] = len(account.open_orders)
    ledger["open_algos"] = len(account.open_algos)
    return ledger


def _act(server: RunningServer, a: Arguments) -> Any:
    """A person in the app: an order, a cancellation, or closing everything."""
    world, account, now_ms = server.world, server.world.accounts[_account(a)], server.now_ms()
    action = a["action"]
    done: list[Any] = []
    if action == "order":
        params = {name: text_of(value) for name, value in a["params"].items()}
        answer = entry.place(world, account, params, now_ms)
        done.append(answer.body() if isinstance(answer, Refusal) else answer)
    elif action == "cancel_all":
        for contract in world.contracts:
            entry.cancel_all(world, account, contract, now_ms)
            conditional.cancel_all(world, account, contract, now_ms)
    elif action == "close":
        for position in account.held():
            params = {
                "symbol": world.contracts[position.contract].symbol,
                "side": "SELL" if position.lots > 0 else "BUY",
                "type": "MARKET",
                "quantity": world.contracts[position.contract].qty_text(abs(position.lots)),
            }
            params |= {"positionSide": position.side} if account.hedge else {"reduceOnly": "true"}
            answer = entry.place(world, account, params, now_ms)
            done.append(answer.body() if isinstance(answer, Refusal) else answer)
    else:
        raise InputError("must be order, cancel_all or close", field="action")
    server.flush()
    return {"done": done}


def _contract(server: RunningServer, a: Arguments) -> Any:
    """Change a contract while it is traded: status, filters (in the contract's own words)."""
    contract = server.contract(a["symbol"])
    allowed = {
        "status",
        "lots_min",
        "lots_max",
        "market_lots_max",
        "notional_min_e8",
        "percent_up_ppm",
        "percent_down_ppm",
        "take_bound_ppm",
        "orders_max",
        "tick",
    }
    for name, value in a["set"].items():
        if name not in allowed:
            raise InputError(f"must be one of {', '.join(sorted(allowed))}", field=name)
        setattr(contract, name, value)
    return None


def _fault(server: RunningServer, a: Arguments) -> Any:
    faults = a["faults"] if "faults" in a else [a["fault"]]
    for fault in msgspec.convert(faults, list[Fault]):
        server.faults.add(fault)


def _faults_clear(server: RunningServer, a: Arguments) -> Any:
    server.faults.clear()


def _fired(server: RunningServer, a: Arguments) -> Any:
    return {"fired": dict(server.faults.fired), "unknown_paths": server.unknown_paths}


def _expire_key(server: RunningServer, a: Arguments) -> Any:
    server.expire_listen_key(_account(a), silently=bool(a.get("silently", False)))


def _revoke(server: RunningServer, a: Arguments) -> Any:
    server.gate.keys.pop(a["api_key"], None)


def _clock(server: RunningServer, a: Arguments) -> Any:
    server.step_clock(int(a["ms"]))


def _step(server: RunningServer, a: Arguments) -> Any:
    """Lockstep: the next minute (or ``count`` of them) of the tape."""
    if server.replay is None:
        raise InputError("there is no tape to step", field="do")
    played = 0
    while played < int(a.get("count", 1)) and server.replay.play_step():
        played += 1
    return {"played": played, "now_ms": server.now_ms(), "over": server.replay.is_over}


ACTIONS: dict[str, Callable[[RunningServer, Arguments], Any]] = {
    "tick": _tick,
    "mark": _mark,
    "funding": _funding,
    "book": _book,
    "skip_time": _skip_time,
    "deposit": _deposit,
    "account": _new_account,
    "ledger": _ledger,
    "actor": _act,
    "contract": _contract,
    "fault": _fault,
    "clear_faults": _faults_clear,
    "fired": _fired,
    "expire_listen_key": _expire_key,
    "revoke_key": _revoke,
    "clock": _clock,
    "step": _step,
}


def is_local(address: str | None) -> bool:
    """Does the caller sit on this machine?"""
    try:
        return address is not None and ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


async def answer(server: RunningServer, request: web.Request) -> web.Response:
    """One control request: 200 with ``{"ok": true, …}``, 400 with the reason, 403 for strangers."""
    if not is_local(request.remote):
        return web.Response(status=403)
    try:
        arguments = msgspec.json.decode(await request.read(), type=dict[str, Any])
        action = ACTIONS.get(arguments.get("do", ""))
        if action is None:
            raise InputError(f"must be one of {', '.join(ACTIONS)}", field="do")
        result = action(server, arguments)
    except (PerpdeskError, msgspec.MsgspecError, KeyError, IndexError, TypeError, ValueError) as error:
        return _json({"ok": False, "error": f"{type(error).__name__}: {error}"}, 400)
    return _json({"ok": True} | (result or {}), 200)


def _json(body: Arguments, status: int) -> web.Response:
    return web.Response(status=status, body=encode(body), content_type="application/json")
