"""An exchange that answers the radar what a test says, on a clock that the test drives."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.domain.errors import PerpdeskError
from perpdesk.market.radar.radar import Radar, Terms
from perpdesk.market.radar.source import Contract, Interest, Mark, Ratios
from perpdesk.strategies.oi_breakout import params_record

START_MS = 1_763_640_000_000
MINUTE_MS = 60_000
GOOD = ("1.3", "1.15", "1.6", "1.3")


class Lost(PerpdeskError):
    """No answer."""


def contract(symbol, volume=1, **changes):
    words = {"status": "TRADING", "kind": "PERPETUAL", "quote": "USDT", "margin": "USDT", **changes}
    return Contract(symbol, quote_volume=Decimal(volume), **words)


class Exchange:
    """amounts, prices, rates: by symbol; an amount may be an Exception, or an Event to wait for."""

    def __init__(self, *symbols, start_ms=START_MS):
        self.clock = VirtualClock(start_ms)
        self.listed = [contract(symbol, 1000 - i) for i, symbol in enumerate(symbols)]
        self.amounts = dict.fromkeys(symbols, 1000.0)
        self.prices = dict.fromkeys(symbols, 100.0)
        self.rates = dict.fromkeys(symbols, "0.00010000")
        self.ratio_texts = dict.fromkeys(symbols, GOOD)
        self.told_ms = None  # the exchange's own time of open interest; None: now
        self.minutes = []
        self.asked = []
        self.marks_fail = False

    def now_ms(self):
        return self.clock.now_ms()

    async def sleep_until(self, ms):
        await self.clock.sleep_until(ms)

    async def contracts(self):
        self.asked.append("contracts")
        return self.listed

    async def funding_hours(self):
        return {}

    async def marks(self):
        self.asked.append("marks")
        if self.marks_fail:
            raise Lost("marks")
        return {s: Mark(Decimal(repr(p)), Decimal(self.rates[s])) for s, p in self.prices.items()}

    async def open_interest(self, symbol, deadline_ms):
        self.asked.append(symbol)
        amount = self.amounts[symbol]
        if isinstance(amount, list):
            amount = amount.pop(0)
        if isinstance(amount, asyncio.Event):
            await amount.wait()
            amount = 1000.0
        if isinstance(amount, Exception):
            raise amount
        told = self.now_ms() if self.told_ms is None else self.told_ms
        return Interest(symbol, Decimal(str(amount)), told)

    async def ratios(self, symbol, deadline_ms):
        self.asked.append(f"ratios {symbol}")
        texts = self.ratio_texts[symbol]
        if isinstance(texts, Exception):
            raise texts
        return Ratios(*(None if text is None else Decimal(text) for text in texts), self.now_ms() - 300_000)

    async def mark_minutes(self, symbol, count):
        self.asked.append(f"minutes {symbol}")
        return self.minutes


def terms(**changes):
    given = {
        "interval_ms": MINUTE_MS, "most": 300, "at_once": 40, "refresh_ms": 7_200_000, "blacklist": (),
        "params": params_record(), "config_hash": "0" * 64,
    }  # fmt: skip
    return Terms(**{**given, **changes})


async def radar_of(exchange, recorder=None, **changes):
    """A started radar."""
    one = Radar(exchange, terms(**changes), recorder)
    await one.start()
    await settled()
    return one


async def settled():
    """Let everything that can go on go on."""
    for _ in range(50):
        await asyncio.sleep(0)


async def minutes(radar, exchange, count):
    """So many polls, a minute apart."""
    seen = []
    for _ in range(count):
        slot = -(-exchange.now_ms() // MINUTE_MS) * MINUTE_MS
        exchange.clock.advance_to(slot)
        seen.append(await radar.poll_once(slot))
        exchange.clock.advance_to(slot + 1)
    return seen
