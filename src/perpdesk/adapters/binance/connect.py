"""Putting the parts of one account together: what the composition root calls."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from perpdesk.adapters.binance.account import SWEEP_MS, PlaceOf
from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.binance.limits import Governor
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.binance.venue import BinanceVenue
from perpdesk.market.universe import Universe
from perpdesk.ports import Clock


class Gateway:
    """What all accounts behind one IP share: the exchange's time and the governor of its limits."""

    def __init__(self, hosts: Hosts, clock: Clock, tls: ssl.SSLContext | None = None) -> None:
        """hosts: ``hosts.LIVE`` or ``hosts.simulated(url)``; tls: for a simulator's own certificate."""
        self.hosts, self._clock, self._tls = hosts, clock, tls
        self.server = ServerClock(clock)
        self.governor = Governor(clock, self.server)

    def rest(
        self,
        credentials: Credentials | None = None,
        account: str = "",
        lease_end_ms: Callable[[], int] | None = None,
    ) -> Rest:
        """Requests of one account, or of nobody (public data). The caller closes it."""
        return Rest(
            hosts=self.hosts,
            clock=self._clock,
            server=self.server,
            governor=self.governor,
            credentials=credentials,
            account=account,
            lease_end_ms=lease_end_ms,
            tls=self._tls,
        )

    def venue(
        self,
        universe: Universe,
        credentials: Credentials,
        account: str,
        *,
        place_of: PlaceOf = lambda _: None,
        lease_end_ms: Callable[[], int] | None = None,
        with_market: bool = True,
        sweep_ms: int = SWEEP_MS,
        over_socket: bool = False,
        patience_ms: int = 0,
    ) -> BinanceVenue:
        """A venue of one account. ``await start()`` it; closing it closes its connections."""
        return BinanceVenue(
            universe=universe,
            rest=self.rest(credentials, account, lease_end_ms),
            clock=self._clock,
            with_market=with_market,
            place_of=place_of,
            sweep_ms=sweep_ms,
            over_socket=over_socket,
            patience_ms=patience_ms,
        )
