"""How a process of an account is asked to stop, and what it leaves behind."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from perpdesk.domain.errors import PerpdeskError
from perpdesk.domain.units import plain, qty_of
from perpdesk.engine.live.desk import LiveDesk

T = TypeVar("T")


class Stop:
    """Asked for by SIGTERM or Ctrl-C. The second time the process ends at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    @contextmanager
    def on_signals(self, say: Callable[[str], None]) -> Iterator[None]:
        """Take the signals while the block runs."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        taken: list[signal.Signals] = []

        def told() -> None:
            if self.asked.is_set() and task is not None:
                task.cancel()
                return
            say("stopping; once more ends at once")
            self.asked.set()

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, told)
                taken.append(number)
        try:
            yield
        finally:
            for number in taken:
                loop.remove_signal_handler(number)

    async def unless(self, work: Awaitable[T]) -> T | None:
        """The work's result, None if the stop came first (the work is cancelled then)."""
        task, asked = asyncio.ensure_future(work), asyncio.ensure_future(self.asked.wait())
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
            return await task if task.done() else None
        finally:
            for one in (task, asked):
                one.cancel()
            await asyncio.gather(task, asked, return_exceptions=True)


def what_stays(desk: LiveDesk) -> str:
    """One line: the positions that stay on the exchange, with their stops."""
    found = []
    for s, symbol in enumerate(desk.universe.symbols):
        lots = desk.protection.net_lots(s)
        if lots:
            side = "LONG" if lots > 0 else "SHORT"
            found.append(f"{symbol} {side} {plain(qty_of(abs(lots), desk.universe.lot_step[s]))}")
    if not found:
        return "stopped: nothing stays open"
    many = "position stays" if len(found) == 1 else "positions stay"
    return f"stopped: {len(found)} {many} open with exchange stops: {', '.join(found)}"


async def is_flat(desk: LiveDesk) -> bool:
    """Flat in our books and in what the exchange shows; what could not be read is not flat."""
    if any(desk.protection.net_lots(s) for s in range(len(desk.universe))):
        return False
    with suppress(PerpdeskError):
        return not any(leg.lots for leg in await desk.venue.legs() if leg.symbol >= 0)
    return False
