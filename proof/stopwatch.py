"""Stopwatches on a live desk's two times that matter, to the microsecond, without a change in it.

signal to wire: from the closed minute's arrival at the engine to the write of an entry's bytes. Between them
are the step, the gate, the intent in the database (durable) and what an entry needs before it (leverage).
fill to stop: from the entry's first fill arriving at the engine to the exchange's answer to its stop.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from perpdesk.adapters.binance.wire import Connection
from perpdesk.engine.live_engine import LiveEngine
from perpdesk.kernel.records import SLOT_ENTRY
from perpdesk.ports import StepClosed, Traded

_ORDER, _STOP = b"POST /fapi/v1/order ", b"POST /fapi/v1/algoOrder "


class Stopwatch:
    """``signal_us``, ``stop_us``: what was measured. told: called after each measurement. now_ns: what it
    looks at; ``time.process_time_ns`` measures work, whatever else the machine does."""

    def __init__(
        self, told: Callable[[], None] = lambda: None, now_ns: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self._now_ns = now_ns
        self.signal_us: list[int] = []
        self.stop_us: list[int] = []
        self._told = told
        self._step_ns = 0
        self._filled_ns: dict[str, int] = {}
        self._undo: list[Callable[[], None]] = []

    def start(self) -> None:
        """Watch the one desk of this process."""
        handle, ask, of = LiveEngine.handle, Connection.ask, self

        async def handled(engine: LiveEngine, message: Any) -> None:
            now_ns = of._now_ns()
            if isinstance(message, StepClosed):
                of._step_ns = now_ns
            elif isinstance(message, Traded) and message.sleeve >= 0 and message.slot == SLOT_ENTRY:
                name = engine.outside._universe.symbols[message.symbol]  # type: ignore[attr-defined]
                if engine.books.positions[message.sleeve, message.symbol].lots == 0:
                    of._filled_ns[name] = now_ns  # the first fill of the entry
            await handle(engine, message)

        def asked(connection: Connection, request: bytes) -> asyncio.Future[Any]:
            began_ns = of._now_ns()
            answer = ask(connection, request)
            if not request.startswith((_ORDER, _STOP)):
                return answer
            said = parse_qs(request.partition(b"\r\n\r\n")[2].decode())
            if request.startswith(_ORDER) and "reduceOnly" not in said and of._step_ns:
                of._note(of.signal_us, of._step_ns, began_ns)
            elif said.get("type") == ["STOP_MARKET"] and "closePosition" not in said:
                answer.add_done_callback(lambda done: of._answered(said["symbol"][0], done))
            return answer

        LiveEngine.handle = handled  # type: ignore[method-assign]
        Connection.ask = asked  # type: ignore[method-assign]
        self._undo = [
            lambda: setattr(LiveEngine, "handle", handle),
            lambda: setattr(Connection, "ask", ask),
        ]

    def _answered(self, symbol: str, answer: asyncio.Future[Any]) -> None:
        if answer.cancelled() or answer.exception() is not None or answer.result().status != 200:
            return
        began_ns = self._filled_ns.pop(symbol, None)
        if began_ns is not None:
            self._note(self.stop_us, began_ns, self._now_ns())

    def stop(self) -> None:
        """Take the watches off."""
        for undo in self._undo:
            undo()

    def _note(self, into: list[int], began_ns: int, now_ns: int) -> None:
        into.append((now_ns - began_ns) // 1_000)
        self._told()


def watch_into(path: Path) -> None:
    """Watch this process's desk and keep what was measured in a file."""
    watch = Stopwatch(lambda: path.write_text(json.dumps({"signal": watch.signal_us, "stop": watch.stop_us})))
    watch.start()


def quantiles_ms(microseconds: list[int]) -> dict[str, float]:
    """count, and p50, p99, max in milliseconds (nearest rank)."""
    ordered = sorted(microseconds)
    if not ordered:
        return {"count": 0, "p50": 0.0, "p99": 0.0, "max": 0.0}

    def rank(share: float) -> float:
        at = min(len(ordered), max(1, -int(-share * len(ordered) // 1)))
        return round(ordered[at - 1] / 1000, 2)

    return {"count": len(ordered), "p50": rank(0.5), "p99": rank(0.99), "max": round(ordered[-1] / 1000, 2)}
