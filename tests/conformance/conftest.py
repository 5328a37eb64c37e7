"""One fresh exchange per test; its clock stands still until the test moves it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.conformance.wire import Wire, running


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """Account 0 of a server with BTC at 50000, ETH at 2500, SOL at 150."""
    async with running() as made:
        yield made
