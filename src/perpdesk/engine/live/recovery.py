"""From the store and the exchange to books that agree with both: every start is a recovery.

Live rows are replayed fill by fill into the books; attempts whose end is not written down are settled; open
orders of ours are put back in their places. What the exchange did meanwhile is the reconciler's business: it
runs right after this and before anything is opened.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from perpdesk.domain import units
from perpdesk.domain.books import (
    WHOLE_STRATEGY,
    FillQuery,
    FillRow,
    FillSource,
    IntentRow,
    PositionQuery,
    PositionRow,
)
from perpdesk.domain.errors import NeedsPerson
from perpdesk.domain.order import PositionSide, Side
from perpdesk.domain.position import PositionStatus
from perpdesk.engine.ids import Named, leg_of, parse
from perpdesk.engine.live_engine import LiveEngine
from perpdesk.engine.reconcile.adopt import Claim, adoption
from perpdesk.engine.reconcile.entry_time import Found
from perpdesk.engine.recorder import Entry
from perpdesk.engine.recording import StoreRecorder
from perpdesk.kernel.guard import trigger_price
from perpdesk.kernel.records import (
    BUY,
    MARKET,
    SELL,
    SLOT_ENTRY,
    SLOT_EXIT,
    SLOT_STOP,
    TAG_COMMAND,
    TAG_ENTRY,
    TAG_NAMES,
    TAG_NONE,
)
from perpdesk.market.universe import Universe
from perpdesk.ports import LiveVenue, NewOrder, OpenOrder, Store

LOG = logging.getLogger(__name__)

# After a restart every request of the dead process is older than this: the widest window plus clocks.
FENCE_MS = 6_000
# An intent's own time may be ahead of the exchange's by so much.
CLOCKS_MS = 60_000
# The state under which it is kept up to when the exchange's statement was read, and how far back is looked.
SEEN = "seen"
WINDOW_MS = 7 * 86_400_000
# Rows that were begun within this may still cool down, or be an attempt at the newest bar.
CLOSED_MS = 3 * 86_400_000
# Attempts at a leg are numbered from epoch × this on: no process makes so many.
ATTEMPTS = 36**2


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a start found. since_ms: exchange time from which fills may be missing; strangers: live rows of
    versions or symbols that this run does not have (their lots are external here); leaving: (sleeve, symbol,
    tag) of positions whose exit had been decided."""

    positions: int
    entries_in_doubt: int
    orders_adopted: int
    strangers: tuple[PositionRow, ...]
    since_ms: int
    leaving: tuple[tuple[int, int, int], ...] = ()


@dataclass
class Recovery:
    """Rebuilds one account's books. versions: names of the sleeves, in order."""

    engine: LiveEngine
    recorder: StoreRecorder
    store: Store
    venue: LiveVenue
    universe: Universe
    versions: Sequence[str]
    account_id: int
    epoch: int = 0
    _entered: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)  # booked fills, by client id

    async def run(self, now_ms: int) -> Recovered:
        """Replay what the store knows, then look at the exchange's open orders. Raises StoreFailed, or what
        the venue raises: then nothing may be traded, and the start is tried again."""
        rows = await self.store.live_positions(self.account_id)
        intents = await self.store.pending_intents(self.account_id)
        strangers: list[PositionRow] = []
        since_ms = self.venue.exchange_ms() - 60_000
        seen = await self.store.load_state(self.account_id, SEEN, WHOLE_STRATEGY)
        if seen is not None and isinstance(seen.state, dict):
            since_ms = min(since_ms, max(int(seen.state["ms"]), since_ms - WINDOW_MS))
        resumed, leaving = 0, []
        flat: list[tuple[int, int]] = []
        self._entered.clear()
        await self._remember(now_ms)
        for row in rows:
            place = self._place_of_row(row)
            if place is None:
                strangers.append(row)
                continue
            self._attempted(row, *place)
            fills = await self.store.fills(FillQuery(position_id=row.id))
            self._resume(row, *place, fills)
            since_ms = min(since_ms, row.created_ms - 60_000, *(fill.fill_ms for fill in fills[:1]))
            resumed += 1
            if row.status is PositionStatus.CLOSING:
                tag = await self._exit_tag(row)
                self.engine.books.slots[place[0], place[1], SLOT_EXIT].tag = tag
                leaving.append((*place, tag))
            if fills and self.engine.books.positions[place].lots == 0:
                assert row.position_code is not None
                self.recorder.resume_flat(row.position_code, await self._exit_tag(row), fills[-1].fill_ms)
                flat.append(place)
        await self._external()
        held = {place[1] for place in map(self._place_of_row, rows) if place is not None}
        for s in sorted(held | set(np.flatnonzero(self.engine.external).tolist())):
            await self._drift(s, [row for row in rows if row.symbol == self.universe.symbols[s]])
        in_doubt = 0
        for intent in intents:
            in_doubt += self._settle_later(intent, now_ms)
            since_ms = min(since_ms, intent.created_ms - 60_000)
        for place in flat:
            self.engine.delivery.end_if_flat(*place)
        for fill in await self.store.fills(FillQuery(account_id=self.account_id, from_ms=since_ms - 60_000)):
            if fill.symbol in self.universe.symbols:
                self.engine.seen.add((self.universe.index(fill.symbol), fill.trade_id))
        claimed = 0 if rows else await self._lost_database(now_ms)
        adopted = 0
        # of several in one place the largest is kept until the right one stands
        for order in sorted(await self.venue.open_orders(), key=lambda one: (-one.lots, one.client_id)):
            adopted += self._adopt(order)
        for row in strangers:
            LOG.error(
                "a live position of %s on %s is not this run's: external", row.signal_version, row.symbol
            )
        return Recovered(resumed + claimed, in_doubt, adopted, tuple(strangers), since_ms, tuple(leaving))

    async def _lost_database(self, now_ms: int) -> int:
        """Positions that our own orders opened and no row tells of: the database is younger than they are.

        Their rows are written anew, and all fills since the netted position began are booked: each to the
        version that its client id names, everybody else's by the common rule. How many versions hold again.
        """
        found = 0
        for leg in await self.venue.legs():
            s = leg.symbol
            if s < 0 or leg.lots == 0 or any(self.engine.sleeve_lots(s)) or self.engine.external[s]:
                continue
            if any(place[1] == s for place in self.engine.executor.codes):
                continue
            window_ms = self.venue.exchange_ms() - WINDOW_MS
            fills = await self.venue.fills_since(s, window_ms)
            if any((s, fill.trade_id) in self.engine.seen for fill in fills):
                continue  # the store knows this history: what differs is the reconciler's to explain
            codes = frozenset(self.engine.version_codes)
            told = adoption(
                leg.lots, fills, window_ms, account_id=self.account_id, versions=codes,
                entry_price=leg.entry_price or None,
            )  # fmt: skip
            if not told.claims or not isinstance(told.opening, Found):
                continue
            unit = int(self.engine.books.instruments[s].unit_e8)
            notional_e8 = abs(leg.lots) * leg.entry_price * unit
            leverage = max(1, round(notional_e8 / leg.margin_e8)) if leg.margin_e8 > 0 else 1
            for claim in told.claims:
                await self._claim(claim, s, leverage, now_ms)
            ordered = sorted(fills, key=lambda fill: (fill.ms, fill.trade_id))
            first = [fill.trade_id for fill in ordered].index(told.opening.trade_id)
            for fill in ordered[first:]:
                for claim in told.claims:  # a reaction ends the code of a version that holds nothing yet
                    v = self.engine.version_codes.index(claim.version)
                    self.engine.executor.codes.setdefault((v, s), claim.position_code)
                await self.engine.import_fill(fill, FillSource.REST)
            found += len(told.claims)
        await self.recorder.flush()
        return found

    async def _claim(self, claim: Claim, s: int, leverage: int, now_ms: int) -> None:
        """Write the row of a position anew; its fills are booked to it after this."""
        v = self.engine.version_codes.index(claim.version)
        opened = claim.parts[0].fill
        LOG.error("%s holds %s without a row: adopted", claim.version, self.universe.symbols[s])
        position = self.engine.books.positions[v, s]
        position.leverage = leverage
        order = NewOrder(
            opened.client_id, s, v, SLOT_ENTRY, MARKET, opened.side, 0,
            sum(part.lots for part in claim.parts if part.fill.client_id == opened.client_id),
            False, 0, 0, leverage,
        )  # fmt: skip
        entry = Entry(
            sleeve=v, symbol=s, position_code=claim.position_code, side=opened.side, lots=order.lots,
            price=opened.price, leverage=leverage, score=0.0, score_max=0.0, stop_ppm=0, timeout_ms=0,
            ms=now_ms,
        )  # fmt: skip
        if not await self.recorder.entry_approved(entry, order):
            raise NeedsPerson(f"the row of {claim.version} on {self.universe.symbols[s]} cannot be written")
        self.engine.executor.codes[v, s] = claim.position_code
        for k in range(self.engine.books.slots.shape[2]):
            self.engine.delivery.begin_attempts(claim.position_code, k, self.epoch * ATTEMPTS - 1)
        for part in claim.parts:
            named = parse(part.fill.client_id)
            if named is not None and named.slot is not None and named.position_code == claim.position_code:
                self.engine.delivery.begin_attempts(claim.position_code, named.slot, named.attempt)

    def _place_of_row(self, row: PositionRow) -> tuple[int, int] | None:
        if row.signal_version not in self.versions or row.symbol not in self.universe.symbols:
            return None
        if row.position_code is None:
            return None
        return list(self.versions).index(row.signal_version), self.universe.index(row.symbol)

    async def _remember(self, now_ms: int) -> None:
        """What closed lately: its cooldown goes on, and its bar was attempted."""
        query = PositionQuery(
            account_id=self.account_id,
            statuses=(PositionStatus.CLOSED, PositionStatus.LIQUIDATED),
            from_ms=now_ms - CLOSED_MS,
        )
        for row in await self.store.positions(query):
            place = self._place_of_row(row)
            if place is None:
                continue
            self._attempted(row, *place)
            position = self.engine.books.positions[place]
            if row.open_ms is None or row.close_ms is None or row.close_ms < position.closed_ms:
                continue  # it never had a fill, or a later one is known
            position.closed_ms = row.close_ms
            position.closed_side = BUY if row.position_side is PositionSide.LONG else SELL
            reason = row.close_reason
            position.closed_tag = TAG_NAMES.index(reason) if reason in TAG_NAMES else TAG_NONE

    def _attempted(self, row: PositionRow, v: int, s: int) -> None:
        """The gate approved it when its row was made."""
        head = self.engine.books.heads[v, s]
        head.approved_ms = max(int(head.approved_ms), row.created_ms)

    def _resume(self, row: PositionRow, v: int, s: int, fills: Sequence[FillRow]) -> None:
        """Put one live row's fills back into the sleeve's books."""
        assert row.position_code is not None
        engine, books = self.engine, self.engine.books
        if engine.executor.codes.get((v, s)) is not None:
            raise NeedsPerson(f"two live rows of {row.signal_version} on {row.symbol}: one of them is wrong")
        position = books.positions[v, s]
        position.leverage = row.leverage
        if row.entry_score is not None and row.entry_max is not None:
            position.entry_score, position.entry_score_max = float(row.entry_score), float(row.entry_max)
        opened_ms = row.open_ms or row.created_ms
        if row.timeout_at_ms is not None:
            position.entry_timeout_ms = row.timeout_at_ms - opened_ms
        engine.executor.codes[v, s] = row.position_code
        for k in range(books.slots.shape[2]):  # ids of earlier processes are not used again
            engine.delivery.begin_attempts(row.position_code, k, self.epoch * ATTEMPTS - 1)
        cash = books.account.copy()
        folded = []
        direction = BUY if row.position_side is PositionSide.LONG else SELL
        for fill in fills:  # the store has them in their order; of one ms, as they were booked
            side = BUY if fill.side is Side.BUY else SELL
            lots = units.lots_of(fill.qty, self.universe.lot_step[s])
            price = units.to_units(fill.price, self.universe.price_digits[s], f"{row.symbol} price")
            fee_e8 = units.money_e8(fill.commission)
            tag = TAG_ENTRY if side == direction else TAG_COMMAND
            realised = engine.sleeves[v].compiled.book_outside(
                books.account, books.instruments, books.positions, books.slots, books.heads,
                v, s, side, price, lots, fee_e8, tag, fill.fill_ms,
            )  # fmt: skip
            named = parse(fill.client_id or "")
            own = engine.place_of(fill.client_id or "")
            if named is not None and own is not None and named.position_code == row.position_code:
                engine.count_on_slot((v, s, own[1]), side, lots)
            engine.seen.add((s, fill.trade_id))
            engine.newest_fill_ms[s] = max(engine.newest_fill_ms.get(s, 0), fill.fill_ms)
            folded.append((side, price, lots, realised, fee_e8, fill.fill_ms))
            self._entered.setdefault(fill.client_id or "", []).append(folded[-1])
        if folded:
            engine.executor.filled.add(row.position_code)
        if row.best_price is not None and position.lots:
            best = units.to_units(row.best_price, self.universe.price_digits[s], "best_price")
            position.best, position.armed = best, 1
        if position.lots:  # an isolated position has paid it from its margin
            engine.sleeves[v].compiled.book_funding_amount(
                books.account, books.instruments, books.positions, books.slots, books.heads, v, s,
                units.money_e8(row.funding),
            )  # fmt: skip
        else:
            position.funding_e8 += units.money_e8(row.funding)
        # the wallet is read from the exchange: these fills and payments are in it already
        margin, held = int(books.account.margin_e8[0]), int(books.account.open_positions[0])
        books.account[:] = cash
        books.account.margin_e8, books.account.open_positions = margin, held
        self.recorder.resume(row, v, s, folded)
        if row.status is PositionStatus.BUILDING and isinstance(row.batch_plan, dict):
            newest = row.batch_filled if isinstance(row.batch_filled, dict) else row.batch_plan
            engine.executor.resume_plan(v, s, newest)

    async def _drift(self, s: int, live: Sequence[PositionRow]) -> None:
        """What the exchange has realised beyond the sleeves since the symbol was last flat.

        Rows that are closed since then had their part in it, and so had external lots.
        """
        engine, symbol, step = self.engine, self.universe.symbols[s], self.universe.lot_step[s]
        newest_ms = self.venue.exchange_ms()
        since_ms = min((row.created_ms for row in live), default=newest_ms) - WINDOW_MS
        fills = await self.store.fills(FillQuery(account_id=self.account_id, symbol=symbol, from_ms=since_ms))
        held: dict[int | None, int] = {None: int(engine.external[s])}
        for row in live:
            place = self._place_of_row(row)
            if place is not None:
                held[row.id] = int(engine.books.positions[place].lots)
        told, parts = 0, set[int | None]()
        last: FillRow | None = None
        for fill in reversed(fills):
            if not any(held.values()) and (last is None or not _is_one_trade(last, fill)):
                break
            last = fill
            lots = units.lots_of(fill.qty, step)
            owner = fill.position_id
            held[owner] = held.get(owner, 0) - (lots if fill.side is Side.BUY else -lots)
            told += units.money_e8(fill.realized_pnl_venue)
            parts.add(owner)
        ours = int(engine.books.positions["realised_e8"][:, s].sum())
        for owner in parts - {row.id for row in live} - {None}:
            assert owner is not None
            closed = await self.store.position(owner)
            ours += 0 if closed is None else units.money_e8(closed.realized_pnl)
        engine.drift_e8[s] = told - ours
        engine.was_shared[s] |= None in parts

    async def _exit_tag(self, row: PositionRow) -> int:
        """Why the position was being closed."""
        orders = await self.store.orders(self.account_id, row.id)
        reasons = [order.close_reason for order in orders if order.leg == leg_of(SLOT_EXIT)]
        reason = reasons[-1] if reasons else None
        return TAG_NAMES.index(reason) if reason in TAG_NAMES else TAG_COMMAND

    async def _external(self) -> None:
        """Lots that were external before."""
        self.engine.external[:] = 0  # an earlier try may have failed after this
        for row in await self.store.external_lots(self.account_id):
            if row.symbol in self.universe.symbols and row.qty != 0:
                s = self.universe.index(row.symbol)
                lots = units.lots_of(abs(row.qty), self.universe.lot_step[s])
                self.engine.external[s] += lots if row.qty > 0 else -lots
                self.engine.was_shared[s] = True

    def _settle_later(self, intent: IntentRow, now_ms: int) -> int:
        """An attempt of the dead process that is not known to have ended: prove what became of it."""
        named = parse(intent.client_id)
        order = None if named is None else self._order_of(named, intent)
        if named is None or order is None:
            LOG.error("the intent %s is not this run's", intent.client_id)
            return 0
        if not self.recorder.knows(named.position_code):
            return 0
        booked = self._entered.get(intent.client_id, [])
        self.recorder.resume_entry(named.position_code, order, booked)
        fence_ms = max(now_ms, intent.fence_ms or 0) + FENCE_MS
        self.engine.delivery.begin_attempts(named.position_code, order.slot, named.attempt)
        lots = sum(lots for _, _, lots, *_ in booked)
        self.engine.delivery.doubt(order, fence_ms, TAG_ENTRY, lots, intent.created_ms - CLOCKS_MS)
        return 1

    def _order_of(self, named: Named, intent: IntentRow) -> NewOrder | None:
        place = self.engine.place_of(intent.client_id)
        if (
            place is None
            or intent.symbol not in self.universe.symbols
            or not isinstance(intent.request, dict)
        ):
            return None
        s = self.universe.index(intent.symbol)
        asked = intent.request
        return NewOrder(
            client_id=intent.client_id,
            symbol=s,
            sleeve=place[0],
            slot=place[1],
            kind=MARKET,
            side=BUY if asked["side"] == "BUY" else SELL,
            price=0,
            lots=units.lots_of(units.decimal_of(asked["quantity"], "quantity"), self.universe.lot_step[s]),
            reduce_only=bool(asked["reduceOnly"]),
            activation=0,
            callback_ppm=0,
            leverage=int(asked["leverage"]),
        )

    def _adopt(self, order: OpenOrder) -> int:
        """Put an open order of ours back in its place; one without a live position is the sweep's."""
        named, place = parse(order.client_id), self.engine.place_of(order.client_id)
        if named is None or place is None or named.account_id != self.account_id:
            return 0
        v, k = place
        engine = self.engine
        if engine.executor.codes.get((v, order.symbol)) != named.position_code:
            return 0
        engine.delivery.begin_attempts(named.position_code, k, named.attempt)
        if k == SLOT_ENTRY:
            return 0  # its intent is being settled
        ours = NewOrder(
            client_id=order.client_id,
            symbol=order.symbol,
            sleeve=v,
            slot=k,
            kind=order.kind,
            side=order.side,
            price=order.price,
            lots=order.lots,
            reduce_only=order.reduce_only,
            activation=order.activation,
            callback_ppm=order.callback_ppm,
            leverage=int(engine.books.positions[v, order.symbol].leverage),
        )
        if (v, order.symbol, k) in engine.executor.open:
            engine.delivery.drop(ours)  # an earlier attempt beside a later one
        else:
            engine.delivery.adopt(ours, TAG_NONE)
        if k == SLOT_STOP:
            self._arm_by(ours)
        return 1

    def _arm_by(self, stop: NewOrder) -> None:
        """A stop that stands where only an armed position has it: it was armed, whatever the row says."""
        v, s = stop.sleeve, stop.symbol
        position, guard = self.engine.books.positions[v, s], self.engine.sleeves[v].mind.guards[0]
        if position.armed or position.lots == 0 or guard.ratchet_ppm <= 0:
            return
        instrument, side = self.engine.books.instruments[s], 1 if position.lots > 0 else -1
        if stop.price == trigger_price(position, instrument, int(guard.ratchet_ppm), side):
            position.armed, position.best = 1, stop.price


def _is_one_trade(a: FillRow, b: FillRow) -> bool:
    """Are two rows shares of one trade? Those after the first have a number of ours, below zero."""
    same = (a.fill_ms, a.client_id, a.price, a.side) == (b.fill_ms, b.client_id, b.price, b.side)
    return same and min(a.trade_id, b.trade_id) < 0
