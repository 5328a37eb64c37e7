"""An exchange's Spot order lists as a venue of the runner: the live one, or a simulated one over HTTP.

Weight is what this is careful with: prices are read once for all users of a token, balances come from each
user's stream while it flows, and rules are read once an hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal

from perpdesk.adapters.binance import spot_endpoints as to
from perpdesk.adapters.binance import spot_payloads as p
from perpdesk.adapters.binance.errors import WrongExchange
from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.orders import WAIT_MS
from perpdesk.adapters.binance.rest import RECV_WINDOW_MS
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.binance.spot import SpotGateway
from perpdesk.adapters.binance.spot_orders import STP
from perpdesk.adapters.binance.spot_reads import take_limits
from perpdesk.adapters.binance.spot_rules import SpotRules
from perpdesk.config.volume_tokens import Listing
from perpdesk.domain import units
from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine.volume.venue import Instrument, Price, Unread
from perpdesk.ports import Clock
from perpdesk.strategies.volume_target.modes import VolumeVenue
from perpdesk.strategies.volume_target.prices import Band, TokenRules
from perpdesk.volume_run.spot_user import SpotUser, reading, symbol_of

CHAIN, QUOTE = "SPOT", "USDT"
SYNC_MS = 300_000
# A pair costs about this much weight before it is placed; below it no pair starts.
ROOM_FRACTION = 0.80
BAR_MS = 1_000
# The newest one-second bar may be this old and the window still counts as covered.
BAR_LATE_MS = 3_000
BAND_ALL = (Decimal(0), Decimal(10) ** 12)
CredentialsOf = Callable[[int], tuple[Credentials, bool]]


@dataclass
class SpotVenue:
    """``open`` it before use, ``close`` it after. credentials_of: a user's key, and whether it needs a list
    of addresses; raises Refused or InputError for a user without one."""

    hosts: Hosts
    clock: Clock
    credentials_of: CredentialsOf
    recv_window_ms: int = RECV_WINDOW_MS
    # how long an entry waits for room before it is not sent
    queue_ms: int = WAIT_MS[Lane.ENTRY]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gateway = SpotGateway(self.hosts, self.clock)
        self.public = self.gateway.account(name="public")
        # a rehearsal's tokens are not the real ones, nor those of another simulated exchange
        place = self.hosts.rest.partition("//")[2]
        name = VolumeVenue.BINANCE_SPOT.value
        self.key = name if self.hosts.is_live else f"{name}@{place}"

    async def open(self) -> None:
        """Measure the exchange's time, and go on doing so. Raises ExchangeUnreachable, WrongExchange."""
        await self.public.rest.sync_time()
        self._tasks.append(asyncio.ensure_future(self._keep_time()))

    async def close(self) -> None:
        """Close the connections. Closing twice is fine."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.public.close()

    async def _keep_time(self) -> None:
        while True:
            await self.clock.sleep_until(self.clock.now_ms() + SYNC_MS)
            with suppress(PerpdeskError):  # the old measurement stands
                await self.public.rest.sync_time()

    # -- the venue --------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The exchange's time, as measured."""
        return self.gateway.server.now_ms()

    def rate_ok(self) -> bool:
        """Is there room for another pair, and for what it needs on its way?"""
        governor = self.gateway.governor
        return self.now_ms() >= governor.banned_until_ms and governor.used_fraction() < ROOM_FRACTION

    async def listings(self) -> Sequence[Listing]:
        """Every pair against USDT, by its base asset; what is bought counts as it is."""
        try:
            info: p.SpotInfo = await self.public.rest.ask(to.EXCHANGE_INFO, (), Lane.QUERY)
        except WrongExchange:
            raise
        except PerpdeskError as error:
            raise Unread(f"the list of tokens: {error}") from error
        take_limits(self.gateway.governor, info)
        venue = VolumeVenue.BINANCE_SPOT.value
        return [
            Listing(venue, CHAIN, row.base_asset, row.symbol, "1")
            for row in info.symbols
            if row.quote_asset == QUOTE
        ]

    async def instrument(self, token: Listing) -> Instrument:
        """Rules without a fee: that is each account's own (``SpotUser.taker_fee``)."""
        rules: SpotRules = await reading("rules", self.public.reads.rules(symbol_of(token)))
        is_ok = rules.is_trading and rules.oto_allowed and STP in rules.stp_modes
        return Instrument(token_rules(rules), is_ok)

    async def price(self, token: Listing) -> Price:
        """Book ticker and last price. Neither has a time: they are as old as the question."""
        asked_ms, symbol = self.now_ms(), symbol_of(token)
        quote: p.SpotQuote = await reading("book ticker", self.public.reads.quote(symbol))
        last: Decimal = await reading("last price", self.public.reads.last_price(symbol))
        try:
            bid, ask = (units.decimal_of(text, "price") for text in (quote.bid_price, quote.ask_price))
        except PerpdeskError as error:
            raise Unread(f"book ticker: {error}") from error
        if not (bid > 0 and ask > 0 and last > 0):
            raise Unread(f"{symbol} has no book")
        return Price(bid, ask, last, asked_ms, asked_ms)

    async def window(self, token: Listing, seconds: int) -> tuple[Decimal, Decimal] | None:
        """From bars of one second; None where they do not reach from then to now."""
        now_ms = self.now_ms()
        bars = await reading("bars", self.public.reads.seconds(symbol_of(token), seconds))
        opens = [int(bar[0]) for bar in bars]
        if len(bars) < seconds or opens[-1] < now_ms - BAR_MS - BAR_LATE_MS:
            return None
        if opens[0] > now_ms - (seconds - 1) * BAR_MS:
            return None
        try:
            return (
                min(units.decimal_of(bar[3], "low") for bar in bars),
                max(units.decimal_of(bar[2], "high") for bar in bars),
            )
        except PerpdeskError as error:
            raise Unread(f"bars: {error}") from error

    def user(self, user_id: int, token: Listing) -> SpotUser:
        """A user's account. Raises Refused or InputError without a key in the vault."""
        credentials, needs_ip_list = self.credentials_of(user_id)
        account = self.gateway.account(credentials, f"user {user_id}")
        return SpotUser(account, self.clock, user_id, token, needs_ip_list=needs_ip_list)


def token_rules(rules: SpotRules) -> TokenRules:
    """As the machines take them; the fee is put in for each account."""
    band = None
    if rules.buy_band is not None or rules.sell_band is not None:
        buy, sell = rules.buy_band or BAND_ALL, rules.sell_band or BAND_ALL
        band = Band(buy_low=buy[0], buy_high=buy[1], sell_low=sell[0], sell_high=sell[1])
    return TokenRules(
        tick=rules.tick,
        step=rules.step,
        min_qty=rules.min_qty,
        max_qty=rules.max_qty,
        min_notional=rules.min_notional,
        taker_fee=Decimal(0),
        pending_by_venue=False,
        max_notional=rules.max_notional,
        band=band,
    )
