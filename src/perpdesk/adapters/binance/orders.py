"""Placing and taking back, over both books, with the outcome that was proven and no other."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import parse
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.errors import ExchangeUnreachable, KeyRefused, LeaseTooShort, Throttled
from perpdesk.adapters.binance.facts import text
from perpdesk.adapters.binance.known_orders import Known, KnownOrders
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.outcome import Then, Verdict, classify
from perpdesk.adapters.binance.quantise import Rules
from perpdesk.adapters.binance.rest import Reply, Rest, read_reply
from perpdesk.adapters.binance.socket_api import SocketApi
from perpdesk.adapters.binance.standing import Standing, look
from perpdesk.adapters.binance.translate import Request, amend_request, request_of
from perpdesk.domain.errors import InputError, PerpdeskError
from perpdesk.kernel.records import LIMIT
from perpdesk.ports import Answer, NewOrder, Outcome

# How long a request may wait for room under the limits before it is given up unsent.
WAIT_MS = {Lane.CLOSE: 60_000, Lane.PROTECT: 60_000, Lane.QUERY: 60_000, Lane.ENTRY: 2_000, Lane.POLL: 60_000}
# A leverage that an answer has confirmed is believed for so long: a person may change it, and the stream may
# not tell.
LEVERAGE_TRUST_MS = 10_000

_ORDER = parse.decoder(p.Order)
_ALGO = parse.decoder(p.AlgoOrder)
_ACCEPTED = Answer(Outcome.ACCEPTED)


class Orders:
    """Sends the orders of one account. rules: per symbol index; hedge: the account's position mode.

    channel: the way that orders take, REST if it is None.
    """

    def __init__(
        self,
        rest: Rest,
        known: KnownOrders,
        rules: list[Rules],
        *,
        hedge: bool,
        channel: Rest | SocketApi | None = None,
    ) -> None:
        self.rest, self._known, self.rules = rest, known, rules
        self._channel: Rest | SocketApi = channel or rest
        self.hedge = hedge
        self.leverages: dict[str, int] = {}
        self._leverage_set_ms: dict[str, int] = {}  # when an answer confirmed it
        self.last: Verdict | None = None  # of the last request that was answered, for the journal

    async def place(self, order: NewOrder) -> Answer:
        """Send one order. REFUSED only if it is proven that the exchange has not taken it."""
        rules = self.rules[order.symbol]
        try:
            request = request_of(order, rules, hedge=self.hedge)
        except InputError as error:
            return Answer(Outcome.REFUSED, error.problem)
        problem = await self.set_leverage(order)
        if problem is not None:
            return Answer(Outcome.REFUSED, problem)
        governor, account = self.rest.governor, self.rest.account
        if self._known.get(order.client_id) is not None:
            return Answer(Outcome.REFUSED, f"client id {order.client_id} was used in this run")
        if request.is_conditional:
            try:
                governor.hold_conditional(account, order.client_id, request.lane)
            except Throttled as error:
                return Answer(Outcome.REFUSED, str(error))
        known = self.expect(order, is_conditional=request.is_conditional)
        try:
            reply = await self._send(request)
        except (Throttled, LeaseTooShort, KeyRefused) as error:  # nothing was sent
            self.drop(order.client_id)
            return Answer(Outcome.REFUSED, str(error))
        except ExchangeUnreachable as error:  # our time could not be measured: nothing was sent
            self.drop(order.client_id)
            return Answer(Outcome.REFUSED, str(error))
        return await self.judge(known, request, reply, classify(reply.status, reply.code, reply.text))

    async def judge(self, known: Known, request: Request, reply: Reply, verdict: Verdict) -> Answer:
        """What the reply to an expected order means, and what is known of the order from now on."""
        self.last = verdict
        if verdict.outcome is Outcome.ACCEPTED:
            return self._accepted(known, request, reply)
        if verdict.then is Then.ADOPT:
            return await self._adopt(known, reply, verdict)
        if verdict.outcome is Outcome.REFUSED:
            self.drop(known.order.client_id)
            return Answer(Outcome.REFUSED, verdict.reason, code=reply.code)
        return Answer(Outcome.UNKNOWN, verdict.reason, reply.fence_ms)

    async def cancel(self, symbol: int, client_id: str) -> Answer:
        """Take one order back. REFUSED: neither book has it open; it may have filled, so read on."""
        known = self._known.get(client_id)
        books = [to.ALGO_CANCEL, to.ORDER_CANCEL]
        if known is None or not known.is_waiting:
            books.reverse()
        if known is not None:
            known.is_canceling = True
        answer = Answer(Outcome.REFUSED, "no such open order")
        for book in books:
            if known is not None and not known.is_conditional and book is to.ALGO_CANCEL:
                continue
            named = "clientAlgoId" if book is to.ALGO_CANCEL else "origClientOrderId"
            params = [(named, client_id)]
            if book is to.ORDER_CANCEL:
                params.insert(0, ("symbol", self.rules[symbol].symbol))
            lane = Lane.CLOSE if known is None else Lane.PROTECT
            try:
                reply = await self._channel.send(book, params, lane, self._deadline(lane))
            except (Throttled, LeaseTooShort, KeyRefused, ExchangeUnreachable) as error:
                return Answer(Outcome.UNKNOWN, str(error))
            self.last = verdict = classify(reply.status, reply.code, reply.text, cancelling=True)
            if verdict.outcome is Outcome.ACCEPTED:
                if _names(book, reply.body, client_id):
                    return _ACCEPTED
                return Answer(Outcome.UNKNOWN, "200, but it does not say what was taken back", reply.fence_ms)
            answer = Answer(verdict.outcome, verdict.reason, reply.fence_ms)
            if verdict.then is not Then.REREAD:
                return answer
        return answer

    async def modify(self, symbol: int, client_id: str, price: int, lots: int) -> Answer:
        """Give a resting LIMIT order another price and total quantity; it loses its place in the queue.

        REFUSED: the order, if it lives, is as it was. UNKNOWN: it may stand at either price. The exchange
        cancels it if ``lots`` is no more than has filled, or a post-only order would trade.
        """
        rules, known = self.rules[symbol], self._known.get(client_id)
        if known is None or known.has_ended or known.order.kind != LIMIT:
            return Answer(Outcome.REFUSED, "-5025: not a living LIMIT order of this run")
        wanted = replace(known.order, price=price, lots=lots)
        try:
            request = amend_request(wanted, rules, hedge=self.hedge)
        except InputError as error:
            return Answer(Outcome.REFUSED, error.problem)
        try:
            reply = await self._send(request)
        except (Throttled, LeaseTooShort, KeyRefused, ExchangeUnreachable) as error:  # nothing was sent
            return Answer(Outcome.REFUSED, str(error))
        self.last = verdict = classify(reply.status, reply.code, reply.text, amending=True)
        if verdict.outcome is not Outcome.ACCEPTED:
            return Answer(verdict.outcome, verdict.reason, reply.fence_ms)
        answer = self._accepted(known, request, reply)
        if answer.outcome is Outcome.ACCEPTED:
            known.lots_left += lots - known.order.lots
            known.order = wanted
        return answer

    def _accepted(self, known: Known, request: Request, reply: Reply) -> Answer:
        try:
            if request.is_conditional:
                algo: p.AlgoOrder = _ALGO.decode(reply.body)
                matches = algo.client_algo_id == known.order.client_id
            else:
                order: p.Order = _ORDER.decode(reply.body)
                matches = order.client_order_id == known.order.client_id
                self._known.number(known, order.order_id)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Answer(Outcome.UNKNOWN, f"200, but unreadable: {error}", reply.fence_ms)
        if not matches:
            return Answer(Outcome.UNKNOWN, "200, but with another client id", reply.fence_ms)
        return _ACCEPTED

    async def _adopt(self, known: Known, reply: Reply, verdict: Verdict) -> Answer:
        """A living order has this client id: an earlier attempt of ours, if it says the same."""
        order = known.order
        rules = self.rules[order.symbol]
        unknown = Answer(Outcome.UNKNOWN, verdict.reason, reply.fence_ms)
        try:
            found = await look(self.rest, rules.symbol, order.client_id)
        except PerpdeskError:
            return unknown
        if found.standing is Standing.UNKNOWN:
            return unknown
        if found.order is not None:
            self._known.number(known, found.order.order_id)
            said = (found.order.side, text(found.order.orig_qty))
        elif found.algo is not None:
            said = (text(found.algo.side), text(found.algo.quantity))
        else:
            said = ("", "0")
        same = said[0] == ("BUY" if order.side > 0 else "SELL") and rules.lots(said[1]) == order.lots
        if not same:
            reason = f"{verdict.reason}: the living order is another one"
            return Answer(Outcome.UNKNOWN, reason, reply.fence_ms)
        return Answer(Outcome.ACCEPTED, "adopted: an earlier attempt is alive")

    def known(self, client_id: str) -> Known | None:
        """The order that this process placed under this id."""
        return self._known.get(client_id)

    def expect(self, order: NewOrder, *, is_conditional: bool) -> Known:
        """Before it is sent: its report may come before its answer."""
        return self._known.add(order, is_conditional=is_conditional)

    async def set_leverage(self, order: NewOrder) -> str | None:
        """Set the leverage that an opening order asks for. What went wrong, None if nothing."""
        rules = self.rules[order.symbol]
        if order.reduce_only or order.leverage <= 0:
            return None
        now_ms, set_ms = self.rest.server.now_ms(), self._leverage_set_ms.get(rules.symbol, 0)
        if self.leverages.get(rules.symbol) == order.leverage and 0 <= now_ms - set_ms <= LEVERAGE_TRUST_MS:
            return None
        params = (("symbol", rules.symbol), ("leverage", order.leverage))
        try:
            reply = await self.rest.send(to.LEVERAGE, params, Lane.ENTRY, self._deadline(Lane.ENTRY))
            answer: p.Leverage = read_reply(to.LEVERAGE, reply)
        except PerpdeskError as error:
            self.leverages.pop(rules.symbol, None)
            return f"leverage {order.leverage} was not set: {error}"
        self.leverages[rules.symbol] = answer.leverage
        self._leverage_set_ms[rules.symbol] = now_ms
        return None if answer.leverage == order.leverage else f"leverage is {answer.leverage}"

    async def _send(self, request: Request) -> Reply:
        return await self._channel.send(
            request.endpoint, request.params, request.lane, self._deadline(request.lane)
        )

    def _deadline(self, lane: Lane) -> int:
        return self.rest.server.now_ms() + WAIT_MS[lane]

    def drop(self, client_id: str) -> None:
        """It is proven that the exchange has not taken this order."""
        self._known.forget(client_id)
        self.rest.governor.free_conditional(self.rest.account, client_id)


def _names(book: to.Endpoint, body: bytes, client_id: str) -> bool:
    """Does the answer to a cancel speak of this order? A 200 from something in between proves nothing."""
    try:
        if book is to.ALGO_CANCEL:
            algo: p.AlgoOrder = _ALGO.decode(body)
            return algo.client_algo_id == client_id
        order: p.Order = _ORDER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return order.client_order_id == client_id
