"""The client over the simulated exchange's server keeps the contract of venues."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.contract.binance_desk import BinanceDesk, binance_desk
from tests.contract.venue_suite import VenueSuite


class TestBinanceVenue(VenueSuite):
    @pytest.fixture
    async def desk(self) -> AsyncIterator[BinanceDesk]:
        async with binance_desk() as desk:
            yield desk
