"""Faults of ours, planted on purpose: the simulation is worth what it finds of them.

Each one swaps a function of the desk for a wrong one. A name that does not exist any more is an error: a
planted fault that is not planted proves nothing.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import msgspec

from perpdesk.domain.errors import InputError, InternalError
from perpdesk.domain.kill import Rung
from perpdesk.ports import Answer, Fate, Outcome, VenueFill
from perpdesk.simulation.subject import API_SECRET

Wrong = Callable[[Any], Any]
_BINANCE = "perpdesk.adapters.binance"
_ENGINE = "perpdesk.engine"
_STORE = "perpdesk.adapters.sqlstore"


@dataclass(frozen=True)
class Swap:
    """One function (``module:Class.name``) and what makes the wrong one of it."""

    target: str
    wrong: Wrong


@dataclass(frozen=True)
class Planted:
    """A fault: what is wrong, and where."""

    name: str
    says: str
    swaps: tuple[Swap, ...]


# -- wrong versions -------------------------------------------------------------------------------


def _intent_after_send(right: Any) -> Any:
    async def wrong(self: Any, order: Any, now_ms: int, code: str) -> bool:
        self._spawn(_later(right, self, order, now_ms, code))
        return True

    return wrong


async def _later(right: Any, self: Any, order: Any, now_ms: int, code: str) -> None:
    await self.clock.sleep_until(self.clock.now_ms() + 200)
    await right(self, order, now_ms, code)


def _any_error_failed(right: Any) -> Any:
    def wrong(*args: Any, **named: Any) -> Any:
        verdict = right(*args, **named)
        return replace(verdict, outcome=Outcome.REFUSED) if verdict.outcome is Outcome.UNKNOWN else verdict

    return wrong


def _fate(chosen: Fate) -> Wrong:
    def make(right: Any) -> Any:
        async def wrong(self: Any, symbol: int, client_id: str, fence_ms: int) -> Fate:
            return chosen

        return wrong

    return make


def _no_fence(right: Any) -> Any:
    async def wrong(self: Any, symbol: int, client_id: str, fence_ms: int) -> Any:
        return await right(self, symbol, client_id, self._clock.now_ms() - 2_000)

    return wrong


def _one_look(right: Any) -> Any:
    """-2013 once is taken for "never placed"."""

    async def wrong(rest: Any, clock: Any, symbol: str, client_id: str, fence_ms: int) -> Any:
        standing = importlib.import_module(f"{_BINANCE}.standing")
        found = await standing.look(rest, symbol, client_id)
        if found.standing is standing.Standing.UNKNOWN:
            return standing.Found(standing.Standing.ABSENT)
        return found

    return wrong


def _repeats_entries(right: Any) -> Any:
    """An entry that was not answered is sent once more under another number."""

    async def wrong(self: Any, order: Any, tag: int, opening: bool, answer: Answer) -> Any:
        if opening and answer.outcome is Outcome.UNKNOWN:
            again = replace(order, client_id=order.client_id[:-1] + "z")
            await self.venue.place(again)
        return await right(self, order, tag, opening, answer)

    return wrong


def _late_protection(right: Any) -> Any:
    """Stops only once the entry's answer has come and been written down."""

    def wrong(self: Any, place: Any) -> Any:
        line = self.lines.get((place[0], place[1], 0))
        if place[2] != 0 and line is not None and (line.flying is not None or line.doubts):
            return [self.clock.now_ms() + 1_000]
        return right(self, place)

    return wrong


def _sizes_kept(right: Any) -> Any:
    """A stop whose quantity alone has changed is left as it is."""

    def wrong(slots: Any, mirror: Any, v: int, s: int, changed: Any) -> int:
        count = right(slots, mirror, v, s, changed)
        kept = [
            k
            for k in changed[:count].tolist()
            if not (k == 1 and slots[v, s, k].kind == mirror[v, s, k].kind and mirror[v, s, k].kind != 0)
        ]
        changed[: len(kept)] = kept
        return len(kept)

    return wrong


def _one_book(right: Any) -> Any:
    async def wrong(self: Any, symbol: int, client_id: str) -> Any:
        known = self._known.get(client_id)
        if known is None or known.is_conditional:
            return Answer(Outcome.ACCEPTED)
        return await right(self, symbol, client_id)

    return wrong


def _nothing(right: Any) -> Any:
    def wrong(*args: Any, **named: Any) -> None:
        return None

    return wrong


def _nothing_async(right: Any) -> Any:
    async def wrong(*args: Any, **named: Any) -> None:
        return None

    return wrong


def _answers(value: Any) -> Wrong:
    def make(right: Any) -> Any:
        def wrong(*args: Any, **named: Any) -> Any:
            return value

        return wrong

    return make


def _answers_async(value: Any) -> Wrong:
    def make(right: Any) -> Any:
        async def wrong(*args: Any, **named: Any) -> Any:
            return value

        return wrong

    return make


def _empty_is_closed(right: Any) -> Any:
    """A position that one look does not show is booked as closed, by a fill that nobody has seen."""

    async def wrong(self: Any, truth: Any) -> Any:
        shown = {leg.symbol for leg in truth.legs}
        for holding in self._sink.local().holdings:
            if holding.lots and holding.symbol not in shown:
                side = -1 if holding.lots > 0 else 1
                price = self._venue.mark(holding.symbol)[0]
                await self._sink.import_fill(
                    VenueFill(
                        holding.symbol,
                        truth.asked_ms,
                        0,
                        "",
                        side,
                        price,
                        abs(holding.lots),
                        False,
                        0,
                        0,
                        truth.asked_ms,
                    )  # fmt: skip
                )
        return await right(self, truth)

    return wrong


def _lot_more(right: Any) -> Any:
    """A float turned a quantity up by a lot."""

    def wrong(order: Any, rules: Any, **named: Any) -> Any:
        return right(replace(order, lots=order.lots + 1), rules, **named)

    return wrong


def _not_reducing(right: Any) -> Any:
    def wrong(order: Any, rules: Any, **named: Any) -> Any:
        return right(replace(order, reduce_only=False), rules, **named)

    return wrong


def _half_stops(right: Any) -> Any:
    def wrong(order: Any, rules: Any, **named: Any) -> Any:
        if order.slot == 1:
            order = replace(order, lots=max(1, order.lots // 2))
        return right(order, rules, **named)

    return wrong


def _old_goes_first(right: Any) -> Any:
    """The old stop is taken back before the new one is sent."""

    def wrong(self: Any, place: Any) -> Any:
        held = self.open.get(place)
        if held is not None and held.kind >= 3 and self.books.slots[place].kind >= 3:
            self._spawn(self.venue.cancel(held.symbol, held.client_id))
        return right(self, place)

    return wrong


def _no_stops(right: Any) -> Any:
    def wrong(self: Any, place: Any) -> Any:
        return [] if place[2] == 1 else right(self, place)

    return wrong


def _no_lease_end(right: Any) -> Any:
    def wrong(self: Any, *args: Any) -> Any:
        self._lease_end_ms = self.entry_end_ms = None
        return right(self, *args)

    return wrong


def _lease_for_all(right: Any) -> Any:
    """Whoever asks gets the lease, now."""

    async def wrong(self: Any, claim: Any, now_ms: int, *, ttl_ms: int, **named: Any) -> Any:
        found = await right(self, claim, now_ms + 3_600_000, ttl_ms=ttl_ms, **named)
        return msgspec.structs.replace(found, from_ms=now_ms, end_ms=now_ms + ttl_ms)

    return wrong


def _lease_kept(right: Any) -> Any:
    """Nobody looks whose the lease is when it is renewed."""

    async def wrong(self: Any, lease: Any, now_ms: int, *, ttl_ms: int) -> Any:
        return msgspec.structs.replace(lease, end_ms=now_ms + ttl_ms)

    return wrong


def _foreign_is_ours(right: Any) -> Any:
    """Orders of a person are swept like our own."""

    def wrong(orders: Any, **named: Any) -> Any:
        sweep = importlib.import_module(f"{_ENGINE}.reconcile.sweep")
        found = right(orders, **named)
        orphans = tuple(sweep.Orphan(order, sweep.Why.LEG_NOT_WANTED) for order in found.foreign)
        return replace(found, orphans=found.orphans + orphans, foreign=())

    return wrong


def _same_number(right: Any) -> Any:
    """The number of an attempt does not rise."""

    def wrong(self: Any, version: str, position_code: str, slot: int, attempt: int) -> Any:
        return right(self, version, position_code, slot, 0)

    return wrong


def _true(right: Any) -> Any:
    return _answers(True)(right)


def _never(right: Any) -> Any:
    """A property that is never true."""
    return property(lambda self: False)


def _never_banned(right: Any) -> Any:
    return _nothing(right)


def _normal(right: Any) -> Any:
    return _answers(Rung.NORMAL)(right)


def _forgets_history(right: Any) -> Any:
    async def wrong(self: Any, *args: Any, **named: Any) -> list[Any]:
        return []

    return wrong


def _caught_nothing(right: Any) -> Any:
    async def wrong(*args: Any, **named: Any) -> Any:
        return importlib.import_module(f"{_BINANCE}.catch_up").Caught([], [], [])

    return wrong


def _adds_secret(right: Any) -> Any:
    """The secret goes with the request that it signs."""

    def wrong(params: Any, credentials: Any) -> str:
        return f"{right(params, credentials)}&secret={API_SECRET}"

    return wrong


def _leaves_tasks(right: Any) -> Any:
    """Every round of the guardian leaves a task behind."""

    async def never_over() -> None:
        await asyncio.get_running_loop().create_future()

    def wrong(self: Any) -> Any:
        self.spawn(never_over())
        return right(self)

    return wrong


def _local_day(right: Any) -> Any:
    """The trading day of a machine in Shanghai."""

    def wrong(exchange_ms: int) -> int:
        return int(right(exchange_ms + 8 * 3_600_000))

    return wrong


def _no_transfers(right: Any) -> Any:
    async def wrong(self: Any, since_ms: int) -> Any:
        return [row for row in await right(self, since_ms) if row.kind != "TRANSFER"]

    return wrong


def _untold(right: Any) -> Any:
    async def wrong(self: Any) -> int:
        self._wake.clear()
        return 0

    return wrong


def _dies(right: Any) -> Any:
    async def wrong(*args: Any, **named: Any) -> Any:
        raise ValueError("planted")

    return wrong


def _lets_die(right: Any) -> Any:
    def wrong(self: Any, task: Any) -> None:
        self._tasks.discard(task)

    return wrong


_shared: list[Any] = []


def _shares_key(right: Any) -> Any:
    """All connections of a process sign with the key of the one that was made last."""

    def wrong(self: Any, *args: Any, **named: Any) -> None:
        right(self, *args, **named)
        if self._credentials is not None:
            _shared[:] = [self._credentials]

    return wrong


def _shared_key(right: Any) -> Any:
    return property(lambda self: _shared[0] if _shared else right.fget(self))


PLANTED: tuple[Planted, ...] = (
    Planted("intent-after-send", "the intent is written after the order is sent",
            (Swap(f"{_ENGINE}.delivery:Delivery._is_written", _intent_after_send),)),
    Planted("error-is-failure", "any error means that the order was not placed",
            (Swap(f"{_BINANCE}.orders:classify", _any_error_failed),)),
    Planted("first-not-found", "the first -2013 means that the order was never placed",
            (Swap(f"{_BINANCE}.live:settle", _one_look),)),
    Planted("no-fence", "absence is believed before the fence",
            (Swap(f"{_BINANCE}.live:LiveSide.settle", _no_fence),)),
    Planted("unknown-is-absent", "an unanswered entry is taken for dead at once",
            (Swap(f"{_BINANCE}.live:LiveSide.settle", _fate(Fate.ABSENT)),)),
    Planted("unknown-is-over", "an unanswered order is taken for filled",
            (Swap(f"{_BINANCE}.live:LiveSide.settle", _fate(Fate.ENDED)),)),
    Planted("entries-repeated", "an unanswered entry is sent again",
            (Swap(f"{_ENGINE}.delivery:Delivery._answered", _repeats_entries),)),
    Planted("protection-waits", "stops wait until the entry's answer was recorded",
            (Swap(f"{_ENGINE}.delivery:Delivery._tend", _late_protection),)),
    Planted("stop-not-resized", "a stop keeps its size after a partial take-profit",
            (Swap("perpdesk.kernel.venue:differences", _sizes_kept),)),
    Planted("one-book", "taking back touches only the ordinary book",
            (Swap(f"{_BINANCE}.orders:Orders.cancel", _one_book),)),
    Planted("breaker-blind", "the breaker does not hear what the exchange closed",
            (Swap(f"{_ENGINE}.guardian.breaker:Breaker.booked", _nothing),)),
    Planted("breaker-off", "nobody asks the breaker: neither the gate at the wire nor that of a step (one "
            "alone catches what the other lets pass)",
            (Swap(f"{_ENGINE}.guardian.breaker:Breaker.why_not_open", _nothing),
             Swap(f"{_ENGINE}.guardian.breaker:Breaker.is_tripped", _never))),
    Planted("empty-is-closed", "an empty answer closes the books",
            (Swap(f"{_ENGINE}.reconcile.loop:Reconciler._look", _empty_is_closed),)),
    Planted("lot-more", "rounding turns a quantity up by a lot",
            (Swap(f"{_BINANCE}.orders:request_of", _lot_more),)),
    Planted("not-reducing", "exits are sent without reduceOnly",
            (Swap(f"{_BINANCE}.orders:request_of", _not_reducing),)),
    Planted("half-stops", "stops are for half of the position",
            (Swap(f"{_BINANCE}.orders:request_of", _half_stops),)),
    Planted("old-stop-first", "the old stop goes before the new one is seen",
            (Swap(f"{_ENGINE}.delivery:Delivery._tend", _old_goes_first),)),
    Planted("no-stops", "no stop is placed on the exchange",
            (Swap(f"{_ENGINE}.delivery:Delivery._tend", _no_stops),)),
    Planted("lease-for-all", "the lease of another process is ignored",
            (Swap(f"{_STORE}.ownership:Ownership.take_lease", _lease_for_all),
             Swap(f"{_STORE}.ownership:Ownership.renew_lease", _lease_kept))),
    Planted("lease-not-signed", "requests are signed beyond the lease's end",
            (Swap(f"{_BINANCE}.rest:Rest.stamped", _no_lease_end),)),
    Planted("foreign-swept", "orders of a person are taken back",
            (Swap(f"{_ENGINE}.reconcile.loop:sweep", _foreign_is_ours),)),
    Planted("number-kept", "the number of an attempt does not rise",
            (Swap(f"{_ENGINE}.ids:ClientIds.order", _same_number),)),
    Planted("fill-booked-twice", "a fill that is heard twice is booked twice",
            (Swap(f"{_ENGINE}.live_engine:LiveEngine._is_new", _true),)),
    Planted("ban-ignored", "requests go on while the address is banned",
            (Swap(f"{_BINANCE}.limits:Governor.refused", _never_banned),)),
    Planted("no-import", "fills that the stream lost are never fetched",
            (Swap(f"{_BINANCE}.live:LiveSide.fills_since", _forgets_history),
             Swap(f"{_BINANCE}.account:catch_up", _caught_nothing))),
    Planted("pending-forgotten", "a restart forgets intents that were not settled",
            (Swap(f"{_STORE}.intents:Intents.pending_intents", _forgets_history),)),
    Planted("leverage-not-set", "the leverage is left as it is",
            (Swap(f"{_BINANCE}.orders:Orders.set_leverage", _nothing_async),)),
    Planted("ladder-unread", "the control file is not looked at",
            (Swap(f"{_ENGINE}.control_file:ControlFile.rung", _normal),)),
    Planted("flatten-ignored", "nobody carries out what the ladder says about what is open",
            (Swap(f"{_ENGINE}.live.protection:Protection._obey", _nothing),)),
    Planted("gate-open", "the gate at the wire says yes to everything",
            (Swap(f"{_ENGINE}.wire:WireGate._why_not", _nothing),)),
    Planted("foreign-fills-dropped", "fills of a person are not booked",
            (Swap(f"{_ENGINE}.live_engine:LiveEngine._outside_fill", _answers_async(True)),)),
    Planted("age-not-asked", "how old a price is does not matter to an entry",
            (Swap(f"{_ENGINE}.guardian.staleness:Freshness.why_not_open", _nothing),)),
    Planted("secret-sent", "the secret goes with the request that it signs",
            (Swap(f"{_BINANCE}.rest:signed_query", _adds_secret),)),
    Planted("keys-shared", "all connections of a process sign with the key of the one that was made last",
            (Swap(f"{_BINANCE}.rest:Rest.__init__", _shares_key),
             Swap(f"{_BINANCE}.rest:Rest.credentials", _shared_key))),
    Planted("tasks-leak", "every round of the guardian leaves a task behind",
            (Swap(f"{_ENGINE}.live.protection:Protection.round", _leaves_tasks),)),
    Planted("death-unseen", "a task of delivery that dies is let die",
            (Swap(f"{_ENGINE}.delivery:Delivery._over", _lets_die),
             Swap(f"{_ENGINE}.delivery:Delivery._listen", _dies))),
    Planted("local-day", "the trading day is that of the machine's zone",
            (Swap(f"{_ENGINE}.guardian.breaker:day_of", _local_day),)),
    Planted("transfers-lost", "transfers are not imported from the statement",
            (Swap(f"{_BINANCE}.live:LiveSide.income_since", _no_transfers),)),
    Planted("alarms-untold", "alarms are kept and not carried out",
            (Swap(f"{_ENGINE}.alarms:Alarms.carry_out", _untold),)),
    Planted("parameters-not-kept", "the parameters of a run are not kept",
            (Swap(f"{_STORE}.runs:Runs.save_params_snapshot", _answers_async("0" * 64)),)),
)  # fmt: skip


def of(name: str) -> Planted:
    """A planted fault by its name. Raises InputError naming all."""
    for one in PLANTED:
        if one.name == name:
            return one
    raise InputError(
        f"unknown planted fault {name!r}: {', '.join(p.name for p in PLANTED)}", field="--planted"
    )


@contextmanager
def planted_in(name: str) -> Iterator[None]:
    """The fault is in the desk within the block. "" plants nothing."""
    undo: list[tuple[Any, str, Any]] = []
    try:
        for swap in of(name).swaps if name else ():
            owner, attribute = _found(swap.target)
            right = getattr(owner, attribute)
            undo.append((owner, attribute, right))
            setattr(owner, attribute, swap.wrong(right))
        yield
    finally:
        for owner, attribute, right in reversed(undo):
            setattr(owner, attribute, right)


def _found(target: str) -> tuple[Any, str]:
    module, _, path = target.partition(":")
    *owners, attribute = path.split(".")
    owner: Any = importlib.import_module(module)
    for name in owners:
        owner = getattr(owner, name, None)
    if not hasattr(owner, attribute):
        raise InternalError(f"a planted fault names {target}, which does not exist any more")
    return owner, attribute


@dataclass(frozen=True)
class Found:
    """How a planted fault was found. runs: of each try, up to and with the one that found it (None: not)."""

    name: str
    says: str
    runs: tuple[int | None, ...]
    rules: tuple[str, ...]
    starts: tuple[int, ...] = ()  # the first seed of each try
    cpu_s: float = 0.0

    @property
    def median_runs(self) -> float | None:
        """None: some try did not find it."""
        found = [one for one in self.runs if one is not None]
        return float(median(found)) if len(found) == len(self.runs) and found else None


def hunt(
    planted: Planted, run: Callable[[int, str], Sequence[str]], *, tries: int, runs_max: int, start: int = 0
) -> Found:
    """Run seeds until something is broken, several times with other seeds. run(seed, name) → broken rules."""
    runs: list[int | None] = []
    rules: list[str] = []
    starts = tuple(start + attempt * 10_000 for attempt in range(tries))
    for first in starts:
        for count in range(1, runs_max + 1):
            broken = run(first + count - 1, planted.name)
            if broken:
                runs.append(count)
                rules += broken
                break
        else:
            runs.append(None)
    return Found(planted.name, planted.says, tuple(runs), tuple(sorted(set(rules))), starts)
