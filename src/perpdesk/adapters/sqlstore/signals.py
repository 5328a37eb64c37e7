"""``trading_symbol_rating``, ``oi_…``, ``grid_zones``, ``trading_signals``, ``grid_orders``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from perpdesk.adapters.sqlstore.keyed import add, find, matches, put
from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.schema_signals import (
    GRID_ORDERS,
    GRID_ZONES,
    OI_ANOMALIES,
    OI_CONFIG,
    RATINGS,
    SIGNALS,
)
from perpdesk.adapters.sqlstore.session import Session
from perpdesk.domain.books import BooksContradiction
from perpdesk.domain.signal_books import (
    GridOrder,
    GridZone,
    OiAnomaly,
    OiSetting,
    SymbolRating,
    TradingSignal,
)


class Signals(Session):
    """What strategies saw and judged, of all symbols."""

    async def save_rating(self, rating: SymbolRating) -> None:
        """Write a symbol's rating; the newest holds."""
        await self._put(RATINGS, rating, "symbol")

    async def ratings(self) -> dict[str, SymbolRating]:
        """The ratings by symbol. Empty: the gate is not active."""
        async with self._reading() as connection:
            rows = (await connection.execute(sa.select(RATINGS).order_by(RATINGS.c.symbol))).all()
        return {row.symbol: typed(SymbolRating, row) for row in rows}

    async def record_oi_anomalies(self, anomalies: Sequence[OiAnomaly]) -> int:
        """Write anomalies, each once per (symbol, period, poll). Returns how many were new."""
        new = 0
        async with self._writing() as connection:
            for one in anomalies:
                values = checked(OI_ANOMALIES, one)
                key = {name: values[name] for name in ("symbol", "period_seconds", "poll_ms")}
                if await find(connection, OI_ANOMALIES, key) is None:
                    new += await add(connection, OI_ANOMALIES, key, values)
        return new

    async def oi_anomalies(
        self, from_ms: int | None = None, until_ms: int | None = None, symbol: str | None = None
    ) -> list[OiAnomaly]:
        """Anomalies of polls within [from_ms, until_ms), in order of time."""
        table = OI_ANOMALIES.c
        select = sa.select(OI_ANOMALIES).order_by(table.poll_ms, table.id)
        if from_ms is not None:
            select = select.where(table.poll_ms >= from_ms)
        if until_ms is not None:
            select = select.where(table.poll_ms < until_ms)
        if symbol is not None:
            select = select.where(table.symbol == symbol)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(OiAnomaly, row) for row in rows]

    async def save_oi_setting(self, setting: OiSetting) -> None:
        """Write a setting of the radar. It is checked where it is read, by the same rules as the file."""
        await self._put(OI_CONFIG, setting, "config_key")

    async def oi_settings(self) -> list[OiSetting]:
        """All settings, active or not, by key."""
        async with self._reading() as connection:
            rows = (await connection.execute(sa.select(OI_CONFIG).order_by(OI_CONFIG.c.config_key))).all()
        return [typed(OiSetting, row) for row in rows]

    async def record_grid_zones(self, zones: Sequence[GridZone]) -> int:
        """Write the zones of a scan, each once. Returns how many were new; a scan that gives other zones
        for the same data and parameters is a BooksContradiction."""
        new = 0
        async with self._writing() as connection:
            for zone in zones:
                values = checked(GRID_ZONES, zone)
                known = await find(connection, GRID_ZONES, {"id": zone.id})
                if known is None:
                    if await add(connection, GRID_ZONES, {"id": zone.id}, values):
                        new += 1
                        continue
                    known = await find(connection, GRID_ZONES, {"id": zone.id})
                if known is None or _without(typed(GridZone, known), "created_ms") != _without(
                    zone, "created_ms"
                ):
                    raise BooksContradiction(
                        f"zone {zone.id} ({zone.kind} of {zone.symbol} as of {zone.as_of_ms}) is written "
                        "down with other figures: the scan is not reproducible, or its data changed"
                    )
        return new

    async def grid_zones(self, symbol: str, at_ms: int | None = None) -> list[GridZone]:
        """Zones of a symbol (valid at ``at_ms``), oldest first."""
        table = GRID_ZONES.c
        select = sa.select(GRID_ZONES).where(table.symbol == symbol).order_by(table.as_of_ms, table.kind)
        if at_ms is not None:
            select = select.where(table.valid_from_ms < at_ms, table.expires_ms > at_ms)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(GridZone, row) for row in rows]

    async def save_signal(self, signal: TradingSignal) -> None:
        """Write a signal as it stands, new or known by its id."""
        await self._put(SIGNALS, signal, "id")

    async def signals(
        self, symbol: str, status: str | None = None, unexpired_at_ms: int | None = None
    ) -> list[TradingSignal]:
        """Signals of a symbol in order of their bars."""
        table = SIGNALS.c
        select = sa.select(SIGNALS).where(table.symbol == symbol).order_by(table.bar_close_ms, table.side)
        if status is not None:
            select = select.where(table.status == status)
        if unexpired_at_ms is not None:
            select = select.where(table.expires_ms > unexpired_at_ms)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(TradingSignal, row) for row in rows]

    async def save_grid_order(self, order: GridOrder) -> bool:
        """Write a grid's order as it stands, durably while it lives. False, changing nothing, for a report
        older than what is known (fewer lots traded, or it had ended). A second live entry or exit of one
        level is a BooksContradiction."""
        values = checked(GRID_ORDERS, order)
        key = {"client_id": order.client_id}
        async with self._writing(durable=not order.terminal) as connection:
            row = await find(connection, GRID_ORDERS, key, lock=True)
            if row is None:
                await connection.execute(GRID_ORDERS.insert(), values)
                return True
            if order.cum_lots < row.cum_lots or (row.terminal and not order.terminal):
                return False
            change = {name: value for name, value in values.items() if name != "created_ms"}
            await connection.execute(GRID_ORDERS.update().where(*matches(GRID_ORDERS, key)).values(change))
        return True

    async def grid_orders(self, run_id: int, *, live_only: bool = False) -> list[GridOrder]:
        """The orders of a grid's run, by level."""
        table = GRID_ORDERS.c
        select = sa.select(GRID_ORDERS).where(table.run_id == run_id)
        if live_only:
            select = select.where(table.terminal.is_(False))
        order = (table.level, table.intent, table.attempt, table.client_id)
        async with self._reading() as connection:
            rows = (await connection.execute(select.order_by(*order))).all()
        return [typed(GridOrder, row) for row in rows]

    async def _put(self, table: sa.Table, row: msgspec.Struct, key_name: str) -> None:
        values = checked(table, row)
        born = {name: values.pop(name) for name in ("created_ms",) if name in values}
        key = {key_name: values.pop(key_name)}
        async with self._writing() as connection:
            await put(connection, table, key, values, born)


def _without(row: msgspec.Struct, field: str) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(row).items() if name != field}
