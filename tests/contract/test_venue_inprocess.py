"""The in-process venue keeps the contract of venues."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest
from tests.contract.venue_suite import MAKER_PPM, START, TAKER_PPM, UNIT_E8, VenueSuite

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.exchange.inprocess import InProcessVenue
from perpdesk.exchange.recorded import RecordedMinutes
from perpdesk.kernel.records import CROSS, MINUTE_MS, account_dt, bar_dt, funding_dt, instrument_dt, zeros
from perpdesk.ports import Message, PriceReached, StepClosed, StepOver

FIRST_MS = 1_763_640_000_000


class InProcessDesk:
    """Makes a minute whenever the price is to move."""

    def __init__(self) -> None:
        self._prices: deque[int] = deque()
        self._last = START
        self._ms = FIRST_MS
        account = zeros(1, account_dt)
        account["initial_e8"] = account["cash_e8"] = 10_000 * 10**8
        account["margin_mode"] = CROSS
        instruments = zeros(1, instrument_dt)
        record = instruments[0]
        record.tick, record.unit_e8 = 1, UNIT_E8
        record.lots_min, record.lots_max, record.market_lots_max = 1, 1_000_000, 120_000
        record.maker_ppm, record.taker_ppm = MAKER_PPM, TAKER_PPM
        record.bracket_count = 1
        record.bracket_cap_e8[0], record.bracket_leverage[0] = 10**18, 20
        record.bracket_mmr_ppm[0] = 25_000
        clock = VirtualClock(FIRST_MS)
        self.venue = InProcessVenue(
            account=account,
            instruments=instruments,
            market=RecordedMinutes(self._minutes(), clock, clock),
            funding=zeros(0, funding_dt),
            sleeves=1,
            slots=16,
            last_prices=np.array([START]),
        )
        self._messages = self.venue.messages()

    def _minutes(self) -> Iterator[tuple[int, np.ndarray]]:
        while True:
            price = self._prices.popleft()
            bars = zeros((1, 1), bar_dt)
            low, high = min(self._last, price), max(self._last, price)
            bars[0, 0] = (self._ms, self._last, high, low, price, 1_000_000)
            first_ms, self._last = self._ms, price
            self._ms += MINUTE_MS
            yield first_ms, bars

    async def move(self, *prices: int) -> list[Message]:
        told: list[Message] = []
        for price in prices:
            self._prices.append(price)
            async for message in self._messages:
                if isinstance(message, StepOver):
                    break
                if not isinstance(message, (PriceReached, StepClosed)):
                    told.append(message)
        return told


class TestInProcessVenue(VenueSuite):
    @pytest.fixture
    def desk(self) -> InProcessDesk:
        return InProcessDesk()
