"""The tape: all symbols' 1-minute bars side by side, one row per UTC minute, as the step loop wants them.

``read_tape`` holds the whole tape in memory; ``stream_tape`` hands out the same bars in chunks whose
memory does not depend on the length. Both check and convert every file before the first bar is given
out, so a bad row anywhere has no partial effect.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perpdesk.domain.errors import DataError, InputError
from perpdesk.domain.instrument import Instrument
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS, bar_dt, zeros
from perpdesk.market import cache as cache_module
from perpdesk.market import storing
from perpdesk.market import universe as universe_module
from perpdesk.market.bars import LAYOUT, PRICES, Records, Scale
from perpdesk.market.cache import StoredBars, stored_bars
from perpdesk.market.columns import names_of
from perpdesk.market.findings import DataNote, DataWarning, gap_warning, utc_text
from perpdesk.market.instruments import bundled
from perpdesk.market.sources import find
from perpdesk.market.storing import Backlog
from perpdesk.market.universe import Universe

# How many records are staged between the files and the tape: few enough for the processor's cache, many
# enough per symbol that a read costs more than its call.
_STAGE_RECORDS, _STAGE_STEPS_MIN = 1 << 16, 2048
# Bars as opaque bytes: numpy copies structs field by field, but these at once.
_OPAQUE = np.dtype(f"V{bar_dt.itemsize}")


@dataclass(frozen=True)
class Tape:
    """``bars[t, s]`` is the bar of symbol ``s`` that opens at ``start_ms + t * 60_000``; where there is
    none, ``open_ms`` is ABSENT_MS and the other fields are 0. ``bar_count`` counts the present ones."""

    universe: Universe
    bars: Records
    start_ms: int
    bar_count: int
    warnings: tuple[DataWarning, ...] = ()
    notes: tuple[DataNote, ...] = ()

    @property
    def steps(self) -> int:
        return int(self.bars.shape[0])

    @property
    def end_ms(self) -> int:
        """The close of the last step."""
        return self.start_ms + self.steps * MINUTE_MS


class TapeStream:
    """The same tape, chunk by chunk: iterate for ``(start_ms, bars[T, N])``, as often as wanted.

    ``bars`` is one buffer, written anew for every chunk: use it before asking for the next. The last chunk
    may be shorter.
    """

    def __init__(self, reel: _Reel, steps_per_chunk: int) -> None:
        self._reel = reel
        self.steps_per_chunk = steps_per_chunk
        self.universe = reel.universe
        self.start_ms = reel.start_ms
        self.steps = reel.steps
        self.end_ms = reel.start_ms + reel.steps * MINUTE_MS
        self.bar_count = reel.bar_count
        self.warnings = reel.warnings
        self.notes = reel.notes

    def __iter__(self) -> Iterator[tuple[int, Records]]:
        buffer = zeros((min(self.steps_per_chunk, self.steps), len(self.universe)), bar_dt)
        for step in range(0, self.steps, self.steps_per_chunk):
            bars = buffer[: min(self.steps_per_chunk, self.steps - step)]
            start_ms = self.start_ms + step * MINUTE_MS
            self._reel.fill(bars, start_ms)
            yield start_ms, bars


def read_tape(
    paths: Iterable[Path | str],
    *,
    symbols: Iterable[str] | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
    instruments: Mapping[str, Instrument] | None = None,
    cached: bool = True,
) -> Tape:
    """All bars under ``paths`` that open in [start_ms, end_ms).

    ``instruments`` defaults to the bundled table. With ``cached``, converted bars are kept on disk (see
    ``cache``), written by a thread after this has returned; a folder that cannot be written to is a warning,
    not an error. Raises DataError (file, row, rule), InputError (nothing found, unknown symbol, no bars in
    the range) and ScaleError; nothing new is kept then, but for what was too much to wait in memory.
    """
    backlog = Backlog()
    root = _cache_folder() if cached else None
    reel = _reel(paths, symbols, start_ms, end_ms, instruments, root, backlog=backlog)
    reel.map()
    bars = reel.whole()
    if bars is None:
        bars = np.empty((reel.steps, len(reel.universe)), bar_dt).view(np.recarray)
        reel.fill(bars, reel.start_ms)
    backlog.start()
    return Tape(reel.universe, bars, reel.start_ms, reel.bar_count, reel.warnings, reel.notes)


def stream_tape(
    paths: Iterable[Path | str],
    steps_per_chunk: int = 1440,
    *,
    symbols: Iterable[str] | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
    instruments: Mapping[str, Instrument] | None = None,
    cached: bool = True,
) -> TapeStream:
    """The tape of ``read_tape`` in chunks of ``steps_per_chunk`` minutes, in bounded memory.

    Converted bars always go to disk on the way: into the cache, or without ``cached`` into a temporary
    folder that vanishes with the stream. Raises what ``read_tape`` raises, before the first chunk, and
    InputError where the folder cannot be written to.
    """
    if steps_per_chunk < 1:
        raise InputError(f"must be at least 1, was {steps_per_chunk}", field="steps_per_chunk")
    root = _cache_folder() if cached else Path(tempfile.mkdtemp(prefix="perpdesk-"))
    try:
        reel = _reel(paths, symbols, start_ms, end_ms, instruments, root, must_store=True)
    except BaseException:
        if not cached:
            shutil.rmtree(root, ignore_errors=True)
        raise
    stream = TapeStream(reel, steps_per_chunk)
    if not cached:
        weakref.finalize(stream, shutil.rmtree, root, ignore_errors=True)
    return stream


def _cache_folder() -> Path:
    """The cache's folder, with everything in it that an earlier read left to be written."""
    storing.wait()
    return cache_module.folder()


class _Lane:
    """One symbol's tables in time order, and the factors that bring each to the universe's scale."""

    def __init__(self, symbol: str, parts: list[StoredBars]) -> None:
        self.symbol = symbol
        self.parts = sorted(parts, key=lambda part: part.facts.first_ms)
        self.views: list[np.ndarray | None] = [None] * len(parts)
        self.gap_starts = [[gap.from_ms for gap in part.facts.gaps] for part in self.parts]
        self.missing_before: list[list[int]] = []
        for part in self.parts:
            missing = [0]
            for gap in part.facts.gaps:
                missing.append(missing[-1] + (gap.to_ms - gap.from_ms) // MINUTE_MS)
            self.missing_before.append(missing)
        self.price_factors = [1] * len(self.parts)
        self.lot_ratios = [(1, 1)] * len(self.parts)

    def scale_to(self, universe: Universe) -> None:
        at = universe.index(self.symbol)
        step = universe.lot_step[at]
        for i, part in enumerate(self.parts):
            self.price_factors[i] = 10 ** (universe.price_digits[at] - part.facts.price_digits)
            self.lot_ratios[i] = (part.facts.lot_step / step).as_integer_ratio()

    @property
    def first_ms(self) -> int:
        return self.parts[0].facts.first_ms

    @property
    def last_ms(self) -> int:
        return max(part.facts.last_ms for part in self.parts)

    @property
    def overlaps(self) -> bool:
        latest = -1
        for part in self.parts:
            if part.facts.first_ms <= latest:
                return True
            latest = part.facts.last_ms
        return False

    def row_at(self, i: int, ms: int) -> int:
        """How many bars of part ``i`` open before ``ms`` (a whole minute)."""
        facts = self.parts[i].facts
        if ms <= facts.first_ms:
            return 0
        if ms > facts.last_ms:
            return facts.rows
        k = bisect_left(self.gap_starts[i], ms)
        missing = self.missing_before[i][k]
        if k > 0:
            missing -= max(0, facts.gaps[k - 1].to_ms - ms) // MINUTE_MS
        return (ms - facts.first_ms) // MINUTE_MS - missing

    def refuse_duplicates(self) -> None:
        """A minute that two tables hold is an error, at its row in the later table."""
        if not self.overlaps:
            return
        for j, later in enumerate(self.parts):
            for i, earlier in enumerate(self.parts[:j]):
                if earlier.facts.last_ms < later.facts.first_ms:
                    continue
                end_ms = later.facts.last_ms + MINUTE_MS
                known = earlier.read(self.row_at(i, later.facts.first_ms), self.row_at(i, end_ms))
                here = later.read(0, self.row_at(j, earlier.facts.last_ms + MINUTE_MS))
                twice = np.flatnonzero(np.isin(here["open_ms"], known["open_ms"]))
                if twice.size:
                    at = int(twice[0])
                    facts = later.facts
                    raise DataError(
                        f"{self.symbol}: the minute {utc_text(int(here['open_ms'][at]))} stands in "
                        f"{earlier.source} as well",
                        file=later.source,
                        row=facts.first_row + at if facts.rows_are_consecutive else None,
                        rule="duplicate",
                    )

    def gaps(self) -> Iterator[DataWarning]:
        """Every hole between the symbol's first and last bar."""
        if self.overlaps:
            yield from self._merged_gaps()
            return
        for before, part in zip([None, *self.parts[:-1]], self.parts, strict=True):
            facts = part.facts
            if before is not None and before.facts.last_ms + MINUTE_MS < facts.first_ms:
                from_ms = before.facts.last_ms + MINUTE_MS
                yield gap_warning(self.symbol, str(part.source), facts.first_row, from_ms, facts.first_ms)
            for gap in facts.gaps:
                yield gap_warning(self.symbol, str(part.source), gap.row, gap.from_ms, gap.to_ms)

    def _merged_gaps(self) -> Iterator[DataWarning]:
        """Tables that mesh: what is missing in one may stand in another."""
        times = [part.read(0, part.facts.rows)["open_ms"] for part in self.parts]
        owner = np.repeat(np.arange(len(times)), [one.size for one in times])
        row = np.concatenate([np.arange(one.size) for one in times])
        every = np.concatenate(times)
        order = np.argsort(every)
        for k in np.flatnonzero(np.diff(every[order]) > MINUTE_MS):
            before, after = order[k], order[k + 1]
            part = self.parts[int(owner[after])]
            yield gap_warning(
                self.symbol,
                str(part.source),
                part.facts.first_row + int(row[after]),
                int(every[before]) + MINUTE_MS,
                int(every[after]),
            )

    def count(self, start_ms: int, end_ms: int) -> int:
        return sum(self.row_at(i, end_ms) - self.row_at(i, start_ms) for i in range(len(self.parts)))

    def fill(self, row: np.ndarray, start_ms: int) -> None:
        """Write the bars of ``len(row)`` minutes from ``start_ms``, absent ones included."""
        end_ms = start_ms + len(row) * MINUTE_MS
        spans = [(i, self.row_at(i, start_ms), self.row_at(i, end_ms)) for i in range(len(self.parts))]
        spans = [(i, first, stop) for i, first, stop in spans if first < stop]
        if len(spans) == 1 and spans[0][2] - spans[0][1] == len(row):
            self._copy(*spans[0], row)
            return
        row[:] = _ABSENT
        for i, first, stop in spans:
            bars = np.empty(stop - first, bar_dt)
            self._copy(i, first, stop, bars)
            row[(bars["open_ms"] - start_ms) // MINUTE_MS] = bars

    def _copy(self, i: int, first: int, stop: int, out: np.ndarray) -> None:
        """Rows [first, stop) of part ``i`` in the universe's scale."""
        view = self.views[i]
        if view is None:
            self.parts[i].read_into(first, out)
        else:
            out.view(_OPAQUE)[:] = view[first:stop].view(_OPAQUE)
        if self.price_factors[i] != 1:
            for name in PRICES:
                out[name] *= self.price_factors[i]
        numerator, denominator = self.lot_ratios[i]
        if numerator != denominator:
            # to the nearest lot, halves up: whole lots stay what they are
            out["volume_lots"] = (out["volume_lots"] * numerator * 2 + denominator) // (denominator * 2)


_ABSENT = np.zeros((), bar_dt)
_ABSENT["open_ms"] = ABSENT_MS


class _Reel:
    """All lanes of a tape, checked and scaled: what both forms of reading are made from."""

    def __init__(
        self,
        lanes: list[_Lane],
        universe: Universe,
        start_ms: int,
        steps: int,
        warnings: list[DataWarning],
    ) -> None:
        self.lanes = lanes
        self.universe = universe
        self.start_ms = start_ms
        self.steps = steps
        end_ms = start_ms + steps * MINUTE_MS
        self.bar_count = sum(lane.count(start_ms, end_ms) for lane in lanes)
        self.warnings = (
            *warnings,
            *(
                warning
                for lane in lanes
                for warning in lane.gaps()
                if (warning.from_ms or 0) < end_ms and (warning.to_ms or 0) > start_ms
            ),
        )
        self.notes = tuple(
            DataNote(rule, lane.symbol, count)
            for lane in lanes
            for rule, count in (
                ("off the tick", sum(part.facts.off_tick for part in lane.parts)),
                ("with a volume between lots", sum(part.facts.off_lot for part in lane.parts)),
            )
            if count
        )

    def fill(self, bars: Records, start_ms: int) -> None:
        """Write ``bars[T, N]`` from ``start_ms`` on."""
        width = len(self.lanes)
        opaque = bars.view(_OPAQUE, np.ndarray)
        block = min(len(bars), max(_STAGE_STEPS_MIN, _STAGE_RECORDS // width))
        stage = np.empty((width, block), bar_dt)
        for step in range(0, len(bars), block):
            steps = min(block, len(bars) - step)
            for j, lane in enumerate(self.lanes):
                lane.fill(stage[j, :steps], start_ms + step * MINUTE_MS)
            opaque[step : step + steps] = stage[:, :steps].view(_OPAQUE).T

    def map(self) -> None:
        """Let every lane keep its bars mapped: faster than reading, but the pages count as our memory."""
        for lane in self.lanes:
            lane.views = [part.view().view(bar_dt, np.ndarray) for part in lane.parts]

    def whole(self) -> Records | None:
        """The tape where one table is the tape already: in place, or as a copy if the table is still to be
        stored, because a tape may be written to."""
        if len(self.lanes) != 1 or len(self.lanes[0].parts) != 1:
            return None
        lane = self.lanes[0]
        first = lane.row_at(0, self.start_ms)
        stop = lane.row_at(0, self.start_ms + self.steps * MINUTE_MS)
        if stop - first != self.steps or lane.price_factors != [1] or lane.lot_ratios != [(1, 1)]:
            return None
        bars = lane.parts[0].view()[first:stop].reshape(self.steps, 1)
        if lane.parts[0].is_pending:
            bars = bars.view(_OPAQUE, np.ndarray).copy().view(bar_dt, np.recarray)
        return bars


def _reel(
    paths: Iterable[Path | str],
    symbols: Iterable[str] | None,
    start_ms: int | None,
    end_ms: int | None,
    instruments: Mapping[str, Instrument] | None,
    root: Path | None,
    *,
    must_store: bool = False,
    backlog: Backlog | None = None,
) -> _Reel:
    table = bundled() if instruments is None else instruments
    scales = {symbol: Scale(one.price_tick, one.lot_step) for symbol, one in table.items()}
    asked = None if symbols is None else set(symbols)
    stored: dict[str, list[StoredBars]] = {}
    found: set[str] = set()
    warnings: list[DataWarning] = []
    for source in find(paths):
        if asked is not None and source.symbol not in asked and "symbol" not in names_of(source, LAYOUT):
            found.add(source.symbol)
            continue
        try:
            tables = stored_bars(source, scales, root, backlog)
        except OSError as error:
            problem = storing.cannot_keep(error)
            if must_store:
                raise InputError(problem, field="PERPDESK_CACHE_DIR") from error
            warnings.append(DataWarning(rule="cache", message=problem))
            root = None
            tables = stored_bars(source, scales, root)
        for one in tables:
            found.add(one.facts.symbol)
            if asked is None or one.facts.symbol in asked:
                stored.setdefault(one.facts.symbol, []).append(one)
    chosen = universe_module.wanted(found, asked)
    lanes = [_Lane(symbol, stored[symbol]) for symbol in sorted(chosen)]
    for lane in lanes:
        lane.refuse_duplicates()
    facts = {lane.symbol: [part.facts for part in lane.parts] for lane in lanes}
    universe, unlisted = universe_module.build(facts, table)
    for lane in lanes:
        lane.scale_to(universe)
    first_ms, steps = _range(lanes, start_ms, end_ms)
    reel = _Reel(lanes, universe, first_ms, steps, warnings + unlisted)
    if reel.bar_count == 0:
        raise InputError("no bars in the range asked for: it lies inside a gap", field="--from, --to")
    return reel


def _range(lanes: list[_Lane], start_ms: int | None, end_ms: int | None) -> tuple[int, int]:
    """(first minute, number of minutes) of the bars that open in [start_ms, end_ms)."""
    first_ms = min(lane.first_ms for lane in lanes)
    stop_ms = max(lane.last_ms for lane in lanes) + MINUTE_MS
    span = f"{utc_text(first_ms)} to {utc_text(stop_ms)}"
    if start_ms is not None:
        first_ms = max(first_ms, -(-start_ms // MINUTE_MS) * MINUTE_MS)
    if end_ms is not None:
        stop_ms = min(stop_ms, -(-end_ms // MINUTE_MS) * MINUTE_MS)
    if stop_ms <= first_ms:
        raise InputError(f"no bars in the range asked for: the data is from {span}", field="--from, --to")
    return first_ms, (stop_ms - first_ms) // MINUTE_MS


__all__ = ["Tape", "TapeStream", "read_tape", "stream_tape"]
