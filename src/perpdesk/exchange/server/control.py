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

from perpdesk.domain import units
from perpdesk.domain.errors import InputError, PerpdeskError
from perpdesk.exchange.core import delisting, views
from perpdesk.exchange.core.walks import Walks
from perpdesk.exchange.faults import Fault
from perpdesk.exchange.server import actor, restrictions, spot_control
from perpdesk.exchange.server.lockstep import LockstepReplay
from perpdesk.exchange.server.running import RunningServer

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
    server.deposit(_account(a), str(a["amount"]), a.get("asset", "USDT"))


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


def _exposure(server: RunningServer, a: Arguments) -> Any:
    """What is held now and which stops stand behind it; cheaper than the ledger, for looking often."""
    account, contracts = server.world.accounts[_account(a)], server.world.contracts
    held = [
        {
            "symbol": contracts[one.contract].symbol,
            "side": one.side,
            "qty": contracts[one.contract].qty_text(one.lots),
            "lots": one.lots,
            "mark": contracts[one.contract].price_text(server.world.markets[one.contract].mark),
        }
        for one in account.held()
    ]
    stops = [
        {
            "symbol": contracts[algo.contract].symbol,
            "client_id": algo.client_id,
            "type": algo.type,
            "side": algo.side,
            "lots": algo.lots,
            "reduces": algo.reduce_only or algo.close_position,
            "close_position": algo.close_position,
        }
        for algo in account.open_algos.values()
        if algo.is_open
    ]
    return {
        "now_ms": server.now_ms(),
        "positions": held,
        "stops": stops,
        "orders": len(account.open_orders),
        "fills": len(account.fills),
    }


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
    server.publisher.contract_changed(contract)
    return None


def _status(server: RunningServer, a: Arguments) -> Any:
    """Halt a symbol (any status but TRADING), or let it go on."""
    contract = server.contract(a["symbol"])
    if a["status"] not in delisting.STATUSES:
        raise InputError(f"must be one of {', '.join(delisting.STATUSES)}", field="status")
    contract.status = a["status"]
    server.publisher.contract_changed(contract)


def _settle(server: RunningServer, a: Arguments) -> Any:
    """Delist a symbol: orders expire, positions are closed at the price (absent: the mark)."""
    contract = server.contract(a["symbol"])
    given = a.get("price")
    mark = server.world.markets[contract.index].mark
    price = mark if given is None else units.price_to_units(str(given), contract.price_digits)
    if price <= 0:
        raise InputError("must be above 0", field="price")
    count = delisting.settle(server.world, contract, price, server.now_ms())
    server.publisher.contract_changed(contract)
    server.flush()
    return {"positions": count}


def _brackets(server: RunningServer, a: Arguments) -> Any:
    """Another ladder: [{"cap": USDT, "leverage": n, "rate": "0.004"}, …] ascending."""
    contract = server.contract(a["symbol"])
    rows = [
        (
            units.money_e8(str(row["cap"])),
            int(row["leverage"]),
            units.ppm_of(units.decimal_of(str(row["rate"]))),
        )
        for row in a["brackets"]
    ]
    delisting.set_brackets(server.world, contract, rows, server.now_ms())
    server.publisher.contract_changed(contract, brackets=True)
    server.flush()


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


def _key_rights(server: RunningServer, a: Arguments) -> Any:
    """A person ticks boxes in the settings of a key."""
    restrictions.set_rights(server, a["api_key"], a["set"])


def _clock(server: RunningServer, a: Arguments) -> Any:
    server.step_clock(int(a["ms"]))


def _step(server: RunningServer, a: Arguments) -> Any:
    """Lockstep: the next minute (or ``count`` of them) of the tape; with the kernel's fills the next stop."""
    if server.replay is None:
        raise InputError("there is no tape to step", field="do")
    if isinstance(server.replay, LockstepReplay) and "count" not in a:
        return _stop(server, server.replay, bool(a.get("every_point", False)))
    played = 0
    while played < int(a.get("count", 1)) and server.replay.play_step():
        played += 1
    return {"played": played, "now_ms": server.now_ms(), "over": server.replay.is_over}


def _stop(server: RunningServer, replay: LockstepReplay, every_point: bool) -> Any:
    replay.every_point = every_point
    stop = replay.next_stop()
    told = {
        "events": {str(account): count for account, count in server.events_sent.items()},
        "over": replay.is_over,
    }
    if stop is None:
        return told | {"at": "end", "more": False, "now_ms": server.now_ms(), "acted": []}
    return told | {
        "at": stop.at,
        "more": stop.at != "over",
        "symbol": stop.symbol,
        "price": server.contract(stop.symbol).price_text(stop.price) if stop.symbol else "",
        "ms": stop.ms,
        "now_ms": server.now_ms(),
        "acted": list(stop.acted),
    }


def _walks(server: RunningServer) -> Walks:
    if server.world.walks is None:
        raise InputError("needs --fills kernel", field="do")
    return server.world.walks


def _watch(server: RunningServer, a: Arguments) -> Any:
    """Prices at which the path of a symbol stands still: fire_lo, fire_hi, peak_lo, peak_hi."""
    contract = server.contract(a["symbol"])
    levels = {
        name: units.price_to_units(str(a[name]), contract.price_digits)
        for name in ("fire_lo", "fire_hi", "peak_lo", "peak_hi")
        if a.get(name) is not None
    }
    _walks(server).watch(server.world.accounts[_account(a)].index, contract.index, levels)


def _rank(server: RunningServer, a: Arguments) -> Any:
    """Which orders act first at one price: {client id: rank}."""
    ranks = {str(client_id): int(rank) for client_id, rank in a["ranks"].items()}
    _walks(server).rank(server.world.accounts[_account(a)].index, ranks)


ACTIONS: dict[str, Callable[[RunningServer, Arguments], Any]] = {
    **spot_control.ACTIONS,
    "tick": _tick,
    "mark": _mark,
    "funding": _funding,
    "book": _book,
    "skip_time": _skip_time,
    "deposit": _deposit,
    "account": _new_account,
    "ledger": _ledger,
    "exposure": _exposure,
    "actor": actor.act,
    "contract": _contract,
    "status": _status,
    "settle": _settle,
    "brackets": _brackets,
    "fault": _fault,
    "clear_faults": _faults_clear,
    "fired": _fired,
    "expire_listen_key": _expire_key,
    "revoke_key": _revoke,
    "key_rights": _key_rights,
    "clock": _clock,
    "step": _step,
    "watch": _watch,
    "rank": _rank,
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
