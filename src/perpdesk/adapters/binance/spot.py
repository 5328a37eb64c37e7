"""Spot's half of an account, put together: requests, lists, reads and events, with limits of their own.

Spot and futures count weight and orders apart, so this has a governor beside the futures' one; share one
``SpotGateway`` among all accounts behind an address.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from perpdesk.adapters.binance import spot_endpoints as to
from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.binance.limits import Governor
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.binance.sockets import dial_with
from perpdesk.adapters.binance.spot_events import SpotKnown
from perpdesk.adapters.binance.spot_orders import SpotOrders
from perpdesk.adapters.binance.spot_reads import SpotReads
from perpdesk.adapters.binance.spot_user_stream import SpotUserStream
from perpdesk.adapters.binance.stream_events import Stranger
from perpdesk.ports import Clock

# What Binance allows before exchangeInfo has been read.
WEIGHT, ORDERS_10S, ORDERS_1M = 6_000, 100, 600


class SpotRest(Rest):
    """``Rest`` that asks Spot for the time."""

    time_endpoint = to.TIME


class SpotAccount:
    """One account's ``orders`` and ``reads``. Close it when done."""

    def __init__(self, rest: SpotRest, clock: Clock) -> None:
        self.rest = rest
        self.orders = SpotOrders(rest)
        self.reads = SpotReads(rest)
        self._clock = clock

    def stream(
        self, on_event: Callable[[SpotKnown | Stranger], None], on_gap: Callable[[int], None]
    ) -> SpotUserStream:
        """The account's events; ``run`` it."""
        dial = dial_with(lambda: self.rest.session)
        return SpotUserStream(rest=self.rest, clock=self._clock, dial=dial, on_event=on_event, on_gap=on_gap)

    async def close(self) -> None:
        """Close all connections."""
        await self.rest.close()


class SpotGateway:
    """What all Spot accounts behind one address share: the exchange's time and the governor of its limits."""

    def __init__(self, hosts: Hosts, clock: Clock, tls: ssl.SSLContext | None = None) -> None:
        """hosts: ``hosts.LIVE`` or ``hosts.simulated(url)``; tls: for a simulator's own certificate."""
        self._hosts, self._clock, self._tls = hosts, clock, tls
        self.server = ServerClock(clock)
        self.governor = Governor(clock, self.server)
        self.governor.set_limits(weight=WEIGHT, orders_10s=ORDERS_10S, orders_1m=ORDERS_1M)

    def account(
        self,
        credentials: Credentials | None = None,
        name: str = "",
        lease_end_ms: Callable[[], int] | None = None,
    ) -> SpotAccount:
        """One account (without credentials: public data only)."""
        rest = SpotRest(
            hosts=self._hosts,
            clock=self._clock,
            server=self.server,
            governor=self.governor,
            credentials=credentials,
            account=name,
            lease_end_ms=lease_end_ms,
            tls=self._tls,
        )
        return SpotAccount(rest, self._clock)
