"""What a strategy is: a name, the shapes of its records and two or three compiled functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from perpdesk.kernel.bind import bind
from perpdesk.kernel.records import SLOT_OWN

# For a strategy without cross-sectional state.
no_shared_dt = np.dtype([("unused", "i8")], align=True)


@dataclass(frozen=True)
class Strategy:
    """One strategy: pure data and pure functions, the same in backtest, paper and live.

    advance(params, shared, state, bar) -> bool
        once per closed 1-minute bar; True asks for want at this step.
    want(params, shared, state, position, slots, head, last, now_ms, in_path)
        idempotent; sets head.cand_* (the gate decides), lowers head.next_ms, writes its own slots
        (from SLOT_OWN) or a reduce-only market exit in SLOT_EXIT.
    observe(params, shared, bars)
        once per step before the symbols, with all of the step's bars.

    opens: its own slots open positions, past the gate. It must want no entry while head.entries_on is 0, and
        it is asked again after a funding payment.

    warmup_minutes: how much history the decisions need before they mean anything.
    """

    name: str
    params_dt: np.dtype[Any]
    state_dt: np.dtype[Any]
    advance: Callable[..., Any]
    want: Callable[..., Any]
    observe: Callable[..., Any] | None = None
    shared_dt: np.dtype[Any] = no_shared_dt
    slots: int = SLOT_OWN
    warmup_minutes: int = 0
    opens: bool = False

    def compiled(self) -> ModuleType:
        """The step loop and its doors, compiled for this strategy."""
        return bind(self.name, advance=self.advance, want=self.want, observe=self.observe, opens=self.opens)
