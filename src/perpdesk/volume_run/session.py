"""One run of the command: open the books and the venue, start, wait, stop when asked, tell how it ended.

A run is asked to stop by a signal, or by lines in a file beside its SQLite database (``volume stop``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perpdesk.adapters.binance.hosts import LIVE, simulated
from perpdesk.adapters.clocks import SystemClock, VirtualClock
from perpdesk.adapters.folder import DiskFolder
from perpdesk.adapters.sqlstore import SqlStore, urls
from perpdesk.adapters.vault import Vault
from perpdesk.config.volume import VolumeConfigs
from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine.volume.desk import Desk
from perpdesk.engine.volume.ladder import Ladder
from perpdesk.engine.volume.status import Document
from perpdesk.engine.volume.user import UserRun
from perpdesk.volume_run.sim import SimulatedMarket, drive, real_pause
from perpdesk.volume_run.spot import SpotVenue
from perpdesk.volume_run.spot_keys import VaultKeys
from perpdesk.volume_run.start import sim_desk, spot_desk

_POLL_MS, _STEP_MS = 200, 20


@dataclass(frozen=True)
class SessionOptions:
    """What a run is given. asks: installs the signals' requests (0 reload, 1 stop, 2 flatten, 3 leave).

    is_live: real venues; exchange_url: a simulated exchange instead; neither: the built-in market.
    """

    configs: VolumeConfigs
    strategies: list[str]
    database: str
    exchange_url: str | None
    is_live: bool
    speed: float
    seed: int
    owner: str
    on_change: Callable[[UserRun], None]
    say: Callable[[str], None]
    asks: Callable[[Callable[[int], None]], Callable[[], None]]
    vault: Path
    folder: DiskFolder


def stop_file(database: str) -> Path | None:
    """Where a run on this database is asked things; None: it is no file."""
    parsed = urls.parse(database)
    if urls.is_memory(parsed) or not parsed.drivername.startswith("sqlite"):
        return None
    return Path(f"{parsed.database}.volume-asks")


async def run_session(options: SessionOptions) -> list[Document]:
    """Run the strategies until they have ended. Returns their status."""
    async with await SqlStore.open(options.database) as books, _desk(options, books) as (desk, work):
        session = _Session(options, desk)
        remove = options.asks(session.ask)
        listening = asyncio.ensure_future(session.listen())
        try:
            await session.start()
            await work(session.is_over)
        finally:
            remove()
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
        await desk.ledger.write()
        return [await desk.get_strategy_status(name) for name in options.strategies]


Work = Callable[[Callable[[], bool]], "asyncio.Future[None]"]


@asynccontextmanager
async def _desk(options: SessionOptions, books: SqlStore) -> AsyncIterator[tuple[Desk, Work]]:
    ladder = Ladder(options.folder)
    if options.exchange_url is not None or options.is_live:
        hosts = LIVE if options.exchange_url is None else simulated(options.exchange_url)
        venue = SpotVenue(hosts, SystemClock(), VaultKeys(Vault(options.vault), hosts))
        desk = spot_desk(
            venue,
            options.configs,
            books,
            owner=options.owner,
            on_change=options.on_change,
            state_of=ladder.state_of,
        )
        try:
            await venue.open()
            desk.open()
            yield desk, lambda over: asyncio.ensure_future(_wait(over))
        finally:
            await desk.close()
            await venue.close()
        return
    market = SimulatedMarket(VirtualClock(SystemClock().now_ms()), seed=options.seed)
    desk = sim_desk(
        market,
        options.configs,
        books,
        owner=options.owner,
        on_change=options.on_change,
        state_of=ladder.state_of,
    )
    desk.open()
    try:
        yield desk, lambda over: asyncio.ensure_future(drive(market, desk, over, speed=options.speed))
    finally:
        await desk.close()


async def _wait(over: Callable[[], bool]) -> None:
    while not over():
        await real_pause(_STEP_MS)


class _Session:
    def __init__(self, options: SessionOptions, desk: Desk) -> None:
        self._options, self._desk = options, desk
        self._leaves = False
        self._path = stop_file(options.database)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start every strategy; one that cannot be started stops no other."""
        failures: list[PerpdeskError] = []
        for name in self._options.strategies:
            try:
                running = await self._desk.start_strategy(name)
            except PerpdeskError as error:
                failures.append(error)
                self._options.say(f"{name} was not started: {error}")
                continue
            for user, text in sorted(running.errors.items()):
                self._options.say(f"{name} user {user} was not started: {text}")
        if len(failures) == len(self._options.strategies):
            raise failures[0]

    def is_over(self) -> bool:
        """Has everything ended?"""
        return self._leaves or not any(one.is_running for one in self._desk.running.values())

    def ask(self, count: int) -> None:
        """0: reload; 1: stop; 2: flatten; 3: leave at once."""
        if count == 0:
            self._reload()
        elif count == 1:
            self._options.say("stopping: no new pair; again flattens, a third time leaves at once")
            self._desk.stop()
        elif count == 2:
            self._options.say("flattening")
            self._desk.flatten()
        else:
            self._leaves = True

    def _reload(self) -> None:
        async def work() -> None:
            try:
                await self._desk.reload()
                self._options.say("configuration read anew")
                self._desk.alarms.clear("VOLUME_CONFIG", "reload")
            except PerpdeskError as error:
                self._options.say(f"nothing was changed: {error}")
                self._desk.alarms.sound("VOLUME_CONFIG", f"nothing was changed: {error}", key="reload")

        self._spawn(work())

    def _resume(self, user: int) -> None:
        async def work() -> None:
            try:
                names = await self._desk.resume_user(user)
            except PerpdeskError as error:
                self._options.say(f"user {user} does not go on: {error}")
                return
            if names:
                self._options.say(f"user {user} goes on with {', '.join(names)}")
                for name in names:
                    if (text := self._desk.running[name].errors.get(user)) is not None:
                        self._options.say(f"{name} user {user} was not started: {text}")

        self._spawn(work())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def listen(self) -> None:
        """Requests from the file."""
        if self._path is None:
            return
        self._path.unlink(missing_ok=True)
        while True:
            await real_pause(_POLL_MS)
            if not self._path.exists():
                continue
            taken = self._path.with_suffix(".taken")
            self._path.replace(taken)
            for line in taken.read_text(encoding="utf-8").splitlines():
                self._heard(line.split())
            taken.unlink()

    def _heard(self, words: list[str]) -> None:
        match words:
            case ["reload"]:
                self._reload()
            case ["resume", user] if user.isdecimal():
                self._resume(int(user))
            case ["stop", strategy, user, *more]:
                for name, one in self._desk.running.items():
                    for number, run in one.runs.items():
                        if strategy in ("*", name) and user in ("*", str(number)):
                            run.flatten() if more else run.stop()
