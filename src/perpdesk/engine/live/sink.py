"""What the engine does with the findings of a reconciliation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from perpdesk.domain.books import FillSource
from perpdesk.domain.errors import PerpdeskError
from perpdesk.engine.alarms import Alarms
from perpdesk.engine.live.outside import OutsideBooks
from perpdesk.engine.live_engine import LiveEngine
from perpdesk.engine.reconcile.compare import (
    Finding,
    Holding,
    LivePosition,
    LocalBooks,
    MirrorOrder,
    Place,
)
from perpdesk.engine.wire import WireGate
from perpdesk.ports import (
    AccountSettings,
    Clock,
    Fate,
    Leg,
    LiveVenue,
    NewOrder,
    OpenOrder,
    OrderGone,
    Outcome,
    VenueFill,
)

LOG = logging.getLogger(__name__)


class EngineSink:
    """A ReconcileSink over the live engine. spawn: runs a task under the desk's supervision."""

    def __init__(
        self,
        *,
        engine: LiveEngine,
        venue: LiveVenue,
        clock: Clock,
        outside: OutsideBooks,
        gate: WireGate,
        alarms: Alarms,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        guardian_ids: Callable[[], set[str]],
        wanted: AccountSettings | None = None,
    ) -> None:
        self._engine, self._venue, self._clock = engine, venue, clock
        self._outside, self._gate, self._alarms, self._spawn = outside, gate, alarms, spawn
        self._guardian_ids, self._wanted = guardian_ids, wanted
        self._settling: set[str] = set()
        self.halted: str | None = None
        self.stopped: str | None = None

    def why_halted(self) -> str | None:
        """Why nothing may be opened on the account, None if nothing hinders."""
        return self.stopped or self.halted

    def local(self) -> LocalBooks:
        engine = self._engine
        delivery, books = engine.delivery, engine.books
        n = books.slots.shape[1]
        holdings = [
            Holding(
                s,
                tuple(engine.sleeve_lots(s)),
                int(engine.external[s]),
                newest_fill_ms=engine.newest_fill_ms.get(s, 0),
                newest_trade_id=engine.newest_trade_id.get(s, 0),
            )
            for s in range(n)
            if any(engine.sleeve_lots(s)) or engine.external[s] or s in engine.newest_fill_ms
        ]
        shift_ms = self._venue.exchange_ms() - self._clock.now_ms()
        orders = {
            order.client_id: MirrorOrder(
                order.client_id, order.symbol, delivery.placed_ms(order.client_id) + shift_ms
            )
            for order in delivery.held_orders()
        }
        for client_id in self._guardian_ids():
            orders.setdefault(client_id, MirrorOrder(client_id, -1, self._venue.exchange_ms()))
        positions = {
            code: LivePosition(
                code,
                s,
                engine.version_codes[v],
                int(books.positions[v, s].lots),
                entry_pending=delivery.has_entry_on_its_way(v, s),
            )
            for (v, s), code in engine.executor.codes.items()
        }
        return LocalBooks(
            holdings=holdings,
            knows=lambda s, trade_id: (s, trade_id) in engine.seen,
            orders={key: order for key, order in orders.items() if order.symbol >= 0},
            positions=positions,
            versions=frozenset(engine.version_codes),
            settings=self._wanted,
        )

    async def import_fill(self, fill: VenueFill) -> None:
        await self._engine.import_fill(fill, FillSource.REST)

    async def external(self, place: Place, lots: int, leg: Leg | None) -> None:
        s = place[0]
        self._engine.external[s] += lots
        self._engine.was_shared[s] = True
        price = 0 if leg is None else leg.entry_price
        self._outside.surplus(s, lots, int(self._engine.external[s]), price)

    async def cancel_orphan(self, order: OpenOrder, why: str) -> None:
        LOG.warning("%s is taken back: %s", order.client_id, why)
        place = self._engine.place_of(order.client_id)
        if place is not None:
            self._engine.delivery.drop(as_ours(order, *place))
            return
        try:
            answer = await self._venue.cancel(order.symbol, order.client_id)
        except PerpdeskError as error:
            LOG.warning("%s could not be taken back: %s", order.client_id, error)
            return
        if answer.outcome is Outcome.ACCEPTED:
            self._engine.delivery.ended(order.client_id)

    async def order_missing(self, client_id: str, symbol: int) -> None:
        if client_id not in self._settling:
            self._settling.add(client_id)
            self._spawn(self._settle(client_id, symbol))

    async def _settle(self, client_id: str, symbol: int) -> None:
        try:
            fate = await self._venue.settle(symbol, client_id, self._clock.now_ms())
        except PerpdeskError as error:
            LOG.warning("the fate of %s is not known: %s", client_id, error)
            return
        finally:
            self._settling.discard(client_id)
        place = self._engine.place_of(client_id)
        if fate is Fate.ENDED:
            self._venue.catch_up()
        if fate is not Fate.ALIVE and place is not None:
            now_ms = self._clock.now_ms()
            await self._engine.handle(OrderGone(client_id, symbol, *place, "VANISHED", now_ms))

    async def block_symbol(self, symbol: int, why: str) -> None:
        self._gate.blocked[symbol] = why
        self._alarms.sound("SYMBOL_BLOCKED", why, key=str(symbol))

    async def unblock_symbol(self, symbol: int) -> None:
        self._gate.blocked.pop(symbol, None)
        self._outside.block_again(symbol)
        self._alarms.clear("SYMBOL_BLOCKED", str(symbol))

    async def halt_entries(self, why: str | None) -> None:
        self.halted = why
        if why is None:
            self._alarms.clear("ENTRIES_HALTED")
        else:
            self._alarms.sound("ENTRIES_HALTED", why)

    async def stop_account(self, why: str) -> None:
        self.stopped = why
        self._alarms.sound("BOOKS_DIFFER", why)

    async def note(self, finding: Finding) -> None:
        LOG.info("reconciliation: %s", finding)


def as_ours(order: OpenOrder, sleeve: int, slot: int) -> NewOrder:
    """An order of the exchange's list, in its place."""
    return NewOrder(
        order.client_id, order.symbol, sleeve, slot, order.kind, order.side, order.price, order.lots,
        order.reduce_only, order.activation, order.callback_ppm, 1,
    )  # fmt: skip
