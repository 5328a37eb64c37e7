"""Recorded open interest for the strategy: rows of ``--oi`` files, and who puts them into its inboxes.

Columns: ``time, sum_open_interest`` and, where they are, ``funding_rate, funding_interval_h`` and the four
ratios under their names in Binance's own metrics files. An empty or impossible value is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np

from perpdesk.domain.errors import DataError
from perpdesk.domain.signal_books import OiAnomaly, OiSnapshot
from perpdesk.domain.units import rate_e8
from perpdesk.kernel.records import FAR, MINUTE_MS, zeros
from perpdesk.market.columns import NUMBER, TEXT, TIME, Batch, Layout, batches
from perpdesk.market.sources import Source, find
from perpdesk.strategies.oi_breakout import row_dt
from perpdesk.strategies.oi_breakout.points import FUNDING_MISSING, normalised_funding_e8
from perpdesk.strategies.oi_breakout.strategy import INBOX_MAX

RATIOS = (
    "sum_toptrader_long_short_ratio",
    "sum_taker_long_short_vol_ratio",
    "count_toptrader_long_short_ratio",
    "count_long_short_ratio",
)
_NUMBERS = ("funding_rate", "funding_interval_h", *RATIOS)
LAYOUT = Layout(
    required={"time": TIME, "sum_open_interest": NUMBER},
    optional={"symbol": TEXT, **dict.fromkeys(_NUMBERS, NUMBER)},
    aliases={"create_time": "time", "timestamp": "time", "sumopeninterest": "sum_open_interest"},
    positional=("time", "symbol", "sum_open_interest"),
    nullable=frozenset(("sum_open_interest", *_NUMBERS)),
)
_FUNDING_HOURS = 8
# Of the symbols that have rows at all: fewer in one step make it degraded.
_DEGRADED_SHARE = 0.8


@dataclass(frozen=True)
class InterestRows:
    """By symbol of the universe: rows (row_dt) in order of time, the newest one of each step."""

    rows: tuple[np.recarray, ...]
    warnings: tuple[str, ...] = ()


def read(paths: Iterable[Path | str], symbols: Sequence[str]) -> InterestRows:
    """The rows of these symbols. Raises InputError for what is not there, DataError for a time of one symbol
    that has two values."""
    found: list[dict[int, np.record]] = [{} for _ in symbols]
    bad = 0
    for source in find(paths, field="--oi"):
        for batch in batches(source, LAYOUT):
            bad += _take(source, batch, symbols, found)
    per_symbol = []
    for rows in found:
        made = zeros(len(rows), row_dt)
        for place, ms in enumerate(sorted(rows)):
            made[place] = rows[ms]
        per_symbol.append(_newest_of_steps(made))
    _mark_degraded(per_symbol)
    lacking = [symbol for symbol, rows in zip(symbols, per_symbol, strict=True) if not len(rows)]
    warnings = [f"--oi has no rows of {', '.join(lacking)}: never bought"] if lacking else []
    if bad:
        warnings.append(f"--oi: {bad} rows without a usable value count as missing")
    return InterestRows(tuple(per_symbol), tuple(warnings))


def recorded(
    snapshots: Iterable[OiSnapshot], anomalies: Iterable[OiAnomaly], symbols: Sequence[str]
) -> InterestRows:
    """The rows of a database's polls, each at its poll's time; ratios where the radar had asked for them. A
    poll that knew no mark price says nothing, as it did when it came."""
    ratios = {
        (one.symbol, one.poll_ms): (
            one.ratio_top_position, one.ratio_taker, one.ratio_top_account, one.ratio_global
        )
        for one in anomalies
    }  # fmt: skip
    found: dict[str, dict[int, np.record]] = {symbol: {} for symbol in symbols}
    for one in snapshots:
        if one.symbol in found and one.mark_price is not None:
            hours = one.funding_interval_h or _FUNDING_HOURS
            found[one.symbol][one.poll_ms] = row_of(
                one.poll_ms, one.open_interest, one.funding_rate, hours, ratios.get((one.symbol, one.poll_ms))
            )
    per_symbol = []
    for rows in found.values():
        made = zeros(len(rows), row_dt)
        for place, ms in enumerate(sorted(rows)):
            made[place] = rows[ms]
        per_symbol.append(_newest_of_steps(made))
    _mark_degraded(per_symbol)
    return InterestRows(tuple(per_symbol))


def row_of(
    ms: int,
    amount: Decimal,
    rate: Decimal | None,
    funding_hours: int,
    ratios: Sequence[Decimal | None] | None,
    is_degraded: bool = False,
) -> np.record:
    """One row of row_dt. rate: as the exchange gives it, for funding_hours; ratios in the order of RATIOS."""
    row: np.record = zeros(1, row_dt)[0]
    row.ms, row.oi, row.degraded = ms, float(amount), int(is_degraded)
    row.r8_e8 = FUNDING_MISSING if rate is None else normalised_funding_e8(rate_e8(rate), funding_hours)
    row.ratios[:] = [np.nan if one is None else float(one) for one in ratios or (None,) * len(RATIOS)]
    return row


def _take(source: Source, batch: Batch, symbols: Sequence[str], found: list[dict[int, np.record]]) -> int:
    """Add the rows of one batch; returns how many were not usable."""
    places = {symbol: place for place, symbol in enumerate(symbols)}
    times, amounts = batch.values["time"], batch.values["sum_open_interest"]
    columns = [batch.values.get(name) for name in _NUMBERS]
    codes, names = batch.texts.get("symbol", (None, [source.symbol]))
    owners = [places.get(name, -1) for name in names]
    bad = 0
    for i in range(batch.size):
        owner = owners[0 if codes is None else int(codes[i])]
        if owner < 0:
            continue
        if not 0 < amounts[i] < np.inf:
            bad += 1
            continue
        rate, hours, *ratios = (np.nan if column is None else float(column[i]) for column in columns)
        row = zeros(1, row_dt)[0]
        row.ms, row.oi, row.ratios[:] = int(times[i]), float(amounts[i]), ratios
        row.r8_e8 = _r8(rate, hours)
        before = found[owner].setdefault(int(row.ms), row)
        if before.oi != row.oi:
            message = f"{symbols[owner]} has two values at {int(row.ms)}: {before.oi:g} and {row.oi:g}"
            raise DataError(message, file=source, row=batch.row + i, rule="duplicate")
    return bad


def _r8(rate: float, hours: float) -> int:
    if not np.isfinite(rate):
        return FUNDING_MISSING
    return int(normalised_funding_e8(round(rate * 1e8), int(hours) if hours > 0 else _FUNDING_HOURS))


def _newest_of_steps(rows: np.recarray) -> np.recarray:
    if not len(rows):
        return rows
    steps = -(-rows["ms"] // MINUTE_MS)
    keep = np.append(steps[1:] != steps[:-1], True)
    kept: np.recarray = rows[keep].view(np.recarray)
    return kept


def _mark_degraded(per_symbol: list[np.recarray]) -> None:
    with_rows = [rows for rows in per_symbol if len(rows)]
    if not with_rows:
        return
    steps, counts = np.unique(
        np.concatenate([-(-rows["ms"] // MINUTE_MS) for rows in with_rows]), return_counts=True
    )
    few = set(steps[counts < _DEGRADED_SHARE * len(with_rows)].tolist())
    for rows in with_rows:
        rows["degraded"] = [int(step in few) for step in (-(-rows["ms"] // MINUTE_MS)).tolist()]


@dataclass
class Inbox:
    """Keeps the strategy's inboxes full between two steps: a Conductor of every driver.

    states: the sleeve's, [N]. due_ms: when it must look again, at the latest.
    """

    interest: InterestRows
    states: np.recarray
    due_ms: int = 0
    _base: list[int] = field(default_factory=list)

    @property
    def ahead_ms(self) -> int:
        """How far one filling reaches; each step has at most one row, and some may be left unread."""
        return (INBOX_MAX - 56) * MINUTE_MS

    def look(self, now_ms: int, states: np.recarray, heads: np.recarray, cash_e8: int) -> None:
        """Called at a step's end at or after due_ms."""
        self.fill(now_ms)

    def fill(self, now_ms: int) -> None:
        """Put in what belongs to the steps after now, as far as one filling reaches, and what is unread."""
        first_time = not self._base
        until_ms = now_ms + self.ahead_ms
        for s, rows in enumerate(self.interest.rows):
            state = self.states[s]
            if first_time:
                self._base.append(int(np.searchsorted(rows["ms"], now_ms, side="right")))
                start = self._base[s]
            else:
                start = self._base[s] + int(state.inbox_at)
            past = int(np.searchsorted(rows["ms"], now_ms, side="right"))
            start = max(start, min(past - 1, len(rows)) if start < past else start)
            end = max(start, int(np.searchsorted(rows["ms"], until_ms, side="right")))
            state.inbox[: end - start] = rows[start:end]
            state.inbox_at, state.inbox_end = 0, end - start
            self._base[s] = start
        has_more = any(len(rows) and rows["ms"][-1] > until_ms for rows in self.interest.rows)
        self.due_ms = until_ms if has_more else FAR


@dataclass
class Arrivals:
    """The strategy's inboxes, filled by a poll that has just come. states: the sleeve's, [N]."""

    states: np.recarray

    def put(self, s: int, row: np.record) -> bool:
        """Put a symbol's row behind what is unread. False: it is not newer than that."""
        state = self.states[s]
        at, end = int(state.inbox_at), int(state.inbox_end)
        if at:
            state.inbox[: end - at] = state.inbox[at:end].copy()
            at, end = 0, end - at
        if end and row.ms <= state.inbox[end - 1].ms:
            return False
        if end == INBOX_MAX:  # nobody reads: the oldest is lost
            state.inbox[: end - 1] = state.inbox[1:end].copy()
            end -= 1
        state.inbox[end] = row
        state.inbox_at, state.inbox_end = 0, end + 1
        return True
