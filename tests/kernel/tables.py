"""Candle tables: bars, orders and fills as text, so that a test reads like a picture.

Bars, one minute a row (``-`` is a minute without a bar; the volume may be left out)::

    open high low close [volume]

Orders of the own slots a, b, c … in the order of the rows::

    LIMIT BUY 5 @ 99            LIMIT SELL 5 @ 110 reduce      MARKET BUY 5
    STOP SELL 5 @ 95            TAKE_PROFIT SELL 5 @ 110       TRAILING SELL 5 arm 105 back 2%

Fills, as a run answers them (bar number, seconds after its open, slot, …)::

    0 +20s a BUY 5 @ 99 maker
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent

import numpy as np
from tests.kernel.actors import ACTOR, SCRIPT, actor_params

from perpdesk.kernel import matching
from perpdesk.kernel.book import put_limit, put_market, put_trailing, put_trigger
from perpdesk.kernel.records import (
    ABSENT_MS,
    BUY,
    MINUTE_MS,
    SELL,
    SLOT_ENTRY,
    SLOT_OWN,
    STOP,
    TAKE_PROFIT,
    account_dt,
    bar_dt,
    guard_dt,
    instrument_dt,
    sleeve_dt,
    zeros,
)
from perpdesk.kernel.replay import Mind, Replay, new_books, new_mind

# 2025-01-01 00:00 UTC
START_MS = 1_735_689_600_000
MONEY = 100_000_000
CAP = 10**17


def instrument_records(
    count=1,
    *,
    tick=1,
    unit_e8=1000,
    maker_ppm=200,
    taker_ppm=500,
    liquidation_fee_ppm=12_500,
    lots_min=1,
    lots_max=10**9,
    market_lots_max=10**9,
    notional_min_e8=0,
    brackets=((CAP, 125, 5_000, 0),),
):
    """[count] equal instruments. Brackets: (cap_e8, leverage, mmr_ppm, cum_e8) ascending."""
    records = zeros(count, instrument_dt)
    for name, value in (
        ("tick", tick),
        ("unit_e8", unit_e8),
        ("maker_ppm", maker_ppm),
        ("taker_ppm", taker_ppm),
        ("liquidation_fee_ppm", liquidation_fee_ppm),
        ("lots_min", lots_min),
        ("lots_max", lots_max),
        ("market_lots_max", market_lots_max),
        ("notional_min_e8", notional_min_e8),
    ):
        records[name] = value
    records["bracket_count"] = len(brackets)
    for i, (cap, leverage, mmr, cum) in enumerate(brackets):
        records["bracket_cap_e8"][:, i] = cap
        records["bracket_leverage"][:, i] = leverage
        records["bracket_mmr_ppm"][:, i] = mmr
        records["bracket_cum_e8"][:, i] = cum
    return records


def account_record(cash=10_000, **fields):
    """[1] account with this much money (quote units); limits are off unless given."""
    record = zeros(1, account_dt)
    for name in (
        "initial_e8",
        "cash_e8",
        "equity_e8",
        "equity_peak_e8",
        "equity_floor_e8",
        "worst_case_base_e8",
    ):
        record[name] = cash * MONEY
    record["trading_enabled"] = 1
    record["liquidation_share_ppm"] = 800_000
    for name, value in fields.items():
        record[name] = value
    return record


def sleeve_records(count=1, *, positions_max=100, cooldown_ms=0, cooldown_manual_ms=0, families=None):
    """[count] sleeves, all of one family unless families are given."""
    records = zeros(count, sleeve_dt)
    records["positions_max"] = positions_max
    records["cooldown_ms"] = cooldown_ms
    records["cooldown_manual_ms"] = cooldown_manual_ms
    if families is not None:
        records["family"] = families
    return records


def guard_record(*, timed=(), **fields):
    """[1] guard; timed: (within_ms, level) pairs. Everything not given is off."""
    record = zeros(1, guard_dt)
    for name, value in fields.items():
        record[name] = value
    for i, (within, level) in enumerate(timed):
        record["timed_within_ms"][0, i] = within
        record["timed_level"][0, i] = level
    return record


def script_params(*, notional_e8=10 * MONEY, leverage=5, stop_ppm=40_000, timeout_ms=0):
    """[1] params of an Actor that follows its plan."""
    return actor_params(
        SCRIPT, notional_e8=notional_e8, leverage=leverage, stop_ppm=stop_ppm, timeout_ms=timeout_ms
    )


def bars_of(*tables, start_ms=START_MS):
    """[T, N] bars from one text table per symbol."""
    columns = [[line.split() for line in dedent(table).strip().splitlines()] for table in tables]
    bars = zeros((max(map(len, columns)), len(columns)), bar_dt)
    bars["open_ms"] = ABSENT_MS
    for s, rows in enumerate(columns):
        for t, row in enumerate(rows):
            if row[0] == "-":
                continue
            open_, high, low, close = (int(field) for field in row[:4])
            assert low <= min(open_, close) <= max(open_, close) <= high, f"row {t}: {row}"
            volume = int(row[4]) if len(row) > 4 else 1_000_000
            bars[t, s] = (start_ms + t * MINUTE_MS, open_, high, low, close, volume)
    return bars


def slot_name(k):
    """entry, stop, exit, trail, then a, b, c …"""
    return ("entry", "stop", "exit", "trail")[k] if k < SLOT_OWN else chr(ord("a") + k - SLOT_OWN)


def place(slot, row, last):
    """Put the order of one table row into a slot."""
    words = row.split()
    side = BUY if words[1] == "BUY" else SELL
    lots = int(words[2])
    if words[0] == "MARKET":
        put_market(slot, side, lots, int("reduce" in words), 0)
    elif words[0] == "LIMIT":
        put_limit(slot, side, int(words[4]), lots, int("reduce" in words), 0, last)
    elif words[0] == "TRAILING":
        callback_ppm = round(float(words[words.index("back") + 1].rstrip("%")) * 10_000)
        activation = int(words[words.index("arm") + 1]) if "arm" in words else 0
        put_trailing(slot, side, lots, activation, callback_ppm, 0)
    else:
        put_trigger(slot, {"STOP": STOP, "TAKE_PROFIT": TAKE_PROFIT}[words[0]], side, int(words[4]), lots, 0)


@dataclass
class Desk:
    """A run of one strategy over N symbols, ready to be fed."""

    replay: Replay
    at_ms: int = START_MS

    @property
    def books(self):
        return self.replay.books

    @property
    def account(self):
        return self.books.account[0]

    def position(self, s=0):
        return self.books.positions[0, s]

    def slot(self, k, s=0):
        return self.books.slots[0, s, k]

    def head(self, s=0):
        return self.books.heads[0, s]

    def hold(self, lots, price, *, leverage=5, s=0, ms=START_MS):
        """Start with a position of signed lots, bought or sold at this price without a fee."""
        books = self.books
        books.positions[0, s].leverage = leverage
        self.replay.mind.strategy.compiled().book_fill(
            books.account, books.instruments, books.positions, books.slots, books.heads,
            0, s, SLOT_ENTRY, 1 if lots > 0 else -1, price, abs(lots), 0, 0, ms,
        )  # fmt: skip
        self.refresh(s)

    def want(self, orders, s=0):
        """Put the orders of a table into the own slots."""
        for k, row in enumerate(dedent(orders).strip().splitlines()):
            place(self.books.slots[0, s, SLOT_OWN + k], row, int(self.head(s).last))
        self.refresh(s)

    def refresh(self, s=0):
        """Recompute the band after a change by hand."""
        matching.touch_trailing(self.books.slots[0, s], self.head(s).last)
        matching.band(self.books.slots[0, s], self.head(s))

    def play(self, *tables):
        """Feed the minutes of these tables (one per symbol), going on where the last ones ended."""
        bars = bars_of(*tables, start_ms=self.at_ms)
        self.replay.feed(bars, self.at_ms)
        self.at_ms += len(bars) * MINUTE_MS
        return self

    def rest(self, *prices):
        """One quiet bar (of each symbol) before the first: the strategy and the guard see the start at its step."""
        self.at_ms = START_MS - MINUTE_MS
        return self.play(*(f"{price} {price} {price} {price}" for price in prices))

    def react(self, last, *, in_path=1, s=0):
        """Ask the guard and the strategy at a price, as the walk does."""
        mind, books = self.replay.mind, self.books
        return mind.strategy.compiled().react(
            mind.params, mind.guards, mind.shared, mind.states, books.instruments, books.positions, books.slots,
            books.heads, 0, s, last, self.head(s).step_ms, in_path,
        )  # fmt: skip

    def fills(self):
        """The fills as text rows."""
        return [fill_row(fill) for fill in self.replay.all_fills()]


def fill_row(fill):
    """One fill as a text row."""
    bar, offset = divmod(int(fill.ms) - START_MS, MINUTE_MS)
    seconds = f"{offset / 1000:g}"
    symbol = f" s{fill.symbol}" if fill.symbol else ""
    return (
        f"{bar} +{seconds}s{symbol} {slot_name(fill.slot)} {'BUY' if fill.side == BUY else 'SELL'} "
        f"{fill.lots} @ {fill.price} {'taker' if fill.taker else 'maker'}"
    )


def rows(text):
    """The lines of an expected table."""
    return [" ".join(line.split()) for line in dedent(text).strip().splitlines() if line.strip()]


def desk(
    strategy=ACTOR,
    params=None,
    *,
    symbols=1,
    last=0,
    guard=None,
    instruments=None,
    account=None,
    sleeves=None,
    skip=True,
    funding=None,
    plan=None,
    score=50.0,
    **account_fields,
):
    """A desk; last is the close before the first bar (0: none). plan: what an Actor with a script does, per bar."""
    if params is None:
        params = script_params()
    books = new_books(
        account_record(**account_fields) if account is None else account,
        sleeve_records() if sleeves is None else sleeves,
        instrument_records(symbols) if instruments is None else instruments,
        strategy.slots,
    )
    books.heads["last"] = last
    mind: Mind = new_mind(strategy, params, guard_record() if guard is None else guard, symbols)
    if strategy is ACTOR:
        mind.states["score"] = score
        for t, todo in (plan or {}).items():
            mind.states["plan"][:, t] = todo
    replay = Replay(mind, books, skip=skip)
    if funding is not None:
        replay.funding = funding
    return Desk(replay)


def walk(bars, orders="", *, held=0, at=0, last=0, **options):
    """Fills of the own-slot orders over a candle table of one symbol, with and without skipping alike."""
    answers = []
    for skip in (True, False):
        run = desk(last=last, skip=skip, **options)
        if held:
            run.hold(held, at or last)
        run.want(orders)
        run.play(bars)
        answers.append(run.fills())
    assert answers[0] == answers[1], "skipping changes the fills"
    return answers[0]


def as_bytes(records, *, without=()):
    """The bytes of a record array, some fields blanked."""
    copy = np.array(records)
    for name in without:
        copy[name] = 0
    return copy.tobytes()
