"""What the radar asks, over REST: marks, open interest, ratios, symbols. In lane POLL: orders go first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.endpoints import Endpoint
from perpdesk.adapters.binance.errors import MalformedAnswer
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.rest import Params, Rest, read_reply
from perpdesk.domain.errors import InputError, PerpdeskError
from perpdesk.domain.units import RATE_DIGITS, decimal_of, half_away
from perpdesk.market.radar.source import Contract, Interest, Mark, Ratios
from perpdesk.ports import Clock

_PERIOD = "5m"


class BinanceInterest:
    """An InterestSource over one connection, which needs no credentials; its timeout is each request's."""

    def __init__(self, rest: Rest, clock: Clock) -> None:
        self._rest, self._clock = rest, clock

    def now_ms(self) -> int:
        return self._rest.server.now_ms()

    async def sleep_until(self, ms: int) -> None:
        while (now_ms := self.now_ms()) < ms:
            await self._clock.sleep_until(self._clock.now_ms() + ms - now_ms)

    async def contracts(self) -> Sequence[Contract]:
        info: p.ExchangeInfo = await self._ask(to.EXCHANGE_INFO, ())
        days: list[p.DayTicker] = await self._ask(to.DAY_TICKERS, ())
        volumes = {row.symbol: decimal_of(row.quote_volume, "quoteVolume") for row in days}
        return [
            Contract(
                row.symbol,
                _word(row.status),
                _word(row.contract_type),
                _word(row.quote_asset),
                _word(row.margin_asset),
                volumes.get(row.symbol, Decimal(0)),
            )
            for row in info.symbols
        ]

    async def funding_hours(self) -> Mapping[str, int]:
        rows: list[p.FundingInfo] = await self._ask(to.FUNDING_INFO, ())
        return {row.symbol: row.funding_interval_hours for row in rows if row.funding_interval_hours > 0}

    async def marks(self) -> Mapping[str, Mark]:
        rows = await self._ask(to.PREMIUM_INDEX_ALL, ())
        found = {}
        for row in rows if isinstance(rows, list) else [rows]:
            price, rate = _number(row.mark_price), _number(row.last_funding_rate)
            if price is not None:
                found[row.symbol] = Mark(price, None if rate is None else half_away(rate, RATE_DIGITS))
        return found

    async def open_interest(self, symbol: str, deadline_ms: int) -> Interest:
        row: p.OpenInterest = await self._ask(to.OPEN_INTEREST, (("symbol", symbol),), deadline_ms)
        amount = _number(row.open_interest)
        if amount is None:
            raise MalformedAnswer(f"open interest of {symbol} is {row.open_interest!r}")
        return Interest(row.symbol, amount, row.time)

    async def ratios(self, symbol: str, deadline_ms: int) -> Ratios:
        crowds = (to.TOP_POSITION_RATIO, to.TOP_ACCOUNT_RATIO, to.CROWD_RATIO)
        *said, takers = await asyncio.gather(
            *(self._newest(endpoint, symbol, deadline_ms) for endpoint in (*crowds, to.TAKER_RATIO))
        )
        top_position, top_account, crowd = (
            None if row is None else _number(row.long_short_ratio) for row in said
        )
        times = [row.timestamp for row in (*said, takers) if row is not None]
        taker = None if takers is None else _number(takers.buy_sell_ratio)
        return Ratios(top_position, taker, top_account, crowd, min(times, default=0))

    async def mark_minutes(self, symbol: str, count: int) -> Sequence[tuple[int, Decimal]]:
        params = (("symbol", symbol), ("interval", "1m"), ("limit", count))
        rows: list[p.Kline] = await self._ask(to.mark_klines(count), params)
        now_ms, found = self.now_ms(), []
        try:
            for row in rows:
                close_ms = int(row[p.KLINE_CLOSE_MS]) + 1
                price = _number(str(row[p.KLINE_CLOSE]))
                if close_ms <= now_ms and price is not None and price > 0:
                    found.append((close_ms, price))
        except (IndexError, ValueError) as error:
            raise MalformedAnswer(f"mark klines of {symbol}: {error}") from error
        return found

    async def _newest(self, endpoint: Endpoint, symbol: str, deadline_ms: int) -> p.Ratio | None:
        """The newest row; None where the exchange has none or does not say."""
        params = (("symbol", symbol), ("period", _PERIOD), ("limit", 1))
        try:
            rows: list[p.Ratio] = await self._ask(endpoint, params, deadline_ms)
        except PerpdeskError:
            return None
        return rows[-1] if rows else None

    async def _ask(self, endpoint: Endpoint, params: Params, deadline_ms: int | None = None) -> Any:
        return read_reply(endpoint, await self._rest.send(endpoint, params, Lane.POLL, deadline_ms))


def _word(text: object) -> str:
    return text if isinstance(text, str) else ""


def _number(text: object) -> Decimal | None:
    """None for what is no finite number."""
    try:
        return decimal_of(text) if isinstance(text, str) else None
    except InputError:
        return None
