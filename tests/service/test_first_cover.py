"""The first orders of a start: a stop behind every position that has none, from the exchange's word alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.cli.exchanges import Exchange, exchange

from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.folder import MemoryDisk, MemoryFolder
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.config.load import loads
from perpdesk.domain.ownership import LeaseClaim
from perpdesk.domain.secret import Secret
from perpdesk.engine.guardian.disaster import DisasterRule
from perpdesk.engine.ownership import Ownership
from perpdesk.service.first_cover import cover_first

RULE = DisasterRule.of(loads("").config.risk.disaster)


@pytest.fixture
def venue() -> Iterator[Exchange]:
    with exchange(accounts=1) as running:
        yield running


def order(venue: Exchange, **params: Any) -> None:
    venue.do("actor", account=0, action="order", params=params)


async def covered(venue: Exchange) -> list[str]:
    """One start's first orders."""
    clock = SystemClock()
    async with await SqlStore.open("sqlite://") as store:
        claim = LeaseClaim(account_id=1, owner="here/1/1", host="here", pid=1, build_hash="b")
        owner = Ownership(claim=claim, leases=store, folder=MemoryFolder(MemoryDisk()), clock=clock)
        await owner.acquire()
        api_key, secret = venue.key(0)
        keys = Credentials(Secret(api_key), Secret(secret))
        rest = Gateway(simulated(venue.url), clock).rest(keys, "main", owner.lease_end_ms)
        try:
            await rest.sync_time()
            return await cover_first(rest, owner, clock, RULE, 1)
        finally:
            await rest.close()


def stops(venue: Exchange) -> list[tuple[str, int, bool]]:
    return sorted(
        (one["symbol"], one["side"], one["close_position"]) for one in venue.do("exposure")["stops"]
    )


async def test_naked_positions_get_a_stop_and_covered_ones_keep_theirs(venue: Exchange) -> None:
    assert await covered(venue) == []
    order(venue, symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
    order(venue, symbol="ETHUSDT", side="SELL", type="MARKET", quantity="1")
    assert await covered(venue) == ["BTCUSDT", "ETHUSDT"]
    first = stops(venue)
    assert first == [("BTCUSDT", -1, True), ("ETHUSDT", 1, True)]
    assert await covered(venue) == []  # seen to stand: nothing is placed twice
    assert stops(venue) == first


async def test_a_stop_over_a_part_is_no_cover(venue: Exchange) -> None:
    order(venue, symbol="ETHUSDT", side="BUY", type="MARKET", quantity="1")
    part = {"symbol": "ETHUSDT", "side": "SELL", "type": "STOP_MARKET", "reduceOnly": "true"}
    venue.do("actor", account=0, action="stop", params=part | {"quantity": "0.4", "triggerPrice": "2000"})
    assert await covered(venue) == ["ETHUSDT"]
    assert ("ETHUSDT", -1, True) in stops(venue)
    assert ("ETHUSDT", -1, False) in stops(venue)
