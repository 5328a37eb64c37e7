"""What the control channel does to the Spot half: quotes, deposits, counters, multipliers, filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perpdesk.domain.errors import InputError
from perpdesk.exchange.spot import entry
from perpdesk.exchange.spot.alpha import QuotePoint
from perpdesk.exchange.spot.pairs import Pair, e8

if TYPE_CHECKING:
    from perpdesk.exchange.server.running import RunningServer

Arguments = dict[str, Any]
_CHANGEABLE = {
    "status": str,
    "tick_e8": int,
    "step_e8": int,
    "qty_min_e8": int,
    "qty_max_e8": int,
    "notional_min_e8": int,
    "notional_max_e8": int,
    "maker_ppm": int,
    "taker_ppm": int,
    "orders_max": int,
    "lists_max": int,
    "oto_allowed": bool,
    "oco_allowed": bool,
    "opo_allowed": bool,
    "multiplier": str,
    "counter_lag_ms": int,
}


def _pair(server: RunningServer, a: Arguments) -> Pair:
    pair = server.spot.pair(a["symbol"])
    if pair is None:
        raise InputError(f"unknown Spot symbol {a['symbol']!r}", field="symbol")
    return pair


def quote(server: RunningServer, a: Arguments) -> Any:
    """Bid, ask, last, sizes. A pair that follows a futures contract keeps them until the contract moves."""
    pair = _pair(server, a)
    bid, ask = e8(a["bid"], "bid"), e8(a["ask"], "ask")
    if not 0 < bid < ask:
        raise InputError("must be above 0 and below ask", field="bid")
    sizes = [None if a.get(name) is None else e8(a[name], name) for name in ("bid_qty", "ask_qty")]
    last = e8(a["last"], "last") if a.get("last") is not None else bid
    server.spot.follow()
    server.spot.quote(pair, QuotePoint(server.now_ms(), bid, ask, last, *sizes))
    server.flush()


def deposit(server: RunningServer, a: Arguments) -> Any:
    """So much of an asset comes in (negative: goes out)."""
    account = server.spot.account(int(a.get("account", 0)))
    amount = e8(a["amount"])
    if amount < 0 and not account.has(a["asset"], -amount):
        raise InputError("is more than is free", field="amount")
    server.spot.world.deposit(account, str(a["asset"]), amount, server.now_ms())
    server.flush()


def ledger(server: RunningServer, a: Arguments) -> Any:
    """The server's own figures of a wallet."""
    return server.spot.ledger(int(a.get("account", 0)))


def change(server: RunningServer, a: Arguments) -> Any:
    """Change a pair while it is traded: status, filters, fees, multiplier (null: unknown), lag."""
    pair = _pair(server, a)
    for name, value in a["set"].items():
        kind = _CHANGEABLE.get(name)
        if kind is None:
            raise InputError(f"must be one of {', '.join(_CHANGEABLE)}", field=name)
        if type(value) is not kind and not (name == "multiplier" and value is None):
            raise InputError(f"must be a {kind.__name__}", field=name)
        setattr(pair, name, value)


def counter(server: RunningServer, a: Arguments) -> Any:
    """A volume counter misbehaves: freeze, thaw, or forget (it shows 0 again)."""
    world, index = server.spot.world, int(a.get("account", 0))
    action = a["action"]
    if action == "freeze":
        world.counters.frozen.add(index)
    elif action == "thaw":
        world.counters.frozen.discard(index)
    elif action == "forget":
        world.counters.forget(index, _pair(server, a), server.now_ms())
    else:
        raise InputError("must be freeze, thaw or forget", field="action")


def cancel_all(server: RunningServer, a: Arguments) -> Any:
    """A person takes everything back in the app."""
    account = server.spot.account(int(a.get("account", 0)))
    for order in list(account.open.values()):
        if order.is_open:
            entry.cancel(server.spot.world, order, server.now_ms())
    server.flush()


def expire_listen_key(server: RunningServer, a: Arguments) -> Any:
    """End the account's Spot listen key, with or without telling."""
    side, index = server.spot, int(a.get("account", 0))
    key = side.listen_keys.active.get(index)
    if key is None:
        return
    side.listen_keys.stop(index)
    if not a.get("silently", False):
        side.hub.send_user(key, {"e": "listenKeyExpired", "E": server.now_ms(), "listenKey": key})


ACTIONS: dict[str, Callable[[RunningServer, Arguments], Any]] = {
    "spot_quote": quote,
    "spot_deposit": deposit,
    "spot_ledger": ledger,
    "spot_pair": change,
    "spot_counter": counter,
    "spot_cancel_all": cancel_all,
    "spot_expire_listen_key": expire_listen_key,
}
