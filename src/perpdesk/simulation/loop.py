"""A seeded event loop in virtual time.

Time jumps to the next timer when nothing is ready; what is ready runs in an order that the seed chooses.
Every callback belongs to an incarnation (one life of a process), known by the context in which it was
scheduled. An incarnation that dies never runs again: its callbacks are kept and not called, so that no
``finally`` of it has an effect. Tasks and futures hash by number, because sets of them are walked and an
address is chance.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import logging
import random
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

Result = TypeVar("Result")
_US = 1_000_000
_CLOSES_MAX = 50


class Deadlock(Exception):
    """Nothing is ready and no timer runs, but the work is not done."""


class Stuck(Exception):
    """Time has not moved for too many steps: something spins."""


@dataclass(eq=False)
class Incarnation:
    """One life of a process. ``crash_at``: the task step before which it dies (None: never by itself)."""

    name: str
    number: int
    crash_at: int | None = None
    steps: int = 0
    is_dead: bool = False
    born_us: int = 0
    died_us: int = 0
    frozen_until_us: int = 0
    last_step: str = ""
    on_death: list[Callable[[], None]] = field(default_factory=list)

    def __hash__(self) -> int:
        return self.number


# Whose code runs now. None: the world (exchange, market, people, the observer).
OWNER: contextvars.ContextVar[Incarnation | None] = contextvars.ContextVar("incarnation", default=None)


class NumberedFuture(asyncio.Future[Any]):
    """A future with a number instead of an address."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class NumberedTask(asyncio.Task[Any]):
    """A task with a number instead of an address. owner: whose it is, None for the world's."""

    number = 0
    owner: Incarnation | None = None

    def __hash__(self) -> int:
        return self.number


class Loop(asyncio.AbstractEventLoop):
    """Run one simulation with ``run``, then ``bury``.

    start_ms: UTC. world_step: called after each step of the world (the exchange may have changed).
    """

    def __init__(self, seed: int, start_ms: int, *, shuffled: bool = True) -> None:
        self._random = random.Random(f"loop {seed}")
        self._shuffled = shuffled
        self._now_us = self._start_us = start_ms * 1000
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[int, int, asyncio.Handle]] = []
        self._serial = 0
        self._running = False
        self._stopping = False
        self._is_over = False
        self._grave: list[Any] = []
        self._tasks: list[NumberedTask] = []
        self.steps = 0
        self.world_step: Callable[[], None] | None = None
        # before each step of a process: whose, where it waits, which task
        self.life_step: Callable[[Incarnation, str, asyncio.Task[Any]], None] | None = None
        self.problems: list[tuple[str, BaseException | None]] = []
        self.stall_max = 200_000
        self.connect: Callable[[Callable[[], asyncio.Protocol]], Awaitable[Any]] | None = None
        self._stalled_from = 0

    # -- time ----------------------------------------------------------------------------------

    def time(self) -> float:
        """Seconds of virtual time (exact to the microsecond)."""
        return self._now_us / _US

    @property
    def now_ms(self) -> int:
        """UTC milliseconds of the world."""
        return self._now_us // 1000

    @property
    def now_us(self) -> int:
        """UTC microseconds of the world."""
        return self._now_us

    @property
    def elapsed_ms(self) -> int:
        """Since the start."""
        return (self._now_us - self._start_us) // 1000

    async def pause(self, ms: int) -> None:
        """Wait in virtual time (for the world's own tasks)."""
        future = self.create_future()
        timer = self.call_at_us(self._now_us + ms * 1000, wake, future)
        try:
            await future
        finally:
            timer.cancel()

    # -- scheduling ----------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]  # callbacks of any kind
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self._is_over:
            self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # there are no threads here

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at_us(self._now_us + round(delay * _US), callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at_us(round(when * _US), callback, *args, context=context)

    def call_at_us(
        self, when_us: int, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """Call at a time in microseconds."""
        timer = asyncio.TimerHandle(when_us / _US, callback, args, self, context)
        if not self._is_over:
            self._serial += 1
            heapq.heappush(self._timers, (max(when_us, self._now_us), self._serial, timer))
        return timer

    def create_future(self) -> asyncio.Future[Any]:
        self._serial += 1
        future = NumberedFuture.__new__(NumberedFuture)
        future.number = self._serial  # before asyncio hashes it
        future.__init__(loop=self)  # type: ignore[misc]
        return future

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        self._serial += 1
        task = NumberedTask.__new__(NumberedTask)
        task.number = self._serial  # before asyncio hashes it
        task.owner = OWNER.get() if context is None else context.get(OWNER)
        task.__init__(coro, loop=self, name=name or f"task {self._serial}", context=context)  # type: ignore[misc]
        self._tasks.append(task)
        if len(self._tasks) > 4096:
            self._tasks = [one for one in self._tasks if not one.done()]
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Work for a thread is done at once, and its result comes one step later."""
        future = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_soon(work)
        return future

    # -- running -------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run until ``work`` (of the world) is done. Raises Deadlock if it can never be."""
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("a simulation cannot run inside another event loop")
        hooks = sys.get_asyncgen_hooks()
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=self._grave.append, finalizer=None)
        self._running = True
        try:
            task = self.create_task(work, name="the simulation")
            while not task.done():
                self._step()
            return task.result()  # type: ignore[no-any-return]
        finally:
            self._running = False
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def _step(self) -> None:
        ready = self._ready
        if not ready:
            self._advance()
            return
        i = self._random.randrange(len(ready)) if self._shuffled and len(ready) > 1 else 0
        if self._shuffled:
            handle, ready[i] = ready[i], ready[-1]
            ready.pop()
        else:
            handle = ready.pop(0)
        if handle._cancelled:
            return
        owner = handle._context.get(OWNER)  # type: ignore[attr-defined]
        if owner is None:
            self.steps += 1
            handle._run()
            if self.world_step is not None:
                self.world_step()
            return
        if owner.is_dead:
            self._grave.append(handle)
            return
        if owner.frozen_until_us > self._now_us:
            self._serial += 1
            heapq.heappush(self._timers, (owner.frozen_until_us, self._serial, handle))
            return
        task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
        if isinstance(task, asyncio.Task):
            if owner.crash_at is not None and owner.steps >= owner.crash_at:
                owner.last_step = _where(task)
                self._grave.append(handle)
                self.kill(owner)
                return
            owner.steps += 1
            if self.life_step is not None:
                self.life_step(owner, _where(task), task)
        self.steps += 1
        handle._run()

    def _advance(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise Deadlock("nothing is ready and no timer runs:\n" + self.stacks())
        when_us = timers[0][0]
        if when_us > self._now_us:
            self._now_us = when_us
            self._stalled_from = self.steps
        elif self.steps - self._stalled_from > self.stall_max:
            raise Stuck(f"{self.stall_max} steps without time passing:\n{self.stacks()}")
        while timers and timers[0][0] <= when_us:
            handle = heapq.heappop(timers)[2]
            if not handle._cancelled:
                self._ready.append(handle)

    def kill(self, incarnation: Incarnation) -> None:
        """The process is gone, in the middle of whatever it did."""
        if incarnation.is_dead:
            return
        incarnation.is_dead = True
        incarnation.died_us = self._now_us
        for then in incarnation.on_death:
            self.call_soon(then, context=WORLD)

    def freeze(self, incarnation: Incarnation, ms: int) -> None:
        """The process stands still (suspended, starved) and then goes on as if nothing had been."""
        incarnation.frozen_until_us = self._now_us + ms * 1000

    def all_tasks(self) -> list[NumberedTask]:
        """Those that live, and some that are done."""
        return self._tasks

    def stacks(self) -> str:
        """Where every living task waits."""
        return "\n".join(f"{task.get_name()}: {_where(task)}" for task in self._tasks if not task.done())

    def bury(self) -> None:
        """After the run: let go of everything silently. Nothing that is still waiting has an effect."""
        self._is_over = True
        hook, silence = sys.unraisablehook, logging.root.manager.disable
        sys.unraisablehook = lambda _: None
        logging.disable(logging.CRITICAL)
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)  # what a ``finally`` shields must not make a loop of its own
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for task in self._tasks:
                    if not task.done():
                        task._log_destroy_pending = False  # type: ignore[attr-defined]
                        _close(task)
                self._tasks.clear()
                self._ready.clear()
                self._timers.clear()
                self._grave.clear()
                gc.collect()  # what stands in circles ends here too, in silence
        finally:
            asyncio._set_running_loop(outer)
            sys.unraisablehook = hook
            logging.disable(silence)

    # -- what asyncio asks of a loop -----------------------------------------------------------

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        host: Any = None,
        port: Any = None,
        **options: Any,
    ) -> Any:
        """A connection to the one exchange that there is."""
        if self.connect is None:
            raise OSError(101, "no network")
        return await self.connect(protocol_factory)

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._is_over

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        owner = OWNER.get()
        if not self._is_over and not (owner is not None and owner.is_dead):
            self.problems.append((str(context.get("message")), context.get("exception")))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio tells its loop so."""


_FRAMES = ("cr_frame", "gi_frame", "ag_frame")


def wake(future: asyncio.Future[None]) -> None:
    """End a wait."""
    if not future.done():
        future.set_result(None)


def _close(task: asyncio.Task[Any]) -> None:
    """End a coroutine that will never go on; one that waits in its ``finally`` is told again."""
    coroutine: Any = task.get_coro()
    for _ in range(_CLOSES_MAX):
        try:
            coroutine.close()
            return
        except BaseException as error:  # what a dead process would have said concerns nobody
            if "ignored GeneratorExit" not in str(error):
                return


def _where(task: asyncio.Task[Any]) -> str:
    coroutine: Any = task.get_coro()
    places = []
    while coroutine is not None:
        frame = next((f for name in _FRAMES if (f := getattr(coroutine, name, None)) is not None), None)
        if frame is not None:
            places.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return " > ".join(places) or task.get_name()


def alone() -> bool:
    """Is this thread the only one? (A store that started a thread would bring chance back.)"""
    return threading.active_count() == 1


WORLD = contextvars.Context()


def new_loop(seed: int, start_ms: int, *, shuffled: bool = True) -> Loop:
    """A loop. (What of asyncio's interface it lacks, nothing in a simulation asks for.)"""
    return Loop(seed, start_ms, shuffled=shuffled)  # type: ignore[abstract]
