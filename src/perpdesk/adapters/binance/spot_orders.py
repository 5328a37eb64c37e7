"""Placing and taking back Spot orders and order lists, with the outcome that was proven and no other.

A request is signed once and sent once. UNKNOWN is not a failure: look for its client ids until the fence has
passed (``Answer.fence_ms``, our time after which the exchange cannot accept it any more).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from perpdesk.adapters.binance import parse
from perpdesk.adapters.binance import spot_endpoints as to
from perpdesk.adapters.binance import spot_payloads as p
from perpdesk.adapters.binance.errors import ExchangeUnreachable, KeyRefused, LeaseTooShort, Throttled
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.orders import WAIT_MS
from perpdesk.adapters.binance.outcome import Verdict
from perpdesk.adapters.binance.rest import Reply, Rest
from perpdesk.adapters.binance.signing import Param
from perpdesk.adapters.binance.spot_endpoints import SpotEndpoint
from perpdesk.adapters.binance.spot_outcome import classify
from perpdesk.domain.errors import InputError
from perpdesk.ports import Answer, Outcome

STP = "EXPIRE_TAKER"
_LIST, _ORDER = parse.decoder(p.SpotList), parse.decoder(p.SpotOrder)
_ENDPOINTS = {
    ("oto", 1): to.OTO,
    ("oto", 2): to.OTOCO,
    ("opo", 1): to.OPO,
    ("opo", 2): to.OPOCO,
}


@dataclass(frozen=True, slots=True)
class SpotLeg:
    """One order. side: BUY or SELL. price None: at market. qty None: what the working order has bought."""

    client_id: str
    side: str
    type: str
    qty: Decimal | None
    price: Decimal | None = None
    stop_price: Decimal | None = None
    tif: str | None = None


@dataclass(frozen=True, slots=True)
class SpotListRequest:
    """A list: one working order, and one pending order or two alternatives (above, then below the market).

    Without quantities in the pending orders the venue sizes them itself (one pays the other).
    """

    symbol: str
    client_id: str
    working: SpotLeg
    pending: tuple[SpotLeg, ...]

    @property
    def pays(self) -> bool:
        """Is what the working order buys what the pending ones sell?"""
        return all(leg.qty is None for leg in self.pending)


def limit_pair(
    symbol: str,
    client_ids: tuple[str, str, str],
    qty: Decimal,
    buy_price: Decimal,
    sell_price: Decimal,
    sell_qty: Decimal | None,
) -> SpotListRequest:
    """BUY, and once it has filled SELL, both LIMIT GTC. client_ids: of the list, the BUY, the SELL.

    sell_qty None: the venue sizes the SELL.
    """
    list_id, buy_id, sell_id = client_ids
    return SpotListRequest(
        symbol,
        list_id,
        SpotLeg(buy_id, "BUY", "LIMIT", qty, buy_price, tif="GTC"),
        (SpotLeg(sell_id, "SELL", "LIMIT", sell_qty, sell_price, tif="GTC"),),
    )


class SpotOrders:
    """Sends the Spot orders of one account."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self.last: Verdict | None = None  # of the last request that was answered, for the journal

    async def place_list(self, request: SpotListRequest, lane: Lane = Lane.ENTRY) -> Answer:
        """Send one list. REFUSED only if it is proven that the exchange has not taken it.

        Raises InputError for a list that no endpoint takes (nothing was sent).
        """
        endpoint, params = list_params(request)
        reply = await self._send(endpoint, params, lane)
        if isinstance(reply, Answer):
            return reply
        answer = self._judged(reply)
        if answer.outcome is not Outcome.ACCEPTED:
            return answer
        names = {request.working.client_id, *(leg.client_id for leg in request.pending)}
        try:
            made: p.SpotList = _LIST.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Answer(Outcome.UNKNOWN, f"200, but unreadable: {error}", reply.fence_ms)
        if made.list_client_order_id != request.client_id or names != {
            order.client_order_id for order in made.orders
        }:
            return Answer(Outcome.UNKNOWN, "200, but with other client ids", reply.fence_ms)
        return answer

    async def place(self, symbol: str, leg: SpotLeg, lane: Lane = Lane.CLOSE) -> Answer:
        """Send one order by itself: an exit, usually. Outcomes as ``place_list``."""
        if leg.qty is None:
            raise InputError("a single order needs a quantity", field="qty")
        params: list[tuple[str, Param]] = [("symbol", symbol), *_leg_params(leg, "")]
        params += [("quantity", leg.qty), *_COMMON]
        reply = await self._send(to.ORDER, params, lane)
        if isinstance(reply, Answer):
            return reply
        answer = self._judged(reply)
        if answer.outcome is not Outcome.ACCEPTED:
            return answer
        try:
            made: p.SpotOrder = _ORDER.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Answer(Outcome.UNKNOWN, f"200, but unreadable: {error}", reply.fence_ms)
        if made.client_order_id != leg.client_id:
            return Answer(Outcome.UNKNOWN, "200, but with another client id", reply.fence_ms)
        return answer

    async def cancel_list(self, symbol: str, client_id: str, lane: Lane = Lane.PROTECT) -> Answer:
        """Take a list back. REFUSED with code -2011: it is not open, which proves nothing more: query it."""
        params = [("symbol", symbol), ("listClientOrderId", client_id)]
        return await self._cancel(to.LIST_CANCEL, params, lane)

    async def cancel(self, symbol: str, client_id: str, lane: Lane = Lane.PROTECT) -> Answer:
        """Take one order back, and with it its list."""
        params = [("symbol", symbol), ("origClientOrderId", client_id)]
        return await self._cancel(to.ORDER_CANCEL, params, lane)

    async def _cancel(self, endpoint: SpotEndpoint, params: list[tuple[str, str]], lane: Lane) -> Answer:
        reply = await self._send(endpoint, params, lane)
        # a cancel that was not sent changes nothing: whether the order is open is as unknown as before
        if isinstance(reply, Answer):
            return Answer(Outcome.UNKNOWN, reply.reason)
        return self._judged(reply, cancelling=True)

    async def _send(
        self, endpoint: SpotEndpoint, params: Sequence[tuple[str, Param]], lane: Lane
    ) -> Reply | Answer:
        """The reply, or REFUSED where nothing was sent."""
        deadline_ms = self._rest.server.now_ms() + WAIT_MS[lane]
        try:
            return await self._rest.send(endpoint, params, lane, deadline_ms)
        except (Throttled, LeaseTooShort, KeyRefused, ExchangeUnreachable) as error:
            return Answer(Outcome.REFUSED, str(error))

    def _judged(self, reply: Reply, *, cancelling: bool = False) -> Answer:
        self.last = verdict = classify(reply.status, reply.code, reply.text, cancelling=cancelling)
        if verdict.outcome is Outcome.ACCEPTED:
            return Answer(Outcome.ACCEPTED)
        fence_ms = reply.fence_ms if verdict.outcome is Outcome.UNKNOWN else 0
        return Answer(verdict.outcome, verdict.reason, fence_ms, verdict.code)


_COMMON: tuple[tuple[str, Param], ...] = (
    ("selfTradePreventionMode", STP),
    ("newOrderRespType", "RESULT"),
)


def list_params(request: SpotListRequest) -> tuple[SpotEndpoint, list[tuple[str, Param]]]:
    """Where a list goes and with what. Raises InputError for a list that no endpoint takes."""
    sized = [leg.qty is not None for leg in request.pending]
    if len(sized) not in (1, 2) or len(set(sized)) != 1 or request.working.qty is None:
        raise InputError("a list has one working order and one or two pending ones", field="pending")
    if len({(leg.side, leg.qty) for leg in request.pending}) != 1:
        raise InputError("alternatives have the same side and quantity", field="pending")
    endpoint = _ENDPOINTS["opo" if request.pays else "oto", len(sized)]
    first = request.pending[0]
    params: list[tuple[str, Param]] = [
        ("symbol", request.symbol),
        ("listClientOrderId", request.client_id),
        *_leg_params(request.working, "working"),
        ("workingQuantity", request.working.qty),
    ]
    if len(sized) == 1:
        params += _leg_params(first, "pending")
    else:
        params.append(("pendingSide", first.side))
        for leg, prefix in zip(request.pending, ("pendingAbove", "pendingBelow"), strict=True):
            params += [one for one in _leg_params(leg, prefix) if not one[0].endswith("Side")]
    if first.qty is not None:
        params.append(("pendingQuantity", first.qty))
    return endpoint, [*params, *_COMMON]


def _leg_params(leg: SpotLeg, prefix: str) -> list[tuple[str, Param]]:
    """Everything of an order but its quantity."""

    def named(name: str) -> str:
        return prefix + name[0].upper() + name[1:] if prefix else name

    client_id = named("clientOrderId") if prefix else "newClientOrderId"
    params: list[tuple[str, Param]] = [
        (named("side"), leg.side),
        (named("type"), leg.type),
        (client_id, leg.client_id),
    ]
    if leg.price is not None:
        params.append((named("price"), leg.price))
    if leg.stop_price is not None:
        params.append((named("stopPrice"), leg.stop_price))
    if leg.tif is not None:
        params.append((named("timeInForce"), leg.tif))
    return params
