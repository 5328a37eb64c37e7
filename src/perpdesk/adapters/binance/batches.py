"""Several orders in one request, each settled by itself: one answer of a batch proves nothing of another.

Up to five ordinary orders are placed, up to ten are taken back together. Conditional orders cannot be in a
batch (-4120): they go one by one. The exchange works on a batch at once and promises no order among it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import parse
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.errors import ExchangeUnreachable, KeyRefused, LeaseTooShort, Throttled
from perpdesk.adapters.binance.known_orders import Known
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.orders import WAIT_MS, Orders
from perpdesk.adapters.binance.outcome import Then, Verdict, classify
from perpdesk.adapters.binance.rest import Reply
from perpdesk.adapters.binance.signing import Param, text_of
from perpdesk.adapters.binance.translate import Request, request_of
from perpdesk.domain.errors import InputError
from perpdesk.ports import Answer, NewOrder, Outcome

PLACE_MAX, CANCEL_MAX = 5, 10

_ITEMS = msgspec.json.Decoder(list[Raw])
_ORDER = parse.decoder(p.Order)


class _Coded(Struct):
    code: int | None = None
    msg: str = ""


_CODED = msgspec.json.Decoder(_Coded, strict=False)


class Batches:
    """Places and takes back many orders of one account."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def place(self, orders: Sequence[NewOrder]) -> list[Answer]:
        """Answers in the order of ``orders``. Leverage is set before, as for single orders."""
        answers: dict[int, Answer] = {}
        ready: list[tuple[int, Known, Request]] = []
        for i, order in enumerate(orders):
            prepared = await self._prepared(order)
            if prepared is None:
                answers[i] = await self._orders.place(order)
            elif isinstance(prepared, Answer):
                answers[i] = prepared
            else:
                ready.append((i, *prepared))
        for first in range(0, len(ready), PLACE_MAX):
            answers |= await self._place(ready[first : first + PLACE_MAX])
        return [answers[i] for i in range(len(orders))]

    async def cancel(self, symbol: int, client_ids: Sequence[str]) -> list[Answer]:
        """Answers in the order of ``client_ids``, all of one symbol; REFUSED: no such open order."""
        answers: dict[str, Answer] = {}
        ordinary: list[str] = []
        for client_id in client_ids:
            known = self._orders.known(client_id)
            if known is None or known.is_waiting:  # of an unknown one the book is not known either
                answers[client_id] = await self._orders.cancel(symbol, client_id)
            else:
                known.is_canceling = True
                ordinary.append(client_id)
        for first in range(0, len(ordinary), CANCEL_MAX):
            part = ordinary[first : first + CANCEL_MAX]
            answers |= await self._cancel(symbol, part)
        return [answers[client_id] for client_id in client_ids]

    # -- placing -----------------------------------------------------------------------------------

    async def _prepared(self, order: NewOrder) -> tuple[Known, Request] | Answer | None:
        """What will be sent; an Answer if it will not be; None if it must go by itself."""
        rules = self._orders.rules[order.symbol]
        try:
            request = request_of(order, rules, hedge=self._orders.hedge)
        except InputError as error:
            return Answer(Outcome.REFUSED, error.problem)
        if request.is_conditional:
            return None
        problem = await self._orders.set_leverage(order)
        if problem is not None:
            return Answer(Outcome.REFUSED, problem)
        if self._orders.known(order.client_id) is not None:
            return Answer(Outcome.REFUSED, f"client id {order.client_id} was used in this run")
        return self._orders.expect(order, is_conditional=False), request

    async def _place(self, ready: list[tuple[int, Known, Request]]) -> dict[int, Answer]:
        items = [{name: text_of(value) for name, value in request.params} for _, _, request in ready]
        lane = min(request.lane for _, _, request in ready)
        text = msgspec.json.encode(items).decode()
        said = await self._send(to.BATCH, [("batchOrders", text)], lane)
        answers: dict[int, Answer] = {}
        if isinstance(said, str):  # nothing was sent
            for i, known, _ in ready:
                self._orders.drop(known.order.client_id)
                answers[i] = Answer(Outcome.REFUSED, said)
            return answers
        for (i, known, request), (reply, verdict) in zip(ready, _items(said, len(ready)), strict=True):
            answers[i] = await self._orders.judge(known, request, reply, verdict)
        return answers

    # -- taking back -------------------------------------------------------------------------------

    async def _cancel(self, symbol: int, client_ids: list[str]) -> dict[str, Answer]:
        params: list[tuple[str, Param]] = [
            ("symbol", self._orders.rules[symbol].symbol),
            ("origClientOrderIdList", msgspec.json.encode(client_ids).decode()),
        ]
        said = await self._send(to.BATCH_CANCEL, params, Lane.PROTECT)
        if isinstance(said, str):
            return {client_id: Answer(Outcome.UNKNOWN, said) for client_id in client_ids}
        answers: dict[str, Answer] = {}
        for client_id, (reply, verdict) in zip(
            client_ids, _items(said, len(client_ids), cancelling=True), strict=True
        ):
            outcome = verdict.outcome
            if outcome is Outcome.ACCEPTED and _client_id(reply.body) != client_id:
                outcome = Outcome.UNKNOWN
            fence_ms = reply.fence_ms if outcome is Outcome.UNKNOWN else 0
            answers[client_id] = Answer(outcome, verdict.reason, fence_ms)
        return answers

    async def _send(self, endpoint: to.Endpoint, params: list[tuple[str, Param]], lane: Lane) -> Reply | str:
        """The reply to the whole request, or why nothing was sent."""
        rest = self._orders.rest
        try:
            return await rest.send(endpoint, params, lane, rest.server.now_ms() + WAIT_MS[lane])
        except (Throttled, LeaseTooShort, KeyRefused, ExchangeUnreachable) as error:
            return str(error)


def _items(reply: Reply, count: int, *, cancelling: bool = False) -> list[tuple[Reply, Verdict]]:
    """Each element as a reply of its own, with what it proves. An odd answer proves nothing of any."""
    if not reply.is_success:
        verdict = classify(reply.status, reply.code, reply.text, cancelling=cancelling)
        return [(reply, verdict)] * count
    try:
        rows = [bytes(row) for row in _ITEMS.decode(reply.body)]
        coded = [_CODED.decode(row) for row in rows]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return [(reply, Verdict(Outcome.UNKNOWN, Then.SETTLE, None, f"200, but unreadable: {error}"))] * count
    if len(rows) != count:
        text = f"200, but {len(rows)} answers to {count} orders"
        return [(reply, Verdict(Outcome.UNKNOWN, Then.SETTLE, None, text))] * count
    found: list[tuple[Reply, Verdict]] = []
    for row, said in zip(rows, coded, strict=True):
        one = Reply(200, said.code, said.msg, row, reply.headers, reply.fence_ms)
        found.append((one, classify(200, said.code, said.msg, cancelling=cancelling, in_batch=True)))
    return found


def _client_id(row: bytes) -> str | None:
    try:
        order: p.Order = _ORDER.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return order.client_order_id
