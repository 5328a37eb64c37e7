"""From single bars to complete steps: a barrier with a deadline.

Live data bring the bars of one minute one by one and in any order; a step needs them together and in
universe order. A minute is complete when every symbol has reported, or when its deadline has passed;
what comes later is refused, because the step that it belonged to has been decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS, bar_dt, zeros
from perpdesk.ports import StepClosed


@dataclass
class StepBarrier:
    """Collects the bars of one universe. deadline_ms: how long after its close a minute may wait.

    late counts bars that came after their step; duplicates are bars of a symbol and minute already here.
    """

    symbols: int
    deadline_ms: int = 2_000
    late: int = 0
    duplicates: int = 0
    _waiting: dict[int, np.ndarray] = field(default_factory=dict)
    _closed_to_ms: int = 0

    def offer(self, symbol: int, bar: np.void) -> bool:
        """Take one closed bar; False if it is late or a duplicate. Raises ValueError off the minute."""
        open_ms = int(bar["open_ms"])
        if open_ms % MINUTE_MS:
            raise ValueError(f"a 1-minute bar opens on a whole minute, not at {open_ms}")
        if open_ms < self._closed_to_ms:
            self.late += 1
            return False
        row = self._waiting.get(open_ms)
        if row is None:
            row = self._waiting[open_ms] = np.asarray(zeros(self.symbols, bar_dt))
            row["open_ms"] = ABSENT_MS
        if row["open_ms"][symbol] != ABSENT_MS:
            self.duplicates += 1
            return False
        row[symbol] = bar
        return True

    def due_ms(self) -> int | None:
        """When the oldest waiting minute must be taken even if incomplete; None if nothing waits."""
        return min(self._waiting) + MINUTE_MS + self.deadline_ms if self._waiting else None

    def take(self, now_ms: int) -> StepClosed | None:
        """The oldest minute if it is complete or past its deadline, else None. Call until it says None."""
        if not self._waiting:
            return None
        open_ms = min(self._waiting)
        row = self._waiting[open_ms]
        complete = bool((row["open_ms"] != ABSENT_MS).all())
        if not complete and now_ms < open_ms + MINUTE_MS + self.deadline_ms:
            return None
        del self._waiting[open_ms]
        self._closed_to_ms = open_ms + MINUTE_MS
        return StepClosed(open_ms + MINUTE_MS, row)
