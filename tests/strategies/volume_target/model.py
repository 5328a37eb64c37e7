"""A venue and a network that do everything wrong they can, driven by a list of choices.

Choice 0 is always "as it should be"; a list that has run out goes on with zeros, so every run ends with
the faults over. The venue counts what really happened, and refuses nothing: it only keeps the books.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tests.strategies.volume_target.build import D

from perpdesk.strategies.volume_target.arithmetic import floor_to
from perpdesk.strategies.volume_target.facts import Fill, Seen
from perpdesk.strategies.volume_target.pair import Pair, PairState, next_pair, next_pair_ms
from perpdesk.strategies.volume_target.pair_events import (
    Acked,
    Alarm,
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
    Tick,
)

BID = D(100)
FEE = D("0.001")
STEPS_MAX = 2_000


@dataclass
class VenueOrder:
    """One order as the venue knows it."""

    client_id: str
    is_buy: bool
    qty: Decimal
    price: Decimal
    seen: Seen = Seen.LIVE
    cum: Decimal = D(0)
    fills: list[Fill] = field(default_factory=list)


@dataclass
class World:
    """Venue, network and process around one pair."""

    pair: Pair
    choices: Sequence[int]
    crashes: bool = True
    used: int = 0
    now: int = 0
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    on_the_way: list[tuple[int, PairWanted]] = field(default_factory=list)
    late_events: list[tuple[int, PairEvent]] = field(default_factory=list)
    placed: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    trail: list[PairState] = field(default_factory=list)
    oversold: bool = False
    trades: int = 0
    generation: int = 0

    def choose(self, options: int) -> int:
        """The next choice out of 0 … options − 1."""
        if self.used >= len(self.choices):
            return 0
        self.used += 1
        return self.choices[self.used - 1] % options

    # the process

    def tell(self, event: PairEvent) -> None:
        """The pair hears an event, stores itself, and what it wants is done; or the process dies."""
        self.pair, wanted = next_pair(self.pair, event)
        self.trail.append(self.pair.state)
        crash = self.choose(3) if self.crashes and self.pair.is_live and wanted else 0
        generation = self.generation
        if crash != 1:
            for wish in wanted:
                self.do(wish)
                if self.generation != generation:
                    return
        if crash:
            self.generation += 1
            self.now += 1_000
            self.tell(Restarted(self.now))

    def drive(self) -> None:
        """Run until the pair has ended and nothing is on its way any more."""
        self.tell(Send(self.now))
        for _ in range(STEPS_MAX):
            if not self.step():
                return
        raise AssertionError(f"does not end: {self.pair.state}, {self.trail[-20:]}")

    def step(self) -> bool:
        """The next thing in time; False if there is none."""
        times = [ms for ms, _ in self.on_the_way] + [ms for ms, _ in self.late_events]
        tick = next_pair_ms(self.pair)
        if tick is not None:
            times.append(max(tick, self.now))
        if not times:
            return False
        self.now = max(self.now, min(times))
        for entry in [one for one in self.on_the_way if one[0] <= self.now]:
            self.on_the_way.remove(entry)
            self.execute(entry[1])
        for late in [one for one in self.late_events if one[0] <= self.now]:
            self.late_events.remove(late)
            self.tell(late[1])
        if tick is not None and tick <= self.now:
            self.tell(Tick(self.now))
        return True

    def resolve(self) -> None:
        """A person lets a quarantined pair, or one with late news, be settled."""
        self.now += 60_000
        self.tell(Resolve(self.now) if self.pair.state is PairState.QUARANTINED else Reopen(self.now))
        for _ in range(STEPS_MAX):
            if not self.step():
                return
        raise AssertionError(f"does not end: {self.pair.state}, {self.trail[-20:]}")

    def do(self, wish: PairWanted) -> None:
        """Carry out one wish."""
        match wish:
            case PlaceOto() | PlaceExit():
                self.send(wish)
            case CancelList():
                self.cancel()
            case Probe(client_id=client_id, asked_ms=asked_ms):
                self.probe(client_id, asked_ms)
            case QueryOrders(client_ids=ids):
                if self.choose(2) == 0:
                    for one in ids:
                        if one in self.orders:
                            self.tell(self.report(self.orders[one]))
            case QueryFills(client_ids=ids):
                if self.choose(2) == 0:
                    for one in ids:
                        for fill in self.orders[one].fills if one in self.orders else []:
                            self.tell(FillReport(self.now, one, fill))
            case ReadPrice():
                if self.choose(2) == 0:
                    self.tell(Quote(self.now, BID))
            case Alarm(code=code):
                self.alarms.append(code)

    # the network

    def send(self, wish: PlaceOto | PlaceExit) -> None:
        name = wish.list_id if isinstance(wish, PlaceOto) else wish.client_id
        self.placed.append(name)
        match self.choose(5):
            case 0:
                self.execute(wish)
                self.tell(Acked(self.now, name))
            case 1:  # the request is lost
                self.tell(NoAnswer(self.now, name))
            case 2:  # the answer is lost
                self.execute(wish)
                self.tell(NoAnswer(self.now, name))
            case 3:  # executed late, at the last moment at which the venue may
                self.on_the_way.append((wish.signed_ms + 15_000, wish))
                self.tell(NoAnswer(self.now, name))
            case 4:
                self.tell(Refused(self.now, name, "-2010"))

    def emit(self, event: PairEvent) -> None:
        """An event on the stream."""
        match self.choose(4):
            case 0:
                self.tell(event)
            case 1:
                pass
            case 2:
                self.tell(event)
                self.tell(event)
            case 3:
                self.late_events.append((self.now + 40_000, event))

    def probe(self, client_id: str, asked_ms: int) -> None:
        if self.choose(2):
            return
        names = [name for name in self.orders if name.startswith(client_id) or client_id == name]
        if client_id == self.pair.client_id:
            names = [name for name in names if "-x" not in name]
        if not names:
            self.tell(ProbeEmpty(self.now, client_id, asked_ms))
        for name in names:
            for fill in self.orders[name].fills:
                self.tell(FillReport(self.now, name, fill))
            self.tell(self.report(self.orders[name]))

    # the venue

    def report(self, order: VenueOrder) -> OrderReport:
        return OrderReport(self.now, order.client_id, order.seen, order.cum, "v-" + order.client_id)

    def execute(self, wish: PairWanted) -> None:
        if isinstance(wish, PlaceOto):
            buy = self.orders[wish.buy_id] = VenueOrder(wish.buy_id, True, wish.qty, wish.buy_price)
            self.orders[wish.sell_id] = VenueOrder(wish.sell_id, False, D(0), wish.sell_price)
            match self.choose(4):
                case 0:
                    self.fill_buy(buy)
                case 1:
                    self.emit(self.report(buy))
                case 2:
                    self.trade(buy, D("0.1"), BID)
                case 3:
                    self.trade(buy, D("0.1"), BID)
                    self.end(buy, Seen.EXPIRED_IN_MATCH)
                    self.end(self.orders[wish.sell_id], Seen.CANCELED)
        elif isinstance(wish, PlaceExit):
            price = BID if wish.limit is None else max(BID, wish.limit)
            order = self.orders[wish.client_id] = VenueOrder(wish.client_id, False, wish.qty, price)
            self.oversold = self.oversold or wish.qty > self.held()
            match self.choose(3):
                case 0:
                    self.trade(order, wish.qty, BID)
                case 1:
                    self.end(order, Seen.EXPIRED)
                case 2:
                    self.trade(order, floor_to(wish.qty / 2, D("0.001")), BID)
                    self.end(order, Seen.EXPIRED)

    def fill_buy(self, buy: VenueOrder) -> None:
        """The BUY fills, and the venue puts the SELL on the book with what is left of it."""
        self.trade(buy, buy.qty - buy.cum, BID)
        sell = self.orders[self.pair.sell.client_id]
        if sell.seen is not Seen.LIVE:
            return
        sell.qty = floor_to(self.held(), D("0.001"))
        self.emit(self.report(sell))
        match self.choose(3):
            case 0:
                self.trade(sell, sell.qty, sell.price)
            case 1:
                pass
            case 2:
                self.trade(sell, D("0.1"), sell.price)

    def trade(self, order: VenueOrder, qty: Decimal, price: Decimal) -> None:
        if qty <= 0 or order.seen is not Seen.LIVE:
            return
        self.trades += 1
        order.cum += qty
        quote = qty * price
        commission = qty * FEE if order.is_buy else quote * FEE
        fill = Fill(self.trades, order.cum, qty, price, quote, self.now, commission, order.is_buy)
        order.fills.append(fill)
        self.oversold = self.oversold or self.held() < 0
        if order.cum == order.qty:
            order.seen = Seen.FILLED
        self.emit(FillReport(self.now, order.client_id, fill))
        self.emit(self.report(order))

    def end(self, order: VenueOrder, seen: Seen) -> None:
        if order.seen is Seen.LIVE:
            order.seen = seen
            self.emit(self.report(order))

    def cancel(self) -> None:
        buy, sell = (self.orders.get(one.client_id) for one in (self.pair.buy, self.pair.sell))
        what = self.choose(4)
        if buy is None or sell is None or what == 1:
            if what != 1:
                self.tell(CancelDenied(self.now))
            return
        if what == 2 and buy.seen is Seen.LIVE:  # the fill wins the race
            self.fill_buy(buy)
        if what == 3 and sell.seen is Seen.LIVE and buy.seen is Seen.FILLED:
            self.trade(sell, sell.qty - sell.cum, sell.price)
        if buy.seen is not Seen.LIVE and sell.seen is not Seen.LIVE:
            self.tell(CancelDenied(self.now))
            return
        self.end(buy, Seen.CANCELED)
        self.end(sell, Seen.CANCELED)

    def held(self) -> Decimal:
        """Token that the pair really holds."""
        total = D(0)
        for order in self.orders.values():
            for fill in order.fills:
                total += fill.qty - (fill.commission or D(0)) if order.is_buy else -fill.qty
        return total

    def lost(self) -> Decimal:
        """What the pair has really cost in USDT."""
        total = D(0)
        for order in self.orders.values():
            for fill in order.fills:
                total += fill.quote if order.is_buy else (fill.commission or D(0)) - fill.quote
        return total


def ended(world: World) -> Iterator[str]:
    """What is wrong with a world whose pair has ended; nothing, if all is well."""
    pair = world.pair
    if pair.state not in (PairState.FLAT, PairState.QUARANTINED):
        yield f"ended as {pair.state}"
    if len(set(world.placed)) != len(world.placed):
        yield f"sent twice: {world.placed}"
    if world.oversold:
        yield "sold more than it had"
    if sum(order.cum for order in world.orders.values() if order.is_buy) > pair.plan.qty:
        yield "bought more than one pair"
    if pair.state is PairState.FLAT and not pair.late:
        rules = pair.terms.rules
        left = floor_to(max(world.held(), D(0)), rules.step)
        if left >= rules.min_qty and left * BID * D("0.995") >= rules.min_notional:
            yield f"FLAT with {world.held()} that can be sold"
        if pair.dust != world.held():
            yield f"dust {pair.dust}, really {world.held()}"
        if pair.loss != world.lost():
            yield f"loss {pair.loss}, really {world.lost()}"
        if any(order.seen is Seen.LIVE for order in world.orders.values()):
            yield "FLAT with a live order"
