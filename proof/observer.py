"""Looks at the exchange ten times a second, not at anybody's books: who stands without a stop, how large."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from proof.rig import Exchange

EVERY_S = 0.1


@dataclass
class Stretch:
    """A position without a stop over all of its lots. died: a process died or was not there meanwhile."""

    symbol: str
    began: float
    died: bool
    ended: float = 0.0

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def naked_lots(position: dict[str, Any], stops: list[dict[str, Any]]) -> int:
    """Lots behind which no stop stands."""
    lots = int(position["lots"])
    side = -1 if lots > 0 else 1
    mine = [
        one
        for one in stops
        if one["symbol"] == position["symbol"]
        and one["side"] == side
        and one["type"] == "STOP_MARKET"
        and one["reduces"]
    ]
    if any(one["close_position"] for one in mine):
        return 0
    return max(0, abs(lots) - sum(int(one["lots"]) for one in mine))


@dataclass
class Observer:
    """``alive``: does a desk run and trade now? notional_max: of one position, in USDT."""

    exchange: Exchange
    notional_max: Decimal
    alive: bool = False
    looks: int = 0
    stretches: list[Stretch] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    largest: Decimal = Decimal(0)
    problems: list[str] = field(default_factory=list)
    _open: dict[str, Stretch] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(30)
        now = time.monotonic()
        for stretch in self._open.values():
            stretch.ended = now
            self.stretches.append(stretch)

    def _run(self) -> None:
        while not self._over.wait(EVERY_S):
            try:
                self._look(self.exchange.do("exposure"))
            except OSError as error:
                self.problems.append(str(error))

    def _look(self, seen: dict[str, Any]) -> None:
        now = time.monotonic()
        self.looks += 1
        naked = set()
        for position in seen["positions"]:
            symbol = position["symbol"]
            notional = abs(Decimal(position["qty"])) * Decimal(position["mark"])
            self.largest = max(self.largest, notional)
            if notional > self.notional_max:
                self.doubled.append(f"{symbol} {position['qty']} at {position['mark']}")
            if naked_lots(position, seen["stops"]):
                naked.add(symbol)
                stretch = self._open.setdefault(symbol, Stretch(symbol, now, not self.alive))
                stretch.died |= not self.alive
        for symbol in set(self._open) - naked:
            stretch = self._open.pop(symbol)
            stretch.ended = now
            self.stretches.append(stretch)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """p50, p99, max, in seconds; how many."""
    ordered = sorted(seconds)

    def rank(share: float) -> float:
        return round(ordered[min(len(ordered), max(1, -int(-share * len(ordered) // 1))) - 1], 2)

    if not ordered:
        return {"count": 0, "p50": 0.0, "p99": 0.0, "max": 0.0}
    return {"count": len(ordered), "p50": rank(0.5), "p99": rank(0.99), "max": round(ordered[-1], 2)}
