"""The radar's own time: polls on a fixed grid, never two at once; what is late is skipped and counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from perpdesk.domain.errors import PerpdeskError
from perpdesk.market.radar.judge import Decision, Judge
from perpdesk.market.radar.poll import Poll, deadline_ms, poll
from perpdesk.market.radar.recorder import Recorder
from perpdesk.market.radar.source import NO_RATIOS, InterestSource, Ratios
from perpdesk.market.radar.universe import choose

LOG = logging.getLogger(__name__)
RATIO_CACHE_MS = 300_000
_WARM_MINUTES = 120
# Between two requests of the warming: it must not fill the limits beside the polls.
_WARM_PAUSE_MS = 500


@dataclass(frozen=True)
class Terms:
    """What the radar runs by. most: symbols at most, None for all; params: [1] of the strategy's record;
    config_hash: sha256 of the configuration that all of it came from."""

    interval_ms: int
    most: int | None
    at_once: int
    refresh_ms: int
    blacklist: tuple[str, ...]
    params: np.recarray
    config_hash: str


@dataclass
class Figures:
    """What the radar has done since it started."""

    polls: int = 0
    skipped: int = 0
    degraded: int = 0
    asked: int = 0
    valid: int = 0
    unwritten: int = 0
    anomalies: int = 0
    last_slot_ms: int = 0
    last_took_ms: int = 0
    refusals: dict[str, int] = field(default_factory=dict)

    @property
    def coverage(self) -> float:
        """Rows with open interest per symbol asked; 0 before the first poll."""
        return self.valid / self.asked if self.asked else 0.0


@dataclass(frozen=True)
class Seen:
    """One poll and what was decided on it. ratios: of the symbols that were asked for theirs."""

    poll: Poll
    decisions: tuple[Decision, ...]
    skipped: int
    ratios: Mapping[str, Ratios]
    funding_hours: Mapping[str, int]


def _nobody(poll: Poll) -> Collection[str]:
    return ()


class Radar:
    """Polls a source. recorder None: nothing is kept. held: symbols that stay whatever their rank.

    ``terms`` may be replaced between two polls with ``take_terms``. on_seen is told each poll, before it is
    written down. also_asks: symbols of a poll whose ratios somebody else needs, too.
    """

    def __init__(
        self,
        source: InterestSource,
        terms: Terms,
        recorder: Recorder | None = None,
        *,
        held: Callable[[], Sequence[str]] = tuple,
        on_seen: Callable[[Seen], Awaitable[None]] | None = None,
        also_asks: Callable[[Poll], Collection[str]] = _nobody,
    ) -> None:
        self.source, self.terms, self.recorder = source, terms, recorder
        self.judge = Judge(terms.params, terms.config_hash)
        self.figures = Figures()
        self.symbols: tuple[str, ...] = ()
        self._held, self._on_seen, self._also_asks = held, on_seen, also_asks
        self._next_terms: Terms | None = None
        self._refreshed_ms = 0
        self._ratios: dict[str, tuple[int, Ratios]] = {}
        self._missing_since: dict[str, tuple[int, str]] = {}
        self._warming: set[asyncio.Task[None]] = set()

    def take_terms(self, terms: Terms) -> None:
        """Other terms from the next poll on, all of them at once."""
        self._next_terms = terms

    def _swap_terms(self) -> None:
        """Changed periods forget what was recorded of the old ones, and nothing of what was seen."""
        terms, self._next_terms = self._next_terms, None
        if terms is None:
            return
        if list(terms.params.period_ms[0]) != list(self.terms.params.period_ms[0]):
            for sight in self.judge.sights.values():
                sight[0].recorded.poll_ms[:] = 0
        if (terms.most, terms.blacklist) != (self.terms.most, self.terms.blacklist):
            self._refreshed_ms = 0
        self.terms = terms
        self.judge.params, self.judge.config_hash = terms.params, terms.config_hash

    async def start(self) -> None:
        """Know the symbols, and what was recorded before. Raises PerpdeskError where it cannot."""
        await self._refresh()
        if self.recorder is not None:
            now_ms = self.source.now_ms()
            await self.recorder.keep_house(now_ms)
            await self.recorder.remember(self.judge, now_ms)
        self._warm(self.symbols)

    async def run(self, polls: int | None = None) -> None:
        """Poll on the grid until cancelled, or so many times."""
        done = 0
        slot_ms = _slot_at_or_after(self.source.now_ms(), self.terms.interval_ms)
        while polls is None or done < polls:
            await self.source.sleep_until(slot_ms)
            await self.poll_once(slot_ms)
            done += 1
            interval = self.terms.interval_ms
            next_ms = max(slot_ms + interval, _slot_at_or_after(self.source.now_ms(), interval))
            skipped = (next_ms - slot_ms) // interval - 1
            if skipped > 0:
                self.figures.skipped += skipped
                await self._note("oi_skipped", after_ms=slot_ms, slots=skipped)
            slot_ms = next_ms

    async def poll_once(self, slot_ms: int) -> Seen:
        """One poll: ask, judge, fetch ratios where they matter, decide, write down."""
        self._swap_terms()
        if self.source.now_ms() - self._refreshed_ms >= self.terms.refresh_ms:
            await self._try_refresh()
        found = await poll(self.source, self.symbols, slot_ms, self.terms.interval_ms, self.terms.at_once)
        news = self.judge.anomalous(found)
        wanted = [row.symbol for row in news if self.judge.asks_for_ratios(row.symbol)]
        wanted += sorted(set(self._also_asks(found)) - set(wanted))
        ratios = await self._ratios_of(wanted, slot_ms)
        places = {symbol: place for place, symbol in enumerate(sorted(self.symbols))}
        decisions = tuple(
            self.judge.decide(row, found, ratios.get(row.symbol, NO_RATIOS), places[row.symbol])
            for row in news
        )
        self._count(found, decisions)
        seen = Seen(found, decisions, self.figures.skipped, ratios, self.judge.funding_hours)
        if self._on_seen is not None:
            await self._on_seen(seen)
        await self._write(found, decisions)
        return seen

    async def close(self) -> None:
        """Stop what still runs."""
        for task in self._warming:
            task.cancel()
        await asyncio.gather(*self._warming, return_exceptions=True)

    def _count(self, found: Poll, decisions: Sequence[Decision]) -> None:
        figures = self.figures
        figures.polls += 1
        figures.degraded += found.is_degraded
        figures.asked += len(found.rows)
        figures.valid += found.valid
        figures.last_slot_ms, figures.last_took_ms = found.slot_ms, found.took_ms
        for one in decisions:
            figures.anomalies += len(one.anomalies)
            figures.refusals[one.code] = figures.refusals.get(one.code, 0) + 1

    async def _write(self, found: Poll, decisions: Sequence[Decision]) -> None:
        if self.recorder is None:
            return
        try:
            await self.recorder.write(found, decisions, self.judge)
            await self.recorder.keep_house(self.source.now_ms())
            await self._note_missing(found)
        except PerpdeskError as error:
            self.figures.unwritten += 1
            LOG.error("poll of %d was not written: %s", found.slot_ms, error)

    async def _note_missing(self, found: Poll) -> None:
        """A symbol's hole is written down when it is over: from its first missing poll to its next row."""
        assert self.recorder is not None
        for row in found.rows:
            since = self._missing_since.get(row.symbol)
            if row.amount is None and since is None:
                self._missing_since[row.symbol] = (found.slot_ms, row.missing)
            elif row.amount is not None and since is not None:
                del self._missing_since[row.symbol]
                await self.recorder.note_hole(
                    "oi_hole",
                    found.slot_ms,
                    symbol=row.symbol,
                    from_ms=since[0],
                    to_ms=found.slot_ms,
                    why=since[1],
                )

    async def _note(self, kind: str, **what: object) -> None:
        if self.recorder is None:
            return
        try:
            await self.recorder.note_hole(kind, self.source.now_ms(), **what)
        except PerpdeskError as error:
            LOG.error("%s %s was not written: %s", kind, what, error)

    # -- symbols -----------------------------------------------------------------------------------

    async def _try_refresh(self) -> None:
        try:
            await self._refresh()
        except PerpdeskError as error:  # the old list stands
            LOG.warning("the symbol list could not be read: %s", error)

    async def _refresh(self) -> None:
        terms, before = self.terms, self.symbols
        contracts = await self.source.contracts()
        chosen = choose(contracts, terms.blacklist, terms.most, self._held())
        if not chosen and before:
            LOG.warning("the exchange lists no eligible symbol: the old list stands")
            return
        self.judge.funding_hours = await self.source.funding_hours()
        self.symbols, self._refreshed_ms = chosen, self.source.now_ms()
        gone, new = sorted(set(before) - set(chosen)), sorted(set(chosen) - set(before))
        if before and (gone or new):
            listed = {one.symbol for one in contracts if one.status == "TRADING"}
            await self._note(
                "oi_symbols", new=new, gone=gone, delisted=[one for one in gone if one not in listed]
            )
            self._warm(new)
        self.judge.forget(chosen)

    def _warm(self, symbols: Sequence[str]) -> None:
        """Fetch two hours of marks of the symbols whose windows lack them, beside the polls."""
        if symbols:
            task = asyncio.ensure_future(self._warm_all(symbols))
            self._warming.add(task)
            task.add_done_callback(self._warming.discard)

    async def _warm_all(self, symbols: Sequence[str]) -> None:
        now_ms = asked_ms = self.source.now_ms()
        for symbol in symbols:
            if self.judge.is_complete(symbol, now_ms):
                continue
            await self.source.sleep_until(asked_ms)
            asked_ms = self.source.now_ms() + _WARM_PAUSE_MS
            try:
                minutes = await self.source.mark_minutes(symbol, _WARM_MINUTES)
            except PerpdeskError as error:
                LOG.warning("marks of %s for its two-hour window: %s", symbol, error)
                continue
            self.judge.warm(symbol, minutes)

    # -- ratios ------------------------------------------------------------------------------------

    async def _ratios_of(self, wanted: Sequence[str], slot_ms: int) -> dict[str, Ratios]:
        """Ratios of the symbols where they matter, in this order; what fails stays missing."""
        turn = asyncio.Semaphore(self.terms.at_once)
        end_ms = max(deadline_ms(slot_ms, self.terms.interval_ms), self.source.now_ms() + 1)
        found = await asyncio.gather(*(self._ratio(symbol, turn, end_ms) for symbol in wanted))
        return dict(zip(wanted, found, strict=True))

    async def _ratio(self, symbol: str, turn: asyncio.Semaphore, end_ms: int) -> Ratios:
        kept = self._ratios.get(symbol)
        if kept is not None and self.source.now_ms() - kept[0] < RATIO_CACHE_MS:
            return kept[1]
        async with turn:
            try:
                found = await self.source.ratios(symbol, end_ms)
            except PerpdeskError as error:
                LOG.warning("ratios of %s: %s", symbol, error)
                return NO_RATIOS
        self._ratios[symbol] = (self.source.now_ms(), found)
        return found


def _slot_at_or_after(ms: int, interval_ms: int) -> int:
    return -(-ms // interval_ms) * interval_ms
