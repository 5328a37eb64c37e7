"""The invariants, checked on the exchange after every step that could have changed it.

The observer reads the exchange's own state and the wire. It never asks the desk's objects: a desk that is
wrong about itself must not be believed. What needs the database is in ``books``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from perpdesk.domain.kill import Rung
from perpdesk.engine import ids
from perpdesk.exchange.core.accounts import Account
from perpdesk.exchange.core.orders import Conditional, Order
from perpdesk.exchange.server import RunningServer
from perpdesk.simulation.attribution import Attribution, Code, Seen
from perpdesk.simulation.loop import Incarnation, Loop
from perpdesk.simulation.network import ADDRESS, Network, Sent
from perpdesk.simulation.protection import STOPS, Interval, Meter, cover_lots, uncovered_lots
from perpdesk.simulation.trace import Trace

HARD_NAKED_S = 20.0
# Each further death of a process in the same time may cost a recovery more.
AGAIN_S = 15.0
# A process that has just started is still recovering from the death before it.
RECOVERY_US = 15_000_000
_E8 = 100_000_000
_MARKS, _EVENT_MS = b"markPriceUpdate", re.compile(rb'"E":(\d+)')
# From the last look at the marks to the exchange: a turn in the queue of requests, and the way.
_MARK_SLACK_MS = 4_000
# What was on its way when the answer came.
_ON_THE_WAY_US = 2_000_000
# The desk hears of a loss from the stream, or else from its next look at the statement.
_TRIP_US = 40_000_000
# The desk reads its switch and its rungs so often, at the latest.
_SWITCH_US = 5_000_000
# An entry's leverage is set right before it is sent.
_SET_MS = 15_000
# Everything is to be closed within this, refusals and unanswered requests included.
_FLATTEN_S = 40
# So long may stops be larger than what they protect (they can only reduce; resizing takes a moment).
_LARGE_US = 180_000_000
# A refusal to take back what stands counts for so long; the desk asks again.
_DENIED_US = 30_000_000


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant."""

    rule: str
    text: str
    us: int


@dataclass
class Limits:
    """What the desk was told to keep to. None: not limited. Amounts in 1e-8 of the quote currency."""

    order_notional_e8: int | None = None
    exposure_e8: int | None = None
    leverage: int | None = None
    positions: int | None = None
    orders_a_minute: int | None = None
    daily_loss_e8: int | None = None
    stale_ms: int | None = None
    lease_ms: int | None = None


@dataclass
class Observer:
    """Looks at one account of one exchange. ``unreachable`` and ``processes`` are asked at each look."""

    loop: Loop
    server: RunningServer
    network: Network
    trace: Trace
    limits: Limits
    unreachable: Callable[[], bool]
    processes: Callable[[], list[Incarnation]]
    violations: list[Violation] = field(default_factory=list)
    doubled: set[tuple[str, int]] = field(default_factory=set)
    meter: Meter = field(default_factory=Meter)
    flatten: Meter = field(default_factory=Meter)  # what stands although everything is to be closed
    attribution: Attribution = field(default_factory=Attribution)
    leverage_ms: dict[int, int] = field(default_factory=dict)  # when a person last changed it, by contract
    killed_us: int | None = None
    rung: Rung = Rung.NORMAL
    tripped_us: int | None = None
    switched_off_us: int | None = None
    banned_until_us: Callable[[], int] = lambda: 0
    deaths: Callable[[], int] = lambda: 0  # of processes, so far
    looks: int = 0
    entries: int = 0
    orders: int = 0
    refusals: Counter[int] = field(default_factory=Counter)
    _stamp: tuple[int, ...] = ()
    _orders_seen: int = 0
    _algos_seen: int = 0
    _alive: dict[Code, list[str]] = field(default_factory=dict)
    _intended: dict[Code, dict[str, int]] = field(default_factory=dict)  # by leg: a batch has its own
    _said: set[tuple[str, str]] = field(default_factory=set)
    _day_start_e8: int | None = None
    _day: int = -1
    _transfers_e8: int = 0
    _income_seen: int = 0
    _owner: int = 0
    _banned_us: dict[int, tuple[int, int]] = field(default_factory=dict)  # since when told, until when
    _marked_ms: dict[int, int] = field(default_factory=dict)  # of the newest mark that a process has read
    _large_us: dict[Code, int] = field(default_factory=dict)
    _newest_born: int = 0
    _born_at: dict[int, int] = field(default_factory=dict)  # the newest process as a position became bare
    _denied_us: dict[int, int] = field(default_factory=dict)  # when a standing stop's cancel was refused

    @property
    def account(self) -> Account:
        """The account that is traded."""
        return self.server.world.accounts[0]

    def __post_init__(self) -> None:
        # before the first line of the statement (which is what was paid in)
        self.opening_e8 = self.account.cash_e8 - sum(row["amount_e8"] for row in self.account.income)

    def violate(self, rule: str, text: str) -> None:
        """Note a broken invariant, once for each text."""
        if (rule, text) not in self._said:
            self._said.add((rule, text))
            self.violations.append(Violation(rule, text, self.loop.now_us))
            self.trace.say("BROKEN", f"{rule}: {text}")

    # -- after every step of the world -------------------------------------------------------------

    def look(self) -> None:
        """Check what can have changed."""
        account = self.account
        world = self.server.world
        stamp = (
            len(account.fills),
            len(account.orders),
            len(account.algos),
            len(account.open_algos),
            len(account.open_orders),
            len(account.income),
            sum(market.updated_ms + market.mark for market in world.markets),
            int(self.unreachable()),
        )
        if stamp == self._stamp:
            return
        self._stamp = stamp
        self.looks += 1
        self._new_orders(account)
        for seen in self.attribution.new_fills(account):
            self._fill(seen)
        self._money(account)
        self._naked(account)
        self._large_stops(account)

    def _large_stops(self, account: Account) -> None:
        """I5: the stops of each leg of a position code sum to no more than it holds, but for the moment of
        resizing. (A fixed and a trailing stop may stand for the same lots: both can only reduce.)"""
        sums: dict[tuple[int, Code, str], int] = {}
        for algo in account.open_algos.values():
            named = ids.parse(algo.client_id)
            if named is not None and named.version != ids.GUARDIAN and not algo.close_position:
                key = (algo.contract, (named.version, named.position_code), named.leg)
                sums[key] = sums.get(key, 0) + algo.lots
        now_us = self.loop.now_us
        large = set()
        for (contract, code, _), lots in sums.items():
            holding = self.attribution.of(contract)
            if holding.is_mixed or self.unreachable() or lots <= abs(holding.codes.get(code, 0)):
                continue
            if now_us - self._denied_us.get(contract, -_DENIED_US) < _DENIED_US:
                continue  # the exchange refuses to take one back that stands
            large.add(code)
            since_us = self._large_us.setdefault(code, now_us)
            if now_us - since_us > _LARGE_US:
                self.violate("I5", f"stops of {code[0]} {code[1]} are larger than what it holds")
        for code in [one for one in self._large_us if one not in large]:
            del self._large_us[code]

    def end(self) -> None:
        """The last look."""
        self._stamp = ()
        self.look()
        self._orphans()
        for interval in self.meter.all():
            self._stood(interval)

    def _orphans(self) -> None:
        """L3: no order of ours is left, in either book, whose position is gone."""
        account = self.account
        left: list[Order | Conditional] = [*account.open_orders.values(), *account.open_algos.values()]
        for order in left:
            named = ids.parse(order.client_id)
            if named is None or order.created_ms > self.loop.now_ms - 30_000:
                continue
            holding = self.attribution.of(order.contract)
            held = (
                holding.ours
                if named.version == ids.GUARDIAN
                else holding.codes.get((named.version, named.position_code), 0)
            )
            if not held and not holding.is_mixed and not named.is_entry:
                self.violate("L3", f"order {order.client_id} was left behind by a position that is gone")

    # -- orders --------------------------------------------------------------------------------

    def _new_orders(self, account: Account) -> None:
        if len(account.orders) > self._orders_seen:
            for order in list(account.orders.values())[self._orders_seen :]:
                if not order.algo:  # the child of a conditional order is that order
                    self._order(
                        account, order, order.client_id, order.lots, order.reduce_only or order.closes
                    )
            self._orders_seen = len(account.orders)
        if len(account.algos) > self._algos_seen:
            for algo in list(account.algos.values())[self._algos_seen :]:
                reduces = algo.reduce_only or algo.close_position
                self._order(account, algo, algo.client_id, algo.lots, reduces)
            self._algos_seen = len(account.algos)

    def _order(
        self, account: Account, order: Order | Conditional, client_id: str, lots: int, reduces: bool
    ) -> None:
        named = ids.parse(client_id)
        if named is None:
            return
        self.orders += 1
        contract = self.server.world.contracts[order.contract]
        sender = self.network.senders.get(client_id)
        if account.hedge:
            reduces = (order.position_side == "LONG") == (order.side < 0)
        if sender is not None:
            self._ownership(sender, client_id)
        if named.is_entry and named.version != ids.GUARDIAN:
            self._entry(account, order, client_id, lots)
        elif not reduces and named.leg != ids.LEG_CANARY:
            self.violate("I5", f"exit order {client_id} of {contract.symbol} could open a position")

    def _entry(self, account: Account, order: Order | Conditional, client_id: str, lots: int) -> None:
        named = ids.parse(client_id)
        assert named is not None
        self.entries += 1
        world = self.server.world
        contract = world.contracts[order.contract]
        code = (named.version, named.position_code)
        alive = self._alive.setdefault(code, [])
        alive[:] = [one for one in alive if self._is_alive(account, order.contract, one)]
        if alive:
            self.violate("I1", f"entry {client_id} was accepted while {alive[0]} is alive")
            self.doubled.add((named.version, order.contract))
        alive.append(client_id)
        intended = self._intended.setdefault(code, {})
        intended[named.leg] = max(intended.get(named.leg, 0), lots)
        held = [
            one
            for one in self.attribution.of(order.contract).codes
            if one[0] == named.version and one != code
        ]
        if held and not self.attribution.of(order.contract).is_mixed:
            self.violate(
                "I7", f"entry {client_id}: {named.version} holds {contract.symbol} as {held[0][1]} already"
            )
            self.doubled.add((named.version, order.contract))
        self._wire_limits(account, order, client_id, lots)
        if self.killed_us is not None and self._signed_us(client_id) > self.killed_us + 250_000:
            self.violate("I10", f"entry {client_id} after the kill switch")
        if (
            self.switched_off_us is not None
            and self._signed_us(client_id) > self.switched_off_us + _SWITCH_US
        ):
            self.violate("I10", f"entry {client_id} while trading is switched off")
        if self.tripped_us is not None and self._signed_us(client_id) > self.tripped_us + _TRIP_US:
            self.violate("I9", f"entry {client_id} after the daily loss limit was reached")
        sender = self.network.senders.get(client_id)
        if self.limits.stale_ms is not None and sender is not None:
            age_ms = self._signed_us(client_id) // 1000 - self._marked_ms.get(sender.number, 0)
            if age_ms > self.limits.stale_ms + _MARK_SLACK_MS:
                self.violate("I17", f"entry {client_id} on a price that is {age_ms} ms old")

    def _is_alive(self, account: Account, contract: int, client_id: str) -> bool:
        order = account.by_client_id.get((contract, client_id))
        if order is not None:
            return order.is_open
        algo = account.algo_by_client_id.get(client_id)
        return algo is not None and algo.is_open

    def _signed_us(self, client_id: str) -> int:
        """When the request left (its own timestamp would be the desk's word)."""
        for sent in reversed(self.network.sent):
            if client_id in (sent.params.get("newClientOrderId"), sent.params.get("clientAlgoId")):
                return sent.us
        return self.loop.now_us

    def _wire_limits(self, account: Account, order: Order | Conditional, client_id: str, lots: int) -> None:
        world, limits = self.server.world, self.limits
        market = world.markets[order.contract]
        notional_e8 = market.contract.notional_e8(order.price or market.last, lots)
        if limits.order_notional_e8 is not None and notional_e8 > limits.order_notional_e8:
            self.violate("I8", f"entry {client_id} of {notional_e8 / _E8:.2f} is larger than allowed")
        touched_ms = self.leverage_ms.get(order.contract, 0)  # a person may do it between setting and sending
        is_ours = self.loop.now_ms - touched_ms > _SET_MS
        if limits.leverage is not None and is_ours and account.of(order.contract).leverage > limits.leverage:
            self.violate("I8", f"entry {client_id} at leverage {account.of(order.contract).leverage}")
        held = {contract for contract, one in self.attribution.holdings.items() if one.ours}
        if limits.positions is not None and len(held | {order.contract}) > limits.positions:
            self.violate("I8", f"entry {client_id} makes more than {limits.positions} positions")
        if limits.orders_a_minute is not None:
            since_us = self.loop.now_us - 60_000_000
            recent = sum(1 for sent in self.network.sent if sent.us > since_us and _is_entry(sent))
            if recent > limits.orders_a_minute:
                self.violate("I8", f"{recent} entries in a minute")

    def _ownership(self, sender: Incarnation, client_id: str) -> None:
        """I11: once a later owner has acted, nothing of an earlier one is accepted any more."""
        if sender.number < self._owner:
            self.violate(
                "I11", f"order {client_id} of process {sender.number} after process {self._owner} acted"
            )
        self._owner = max(self._owner, sender.number)

    # -- fills ---------------------------------------------------------------------------------

    def _in_one_move(self, client_id: str, code: Code) -> bool:
        """Did one move of the price set off two stops that rest for the same lots? Where others hold the
        symbol too, the second finds their lots: nobody could have taken it back in between."""
        now_ms, stops = self.server.world.now_ms, set()
        for algo in self.account.algo_by_client_id.values():
            named = ids.parse(algo.client_id)
            own = named is not None and (named.version, named.position_code) == code
            if own and algo.updated_ms == now_ms and algo.type in STOPS:
                stops.add(algo.client_id)
        return client_id in stops and len(stops) > 1

    def _fill(self, seen: Seen) -> None:
        holding = self.attribution.of(seen.row["contract"])
        symbol = self.server.world.contracts[seen.row["contract"]].symbol
        named = seen.named
        if named is None:
            return
        code = (named.version, named.position_code)
        if named.is_entry and named.version != ids.GUARDIAN:
            entered, intended = (
                self.attribution.entered.get(code, 0),
                sum(self._intended.get(code, {}).values()),
            )
            if entered > intended:
                self.violate(
                    "I1", f"{symbol} {code[0]} {code[1]} filled {entered} lots of {intended} intended"
                )
                self.doubled.add((named.version, seen.row["contract"]))
        elif seen.before * (seen.before + seen.signed) < 0 or (seen.before == 0 and seen.signed):
            self.violate("I6", f"exit {seen.client_id} turned {symbol} from {seen.before} by {seen.signed}")
        elif seen.over and not holding.is_mixed and not self._in_one_move(seen.client_id, code):
            self.violate(
                "I5", f"exit {seen.client_id} took {seen.over} lots of {symbol} that were not its own"
            )

    # -- money -----------------------------------------------------------------------------------

    def _money(self, account: Account) -> None:
        limit_e8 = self.limits.daily_loss_e8
        if limit_e8 is None:
            return
        day = self.loop.now_ms // 86_400_000
        for row in account.income[self._income_seen :]:
            if row["incomeType"] == "TRANSFER":
                self._transfers_e8 += row["amount_e8"]
        self._income_seen = len(account.income)
        earned_e8 = account.cash_e8 - self._transfers_e8
        if day != self._day or self._day_start_e8 is None:
            self._day, self._day_start_e8, self.tripped_us = day, earned_e8, None
        if self.tripped_us is None and earned_e8 - self._day_start_e8 <= -limit_e8:
            self.tripped_us = self.loop.now_us

    # -- protection ------------------------------------------------------------------------------

    def _naked(self, account: Account) -> None:
        world, now_us = self.server.world, self.loop.now_us
        processes = self.processes()
        ready = [
            one
            for one in processes
            if not one.is_dead and one.frozen_until_us <= now_us and now_us - one.born_us > RECOVERY_US
        ]
        suspended = bool(processes) and all(
            one.frozen_until_us > now_us for one in processes if not one.is_dead
        )
        unreachable = self.unreachable() or not self.server.gate.keys
        alive = [one for one in processes if not one.is_dead]
        born = self._newest_born = max((one.number for one in alive), default=self._newest_born)
        self._flattens(account, excluded=unreachable or suspended or not ready)
        for contract, holding in self.attribution.holdings.items():
            ours = holding.ours
            position = account.positions.get((contract, "BOTH"))
            if position is not None and not account.hedge:
                net = position.lots
                ours = max(min(ours, max(net, 0)), min(net, 0))
            uncovered = uncovered_lots(world, account, contract, ours)
            if uncovered == 0 and contract not in self.meter.running:
                continue
            if (uncovered == 0) != (contract not in self.meter.running):
                word = "bare" if uncovered else "covered"
                self.trace.say(word, f"{world.contracts[contract].symbol} {uncovered} of {ours}")
            traded = world.contracts[contract].status == "TRADING"
            if contract not in self.meter.running:
                self._born_at[contract] = born
            again = not alive and born > self._born_at[contract]
            self.meter.look(
                contract,
                world.contracts[contract].symbol,
                uncovered,
                now_us,
                excluded=self._why_nobody_acts(unreachable, suspended, traded) or "died again" * again,
                death=not ready,
                deaths=self.deaths(),
            )
            if (running := self.meter.running.get(contract)) is not None:
                self._stood(running.interval)

    def _stood(self, interval: Interval) -> None:
        if interval.seconds > HARD_NAKED_S + AGAIN_S * max(0, interval.deaths - 1):
            since_s = (interval.start_us // 1000 - self.loop.now_ms + self.loop.elapsed_ms) / 1000
            self.violate(
                "I4",
                f"{interval.symbol} stood uncovered for more than {HARD_NAKED_S:g} s from {since_s:.1f} s",
            )

    def _flattens(self, account: Account, *, excluded: bool) -> None:
        """R11: with FLATTEN named, what is ours goes. The clock stands still while nobody could do it."""
        for contract, holding in self.attribution.holdings.items():
            market = self.server.world.contracts[contract]
            held = holding.ours if self.rung is Rung.FLATTEN and not holding.is_mixed else 0
            if held or contract in self.flatten.running:
                idle = excluded or market.status != "TRADING" or self.rung is not Rung.FLATTEN
                self.flatten.look(
                    contract, market.symbol, abs(held), self.loop.now_us, excluded="idle" * idle, death=False
                )
        for interval in self.flatten.all():
            if interval.seconds > _FLATTEN_S:
                self.violate("R11", f"{interval.symbol} is still held {_FLATTEN_S} s after FLATTEN")

    # -- what a process was told -----------------------------------------------------------------

    def told(self, owner: Incarnation | None, message: bytes) -> None:
        """A process has read a message from a socket: of marks, the time is kept (I17)."""
        if owner is not None and _MARKS in message[:200] and (found := _EVENT_MS.search(message)):
            number = owner.number
            self._marked_ms[number] = max(self._marked_ms.get(number, 0), int(found[1]))

    def _why_nobody_acts(self, unreachable: bool, suspended: bool, traded: bool) -> str:
        if unreachable:
            if not self.server.gate.keys:
                return "key refused"
            return "ban" if self.loop.now_us < self.banned_until_us() else "outage"
        return "process suspended" if suspended else "" if traded else "not traded"

    # -- requests --------------------------------------------------------------------------------

    def arrived(self, sent: Sent) -> None:
        """A request is at the exchange and not yet carried out."""
        if sent.sender is None:
            return
        told_us, until_us = self._banned_us.get(sent.sender.number, (0, 0))
        if told_us + _ON_THE_WAY_US < self.loop.now_us < min(until_us, self.banned_until_us()):
            self.violate("I19", f"process {sent.sender.number} goes on sending while it is banned")

    def answered(self, sent: Sent, answer: web.Response) -> None:
        """A request has been answered (or its answer broken)."""
        self.look()
        if sent.sender is None:
            return
        crowded = self.server.limits.of(ADDRESS)
        if crowded.over.count or crowded.bans:
            self.violate("I19", f"{sent.method} {sent.path} was beyond the exchange's request weight")
        if sent.method == "DELETE" and answer.status != 200:
            algo = self.account.algo_by_client_id.get(sent.params.get("clientAlgoId", ""))
            if algo is not None and algo.id in self.account.open_algos:
                self._denied_us[algo.contract] = self.loop.now_us
        if sent.method == "DELETE" and "rder" in sent.path and answer.status == 200:
            self._ownership(sent.sender, sent.params.get("origClientOrderId") or "a stop's cancel")
            self._canceled(sent)

    def heard(self, sent: Sent) -> None:
        """A process has read the answer to its request: only now can it know of a ban."""
        if sent.sender is None:
            return
        if sent.status == 418:
            self._banned_us.setdefault(sent.sender.number, (self.loop.now_us, self.banned_until_us()))
        elif sent.status == 200:
            self._banned_us.pop(sent.sender.number, None)

    def _canceled(self, sent: Sent) -> None:
        account, world = self.account, self.server.world
        client_id = sent.params.get("origClientOrderId") or sent.params.get("clientAlgoId")
        contract = world.by_symbol.get(sent.params.get("symbol", ""))
        algo = account.algo_by_client_id.get(client_id or "")
        if client_id and ids.parse(client_id) is None:
            self.violate("I26", f"{client_id} is not ours and was taken back by us")
        if algo is None or contract is not None and algo.contract != contract.index:
            return
        holding = self.attribution.of(algo.contract)
        if holding.is_mixed or algo.side * holding.ours >= 0 or algo.updated_ms != self.server.world.now_ms:
            return
        if algo.status != "CANCELED":
            return
        bare = uncovered_lots(world, account, algo.contract, holding.ours)
        named, held = ids.parse(algo.client_id), {one: lots for one, lots in holding.codes.items() if lots}
        if named is not None and named.version != ids.GUARDIAN:
            code = (named.version, named.position_code)
            own = held.pop(code, 0)
            if held:  # several hold it: a stop is its own position's protection, and nobody else's
                cover = cover_lots(world, account, algo.contract, -algo.side, code)
                bare = max(0, abs(own) - cover)
        if bare:
            symbol = self.server.world.contracts[algo.contract].symbol
            self.violate(
                "I16", f"stop {client_id} of {symbol} was taken back while nothing else covers {bare}"
            )


def _is_entry(sent: Sent) -> bool:
    named = ids.parse(sent.params.get("newClientOrderId", ""))
    return named is not None and named.is_entry
