"""One token's prices and rules, read once for all who trade it."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal

from perpdesk.config.volume_tokens import Listing
from perpdesk.engine.volume.venue import Instrument, OtoVenue, Price, Unread

LOG = logging.getLogger(__name__)
SHARED_MS = 500
RULES_MS = 3_600_000


class Market:
    """What everybody sees of a token. None: it could not be read."""

    def __init__(self, venue: OtoVenue, token: Listing) -> None:
        self.venue, self.token = venue, token
        self._price: Price | None = None
        self._instrument: Instrument | None = None
        self._instrument_ms = 0
        self._windows: dict[int, tuple[int, tuple[Decimal, Decimal] | None]] = {}
        self._reading = asyncio.Lock()

    async def price(self, max_age_ms: int = SHARED_MS) -> Price | None:
        """The book ticker, read at most so long ago."""
        async with self._reading:
            known = self._price
            if known is not None and self.venue.now_ms() - known.read_ms <= max_age_ms:
                return known
            try:
                self._price = await self.venue.price(self.token)
            except Unread as error:
                LOG.warning("price of %s: %s", self.token.symbol, error)
                self._price = None
            return self._price

    async def instrument(self) -> Instrument | None:
        """The rules, read anew every hour and after ``forget_rules``."""
        if self._instrument is None or self.venue.now_ms() - self._instrument_ms > RULES_MS:
            try:
                self._instrument = await self.venue.instrument(self.token)
                self._instrument_ms = self.venue.now_ms()
            except Unread as error:
                LOG.warning("rules of %s: %s", self.token.symbol, error)
                self._instrument = None
        return self._instrument

    def forget_rules(self) -> None:
        """A filter refused an order: the rules may have changed."""
        self._instrument = None

    async def window(self, seconds: int) -> tuple[Decimal, Decimal] | None:
        """(lowest, highest) of the last seconds."""
        now_ms = self.venue.now_ms()
        known = self._windows.get(seconds)
        if known is not None and now_ms - known[0] <= SHARED_MS:
            return known[1]
        try:
            found = await self.venue.window(self.token, seconds)
        except Unread as error:
            LOG.warning("window of %s: %s", self.token.symbol, error)
            found = None
        self._windows[seconds] = (now_ms, found)
        return found
