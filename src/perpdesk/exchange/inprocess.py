"""The in-process venue: the exchange's matching, book and wallet in the engine's own process.

It keeps everything that an exchange keeps (its own netted positions, wallet and order book) and knows
nothing of strategies. Its path stands still while the engine answers a message, so a paper run is
exactly repeatable. One order per (sleeve, slot) place and symbol; equal prices act in place order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np

from perpdesk.domain.errors import InternalError
from perpdesk.domain.order import OrderStatus
from perpdesk.exchange.recorded import RecordedMinutes
from perpdesk.kernel import venue as doors
from perpdesk.kernel.ledger import rate_for
from perpdesk.kernel.matching import DONE, LIQUIDATION
from perpdesk.kernel.records import FAR, NONE, STOP, TRAILING, head_dt, position_dt, slot_dt, walk_dt, zeros
from perpdesk.ports import (
    Answer,
    ForcedClose,
    FundingCharged,
    Message,
    NewOrder,
    OpenOrder,
    Outcome,
    PriceReached,
    StepClosed,
    StepOver,
    Traded,
    Triggered,
    VenuePosition,
    VenueTraits,
)

_ACCEPTED = Answer(Outcome.ACCEPTED)


class InProcessVenue:
    """A Venue and a Feed over recorded minutes.

    account: [1] of account_dt with fees, slippage and margin mode; instruments: [N] of instrument_dt;
    funding: rows of funding_dt in time order; every_point: tell every path point (no skipping).
    """

    traits = VenueTraits(name="in-process", watches_levels=True, replaces_in_place=True)

    def __init__(
        self,
        *,
        account: np.recarray,
        instruments: np.recarray,
        market: RecordedMinutes,
        funding: np.recarray,
        sleeves: int,
        slots: int,
        last_prices: np.ndarray,
        every_point: bool = False,
    ) -> None:
        n = len(instruments)
        self._account = account.copy()
        self._instruments = instruments
        self._market = market
        self._funding = funding
        self._next_funding = 0
        self._slots_per_sleeve = slots
        self._every_point = every_point
        self._positions = zeros((1, n), position_dt)
        self._books = zeros((1, n, sleeves * slots), slot_dt)
        self._heads = zeros((1, n), head_dt)
        for name in ("lo", "fire_lo", "peak_lo", "liquidation_lo"):
            self._heads[name] = -FAR
        for name in ("hi", "fire_hi", "peak_hi", "liquidation_hi", "next_ms"):
            self._heads[name] = FAR
        self._heads["last"][0] = last_prices
        self._walks = zeros(n, walk_dt)
        self._client_ids: list[list[str | None]] = [[None] * (sleeves * slots) for _ in range(n)]
        self._places: list[dict[str, int]] = [{} for _ in range(n)]
        self._cursor: dict[int, int] = {}  # symbols whose path is under way
        self._trade_id = 0
        self._touched = np.zeros(n, np.int64)

    # -- Venue -------------------------------------------------------------------------------

    async def place(self, order: NewOrder) -> Answer:
        s = order.symbol
        place = order.sleeve * self._slots_per_sleeve + order.slot
        if order.lots <= 0:
            return Answer(Outcome.REFUSED, "quantity must be positive")
        if order.client_id in self._places[s]:
            return Answer(Outcome.REFUSED, "client id is taken by an open order")
        if self._books[0, s, place].kind != NONE:
            return Answer(Outcome.REFUSED, "the place holds an open order")
        market = self._cursor.get(s, int(self._heads[0, s].last))
        doors.accept(
            self._books, self._heads, s, place, order.kind, order.side, order.price, order.lots,
            int(order.reduce_only), order.activation, order.callback_ppm, order.leverage, self._positions,
            market,
        )  # fmt: skip
        self._client_ids[s][place] = order.client_id
        self._places[s][order.client_id] = place
        return _ACCEPTED

    async def cancel(self, symbol: int, client_id: str) -> Answer:
        place = self._places[symbol].get(client_id)
        if place is None:
            return Answer(Outcome.REFUSED, "no such open order")
        doors.withdraw(self._books, self._heads, symbol, place)
        self._forget(symbol, place)
        return _ACCEPTED

    async def watch(self, symbol: int, fire_lo: int, fire_hi: int, peak_lo: int, peak_hi: int) -> None:
        doors.watch(self._books, self._heads, symbol, fire_lo, fire_hi, peak_lo, peak_hi)

    async def open_client_ids(self, symbol: int) -> set[str]:
        return set(self._places[symbol])

    async def open_orders(self) -> list[OpenOrder]:
        """The book as the exchange keeps it: every resting order, of whatever sleeve."""
        return [
            OpenOrder(
                client_id=client_id, symbol=s, kind=int(one.kind), side=int(one.side), price=int(one.price),
                lots=int(one.lots), reduce_only=bool(one.reduce_only), activation=int(one.activation),
                callback_ppm=int(one.callback_ppm), close_position=False,
                is_conditional=int(one.kind) in (STOP, TRAILING), status=OrderStatus.ACCEPTED, placed_ms=0,
            )
            for s, places in enumerate(self._places)
            for client_id, place in places.items()
            for one in (self._books[0, s, place],)
        ]  # fmt: skip

    async def positions(self) -> list[VenuePosition]:
        return [
            VenuePosition(
                s, int(p.lots), int(p.cost_e8), int(p.realised_e8), int(p.fees_e8), int(p.funding_e8)
            )
            for s, p in enumerate(self._positions[0])
            if p.last_fill_ms
        ]

    async def wallet_e8(self) -> int:
        return self.wallet_now_e8()

    def wallet_now_e8(self) -> int:
        """The venue's own figure, for comparisons after a run."""
        return int(self._account.cash_e8[0])

    def unrealised_now_e8(self) -> int:
        """What its open positions are worth beyond their cost, at the last prices."""
        total = 0
        for s in range(len(self._instruments)):
            position = self._positions[0, s]
            if position.lots:
                value = int(position.lots) * int(self._heads[0, s].last) * int(self._instruments[s].unit_e8)
                total += value - (1 if position.lots > 0 else -1) * int(position.cost_e8)
        return total

    # -- Feed --------------------------------------------------------------------------------

    async def messages(self) -> AsyncIterator[Message]:
        async for now_ms, bars in self._market.minutes():
            done = 0
            count = doors.touched(self._heads, bars, self._every_point, self._touched)
            for s in self._touched[:count].tolist():
                doors.close_bars(self._heads, bars, done, s, now_ms)
                done = s
                doors.open_bar(self._account, self._heads, self._walks, bars, s)
                while True:
                    message = self._next(s)
                    if message is None:
                        break
                    yield message
                self._cursor.pop(s, None)
            doors.close_bars(self._heads, bars, done, len(bars), now_ms)
            yield StepClosed(now_ms, bars)
            for charged in self._charge_funding(now_ms):
                yield charged
            doors.close_minute(self._account, self._instruments, self._positions, self._books, self._heads)
            yield StepOver(now_ms)

    def _next(self, s: int) -> Message | None:
        code, side, price, lots, taker, fee_e8, ms, jump, cursor = doors.next_event(
            self._account, self._instruments, self._positions, self._books, self._heads, self._walks, s,
            self._every_point,
        )  # fmt: skip
        if code == DONE:
            return None
        self._cursor[s] = cursor
        if code >= 0:
            return self._acted(s, code, side, price, lots, taker, fee_e8, ms, bool(jump), cursor)
        if code == LIQUIDATION:
            for place in range(len(self._client_ids[s])):
                self._forget(s, place)
            self._trade_id += 1
            realised_e8 = int(self._positions[0, s].realised_e8)
            return ForcedClose(s, side, price, lots, fee_e8, ms, cursor, self._trade_id, realised_e8)
        return PriceReached(s, cursor, ms)

    def _acted(
        self,
        s: int,
        place: int,
        side: int,
        price: int,
        lots: int,
        taker: int,
        fee_e8: int,
        ms: int,
        jump: bool,
        cursor: int,
    ) -> Message:
        client_id = self._client_ids[s][place]
        if client_id is None:
            raise InternalError(f"the book of symbol {s} traded at place {place}, where no order was placed")
        sleeve, slot = divmod(place, self._slots_per_sleeve)
        if self._books[0, s, place].kind == NONE:
            self._forget(s, place)
        if lots == 0:
            return Triggered(client_id, s, sleeve, slot, ms)
        self._trade_id += 1
        return Traded(
            client_id, s, sleeve, slot, side, price, lots, taker, fee_e8, ms, jump, cursor, self._trade_id
        )

    def _charge_funding(self, now_ms: int) -> list[FundingCharged]:
        charged = []
        while self._next_funding < len(self._funding) and self._funding[self._next_funding].ms <= now_ms:
            row = self._funding[self._next_funding]
            self._next_funding += 1
            s = int(row.symbol)
            if row.ms != now_ms or self._positions[0, s].lots == 0:
                continue
            mark = int(row.mark) if row.mark > 0 else int(self._heads[0, s].last)
            rate_e8 = int(rate_for(row.rate_e8, row.mark, self._positions[0, s].lots))
            doors.fund(
                self._account,
                self._instruments,
                self._positions,
                self._books,
                self._heads,
                s,
                rate_e8,
                mark,
            )
            charged.append(FundingCharged(s, rate_e8, mark, now_ms))
        return charged

    def _forget(self, s: int, place: int) -> None:
        client_id = self._client_ids[s][place]
        if client_id is not None:
            del self._places[s][client_id]
            self._client_ids[s][place] = None
