"""The composition root: from a configuration and market files to a running desk. The only file that names
concrete adapters.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from perpdesk.adapters.clocks import SystemClock, VirtualClock
from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.config import records
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
from perpdesk.kernel.cache import sources_hash
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.kernel.replay import Books, Mind, Replay, new_books, new_mind, warm_up
from perpdesk.market.tape import Tape
from perpdesk.market.universe import Universe
from perpdesk.ports import StepOver
from perpdesk.research.result import RunResult, summarise

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


def strategy_name(sleeve: records.Sleeve) -> str:
    """What ``--strategy`` calls a sleeve: the versions of score are score_<version>."""
    return sleeve.name if sleeve.name == sleeve.strategy.name else f"score_{sleeve.name}"


def sleeves_of(loaded: Loaded, strategies: Sequence[str]) -> list[records.Sleeve]:
    """The configured sleeves of the named strategies, in the order asked for. Raises InputError."""
    config = loaded.config
    configured = (records.sma_cross_sleeve(config), *records.score_sleeves(config))
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
    return chosen


@dataclass(frozen=True)
class Setup:
    """Everything a driver needs: fresh books and one mind per sleeve, warmed up."""

    sleeves: list[records.Sleeve]
    books: Books
    minds: list[Mind]

    @property
    def versions(self) -> list[str]:
        return [sleeve.name for sleeve in self.sleeves]


def set_up(loaded: Loaded, sleeves: list[records.Sleeve], market: Market) -> Setup:
    """Books and minds for a run on this market, warmed up on the rows before it with the gate shut."""
    sleeves = [records.in_universe(sleeve, market.universe.symbols) for sleeve in sleeves]
    maker_ppm, taker_ppm = records.fees_ppm(loaded.config)
    instruments = market.universe.records(maker_ppm=maker_ppm, taker_ppm=taker_ppm)
    limits = np.concatenate([sleeve.limits for sleeve in sleeves]).view(np.recarray)
    slots = max(sleeve.strategy.slots for sleeve in sleeves)
    books = new_books(records.account_record(loaded.config), limits, instruments, slots)
    minds = [new_mind(one.strategy, one.params, one.guard, len(market.universe)) for one in sleeves]
    if len(market.warmup):
        for v, mind in enumerate(minds):
            warm_up(mind, books, v, market.warmup, market.warmup_ms)
    return Setup(sleeves, books, minds)


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
    """Run one strategy through the compiled loop. Returns the result, the final books and the fills."""
    sleeves = sleeves_of(loaded, strategies)
    if len(sleeves) != 1:
        raise InputError(
            "a backtest runs one strategy: name one, or use paper for several", field="--strategy"
        )
    setup = set_up(loaded, sleeves, market)
    replay = Replay(setup.minds[0], setup.books, skip=skip, funding=market.funding)
    seconds = 0.0
    step = (
        len(market.bars)
        if len(market.bars) <= 8 * _CHUNK_STEPS
        else max(_CHUNK_STEPS, len(market.bars) // 50)
    )
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
                if self.engine.steps % _PROGRESS_STEPS == 0:
                    self.on_step(self.engine.steps)
                    await asyncio.sleep(0)  # lets signals in
        if self.minutes.stop.is_set():
            self.stopped_at_ms = now_ms
            await self.engine.stop(now_ms)
        await self.engine.recorder.run_over(now_ms)
        self.seconds = time.perf_counter() - began

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
    setup = set_up(loaded, sleeves_of(loaded, strategies), market) if prepared is None else prepared
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
) -> RunResult:
    """Trade on the in-process venue and keep the records in a database (None: keep none).

    A simulated run has a wallet and an account id of its own, and its switch is on from the start.
    SIGTERM and Ctrl-C end it between two steps: unfilled entries are cancelled, positions and their stops
    stay. Raises DatabaseNotMigrated before anything runs.
    """
    if database is None:
        one = desk(loaded, strategies, market, speed=speed)
        one.on_step = progress
        with _stopped_by_signals(one):
            await one.run()
        return one.result(mode.value)
    sleeves = sleeves_of(loaded, strategies)
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
                build_hash=sources_hash(),
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
            )

        one = desk(
            loaded, strategies, market, recorder=records_of, switch=trading_switch(store, account_id),
            speed=speed, seed=run.id, account_id=account_id, prepared=prepared,
        )  # fmt: skip
        one.on_step = progress
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
