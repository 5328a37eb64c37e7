"""One OTO pair: a BUY that, once filled, activates a SELL. It ends FLAT or QUARANTINED, nothing else.

``next_pair(pair, event) -> (pair, wanted)`` is the whole of it. The caller writes the new pair down
durably, then does what is wanted, and brings what comes of it as events; ``next_pair_ms`` says when a
``Tick`` will matter. Nothing here sends, waits or reads a clock.

A request that was sent is never sent again: only sightings of its orders, or a proof of absence (two empty
probes that were both asked after the venue can no longer accept it) decide what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from perpdesk.strategies.volume_target.arithmetic import ZERO, exact
from perpdesk.strategies.volume_target.facts import Fill, Leg, Order, Seen
from perpdesk.strategies.volume_target.losses import open_loss_of, pair_loss, residue
from perpdesk.strategies.volume_target.modes import CountSide
from perpdesk.strategies.volume_target.pair_events import (
    NOT_SENT,
    Acked,
    Alarm,
    CancelBuys,
    CancelDenied,
    CancelList,
    FillReport,
    NoAnswer,
    OrderReport,
    PairEvent,
    PairWanted,
    PlaceExit,
    PlaceOto,
    Probe,
    ProbeEmpty,
    QueryFills,
    QueryOrders,
    Quote,
    ReadPrice,
    Refused,
    Reopen,
    Resolve,
    Restarted,
    Send,
    Stop,
    Tick,
    Withdraw,
)
from perpdesk.strategies.volume_target.prices import PairPlan, TokenRules, exit_price, exit_quantity
from perpdesk.strategies.volume_target.volume import day_of

# The venue may work on a request that long after its receive window, and clocks differ a little.
BACKEND_MS = 10_000
CLOCK_MS = 250
PROBE_MS = 1_000
PROBES_APART_MS = 2_000
RETRY_MS = 2_000
CANCEL_AGAIN_MS = 5_000
PRICE_AGAIN_MS = 1_000
# A live order that only a query still shows is cancelled again after this long.
STRAY_MS = 10_000
PLACING_MAX_MS = 120_000
CANCELLING_MAX_MS = 120_000
RECONCILING_MAX_MS = 60_000
FLATTENING_MAX_MS = 120_000
EXITS_LIMIT = 5


class PairState(StrEnum):
    """Where a pair stands. All but FLAT are live: they occupy the place of (user, token)."""

    PLANNED = "PLANNED"
    PLACING = "PLACING"
    BUYING = "BUYING"
    SELLING = "SELLING"
    CANCELLING = "CANCELLING"
    RECONCILING = "RECONCILING"
    FLATTENING = "FLATTENING"
    FLAT = "FLAT"
    QUARANTINED = "QUARANTINED"


class Outcome(StrEnum):
    """How a FLAT pair came to its end.

    A leg that the venue itself ended counts as REFUSED (the BUY) or SELL_TIMED_OUT (the SELL).
    """

    COMPLETED = "COMPLETED"
    SELL_TIMED_OUT = "SELL_TIMED_OUT"
    BUY_TIMED_OUT = "BUY_TIMED_OUT"
    ABORTED_LOSS = "ABORTED_LOSS"
    STOPPED = "STOPPED"
    REFUSED = "REFUSED"
    NOT_PLACED = "NOT_PLACED"
    NOT_SENT = "NOT_SENT"


_NEVER_LIVED = (Outcome.REFUSED, Outcome.NOT_PLACED, Outcome.NOT_SENT)


@dataclass(frozen=True, slots=True)
class PairTerms:
    """What a pair is traded under, frozen when it is planned: a reload does not touch a live pair."""

    rules: TokenRules
    order_timeout_ms: int
    recv_window_ms: int
    price_max_age_ms: int
    max_loss: Decimal


@dataclass(frozen=True, slots=True)
class Request:
    """The newest request that may place orders. ``empties``: when its empty probes were asked."""

    client_id: str
    sent_ms: int
    unknown: bool = False
    empties: tuple[int, ...] = ()

    def fence_ms(self, recv_window_ms: int) -> int:
        """After this the venue cannot accept it any more."""
        return self.sent_ms + recv_window_ms + BACKEND_MS + CLOCK_MS

    def is_disproved(self) -> bool:
        """Two empty probes after the fence, far enough apart."""
        return bool(self.empties) and max(self.empties) - min(self.empties) >= PROBES_APART_MS


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair as the ledger keeps it. ``since_ms``: when it came into its state.

    ``cause``: why it is being ended early. ``late``: news came after FLAT that must be settled yet.
    ``late_fill``: that has happened to this pair. Exits are named ``{client_id}-x{n}``.
    """

    client_id: str
    config_hash: str
    terms: PairTerms
    plan: PairPlan
    buy: Order
    sell: Order
    now_ms: int
    since_ms: int
    state: PairState = PairState.PLANNED
    outcome: Outcome | None = None
    cause: Outcome | None = None
    request: Request | None = None
    exits: tuple[Order, ...] = ()
    buy_deadline_ms: int | None = None
    sell_deadline_ms: int | None = None
    stop_at_ms: int | None = None
    cancel_buy: bool = False
    bid: Decimal | None = None
    bid_ms: int = 0
    asked_ms: int | None = None
    cancel_ms: int | None = None
    recheck: bool = False
    late: bool = False
    late_fill: bool = False

    @property
    def orders(self) -> tuple[Order, ...]:
        """BUY, SELL, then the exits in order."""
        return (self.buy, self.sell, *self.exits)

    @property
    def is_live(self) -> bool:
        """Does it occupy the place of (user, token)?"""
        return self.state is not PairState.FLAT

    @property
    def loss(self) -> Decimal:
        """Its loss in USDT as far as it is known (a gain is negative)."""
        return pair_loss(self.orders)

    @property
    def dust(self) -> Decimal:
        """Token that is left."""
        return residue(self.orders)

    @property
    def breaks_loss_limit(self) -> bool:
        """Must the user's run halt because of it (LOSS_TRADE)?"""
        return self.cause is Outcome.ABORTED_LOSS or (not self.is_live and self.loss >= self.terms.max_loss)


def planned(client_id: str, plan: PairPlan, terms: PairTerms, config_hash: str, now_ms: int) -> Pair:
    """A new pair. ``client_id`` names its list; its orders are ``{client_id}-b`` and ``{client_id}-s``."""
    buy = Order(f"{client_id}-b", Leg.BUY, plan.qty, plan.buy_price)
    sell = Order(f"{client_id}-s", Leg.SELL, plan.sell_qty, plan.sell_price)
    return Pair(client_id, config_hash, terms, plan, buy, sell, now_ms=now_ms, since_ms=now_ms)


@exact
def counted_by_day(pair: Pair, side: CountSide) -> dict[int, Decimal]:
    """Quote of the counted fills by UTC day of their venue time."""
    days: dict[int, Decimal] = {}
    for order in pair.orders:
        is_buy = order.leg is Leg.BUY
        if side is CountSide.BOTH or is_buy == (side is CountSide.BUY):
            for fill in order.fills:
                day = day_of(fill.ms)
                days[day] = days.get(day, ZERO) + fill.quote
    return days


def is_failure(pair: Pair, side: CountSide) -> bool:
    """FLAT without any counted volume, though it was tried. A timed-out sell has produced its volume."""
    tried = pair.outcome not in (None, Outcome.NOT_SENT, Outcome.STOPPED)
    return not pair.is_live and tried and not any(counted_by_day(pair, side).values())


def next_pair(pair: Pair, event: PairEvent) -> tuple[Pair, tuple[PairWanted, ...]]:
    """The pair after the event, and what is to be done now, in this order.

    Hearing a fact twice, late or out of order changes nothing but what it proves. Raises KeyError for an
    order that is not of this pair.
    """
    wanted: list[PairWanted] = []
    pair = replace(pair, now_ms=max(pair.now_ms, event.now_ms))
    pair = _take(pair, event, wanted)
    while True:
        moved = _move(pair, wanted)
        if moved.state is pair.state and len(moved.exits) == len(pair.exits):
            return _ask(moved, wanted), tuple(wanted)
        pair = moved


def next_pair_ms(pair: Pair) -> int | None:
    """When a Tick will matter next, None if only news can."""
    times: list[int | None] = []
    match pair.state:
        case PairState.PLACING:
            times = [pair.since_ms + PLACING_MAX_MS, _probe_ms(pair)]
        case PairState.BUYING:
            times = [pair.buy_deadline_ms]
        case PairState.SELLING:
            times = [pair.sell_deadline_ms, pair.stop_at_ms]
        case PairState.CANCELLING:
            asked = pair.since_ms if pair.asked_ms is None else pair.asked_ms
            cancelled = pair.since_ms if pair.cancel_ms is None else pair.cancel_ms
            times = [
                pair.since_ms + CANCELLING_MAX_MS,
                asked + CANCEL_AGAIN_MS,
                cancelled + CANCEL_AGAIN_MS,
            ]
        case PairState.RECONCILING:
            times = [pair.since_ms + RECONCILING_MAX_MS, _again_ms(pair, RETRY_MS)]
            if any(order.seen is Seen.LIVE for order in pair.orders):
                times.append(pair.since_ms + STRAY_MS)
        case PairState.FLATTENING:
            settled = all(order.is_settled for order in pair.orders)
            times = [
                pair.since_ms + FLATTENING_MAX_MS,
                _again_ms(pair, PRICE_AGAIN_MS if settled else RETRY_MS),
            ]
        case PairState.FLAT:
            if pair.late and _is_stray(pair):
                times = [pair.since_ms if pair.cancel_ms is None else pair.cancel_ms + CANCEL_AGAIN_MS]
        case PairState.PLANNED | PairState.QUARANTINED:
            pass
    return min((time for time in times if time is not None), default=None)


def _again_ms(pair: Pair, interval_ms: int) -> int:
    return pair.now_ms if pair.asked_ms is None else pair.asked_ms + interval_ms


def _probe_ms(pair: Pair) -> int:
    """When the next probe of an unanswered list is due."""
    assert pair.request is not None
    if pair.asked_ms is not None:
        return pair.asked_ms + PROBE_MS
    waited = pair.request.sent_ms + pair.terms.recv_window_ms
    return pair.now_ms if pair.request.unknown else waited


def _is_stray(pair: Pair) -> bool:
    return any(order.seen is Seen.LIVE for order in pair.orders)


# What an event says.


def _take(pair: Pair, event: PairEvent, wanted: list[PairWanted]) -> Pair:
    match event:
        case OrderReport() | FillReport():
            return _join(pair, event, wanted)
        case Acked(client_id=client_id):
            return _sighted(pair, client_id, Seen.LIVE)
        case Refused(client_id=client_id, code=code):
            pair = _sighted(pair, client_id, Seen.ABSENT)
            if pair.state is PairState.PLACING and client_id == pair.client_id:
                outcome = Outcome.NOT_SENT if code == NOT_SENT else Outcome.REFUSED
                return replace(pair, cause=pair.cause or outcome)
            return pair
        case NoAnswer(client_id=client_id):
            if pair.request is not None and pair.request.client_id == client_id:
                return replace(pair, request=replace(pair.request, unknown=True))
            return pair
        case ProbeEmpty():
            return _empty_probe(pair, event)
        case Quote(bid=bid):
            return _quoted(pair, event.now_ms, bid)
        case Stop(grace_ms=grace_ms):
            at = pair.now_ms + grace_ms
            return replace(pair, stop_at_ms=at if pair.stop_at_ms is None else min(at, pair.stop_at_ms))
        case CancelBuys():
            return replace(pair, cancel_buy=True)
        case _:
            return _commanded(pair, event, wanted)


def _commanded(pair: Pair, event: PairEvent, wanted: list[PairWanted]) -> Pair:
    match event:
        case Send() if pair.state is PairState.PLANNED and not _is_stopped(pair):
            request = Request(pair.client_id, pair.now_ms)
            plan = pair.plan
            sell_qty = ZERO if pair.terms.rules.pending_by_venue else plan.sell_qty
            ids = (pair.client_id, pair.buy.client_id, pair.sell.client_id)
            wanted.append(PlaceOto(*ids, plan.buy_price, plan.sell_price, plan.qty, sell_qty, pair.now_ms))
            return _enter(replace(pair, request=request), PairState.PLACING)
        case Withdraw() if pair.state is PairState.PLANNED:
            return _flat(replace(pair, cause=Outcome.NOT_SENT))
        case CancelDenied() if pair.state is PairState.CANCELLING:
            # "there is no such order" proves nothing, so look
            return replace(pair, asked_ms=None)
        case Restarted():
            return _restarted(pair)
        case Resolve() if pair.state is PairState.QUARANTINED:
            return _enter(pair, PairState.RECONCILING)
        case Reopen() if pair.state is PairState.FLAT and pair.late:
            cause = Outcome.BUY_TIMED_OUT if pair.cause in _NEVER_LIVED else pair.cause
            return _enter(replace(pair, late=False, outcome=None, cause=cause), PairState.RECONCILING)
        case _:
            return pair


def _restarted(pair: Pair) -> Pair:
    if pair.state is PairState.PLANNED:
        # that it was not sent cannot be proven; it was signed before now at the latest
        request = Request(pair.client_id, pair.now_ms, unknown=True)
        return _enter(replace(pair, request=request), PairState.PLACING)
    request_now = None if pair.request is None else replace(pair.request, unknown=True)
    # the orders' deadlines went on meanwhile, the patience with the venue did not
    return replace(
        pair, request=request_now, since_ms=pair.now_ms, asked_ms=None, cancel_ms=None, recheck=True
    )


def _is_stopped(pair: Pair) -> bool:
    return pair.stop_at_ms is not None or pair.cancel_buy


def _with_order(pair: Pair, order: Order) -> Pair:
    if order.leg is Leg.BUY:
        return replace(pair, buy=order)
    if order.leg is Leg.SELL:
        return replace(pair, sell=order)
    exits = tuple(order if old.client_id == order.client_id else old for old in pair.exits)
    return replace(pair, exits=exits)


def _order(pair: Pair, client_id: str) -> Order:
    for order in pair.orders:
        if order.client_id == client_id:
            return order
    raise KeyError(f"{client_id} is no order of pair {pair.client_id}: look it up in volume_order")


def _orders_of(pair: Pair, client_id: str) -> tuple[Order, ...]:
    """The orders of a request: the list has two."""
    return (pair.buy, pair.sell) if client_id == pair.client_id else (_order(pair, client_id),)


def _sighted(pair: Pair, client_id: str, seen: Seen) -> Pair:
    """All orders of a request as LIVE, or as ABSENT if none of them has been seen: it lives as a whole."""
    orders = _orders_of(pair, client_id)
    if seen is Seen.ABSENT and any(order.seen >= Seen.LIVE for order in orders):
        return pair
    for order in orders:
        pair = _with_order(pair, order.joined(seen, ZERO, None))
    return pair


def _join(pair: Pair, event: OrderReport | FillReport, wanted: list[PairWanted]) -> Pair:
    before = _order(pair, event.client_id)
    if isinstance(event, FillReport):
        after = before.with_fill(event.fill)
    else:
        after = before.joined(event.seen, event.cum_qty, event.venue_id)
    pair = _with_order(pair, after)
    if after.seen >= Seen.LIVE and after.leg is not Leg.EXIT:
        # the venue takes a list whole or not at all
        pair = _sighted(pair, pair.client_id, Seen.LIVE)
    if after.seen is Seen.EXPIRED_IN_MATCH and before.seen is not Seen.EXPIRED_IN_MATCH:
        wanted.append(Alarm("EXPIRED_IN_MATCH"))
    traded = (after.cum_qty, after.fills) != (before.cum_qty, before.fills)
    alive = after.seen is Seen.LIVE and before.seen is not Seen.LIVE
    if pair.state is PairState.FLAT and (traded or alive):
        if not pair.late:
            wanted.append(Alarm("LATE_FILL"))
        return replace(pair, late=True, late_fill=True)
    return pair


def _empty_probe(pair: Pair, event: ProbeEmpty) -> Pair:
    request = pair.request
    if request is None or request.client_id != event.client_id:
        return pair
    if event.asked_ms <= request.fence_ms(pair.terms.recv_window_ms):
        return pair
    if any(order.seen is not Seen.UNSEEN for order in _orders_of(pair, request.client_id)):
        return pair
    request = replace(request, empties=(*request.empties[:1], event.asked_ms))
    pair = replace(pair, request=request)
    settling = (PairState.PLACING, PairState.RECONCILING, PairState.FLATTENING)
    if pair.state in settling and request.is_disproved():
        pair = _sighted(pair, request.client_id, Seen.ABSENT)
        if request.client_id == pair.client_id:
            return replace(pair, cause=pair.cause or Outcome.NOT_PLACED)
    return pair


def _quoted(pair: Pair, ms: int, bid: Decimal) -> Pair:
    if ms < pair.bid_ms or bid <= 0:
        return pair
    pair = replace(pair, bid=bid, bid_ms=ms)
    if pair.state not in (PairState.BUYING, PairState.SELLING) or residue(pair.orders) <= 0:
        return pair
    if open_loss_of(pair.orders, bid, pair.terms.rules.taker_fee) >= pair.terms.max_loss:
        return _enter(replace(pair, cause=Outcome.ABORTED_LOSS), PairState.CANCELLING)
    return pair


# What follows from what is known.


def _move(pair: Pair, wanted: list[PairWanted]) -> Pair:
    """One step of the table, or the same pair."""
    match pair.state:
        case PairState.PLANNED:
            return _flat(replace(pair, cause=Outcome.NOT_SENT)) if _is_stopped(pair) else pair
        case PairState.PLACING:
            return _placing(pair, wanted)
        case PairState.BUYING:
            return _buying(pair)
        case PairState.SELLING:
            return _selling(pair)
        case PairState.CANCELLING:
            if pair.buy.seen.is_terminal and pair.sell.seen.is_terminal:
                return _enter(pair, PairState.RECONCILING)
            return _or_quarantined(pair, CANCELLING_MAX_MS, "CANCEL_UNCONFIRMED", wanted)
        case PairState.RECONCILING:
            return _reconciling(pair, wanted)
        case PairState.FLATTENING:
            return _flattening(pair, wanted)
        case PairState.FLAT | PairState.QUARANTINED:
            return pair


def _enter(pair: Pair, state: PairState) -> Pair:
    asked = pair.now_ms if state is PairState.CANCELLING else None
    return replace(pair, state=state, since_ms=pair.now_ms, asked_ms=asked, cancel_ms=None, recheck=False)


def _or_quarantined(pair: Pair, limit_ms: int, code: str, wanted: list[PairWanted]) -> Pair:
    return _quarantined(pair, code, wanted) if pair.now_ms >= pair.since_ms + limit_ms else pair


def _quarantined(pair: Pair, code: str, wanted: list[PairWanted]) -> Pair:
    wanted.append(Alarm(code))
    return _enter(pair, PairState.QUARANTINED)


def _flat(pair: Pair) -> Pair:
    if pair.buy.seen is Seen.FILLED and pair.sell.seen is Seen.FILLED:
        outcome = Outcome.COMPLETED
    elif pair.cause is not None:
        outcome = pair.cause
    else:
        outcome = Outcome.SELL_TIMED_OUT if pair.buy.seen is Seen.FILLED else Outcome.REFUSED
    return _enter(replace(pair, outcome=outcome), PairState.FLAT)


def _placing(pair: Pair, wanted: list[PairWanted]) -> Pair:
    sighted = [order for order in (pair.buy, pair.sell) if order.seen >= Seen.LIVE]
    if sighted:
        deadline = pair.now_ms + pair.terms.order_timeout_ms
        return _enter(replace(pair, buy_deadline_ms=deadline, cause=None), PairState.BUYING)
    if pair.buy.seen is Seen.ABSENT and pair.sell.seen is Seen.ABSENT:
        return _flat(pair)
    return _or_quarantined(pair, PLACING_MAX_MS, "PLACING_UNKNOWN", wanted)


def _buying(pair: Pair) -> Pair:
    # a SELL that trades proves that the BUY has filled, even if nobody has said so yet
    if pair.buy.seen is Seen.FILLED or pair.sell.cum_qty > 0:
        deadline = pair.now_ms + pair.terms.order_timeout_ms
        return _enter(replace(pair, sell_deadline_ms=deadline), PairState.SELLING)
    if pair.buy.seen.is_terminal:
        return _enter(pair, PairState.RECONCILING)
    if _is_stopped(pair):
        return _enter(replace(pair, cause=Outcome.STOPPED), PairState.CANCELLING)
    assert pair.buy_deadline_ms is not None
    if pair.now_ms >= pair.buy_deadline_ms:
        return _enter(replace(pair, cause=Outcome.BUY_TIMED_OUT), PairState.CANCELLING)
    return pair


def _selling(pair: Pair) -> Pair:
    if pair.sell.seen.is_terminal:
        return _enter(pair, PairState.RECONCILING)
    if pair.stop_at_ms is not None and pair.now_ms >= pair.stop_at_ms:
        return _enter(replace(pair, cause=Outcome.STOPPED), PairState.CANCELLING)
    assert pair.sell_deadline_ms is not None
    if pair.now_ms >= pair.sell_deadline_ms:
        return _enter(replace(pair, cause=Outcome.SELL_TIMED_OUT), PairState.CANCELLING)
    return pair


def _reconciling(pair: Pair, wanted: list[PairWanted]) -> Pair:
    if all(order.is_settled for order in pair.orders):
        left = residue(pair.orders)
        if left < 0:
            return _quarantined(pair, "OVERSOLD", wanted)
        if left < pair.terms.rules.min_qty or left < pair.terms.rules.step:
            return _flat(pair)
        return _enter(pair, PairState.FLATTENING)
    if _is_stray(pair) and pair.now_ms >= pair.since_ms + STRAY_MS:
        return _enter(pair, PairState.CANCELLING)
    return _or_quarantined(pair, RECONCILING_MAX_MS, "FILLS_UNEXPLAINED", wanted)


def _flattening(pair: Pair, wanted: list[PairWanted]) -> Pair:
    if pair.now_ms >= pair.since_ms + FLATTENING_MAX_MS:
        return _quarantined(pair, "NOT_FLAT_IN_TIME", wanted)
    if not all(order.is_settled for order in pair.orders):
        return pair
    rules, left = pair.terms.rules, residue(pair.orders)
    if left < 0:
        return _quarantined(pair, "OVERSOLD", wanted)
    if left < rules.min_qty or left < rules.step:
        return _flat(pair)
    if pair.bid is None or pair.now_ms - pair.bid_ms > pair.terms.price_max_age_ms:
        return pair
    limit = exit_price(pair.bid, rules.tick)
    qty = exit_quantity(left, limit, rules)
    if qty == 0:
        return _flat(pair)
    if len(pair.exits) > EXITS_LIMIT:
        return _quarantined(pair, "NOT_FLAT_AT_MARKET", wanted)
    return _sell_exit(pair, qty, limit if len(pair.exits) < EXITS_LIMIT else None, wanted)


def _sell_exit(pair: Pair, qty: Decimal, limit: Decimal | None, wanted: list[PairWanted]) -> Pair:
    client_id = f"{pair.client_id}-x{len(pair.exits) + 1}"
    wanted.append(PlaceExit(client_id, qty, limit, pair.now_ms))
    return replace(
        pair,
        exits=(*pair.exits, Order(client_id, Leg.EXIT, qty, limit)),
        request=Request(client_id, pair.now_ms),
        # the answer comes by itself; ask only if it does not
        asked_ms=pair.now_ms,
    )


# What to ask again.


def _ask(pair: Pair, wanted: list[PairWanted]) -> Pair:
    match pair.state:
        case PairState.PLACING:
            if pair.now_ms >= _probe_ms(pair):
                return _probe(pair, wanted)
        case PairState.BUYING | PairState.SELLING:
            if pair.recheck:
                _query(pair, wanted)
                return replace(pair, recheck=False)
        case PairState.CANCELLING:
            return _cancelling(pair, wanted)
        case PairState.RECONCILING:
            if pair.now_ms >= _again_ms(pair, RETRY_MS):
                return _settling(pair, wanted)
        case PairState.FLATTENING:
            return _ask_flattening(pair, wanted)
        case PairState.FLAT:
            if pair.late and _is_stray(pair):
                return _cancel(pair, wanted)
        case PairState.PLANNED | PairState.QUARANTINED:
            pass
    return pair


def _probe(pair: Pair, wanted: list[PairWanted]) -> Pair:
    assert pair.request is not None
    wanted.append(Probe(pair.request.client_id, pair.now_ms))
    return replace(pair, asked_ms=pair.now_ms)


def _query(pair: Pair, wanted: list[PairWanted]) -> None:
    ids = tuple(order.client_id for order in pair.orders if not order.is_settled)
    wanted.extend((QueryOrders(ids), QueryFills(ids)))


def _cancel(pair: Pair, wanted: list[PairWanted]) -> Pair:
    if pair.cancel_ms is not None and pair.now_ms < pair.cancel_ms + CANCEL_AGAIN_MS:
        return pair
    wanted.append(CancelList(pair.client_id))
    return replace(pair, cancel_ms=pair.now_ms)


def _cancelling(pair: Pair, wanted: list[PairWanted]) -> Pair:
    pair = _cancel(pair, wanted)
    if pair.asked_ms is None or pair.now_ms >= pair.asked_ms + CANCEL_AGAIN_MS:
        _query(pair, wanted)
        return replace(pair, asked_ms=pair.now_ms)
    return pair


def _settling(pair: Pair, wanted: list[PairWanted]) -> Pair:
    """Ask for what is missing: a request that nobody has seen is probed, a known order queried."""
    request = pair.request
    if request is not None and all(
        order.seen is Seen.UNSEEN for order in _orders_of(pair, request.client_id)
    ):
        return _probe(pair, wanted)
    _query(pair, wanted)
    return replace(pair, asked_ms=pair.now_ms)


def _ask_flattening(pair: Pair, wanted: list[PairWanted]) -> Pair:
    if all(order.is_settled for order in pair.orders):
        if pair.now_ms >= _again_ms(pair, PRICE_AGAIN_MS):
            wanted.append(ReadPrice())
            return replace(pair, asked_ms=pair.now_ms)
        return pair
    return _settling(pair, wanted) if pair.now_ms >= _again_ms(pair, RETRY_MS) else pair


__all__ = [
    "Fill",
    "Outcome",
    "Pair",
    "PairState",
    "PairTerms",
    "Request",
    "Tick",
    "counted_by_day",
    "is_failure",
    "next_pair",
    "next_pair_ms",
    "planned",
]
