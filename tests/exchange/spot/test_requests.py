"""Random Spot requests never crash the server, and never make an asset out of nothing."""

from __future__ import annotations

import random

from tests.exchange.spot.market import check

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server import ServeOptions
from perpdesk.exchange.server.app import ENDPOINTS, build
from perpdesk.exchange.server.call import Call
from perpdesk.exchange.server.spot_control import ACTIONS

START_MS = 1_763_640_000_000
ROUTES = sorted(route for route, endpoint in ENDPOINTS.items() if endpoint.side == "spot")
KINDS = [
    "LIMIT",
    "LIMIT",
    "LIMIT_MAKER",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
]
PRICES = ["49000", "49999.9", "50000", "50000.1", "50001", "51000", "48", "48.5", "0.05", "-1", "x", ""]
QTYS = ["0.001", "0.01", "0.1", "2", "0", "1e-3", "0.0000000001", "99999999999999999999", ""]


def words(rng: random.Random, name: str) -> str:
    """Something that may stand there; mostly something that makes sense."""
    lower = name.lower()
    if lower.endswith("type") and name != "newOrderRespType":
        return rng.choice([*KINDS, "OCO", ""])
    if lower.endswith("side"):
        return rng.choice(["BUY", "SELL", "BUY", "SELL", "both", ""])
    if lower.endswith("timeinforce"):
        return rng.choice(["GTC", "GTC", "IOC", "FOK", "GTX", ""])
    if lower.endswith("price"):
        return rng.choice(PRICES)
    if lower.endswith(("quantity", "qty")):
        return rng.choice(QTYS)
    if lower.endswith("id"):
        return rng.choice(["0", "1", "2", "5", "9", "a", "b", "c", "l", "-1", "é", ""])
    if lower.endswith("time"):
        return str(rng.choice([0, START_MS, START_MS + 10_000, -5]))
    return rng.choice(["1", "true", "1s", "1m", "NONE", "EXPIRE_MAKER", "FULL", "", "💥", '["BTCUSDT"]'])


SHAPES = {
    "orderList/oto": ("working", "pending"),
    "orderList/otoco": ("working", "pending", "pendingAbove", "pendingBelow"),
    "orderList/opo": ("working", "pending"),
    "orderList/opoco": ("working", "pending", "pendingAbove", "pendingBelow"),
    "orderList/oco": ("", "above", "below"),
    "order": ("",),
}
OTHERS = [
    "orderId",
    "orderListId",
    "origClientOrderId",
    "listClientOrderId",
    "newClientOrderId",
    "limit",
    "startTime",
    "endTime",
    "fromId",
    "interval",
    "selfTradePreventionMode",
    "newOrderRespType",
    "symbols",
    "quoteOrderQty",
    "icebergQty",
    "listenKey",
    "trailingDelta",
]


def leg(rng: random.Random, prefix: str, kind: str, alpha: bool) -> dict[str, str]:
    """An order that fits its type."""
    prices = ["47", "48", "49", "48.5"] if alpha else ["49000", "49999.9", "50000", "50000.2", "51000"]
    fields = {"Type": kind}
    if kind not in ("MARKET", "STOP_LOSS", "TAKE_PROFIT"):
        fields["Price"] = rng.choice(prices)
    if kind.startswith(("STOP", "TAKE")):
        fields["StopPrice"] = rng.choice(prices)
    if kind.endswith("LIMIT"):
        fields["TimeInForce"] = rng.choice(["GTC", "GTC", "IOC", "FOK"])
    return {prefix + name if prefix else name[0].lower() + name[1:]: value for name, value in fields.items()}


def request(rng: random.Random, path: str) -> dict[str, str]:
    """Parameters that fit the path; then, mostly, nothing or one of them is spoilt."""
    alpha = rng.random() < 0.3
    params = {"symbol": "ALPHA_22USDT" if alpha else "BTCUSDT"}
    shape = next((parts for name, parts in SHAPES.items() if path.endswith("/" + name)), ())
    for prefix in shape:
        kind = rng.choice(["LIMIT", "LIMIT_MAKER"] if prefix == "working" else KINDS)
        if prefix.lower().endswith(("above", "below")):
            kind = rng.choice(["LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT"])
        params |= leg(rng, prefix, kind, alpha)
    for prefix in ("", "working", "pending"):
        if prefix in shape:
            side, quantity = (prefix + "Side", prefix + "Quantity") if prefix else ("side", "quantity")
            params[side] = rng.choice(["BUY", "SELL"])
            params[quantity] = rng.choice(["1", "0.3"] if alpha else ["0.001", "0.01"])
    if "otoco" in path or "opoco" in path:
        for name in ("pendingType", "pendingPrice", "pendingTimeInForce", "pendingStopPrice"):
            params.pop(name, None)
    if "/oco" in path:
        for name in ("type", "price", "timeInForce", "stopPrice"):
            params.pop(name, None)
    if "/opo" in path:
        params.pop("pendingQuantity")
        params |= {"workingSide": "BUY", "pendingSide": "SELL"}
    if rng.random() < 0.4 and params:
        name = rng.choice(sorted(params))
        params[name] = words(rng, name)
    for name in rng.sample(OTHERS, rng.choice([0, 0, 0, 1, 3])):
        params[name] = words(rng, name)
    return params


def test_random_spot_requests() -> None:
    rng = random.Random(11)
    server = build(
        ServeOptions(clock=VirtualClock(START_MS), accounts=3, spot_balances={"USDT": "9000", "BTC": "1"})
    )
    placing = [route for route in ROUTES if route[0] == "POST" and "order" in route[1]]
    codes: dict[int, int] = {}
    for i in range(4_000):
        method, path = rng.choice(placing if rng.random() < 0.6 else ROUTES)
        endpoint = ENDPOINTS[method, path]
        call = Call(server, request(rng, path), server.now_ms())
        if endpoint.security != "NONE":
            call.account_or_none = server.world.accounts[rng.randrange(3)]
        endpoint.weight_of(call.params)
        found = endpoint.answer(call)
        codes[found.code if isinstance(found, Refusal) else 0] = 1
        if i % 10 == 0:
            server.tick("BTCUSDT", rng.choice(["49000", "49999.9", "50000", "50000.2", "51000"]))
            bid = rng.choice(["47", "48", "49"])
            ACTIONS["spot_quote"](
                server,
                {"symbol": "ALPHA_22USDT", "bid": bid, "ask": bid + ".5", "ask_qty": "0.3", "bid_qty": "0.3"},
            )
        if i % 100 == 0:
            server.skip_time(rng.choice([1, 1_000, 60_000]))
            server.flush()
            check(server.spot.world)
    check(server.spot.world)
    fills = sum(len(account.fills) for account in server.spot.world.accounts)
    lists = sum(len(account.lists) for account in server.spot.world.accounts)
    assert fills > 100
    assert lists > 100
    assert len(codes) > 12
