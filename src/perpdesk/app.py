"""The composition root: from a configuration and market files to a running desk. The only file that names
concrete adapters.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from perpdesk.adapters.build import build_hash
from perpdesk.adapters.clocks import SystemClock, VirtualClock
from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.config import grid_records, oi_records, records
from perpdesk.config.load import Loaded
from perpdesk.config.snapshot import Snapshot, snapshot
from perpdesk.domain.books import NewRun, RunMode, StateRow, StrategyVersion
from perpdesk.domain.errors import InputError
from perpdesk.engine.engine import Engine, Switch, always_on
from perpdesk.engine.executor import Executor
from perpdesk.engine.ids import ClientIds, version_codes
from perpdesk.engine.recorder import Forgetful, Recorder
from perpdesk.engine.recording import StoreRecorder, trading_switch
from perpdesk.engine.sleeve import Sleeve
from perpdesk.exchange.inprocess import InProcessVenue
from perpdesk.exchange.recorded import RecordedMinutes
from perpdesk.kernel.coupled import CoupledReplay
from perpdesk.kernel.records import MINUTE_MS, funding_dt, zeros
from perpdesk.kernel.replay import Books, Conductor, Mind, Replay, new_books, new_mind, warm_up
from perpdesk.market.interest import Inbox, InterestRows
from perpdesk.market.tape import Tape
from perpdesk.market.universe import Universe
from perpdesk.ports import StepOver
from perpdesk.research import grid_run
from perpdesk.research.result import RunResult, summarise
from perpdesk.research.scanner import Scanner
from perpdesk.research.seen import regime_of, seen_by
from perpdesk.strategies.score_rules.rating_book import RatingBook

_CHUNK_STEPS = 1440
_PROGRESS_STEPS = 60


@dataclass(frozen=True)
class Market:
    """What a run sees: warm-up bars before from_ms, then the bars of the run, and funding.

    funding_known: False where no funding file was given; the report says so.
    """

    universe: Universe
    warmup: np.ndarray
    warmup_ms: int
    bars: np.ndarray
    from_ms: int
    funding: np.recarray
    funding_known: bool
    notes: tuple[str, ...] = ()
    interest: InterestRows | None = None

    @property
    def to_ms(self) -> int:
        """The close of the last step."""
        return self.from_ms + len(self.bars) * MINUTE_MS

    @property
    def bar_count(self) -> int:
        """Bars that exist in the run."""
        return int((self.bars["open_ms"] >= 0).sum())

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """The run's bars day by day."""
        for at in range(0, len(self.bars), _CHUNK_STEPS):
            yield self.from_ms + at * MINUTE_MS, self.bars[at : at + _CHUNK_STEPS]


def cut(
    tape: Tape, from_ms: int | None, funding: np.recarray, funding_known: bool, notes: Iterable[str]
) -> Market:
    """Split a tape at from_ms into warm-up and run. Raises InputError if nothing is left to run on."""
    start = tape.start_ms if from_ms is None else max(from_ms, tape.start_ms)
    at = -(-(start - tape.start_ms) // MINUTE_MS)
    if at >= len(tape.bars):
        raise InputError(f"no bars at or after {start}: the data end at {tape.end_ms}", field="--from")
    return Market(
        universe=tape.universe,
        warmup=tape.bars[:at],
        warmup_ms=tape.start_ms,
        bars=tape.bars[at:],
        from_ms=tape.start_ms + at * MINUTE_MS,
        funding=funding,
        funding_known=funding_known,
        notes=tuple(notes),
    )


def known_until(tape: Tape, at_ms: int) -> Market:
    """A market of which everything that closed by at_ms is known, and in which nothing runs. Raises
    InputError if that is nothing."""
    steps = min(len(tape.bars), (at_ms - tape.start_ms) // MINUTE_MS)
    if steps <= 0:
        raise InputError(f"no bar had closed by then: the data begin at {tape.start_ms}", field="--at")
    return Market(
        universe=tape.universe,
        warmup=tape.bars[:steps],
        warmup_ms=tape.start_ms,
        bars=tape.bars[:0],
        from_ms=tape.start_ms + steps * MINUTE_MS,
        funding=zeros(0, funding_dt),
        funding_known=False,
    )


def scanner(loaded: Loaded, strategies: Sequence[str], market: Market) -> Scanner:
    """A scanner of these versions that knows the market's warm-up."""
    setup = set_up(loaded, sleeves_of(loaded, strategies), market)
    return Scanner(setup.sleeves, setup.minds, setup.books, market.universe)


def strategy_name(sleeve: records.Sleeve) -> str:
    """What ``--strategy`` calls a sleeve: the versions of score are score_<version>."""
    return sleeve.name if sleeve.name == sleeve.strategy.name else f"score_{sleeve.name}"


def sleeves_of(loaded: Loaded, strategies: Sequence[str]) -> list[records.Sleeve]:
    """The configured sleeves of the named strategies, in the order asked for. Raises InputError."""
    config = loaded.config
    configured = (
        records.sma_cross_sleeve(config),
        *records.score_sleeves(config),
        grid_records.grid_sleeve(config),
        oi_records.oi_sleeve(config),
    )
    available = {strategy_name(sleeve): sleeve for sleeve in configured}
    if not strategies:
        raise InputError(f"name one of {', '.join(sorted(available))}", field="--strategy")
    chosen = []
    for name in strategies:
        if name not in available:
            raise InputError(
                f"unknown strategy {name!r}: choose from {', '.join(sorted(available))}", field="--strategy"
            )
        if available[name] in chosen:
            raise InputError(f"{name} is named twice", field="--strategy")
        chosen.append(available[name])
    if len(chosen) > 1 and any(sleeve.name == grid_records.NAME for sleeve in chosen):
        raise InputError(
            "the grid's levels net with other positions of their symbol: it runs alone", field="--strategy"
        )
    return chosen


@dataclass(frozen=True)
class Setup:
    """Everything a driver needs: fresh books and one mind per sleeve, warmed up."""

    sleeves: list[records.Sleeve]
    books: Books
    minds: list[Mind]
    conductor: Conductor | None = None

    @property
    def versions(self) -> list[str]:
        return [sleeve.name for sleeve in self.sleeves]


def set_up(loaded: Loaded, sleeves: list[records.Sleeve], market: Market) -> Setup:
    """Books and minds for a run on this market, warmed up on the rows before it with the gate shut."""
    sleeves = [records.in_universe(sleeve, market.universe.symbols) for sleeve in sleeves]
    if grid_run.is_grid(sleeves):
        return _set_up_grid(loaded, sleeves[0], market)
    maker_ppm, taker_ppm = records.fees_ppm(loaded.config)
    instruments = market.universe.records(maker_ppm=maker_ppm, taker_ppm=taker_ppm)
    limits = np.concatenate([sleeve.limits for sleeve in sleeves]).view(np.recarray)
    slots = max(sleeve.strategy.slots for sleeve in sleeves)
    books = new_books(records.account_record(loaded.config), limits, instruments, slots)
    minds = [new_mind(one.strategy, one.params, one.guard, len(market.universe)) for one in sleeves]
    inbox = _inbox(sleeves, minds, market)
    if len(market.warmup):
        for v, mind in enumerate(minds):
            warm_up(mind, books, v, market.warmup, market.warmup_ms)
    if inbox is not None:
        inbox.fill(market.from_ms)
    return Setup(sleeves, books, minds, inbox)


def _inbox(sleeves: Sequence[records.Sleeve], minds: Sequence[Mind], market: Market) -> Inbox | None:
    """Who brings the rows of open interest to the strategy that wants them, the warm-up's first."""
    for sleeve, mind in zip(sleeves, minds, strict=True):
        if sleeve.name == oi_records.NAME:
            if market.interest is None:
                raise InputError("oi_breakout needs recorded open interest: name its files", field="--oi")
            inbox = Inbox(market.interest, mind.states)
            inbox.fill(max(market.warmup_ms, market.from_ms - inbox.ahead_ms))
            return inbox
    return None


def _set_up_grid(loaded: Loaded, sleeve: records.Sleeve, market: Market) -> Setup:
    """The same for the grid: costs of its own, and somebody who starts its runs on signals."""
    config, symbols = loaded.config, market.universe.symbols
    maker_ppm, taker_ppm = grid_records.fees_ppm(config)
    instruments = market.universe.records(maker_ppm=maker_ppm, taker_ppm=taker_ppm)
    sleeve = replace(sleeve, params=grid_records.fitted(config, symbols, instruments))
    books = new_books(
        grid_records.account_of(config), sleeve.limits, instruments, grid_run.slots_needed(config, symbols)
    )
    mind = new_mind(sleeve.strategy, sleeve.params, sleeve.guard, len(symbols))
    grid_run.number_states(mind.states)
    if len(market.warmup):
        warm_up(mind, books, 0, market.warmup, market.warmup_ms)
    minutes = np.concatenate([market.warmup, market.bars])
    conductor = grid_run.conductor_of(config, symbols, instruments, minutes, market.from_ms)
    return Setup([sleeve], books, [mind], conductor)


def with_funding(loaded: Loaded, sleeves: Sequence[records.Sleeve], market: Market) -> Market:
    """The market as a grid sees it: where no rates are known, an assumed one is paid every eight hours."""
    if market.funding_known or not grid_run.is_grid(sleeves):
        return market
    rows = grid_run.assumed_funding(loaded.config, len(market.universe), market.from_ms, market.to_ms)
    rate = loaded.config.grid.sim.assumed_funding_fraction_8h
    notes = tuple(note for note in market.notes if not note.startswith("funding:"))
    note = f"funding: no rates given, {rate} is assumed to be paid every eight hours"
    return replace(market, funding=rows, notes=(*notes, note))


def ratings_of(loaded: Loaded, setup: Setup) -> RatingBook | None:
    """The ratings of the score versions in these books, if any are there and ratings are on. A run that does
    not say otherwise begins with every symbol at level 0."""
    rated = [v for v, one in enumerate(setup.sleeves) if int(one.limits.family[0]) == records.FAMILY_SCORE]
    if not rated or not loaded.config.score.rating.enabled:
        return None
    setup.books.account.stops_at_close = 1
    rules = records.rating_rules(loaded.config)
    return RatingBook(setup.books.heads, setup.books.positions, rated, rules)


def frozen(loaded: Loaded) -> Snapshot:
    """The parameters under which everything of this run is decided."""
    return snapshot(loaded.config)


def backtest(
    loaded: Loaded,
    strategies: Sequence[str],
    market: Market,
    *,
    skip: bool = True,
    progress: Callable[[int], None] = lambda steps: None,
) -> tuple[RunResult, Setup, np.recarray]:
    """Run one strategy through the compiled loop, or several together on one account through the coupled
    replay (which knows no ``skip``). Returns the result, the final books and the fills."""
    sleeves = sleeves_of(loaded, strategies)
    market = with_funding(loaded, sleeves, market)
    setup = set_up(loaded, sleeves, market)
    replay: Replay | CoupledReplay
    if len(setup.minds) == 1:
        replay = Replay(
            setup.minds[0], setup.books, skip=skip, funding=market.funding, conductor=setup.conductor
        )
    else:
        replay = CoupledReplay(setup.minds, setup.books, funding=market.funding)
    seconds = 0.0
    step = (
        len(market.bars)
        if len(market.bars) <= 8 * _CHUNK_STEPS
        else max(_CHUNK_STEPS, len(market.bars) // 50)
    )
    book = ratings_of(loaded, setup)
    if book is not None:
        replay.after_step = book.after_step
    replay.compile()  # outside the clock
    for at in range(0, len(market.bars), step):
        began = time.perf_counter()
        replay.feed(market.bars[at : at + step], market.from_ms + at * MINUTE_MS)
        seconds += time.perf_counter() - began
        progress(min(at + step, len(market.bars)))
    fills = replay.all_fills()
    return _result("backtest", loaded, setup, market, fills, seconds), setup, fills


@dataclass
class Desk:
    """An engine on the in-process venue, ready to run."""

    loaded: Loaded
    market: Market
    setup: Setup
    minutes: RecordedMinutes
    venue: InProcessVenue
    engine: Engine
    seconds: float = 0.0
    on_step: Callable[[int], None] = lambda steps: None
    each_minute: Callable[[Desk, int], Awaitable[None]] | None = None
    stopped_at_ms: int | None = None

    def stop_soon(self) -> None:
        """Wind down between two minutes."""
        self.minutes.stop.set()

    async def run(self) -> None:
        """Trade until the recorded minutes end, or somebody asks to stop."""
        began = time.perf_counter()
        now_ms = self.market.from_ms
        async for message in self.venue.messages():
            await self.engine.handle(message)
            if isinstance(message, StepOver):
                now_ms = message.now_ms
                self.conduct(now_ms)
                if self.each_minute is not None:
                    await self.each_minute(self, now_ms)
                if self.engine.steps % _PROGRESS_STEPS == 0:
                    self.on_step(self.engine.steps)
                    await asyncio.sleep(0)  # lets signals in
        if self.minutes.stop.is_set():
            self.stopped_at_ms = now_ms
            await self.engine.stop(now_ms)
        await self.engine.recorder.run_over(now_ms)
        self.seconds = time.perf_counter() - began

    def conduct(self, now_ms: int) -> None:
        """Let whoever starts runs look, if it is time."""
        conductor, books = self.setup.conductor, self.setup.books
        if conductor is not None and now_ms >= conductor.due_ms:
            cash_e8 = int(books.account.cash_e8[0])
            conductor.look(now_ms, self.setup.minds[0].states, books.heads[0], cash_e8)

    def result(self, mode: str = "paper") -> RunResult:
        """The figures so far."""
        fills = self.engine.fills()
        bars, stopped = self.engine.bars, self.stopped_at_ms
        return _result(mode, self.loaded, self.setup, self.market, fills, self.seconds, bars, stopped)


def desk(
    loaded: Loaded,
    strategies: Sequence[str],
    market: Market,
    *,
    recorder: Callable[[Setup], Recorder] | None = None,
    switch: Switch = always_on,
    speed: float = 0.0,
    seed: int = 0,
    account_id: int = 1,
    every_point: bool = False,
    venue_taker_ppm: int | None = None,
    prepared: Setup | None = None,
) -> Desk:
    """Put an engine and an in-process venue together over a market.

    speed 0: as fast as possible. venue_taker_ppm charges another fee at the venue than the engine's books
    expect, to show that parity notices. prepared: books and minds made before.
    """
    chosen = sleeves_of(loaded, strategies)
    market = with_funding(loaded, chosen, market)
    setup = set_up(loaded, chosen, market) if prepared is None else prepared
    books, sleeves = setup.books, setup.sleeves
    clock = VirtualClock(market.from_ms)
    instruments = books.instruments.copy()
    if venue_taker_ppm is not None:
        instruments["taker_ppm"] = venue_taker_ppm
    minutes = RecordedMinutes(market.chunks(), clock, SystemClock(), speed)
    venue = InProcessVenue(
        account=books.account,
        instruments=instruments,
        market=minutes,
        funding=market.funding,
        sleeves=len(sleeves),
        slots=books.slots.shape[2],
        last_prices=books.heads["last"].max(axis=0),
        every_point=every_point,
    )
    codes = version_codes(setup.versions)
    members = [
        Sleeve(v, sleeve.name, code, mind)
        for v, (sleeve, code, mind) in enumerate(zip(sleeves, codes, setup.minds, strict=True))
    ]
    told = Forgetful() if recorder is None else recorder(setup)
    executor = Executor(books, members, venue, told, ClientIds(account_id, seed))
    engine = Engine(books, members, executor, told, switch, every_point)
    rating = ratings_of(loaded, setup)
    if rating is not None:
        engine.after_step = rating.after_step
    return Desk(loaded, market, setup, minutes, venue, engine)


def run_desk(one: Desk) -> RunResult:
    """Run a desk to its end in an event loop of its own."""
    asyncio.run(one.run())
    return one.result()


async def paper(
    loaded: Loaded,
    strategies: Sequence[str],
    market: Market,
    *,
    database: str | None = None,
    mode: RunMode = RunMode.PAPER,
    speed: float = 0.0,
    progress: Callable[[int], None] = lambda steps: None,
    each_minute: Callable[[Desk, int], Awaitable[None]] | None = None,
) -> RunResult:
    """Trade on the in-process venue and keep the records in a database (None: keep none).

    each_minute: somebody who looks at the desk and its exchange after every minute.

    A simulated run has a wallet and an account id of its own, and its switch is on from the start.
    SIGTERM and Ctrl-C end it between two steps: unfilled entries are cancelled, positions and their stops
    stay. Raises DatabaseNotMigrated before anything runs.
    """
    if database is None:
        one = desk(loaded, strategies, market, speed=speed)
        one.on_step, one.each_minute = progress, each_minute
        with _stopped_by_signals(one):
            await one.run()
        return one.result(mode.value)
    sleeves = sleeves_of(loaded, strategies)
    if grid_run.is_grid(sleeves):  # its books are levels and runs, not positions with an entry and a stop
        raise InputError(
            "a grid keeps its own records: `perpdesk grid backtest`, then `perpdesk grid run` "
            "with this database; without --database this command runs it and keeps none",
            field="--database",
        )
    prepared = set_up(loaded, sleeves, market)  # what cannot run leaves no trace in the database
    now_ms = SystemClock().now_ms
    async with await SqlStore.open(database) as store:
        kept = frozen(loaded)
        await store.save_params_snapshot(kept.json, now_ms())
        for sleeve in sleeves:
            await store.save_strategy_version(
                StrategyVersion(
                    name=sleeve.name,
                    scorer=sleeve.strategy.name,
                    params=_as_json(sleeve.params),
                    params_hash=kept.params_hash,
                    created_ms=now_ms(),
                )
            )
        run = await store.start_run(
            NewRun(
                mode=mode,
                strategies=[sleeve.name for sleeve in sleeves],
                params_hash=kept.params_hash,
                started_ms=now_ms(),
                build_hash=build_hash(),
            )
        )
        account_id = run.account_id
        await store.set_trading_control(account_id, True, f"run:{mode.value}", now_ms())

        def records_of(setup: Setup) -> Recorder:
            return StoreRecorder(
                store=store,
                universe=market.universe,
                books=setup.books,
                versions=setup.versions,
                account_id=account_id,
                params_hash=kept.params_hash,
                guards=[_as_json(sleeve.guard) for sleeve in sleeves],
                seen=seen_by(setup.sleeves, setup.minds),
                regime=regime_of(setup.sleeves, setup.minds, account_id),
            )

        one = desk(
            loaded, strategies, market, recorder=records_of, switch=trading_switch(store, account_id),
            speed=speed, seed=run.id, account_id=account_id, prepared=prepared,
        )  # fmt: skip
        one.on_step, one.each_minute = progress, each_minute
        try:
            with _stopped_by_signals(one):
                await one.run()
        except Exception as error:
            await store.finish_run(run.id, now_ms(), {"error": f"{type(error).__name__}: {error}"})
            raise
        result = one.result(mode.value)
        await _keep_states(store, one, account_id, kept.params_hash)
        await store.finish_run(run.id, now_ms(), {**result.to_json(), "database_account": account_id})
        return result


@contextmanager
def _stopped_by_signals(one: Desk) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the run between two steps, with its books complete."""
    loop = asyncio.get_running_loop()
    taken = []
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, one.stop_soon)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


async def _keep_states(store: SqlStore, one: Desk, account_id: int, params_hash: str) -> None:
    """What each strategy knew at the end, one row per symbol: for looking into, never to start from."""
    async with store.unit(durable=False) as unit:
        for sleeve, mind in zip(one.setup.sleeves, one.setup.minds, strict=True):
            for s, symbol in enumerate(one.market.universe.symbols):
                await unit.save_state(
                    StateRow(
                        account_id=account_id,
                        strategy=sleeve.name,
                        symbol=symbol,
                        state=mind.states[s : s + 1].tobytes(),
                        params_hash=params_hash,
                        updated_ms=one.market.to_ms,
                    )
                )


def _as_json(record: np.recarray) -> dict[str, object]:
    """A kernel record (shape (1,)) as JSON-ready values by field."""
    return {name: record[name][0].tolist() for name in record.dtype.names or ()}


def _result(
    mode: str,
    loaded: Loaded,
    setup: Setup,
    market: Market,
    fills: np.recarray,
    seconds: float,
    bars: int | None = None,
    to_ms: int | None = None,
) -> RunResult:
    return summarise(
        mode=mode,
        strategies=[strategy_name(sleeve) for sleeve in setup.sleeves],
        versions=setup.versions,
        symbols=market.universe.symbols,
        books=setup.books,
        fills=fills,
        bars=market.bar_count if bars is None else bars,
        seconds=seconds,
        params_hash=frozen(loaded).params_hash,
        funding_known=market.funding_known,
        from_ms=market.from_ms,
        to_ms=market.to_ms if to_ms is None else to_ms,
        notes=market.notes,
    )
