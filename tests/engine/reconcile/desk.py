"""An engine's books made small: sleeves and external lots as numbers, moved by the rules of ``attribute``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perpdesk.domain.books import BooksContradiction
from perpdesk.engine import ids
from perpdesk.engine.reconcile.attribute import EXTERNAL, attribute
from perpdesk.engine.reconcile.compare import (
    Finding,
    Holding,
    LivePosition,
    LocalBooks,
    MirrorOrder,
    Place,
)
from perpdesk.ports import AccountSettings, Leg, OpenOrder, VenueFill


class JumpClock:
    """Time that passes only by sleeping. on_sleep: what happens meanwhile."""

    def __init__(self, now_ms: int = 1_000_000) -> None:
        self.ms = now_ms
        self.on_sleep: Callable[[], None] = lambda: None

    def now_ms(self) -> int:
        return self.ms

    async def sleep_until(self, ms: int) -> None:
        self.ms = max(self.ms, ms)
        self.on_sleep()
        await asyncio.sleep(0)


class Desk:
    """A ReconcileSink. held: sleeves' signed lots by symbol; seen: trade ids; log: what was asked of it."""

    def __init__(self, sleeves: int = 2, symbols: int = 1) -> None:
        self.held = [[0] * sleeves for _ in range(symbols)]
        self.outside = [0] * symbols
        self.seen: set[tuple[int, int]] = set()
        self.newest: list[tuple[int, int]] = [(0, 0)] * symbols
        self.orders: dict[str, MirrorOrder] = {}
        self.positions: dict[str, LivePosition] = {}
        self.settings: AccountSettings | None = None
        self.log: list[tuple[object, ...]] = []
        self.notes: list[Finding] = []
        self.contradicts: int | None = None

    # -- what a stream would do ----------------------------------------------------------------------

    def told(self, fill: VenueFill) -> None:
        """A fill of the stream or of an import, once."""
        if (fill.symbol, fill.trade_id) in self.seen:
            return
        self.seen.add((fill.symbol, fill.trade_id))
        named = ids.parse(fill.client_id)
        held = self.held[fill.symbol]
        if named is not None and named.version != ids.GUARDIAN:
            held[0 if named.version == "s2" else 1] += fill.side * fill.lots
            return
        for part in attribute(fill.side, fill.lots, fill.fee_e8, held, self.outside[fill.symbol]):
            if part.owner == EXTERNAL:
                self.outside[fill.symbol] += fill.side * part.lots
            else:
                held[part.owner] += fill.side * part.lots

    def streamed(self, fill: VenueFill) -> None:
        """The stream told it: reads from before it are stale."""
        self.told(fill)
        ms, trade_id = self.newest[fill.symbol]
        self.newest[fill.symbol] = (max(ms, fill.ms), max(trade_id, fill.trade_id))

    # -- ReconcileSink -------------------------------------------------------------------------------

    def local(self) -> LocalBooks:
        return LocalBooks(
            holdings=[
                Holding(
                    i,
                    tuple(held),
                    self.outside[i],
                    newest_fill_ms=self.newest[i][0],
                    newest_trade_id=self.newest[i][1],
                )
                for i, held in enumerate(self.held)
            ],
            knows=lambda symbol, trade_id: (symbol, trade_id) in self.seen,
            orders=dict(self.orders),
            positions=dict(self.positions),
            versions={"s2", "s3"},
            settings=self.settings,
        )

    async def import_fill(self, fill: VenueFill) -> None:
        if fill.trade_id == self.contradicts:
            raise BooksContradiction(f"trade {fill.trade_id} is known with other content")
        self.log.append(("import", fill.trade_id))
        self.told(fill)

    async def external(self, place: Place, lots: int, leg: Leg | None) -> None:
        await asyncio.sleep(0)  # a real one writes rows first
        self.log.append(("external", place[0], lots, None if leg is None else leg.lots))
        self.outside[place[0]] += lots

    async def cancel_orphan(self, order: OpenOrder, why: str) -> None:
        self.log.append(("cancel", order.client_id))

    async def order_missing(self, client_id: str, symbol: int) -> None:
        self.log.append(("missing", client_id))

    async def block_symbol(self, symbol: int, why: str) -> None:
        self.log.append(("block", symbol))

    async def unblock_symbol(self, symbol: int) -> None:
        self.log.append(("unblock", symbol))

    async def halt_entries(self, why: str | None) -> None:
        self.log.append(("halt", why))

    async def stop_account(self, why: str) -> None:
        self.log.append(("stop",))

    async def note(self, finding: Finding) -> None:
        self.notes.append(finding)

    def done(self) -> list[tuple[object, ...]]:
        """What was asked since the last time."""
        log, self.log = self.log, []
        return log
