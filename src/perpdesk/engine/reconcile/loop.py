"""Ask the exchange, compare, gather evidence, act: at start, after a crash and every half minute.

A read that fails decides nothing: the round is reported as incomplete and the next one asks again. A place in
doubt is looked at a second time within the same round, ``APART_MS`` later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from perpdesk.domain.books import BooksContradiction
from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine.reconcile import compare
from perpdesk.engine.reconcile.compare import (
    Finding,
    Holding,
    LocalBooks,
    Opposed,
    OrderMissing,
    Outside,
    Place,
    Plug,
    PositionFinding,
    SettingChanged,
    Truth,
)
from perpdesk.engine.reconcile.evidence import APART_MS, Doubt, Verdict
from perpdesk.engine.reconcile.sweep import Swept, is_stop, sweep
from perpdesk.ports import AccountSettings, Clock, Leg, LiveVenue, OpenOrder, VenueFill

LOG = logging.getLogger(__name__)
EVERY_MS: Final = 30_000
# Every so many rounds the fills of all symbols that could have traded are read, not only where books differ.
FULL_EVERY: Final = 10
# The exchange's lists lag behind its fills: read so much again.
OVERLAP_MS: Final = 60_000
# So many rounds in a row that failed: tell a person.
FAILURES_MAX: Final = 3

_DECIDED: Final = (Verdict.AGREES, Verdict.EXPLAINED, Verdict.CLOSED, Verdict.SURPLUS)
_BLOCKING: Final = (Verdict.SUSPECT, Verdict.UNEXPLAINED)


class ReconcileSink(Protocol):
    """What the engine does with findings. All but ``local`` may be called again for the same thing."""

    def local(self) -> LocalBooks:
        """Our side as it stands now, taken in one go."""
        ...

    async def import_fill(self, fill: VenueFill) -> None:
        """Book a fill that our books lack: by its client id to a sleeve, else by ``attribute``. Once."""
        ...

    async def external(self, place: Place, lots: int, leg: Leg | None) -> None:
        """Lots (signed) that no fill explains go to the external ledger, or are adopted; leg: as shown."""
        ...

    async def cancel_orphan(self, order: OpenOrder, why: str) -> None:
        """Take back an order of ours that nobody wants."""
        ...

    async def order_missing(self, client_id: str, symbol: int) -> None:
        """An order that the executor believes open is in neither book: settle it."""
        ...

    async def block_symbol(self, symbol: int, why: str) -> None:
        """No entries on a symbol until ``unblock_symbol``."""
        ...

    async def unblock_symbol(self, symbol: int) -> None:
        """What blocked the symbol here is gone (other blocks of it are not ours)."""
        ...

    async def halt_entries(self, why: str | None) -> None:
        """No entries on the whole account until this is called with None. Exits go on."""
        ...

    async def stop_account(self, why: str) -> None:
        """A difference that only a person can explain: nothing new, until a person says so."""
        ...

    async def note(self, finding: Finding) -> None:
        """Something to be journalled; it asks for no action."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """One round. Times are ms of our clock. problem: why it could not be completed, None if it was.

    findings: of the last look at each place, and all others.
    """

    account_id: int
    started_ms: int
    ended_ms: int
    findings: tuple[Finding, ...]
    swept: Swept | None
    problem: str | None

    @property
    def is_complete(self) -> bool:
        """Was everything read and acted on?"""
        return self.problem is None

    @property
    def is_clean(self) -> bool:
        """Do the exchange and our books agree everywhere, so that entries may go on? (L5)"""
        decided = all(
            finding.verdict in _DECIDED for finding in self.findings if isinstance(finding, PositionFinding)
        )
        hindered = any(isinstance(finding, (SettingChanged, Opposed)) for finding in self.findings)
        return self.is_complete and decided and not hindered

    def age_ms(self, now_ms: int) -> int:
        """How long ago the round was begun: what it says is that old."""
        return now_ms - self.started_ms


class Reconciler:
    """The reconciliation of one account.

    since_ms: exchange time from which our books may lack fills. symbols: names, in universe order. settings:
    reads the account's modes, leverages and margin types (None: they are not compared).
    """

    def __init__(
        self,
        *,
        account_id: int,
        venue: LiveVenue,
        clock: Clock,
        sink: ReconcileSink,
        symbols: Sequence[str],
        since_ms: int,
        settings: Callable[[], Awaitable[AccountSettings]] | None = None,
        every_ms: int = EVERY_MS,
        full_every: int = FULL_EVERY,
    ) -> None:
        self.last: Report | None = None
        self.last_complete: Report | None = None
        self.failures = 0
        self._account_id, self._venue, self._clock, self._sink = account_id, venue, clock, sink
        self._place = {name: i for i, name in enumerate(symbols)}
        self._settings = settings
        self._every_ms, self._full_every = every_ms, full_every
        self._one_at_a_time = asyncio.Lock()  # two rounds at once would book a surplus twice
        self._rounds = 0
        self._start_ms = since_ms
        self._since_ms: dict[int, int] = {}
        self._income_ms = since_ms
        self._full_is_due = True
        self._doubts: dict[Place, Doubt] = {}
        self._plugs: dict[Place, Plug] = {}
        self._blocked: set[int] = set()
        self._stops_seen: set[str] = set()  # stops that were orphans in the round before
        self._halted: str | None = None

    async def run(self) -> None:
        """A round every ``every_ms``, until cancelled. What the sink raises ends it."""
        while True:
            started_ms = self._clock.now_ms()
            await self.once()
            await self._clock.sleep_until(max(self._clock.now_ms(), started_ms + self._every_ms))

    def ask_full(self) -> None:
        """After a gap of the stream: the next round reads the fills of every symbol that may have traded."""
        self._full_is_due = True

    async def once(self) -> Report:
        """One round; a second caller waits for its own.

        Only the sink's own errors come out of it; those of reading are in the report.
        """
        async with self._one_at_a_time:
            return await self._once()

    async def _once(self) -> Report:
        started_ms = self._clock.now_ms()
        findings: list[Finding] = []
        swept: Swept | None = None
        problem: str | None = None
        if self._rounds % self._full_every == 0:
            self._full_is_due = True
        self._rounds += 1
        try:
            truth = await self._read()
        except PerpdeskError as error:
            problem = f"{error}"
        else:
            findings, swept, problem = await self._decide(truth)
        self.failures = self.failures + 1 if problem is not None else 0
        if problem is not None:
            LOG.warning("account %d was not reconciled: %s", self._account_id, problem)
        report = Report(self._account_id, started_ms, self._clock.now_ms(), tuple(findings), swept, problem)
        self.last = report
        if report.is_complete:
            self.last_complete = report
        return report

    @property
    def needs_person(self) -> bool:
        """Could it not be completed FAILURES_MAX times in a row?"""
        return self.failures >= FAILURES_MAX

    # -- reading -----------------------------------------------------------------------------------

    async def _read(self, only: Iterable[int] = ()) -> Truth:
        """Raises PerpdeskError if anything could not be read. only: these symbols' fills too."""
        venue = self._venue
        asked_ms = venue.exchange_ms()
        legs = await venue.legs()
        orders = await venue.open_orders()
        settings = await self._settings() if self._settings is not None else None
        local = self._sink.local()
        wanted = compare.to_read(local, legs) | set(only)
        full = self._full_is_due
        if full:
            wanted |= {leg.symbol for leg in legs if leg.symbol >= 0}
            wanted |= {holding.symbol for holding in local.holdings}
            wanted |= {order.symbol for order in orders}
            wanted |= await self._in_income()
        since_ms = {symbol: self._since_ms.get(symbol, self._start_ms) for symbol in wanted}
        fills = {symbol: await venue.fills_since(symbol, since_ms[symbol]) for symbol in sorted(wanted)}
        if full:
            self._full_is_due = False
            self._income_ms = asked_ms - OVERLAP_MS
        return Truth(asked_ms, legs, fills, since_ms, orders, settings)

    async def _in_income(self) -> set[int]:
        """Symbols that the wallet's bookings name: what was opened and closed while nobody looked."""
        rows = await self._venue.income_since(self._income_ms)
        return {self._place[row.symbol] for row in rows if row.symbol in self._place}

    # -- deciding ----------------------------------------------------------------------------------

    async def _decide(self, truth: Truth) -> tuple[list[Finding], Swept | None, str | None]:
        problem: str | None = None
        others = compare.others(self._sink.local(), truth)
        found = await self._look(truth)
        second = {finding.place[0] for finding in found if finding.verdict is Verdict.FIRST_LOOK}
        if second:
            await self._clock.sleep_until(self._clock.now_ms() + APART_MS)
            try:
                truth = await self._read(second)
                found = await self._look(truth)
            except PerpdeskError as error:
                problem = f"second look: {error}"
        await self._block(found, others, problem is None)
        swept = None
        if truth.orders is not None and problem is None:
            swept = await self._sweep(truth.orders, truth, found)
        await self._tell(others)
        return [*found, *others], swept, problem

    async def _look(self, truth: Truth) -> list[PositionFinding]:
        """One look at every place; imports what may be imported."""
        local = self._sink.local()
        now_ms = self._clock.now_ms()
        self._doubts, found = compare.positions(local, truth, self._doubts, now_ms, self._plugs)
        undecided: set[int] = set()
        for finding in found:
            symbol = finding.place[0]
            try:
                for fill in finding.imports:
                    await self._sink.import_fill(fill)
            except BooksContradiction as error:
                undecided.add(symbol)
                await self._sink.stop_account(f"{error}")
                continue
            if finding.late and not finding.waits:
                self._know(finding.place, finding.late)
                await self._sink.external(finding.place, finding.correction, finding.leg)
            if finding.verdict is Verdict.SURPLUS:
                read = frozenset(fill.trade_id for fill in truth.fills[symbol])
                self._plugs[finding.place] = Plug(truth.asked_ms, read)
                await self._sink.external(finding.place, finding.difference, finding.leg)
            if finding.verdict not in _DECIDED:
                undecided.add(symbol)
            if finding.verdict is not Verdict.AGREES:
                await self._sink.note(finding)
        for symbol in truth.fills:
            if symbol not in undecided:
                self._since_ms[symbol] = max(
                    self._since_ms.get(symbol, self._start_ms), truth.asked_ms - OVERLAP_MS
                )
        return found

    def _know(self, place: Place, late: Iterable[VenueFill]) -> None:
        """The lots of these fills are given back: once."""
        plug = self._plugs[place]
        self._plugs[place] = Plug(plug.ms, plug.trade_ids | {fill.trade_id for fill in late})

    async def _block(
        self, found: Sequence[PositionFinding], others: Sequence[Finding], is_complete: bool
    ) -> None:
        """Entries stop where something is not understood, and go on where it is again."""
        blocks: dict[int, str] = {}
        for finding in found:
            if finding.verdict in _BLOCKING:
                blocks[finding.place[0]] = _suspicion(finding)
            if finding.verdict is Verdict.UNEXPLAINED:
                await self._sink.stop_account(_suspicion(finding))
        for other in others:
            if isinstance(other, Opposed):
                blocks[other.place[0]] = "external lots stand against a sleeve's: close one of them by hand"
            elif isinstance(other, SettingChanged) and other.name == "leverage" and other.symbol is not None:
                blocks[other.symbol] = _change(other)
        for symbol, why in sorted(blocks.items()):
            await self._sink.block_symbol(symbol, why)
        undecided = {finding.place[0] for finding in found if finding.verdict not in _DECIDED}
        for symbol in sorted(self._blocked - blocks.keys()):
            if not is_complete or symbol in undecided:
                blocks[symbol] = "not decided yet"
            else:
                await self._sink.unblock_symbol(symbol)
        self._blocked = set(blocks)
        modes = [
            _change(other)
            for other in others
            if isinstance(other, SettingChanged) and other.name != "leverage"
        ]
        halted = "; ".join(modes) or None
        if halted != self._halted:
            await self._sink.halt_entries(halted)
            self._halted = halted

    async def _sweep(
        self, orders: Sequence[OpenOrder], truth: Truth, found: Sequence[PositionFinding]
    ) -> Swept:
        """Only where the positions are decided: an order that protects something doubtful stays.

        A stop has to be an orphan in two rounds: one look at a flat position takes no protection away.
        """
        doubtful = {finding.place[0] for finding in found if finding.verdict not in _DECIDED}
        doubtful |= {finding.place[0] for finding in found if finding.verdict is Verdict.SURPLUS}
        local = self._sink.local()
        swept = sweep(
            [order for order in orders if order.symbol not in doubtful],
            account_id=self._account_id,
            versions=local.versions,
            positions=local.positions,
            is_wanted=local.orders.__contains__,
            closable=closable(truth.legs),
            unowned=unowned(local.holdings),
            now_ms=truth.asked_ms,
        )
        before, self._stops_seen = self._stops_seen, set()
        for orphan in swept.orphans:
            if is_stop(orphan.order):
                self._stops_seen.add(orphan.order.client_id)
                if orphan.order.client_id not in before:
                    continue
            await self._sink.cancel_orphan(orphan.order, orphan.why.value)
        return swept

    async def _tell(self, others: Sequence[Finding]) -> None:
        for other in others:
            if isinstance(other, OrderMissing):
                await self._sink.order_missing(other.client_id, other.symbol)
            elif isinstance(other, (Outside, SettingChanged)):
                await self._sink.note(other)


def closable(legs: Sequence[Leg]) -> Mapping[tuple[int, int], int]:
    """Lots that an order of (symbol, side) can close."""
    found: dict[tuple[int, int], int] = {}
    for leg in legs:
        if leg.symbol >= 0 and leg.lots:
            key = (leg.symbol, -1 if leg.lots > 0 else 1)
            found[key] = found.get(key, 0) + abs(leg.lots)
    return found


def unowned(holdings: Sequence[Holding]) -> Mapping[tuple[int, int], int]:
    """External lots that an order of (symbol, side) can close."""
    found: dict[tuple[int, int], int] = {}
    for holding in holdings:
        if holding.external:
            key = (holding.symbol, -1 if holding.external > 0 else 1)
            found[key] = found.get(key, 0) + abs(holding.external)
    return found


def _suspicion(finding: PositionFinding) -> str:
    return (
        f"our books hold {finding.held} lots, the exchange shows {finding.exchange}, no fill explains it: "
        "look at the account's history"
    )


def _change(other: SettingChanged) -> str:
    return f"{other.name} is {other.found}, not {other.wanted}: set it back"
