"""What the engine tells whoever keeps records. Called in order, awaited before the engine goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from perpdesk.domain.books import FillSource
from perpdesk.ports import NewOrder


@dataclass(frozen=True, slots=True)
class Entry:
    """An approved entry, before its order is sent."""

    sleeve: int
    symbol: int
    position_code: str
    side: int
    lots: int
    price: int
    leverage: int
    score: float
    score_max: float
    stop_ppm: int
    timeout_ms: int
    ms: int


@dataclass(frozen=True, slots=True)
class Booked:
    """A fill as the engine booked it: one fill_dt record, and what it did to the position.

    venue_realised_e8: the exchange's own profit figure of the fill, None where it was not told.
    """

    fill: np.void
    position_code: str
    client_id: str
    trade_id: int
    opened: bool
    closed: bool
    position: np.void
    venue_realised_e8: int | None = None
    source: FillSource = FillSource.STREAM


class Recorder(Protocol):
    """Keeps records of a run."""

    async def entry_approved(self, entry: Entry, order: NewOrder) -> bool:
        """Before the wire. False: the slot is taken in the books of record, do not send."""
        ...

    async def entry_refused(self, sleeve: int, symbol: int, side: int, verdict: int, ms: int) -> None: ...

    async def entry_dead(self, position_code: str, client_id: str | None, ms: int) -> None:
        """An entry is over without a fill; client_id: its order, None if none was ever sent."""
        ...

    async def plan_approved(self, entry: Entry, plan: Mapping[str, int]) -> bool:
        """Before any order of an entry in batches. False: the slot is taken in the books of record."""
        ...

    async def batch_approved(self, position_code: str, order: NewOrder, ms: int) -> None:
        """Before the wire, for one batch of an approved plan."""
        ...

    async def batch_dead(self, client_id: str, ms: int) -> None:
        """A batch's order is gone without a fill; its plan may go on."""
        ...

    def plan_went_on(self, position_code: str, plan: Mapping[str, int], ms: int) -> None:
        """A batch was booked."""
        ...

    def plan_over(self, position_code: str, ms: int) -> None:
        """Nothing more is bought for this position: it is open."""
        ...

    async def order_sent(self, order: NewOrder, position_code: str, tag: int, ms: int) -> None: ...

    async def order_gone(self, order: NewOrder, reason: str, ms: int) -> None: ...

    async def booked(self, booked: Booked) -> None: ...

    async def funded(
        self, sleeve: int, symbol: int, position_code: str, rate_e8: int, paid_e8: int, ms: int
    ) -> None: ...

    async def step_over(self, ms: int, account: np.void) -> None:
        """A step is complete; what it wrote becomes visible together."""
        ...

    async def run_over(self, ms: int) -> None:
        """Nothing more will come."""
        ...


class Forgetful:
    """Keeps nothing: for parity runs and tests."""

    async def entry_approved(self, entry: Entry, order: NewOrder) -> bool:
        return True

    async def entry_refused(self, sleeve: int, symbol: int, side: int, verdict: int, ms: int) -> None:
        return None

    async def entry_dead(self, position_code: str, client_id: str | None, ms: int) -> None:
        return None

    async def plan_approved(self, entry: Entry, plan: Mapping[str, int]) -> bool:
        return True

    async def batch_approved(self, position_code: str, order: NewOrder, ms: int) -> None:
        return None

    async def batch_dead(self, client_id: str, ms: int) -> None:
        return None

    def plan_went_on(self, position_code: str, plan: Mapping[str, int], ms: int) -> None:
        return None

    def plan_over(self, position_code: str, ms: int) -> None:
        return None

    async def order_sent(self, order: NewOrder, position_code: str, tag: int, ms: int) -> None:
        return None

    async def order_gone(self, order: NewOrder, reason: str, ms: int) -> None:
        return None

    async def booked(self, booked: Booked) -> None:
        return None

    async def funded(
        self, sleeve: int, symbol: int, position_code: str, rate_e8: int, paid_e8: int, ms: int
    ) -> None:
        return None

    async def step_over(self, ms: int, account: np.void) -> None:
        return None

    async def run_over(self, ms: int) -> None:
        return None
