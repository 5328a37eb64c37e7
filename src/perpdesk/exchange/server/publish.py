"""Market streams: what is sent when a trade happens, and what is sent by the pulse (reference §11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perpdesk.exchange.core.contracts import Contract
from perpdesk.exchange.core.market import funding_rate_text
from perpdesk.exchange.core.numbers import fixed, money, short
from perpdesk.exchange.core.orders import BUY, SELL, SIDE_NAMES
from perpdesk.exchange.core.world import Market, Print
from perpdesk.exchange.server import candles
from perpdesk.exchange.server.books import Levels, book_levels
from perpdesk.kernel.records import MINUTE_MS

if TYPE_CHECKING:
    from perpdesk.exchange.server.running import RunningServer

DIFF_LEVELS = 100
_PERIODS = {"100ms": 100, "250ms": 250, "500ms": 500}


class Publisher:
    """Turns state changes into stream messages. Times are the exchange's."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        world = server.world
        self.candles = [
            candles.Candles(contract, server.options.tape, server.options.candle_details.get(contract.symbol))
            for contract in world.contracts
        ]
        self._sent_at: dict[str, int] = {}
        self._diff: dict[str, tuple[int, Levels, Levels]] = {}
        self._quotes: dict[int, tuple[str, str, str, str]] = {}
        self._seen_last: list[int] = [0] * len(world.contracts)
        self._bars: dict[str, int] = {}
        self.aggregates: list[list[dict[str, Any]]] = [[] for _ in world.contracts]
        self.skip_diffs = 0

    def flush(self) -> None:
        """New trades and new best prices go out at once; the rest waits for the pulse."""
        world = self._server.world
        prints, world.prints = world.prints, []
        for public in prints:
            self._trade(public)
        forced, world.forced = world.forced, []
        for _, one in forced:
            self._forced(one["order"], one["ms"])
        moved, world.moved = world.moved, set()
        for index in sorted(moved):
            market = world.markets[index]
            if market.last and market.last != self._seen_last[index]:
                self._seen_last[index] = market.last
                self.candles[index].see(market.last, 0, True, max(market.updated_ms, world.now_ms))
        if self._server.hub.listeners:
            for market in world.markets:
                self._quote(market)

    def pulse(self, wall_ms: int) -> None:
        """Called every ``pulse_ms`` of machine time: streams with a period."""
        hub = self._server.hub
        now_ms = self._server.now_ms()
        for stream in list(hub.listeners):
            period = period_of(stream)
            if period and wall_ms - self._sent_at.get(stream, -period) >= period:
                self._sent_at[stream] = wall_ms
                self.send(stream, now_ms)

    # -- at once -----------------------------------------------------------------------------

    def _trade(self, public: Print) -> None:
        contract = self._server.world.contracts[public.contract]
        self.candles[public.contract].see(public.price, public.lots, not public.buyer_maker, public.ms)
        symbol, name = contract.symbol, contract.symbol.lower()
        price, qty = contract.price_text(public.price), contract.qty_text(public.lots)
        hub = self._server.hub
        hub.publish(
            f"{name}@trade",
            {
                "e": "trade",
                "E": public.ms,
                "T": public.ms,
                "s": symbol,
                "t": public.id,
                "p": price,
                "q": qty,
                "X": "MARKET",
                "m": public.buyer_maker,
            },
        )
        rows = self.aggregates[public.contract]
        last = rows[-1] if rows else None
        same = (
            last is not None
            and last["price"] == public.price
            and last["m"] == public.buyer_maker
            and public.ms - last["T"] < _PERIODS["100ms"]
        )
        if same and last is not None:
            last["lots"] += public.lots
            last["l"] = public.id
        else:
            rows.append(
                {
                    "a": (rows[-1]["a"] + 1) if rows else 1,
                    "price": public.price,
                    "lots": public.lots,
                    "f": public.id,
                    "l": public.id,
                    "T": public.ms,
                    "m": public.buyer_maker,
                }
            )
            del rows[:-5_000]
        if f"{name}@aggTrade" in hub.listeners:
            hub.publish(f"{name}@aggTrade", self.aggregate_event(public.contract, rows[-1], public.ms))

    def aggregate_row(self, index: int, row: dict[str, Any]) -> dict[str, Any]:
        """One row of aggTrades."""
        contract = self._server.world.contracts[index]
        qty = contract.qty_text(row["lots"])
        return {
            "a": row["a"],
            "p": contract.price_text(row["price"]),
            "q": qty,
            "nq": qty,
            "f": row["f"],
            "l": row["l"],
            "T": row["T"],
            "m": row["m"],
        }

    def aggregate_event(self, index: int, row: dict[str, Any], now_ms: int) -> dict[str, Any]:
        """The stream form of an aggregate trade."""
        symbol = self._server.world.contracts[index].symbol
        return {"e": "aggTrade", "E": now_ms, "s": symbol, **self.aggregate_row(index, row), "st": 1}

    def _forced(self, order: Any, now_ms: int) -> None:
        contract = self._server.world.contracts[order.contract]
        price, qty = contract.price_text(order.price), contract.qty_text(order.lots)
        event = {
            "e": "forceOrder",
            "E": now_ms,
            "o": {
                "s": contract.symbol,
                "S": SIDE_NAMES[order.side],
                "o": "LIMIT",
                "f": "IOC",
                "q": qty,
                "p": price,
                "ap": price,
                "X": "FILLED",
                "l": qty,
                "z": qty,
                "T": now_ms,
            },
            "ps": contract.symbol,
            "st": 1,
        }
        self._server.hub.publish(f"{contract.symbol.lower()}@forceOrder", event)
        self._server.hub.publish("!forceOrder@arr", event)

    def contract_changed(self, contract: Contract, *, brackets: bool = False) -> None:
        """Tell !contractInfo that a contract is another one now."""
        event: dict[str, Any] = {
            "e": "contractInfo",
            "E": self._server.now_ms(),
            "s": contract.symbol,
            "ps": contract.symbol,
            "ct": contract.instrument.contract_type,
            "dt": 4_133_404_800_000,
            "ot": contract.onboard_ms,
            "cs": contract.status,
        }
        if brackets:
            event["bks"] = _ladder(contract)
        self._server.hub.publish("!contractInfo", event | {"st": 1})

    def _quote(self, market: Market) -> None:
        name = market.contract.symbol.lower()
        listeners = self._server.hub.listeners
        if f"{name}@bookTicker" not in listeners:
            return
        ticker = self.book_ticker(market)
        best = (ticker["b"], ticker["B"], ticker["a"], ticker["A"])
        if self._quotes.get(market.contract.index) != best:
            self._quotes[market.contract.index] = best
            self._server.hub.publish(f"{name}@bookTicker", ticker)

    def book_ticker(self, market: Market) -> dict[str, Any]:
        """The stream form of the best prices."""
        contract = market.contract
        bids, asks = book_levels(market, SELL, 1), book_levels(market, BUY, 1)
        now_ms = self._server.now_ms()
        bid, ask = (bids or [(0, 0)])[0], (asks or [(0, 0)])[0]
        return {
            "e": "bookTicker",
            "u": market.update_id,
            "s": contract.symbol,
            "ps": contract.symbol,
            "b": contract.price_text(bid[0]),
            "B": contract.qty_text(bid[1]),
            "a": contract.price_text(ask[0]),
            "A": contract.qty_text(ask[1]),
            "T": now_ms,
            "E": now_ms,
            "st": 1,
        }

    # -- by the pulse ------------------------------------------------------------------------

    def send(self, stream: str, now_ms: int) -> None:
        """Send one periodic stream now."""
        world, hub = self._server.world, self._server.hub
        if stream.startswith("!markPrice@arr"):
            hub.publish(stream, [self.mark_event(market, now_ms) for market in world.markets])
            return
        if stream in ("!miniTicker@arr", "!ticker@arr"):
            full = stream == "!ticker@arr"
            hub.publish(stream, [self.ticker_event(market, now_ms, full) for market in world.markets])
            return
        if stream == "!bookTicker":
            for market in world.markets:
                hub.publish(stream, self.book_ticker(market))
            return
        symbol, _, kind = stream.partition("@")
        pair = symbol.partition("_")[0]
        contract = world.by_symbol.get(pair.upper())
        if contract is None:
            return
        market = world.markets[contract.index]
        if kind.startswith("markPrice"):
            hub.publish(stream, self.mark_event(market, now_ms))
        elif kind in ("miniTicker", "ticker"):
            hub.publish(stream, self.ticker_event(market, now_ms, kind == "ticker"))
        elif kind.startswith(("kline_", "continuousKline_")):
            self._kline(stream, market, kind.partition("_")[2], now_ms)
        elif kind.startswith(("depth", "rpiDepth")):
            self._depth(stream, market, kind.partition("@")[0], now_ms)

    def mark_event(self, market: Market, now_ms: int) -> dict[str, Any]:
        """markPriceUpdate."""
        text = fixed(market.mark * 10 ** max(0, 8 - market.contract.price_digits), 8)
        index = fixed(market.index * 10 ** max(0, 8 - market.contract.price_digits), 8)
        return {
            "e": "markPriceUpdate",
            "E": now_ms,
            "s": market.contract.symbol,
            "p": text,
            "i": index,
            "P": text,
            "r": funding_rate_text(market),
            "ap": text,
            "T": market.next_funding_ms,
            "st": 1,
        }

    def day(self, market: Market, now_ms: int) -> candles.Row:
        """The last 24 hours as one row."""
        rows = self.candles[market.contract.index].rows("1m", now_ms - 1440 * MINUTE_MS, None, 1441, now_ms)
        if not rows:
            return (now_ms, *[market.last] * 4, 0, 0, 0, 0, 0)
        sums = [sum(row[i] for row in rows) for i in range(5, 10)]
        high, low = max(row[2] for row in rows), min(row[3] for row in rows)
        return (rows[0][0], rows[0][1], high, low, rows[-1][4], *sums)

    def ticker_event(self, market: Market, now_ms: int, full: bool) -> dict[str, Any]:
        """24hrTicker or 24hrMiniTicker."""
        contract = market.contract
        opened, opening, high, low, close, lots, quote, count, _, _ = self.day(market, now_ms)
        price = contract.price_text
        common = {
            "c": price(close),
            "o": price(opening),
            "h": price(high),
            "l": price(low),
            "v": contract.qty_text(lots),
            "q": money(quote),
            "ps": contract.symbol,
            "st": 1,
        }
        if not full:
            return {"e": "24hrMiniTicker", "E": now_ms, "s": contract.symbol, **common}
        change = close - opening
        last_id = market.trade_id
        return {
            "e": "24hrTicker",
            "E": now_ms,
            "s": contract.symbol,
            "p": price(change),
            "P": short(change * 100_000 // max(1, opening), 3, 3),
            "w": price(quote // (lots * contract.unit_e8) if lots else close),
            "Q": contract.qty_text(market.prints[-1].lots if market.prints else 0),
            **common,
            "O": opened,
            "C": now_ms,
            "F": max(0, last_id - count + 1),
            "L": last_id,
            "n": count,
        }

    def _kline(self, stream: str, market: Market, interval: str, now_ms: int) -> None:
        if interval not in candles.INTERVALS:
            return
        series = self.candles[market.contract.index]
        row = series.newest(interval, now_ms)
        if row is None:
            return
        before = self._bars.get(stream)
        if before is not None and before < row[0]:
            for old in series.rows(interval, before, row[0] - 1, 1_500, now_ms):
                if old[0] < row[0]:
                    self._server.hub.publish(
                        stream, self.kline_event(stream, market, interval, old, True, now_ms)
                    )
        self._bars[stream] = row[0]
        closed = candles.end_of(interval, row[0]) <= now_ms
        self._server.hub.publish(stream, self.kline_event(stream, market, interval, row, closed, now_ms))
        if closed:
            self._bars[stream] = candles.end_of(interval, row[0])

    def kline_event(
        self, stream: str, market: Market, interval: str, row: candles.Row, closed: bool, now_ms: int
    ) -> dict[str, Any]:
        """kline or continuous_kline."""
        contract = market.contract
        price, qty = contract.price_text, contract.qty_text
        bar: dict[str, Any] = {
            "t": row[0],
            "T": candles.end_of(interval, row[0]) - 1,
            "s": contract.symbol,
            "i": interval,
            "f": -1 if row[7] == 0 else max(0, market.trade_id - row[7] + 1),
            "L": -1 if row[7] == 0 else market.trade_id,
            "o": price(row[1]),
            "c": price(row[4]),
            "h": price(row[2]),
            "l": price(row[3]),
            "v": qty(row[5]),
            "n": row[7],
            "x": closed,
            "q": money(row[6]),
            "V": qty(row[8]),
            "Q": money(row[9]),
            "B": "0",
        }
        if "continuousKline" in stream:
            del bar["s"]
            kind = stream.partition("@")[0].partition("_")[2].upper()
            return {"e": "continuous_kline", "E": now_ms, "ps": contract.symbol, "ct": kind, "k": bar}
        return {"e": "kline", "E": now_ms, "s": contract.symbol, "k": bar}

    def _depth(self, stream: str, market: Market, kind: str, now_ms: int) -> None:
        digits = kind.removeprefix("depth")
        count = int(digits) if digits.isdigit() else DIFF_LEVELS
        bids = dict(book_levels(market, SELL, count))
        asks = dict(book_levels(market, BUY, count))
        previous, old_bids, old_asks = self._diff.get(stream, (market.update_id, {}, {}))
        if not digits.isdigit():
            new_bids, new_asks = changes(old_bids, bids), changes(old_asks, asks)
            if not (new_bids or new_asks):
                return
            market.update_id += 1
        else:
            new_bids, new_asks = bids, asks
        self._diff[stream] = (market.update_id, bids, asks)
        if self.skip_diffs and not digits.isdigit():
            self.skip_diffs -= 1
            return
        contract = market.contract
        self._server.hub.publish(
            stream,
            {
                "e": "depthUpdate",
                "E": now_ms,
                "T": now_ms,
                "s": contract.symbol,
                "U": previous + 1 if not digits.isdigit() else market.update_id,
                "u": market.update_id,
                "pu": previous,
                "b": text_levels(contract, new_bids),
                "a": text_levels(contract, new_asks),
                "ps": contract.symbol,
                "st": 1,
            },
        )


def _ladder(contract: Contract) -> list[dict[str, Any]]:
    """The brackets as !contractInfo shows them: ``mi`` is where the next bracket's leverage ends."""
    rows, floor = [], 0
    for i, (cap, most, mmr, cum) in enumerate(contract.brackets):
        below = contract.brackets[i + 1][1] + 1 if i + 1 < len(contract.brackets) else 1
        rows.append(
            {
                "bs": i + 1,
                "bnf": floor // 10**8,
                "bnc": cap // 10**8,
                "mmr": mmr / 1_000_000,
                "cf": cum / 10**8,
                "mi": min(most, below),
                "ma": most,
            }
        )
        floor = cap
    return rows


def changes(old: Levels, new: Levels) -> Levels:
    """Levels that are different now; 0 lots: gone."""
    gone = {price: 0 for price in old if price not in new}
    return gone | {price: lots for price, lots in new.items() if old.get(price) != lots}


def text_levels(contract: Any, levels: Levels) -> list[list[str]]:
    """[price, quantity] pairs."""
    return [[contract.price_text(price), contract.qty_text(lots)] for price, lots in levels.items()]


def period_of(stream: str) -> int:
    """Machine milliseconds between two messages; 0: not a periodic stream."""
    name = stream.lstrip("!")
    kind = name.partition("@")[2] if not stream.startswith("!") else name
    if kind.startswith("markPrice"):
        return 1_000 if stream.endswith("@1s") else 3_000
    if kind in ("miniTicker@arr", "ticker@arr"):
        return 1_000
    if kind in ("miniTicker", "ticker"):
        return 2_000
    if stream == "!bookTicker":
        return 5_000
    if kind.startswith(("kline_", "continuousKline_")):
        return 250
    if kind.startswith(("depth", "rpiDepth")):
        return _PERIODS.get(kind.rpartition("@")[2], 250)
    return 0
