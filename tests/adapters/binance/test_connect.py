"""Two accounts behind one gateway share its limits and nothing else."""

from __future__ import annotations

from tests.contract.venue_suite import order

from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.clocks import SystemClock
from perpdesk.exchange.server import ServeOptions, serve
from perpdesk.kernel.records import BUY, MARKET
from perpdesk.market.instruments import bundled
from perpdesk.market.universe import Universe
from perpdesk.ports import Outcome


async def test_two_accounts_share_the_ip_and_nothing_else() -> None:
    clock = SystemClock()
    instrument = bundled()["BTCUSDT"]
    universe = Universe(("BTCUSDT",), (instrument,), (1,), (instrument.lot_step,), (10**7,))
    async with serve(ServeOptions(clock=clock)) as server:
        gateway = Gateway(simulated(server.rest_url), clock)
        venues = [
            gateway.venue(universe, Credentials(keys.api_key, keys.secret), f"a{i}", with_market=False)
            for i, keys in enumerate(server.accounts)
        ]
        for venue in venues:
            await venue.start()
        assert (await venues[0].place(order("entry", MARKET, BUY))).outcome is Outcome.ACCEPTED
        first, second = [await venue.positions() for venue in venues]
        assert [position.lots for position in first] == [10]
        assert second == []
        ours = gateway.governor.used_fraction() * 2_400
        assert ours >= server.limits.used("127.0.0.1", server.now_ms())  # what is under way is counted ahead
        for venue in venues:
            await venue.close()
