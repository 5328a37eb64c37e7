"""``order_records`` and ``fills``: what the exchange did. Hearing it twice changes nothing."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.schema import FILLS, ORDERS
from perpdesk.adapters.sqlstore.session import Session, savepoint
from perpdesk.domain.books import BooksContradiction, FillQuery, FillRow, OrderRow

# What makes a fill the same fill: all but how we heard of it and whose we think it is.
_FILL_FACTS = ("side", "qty", "price", "commission", "commission_asset", "fill_ms", "is_maker", "order_id")


class Orders(Session):
    """Orders and fills of all accounts."""

    async def record_order(self, order: OrderRow) -> bool:
        """Write an order as it stands, new or known by (account, client id, effect). Returns False for a
        report older than what is known (less has traded): it changes nothing."""
        values = checked(ORDERS, order)
        async with self._writing() as connection:
            known = await _traded(connection, order)
            if known is None:
                try:
                    async with savepoint(connection):
                        await connection.execute(ORDERS.insert(), values)
                    return True
                except IntegrityError:
                    # Another writer was first; anything else is a contradiction.
                    known = await _traded(connection, order)
                    if known is None:
                        raise
            if order.quantity < known:
                return False
            await connection.execute(ORDERS.update().where(*_same_order(order)).values(values))
        return True

    async def record_fill(self, fill: FillRow) -> bool:
        """Write a fill once. Returns False if it is known already."""
        values = checked(FILLS, fill)
        async with self._writing() as connection:
            try:
                async with savepoint(connection):
                    await connection.execute(FILLS.insert(), values)
                return True
            except IntegrityError:
                known = await _known_fill(connection, fill)
                if known is None:
                    raise
        for fact in _FILL_FACTS:
            if getattr(known, fact) != getattr(fill, fact):
                raise BooksContradiction(
                    f"trade {fill.trade_id} of {fill.symbol} on account {fill.account_id} is written down "
                    f"with {fact} {getattr(known, fact)} and now reported with {getattr(fill, fact)}: "
                    "compare it with the exchange"
                )
        return False

    async def orders(self, account_id: int, position_id: int | None = None) -> list[OrderRow]:
        """The orders of an account (and position), in the order in which they were first written."""
        select = sa.select(ORDERS).where(ORDERS.c.account_id == account_id).order_by(ORDERS.c.id)
        if position_id is not None:
            select = select.where(ORDERS.c.position_id == position_id)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(OrderRow, row) for row in rows]

    async def fills(self, query: FillQuery) -> list[FillRow]:
        """Fills that match, in order of time; with a limit the newest of them."""
        table = FILLS.c
        select = sa.select(FILLS).order_by(table.fill_ms.desc(), table.id.desc()).limit(query.limit)
        for column in (table.account_id, table.symbol, table.position_id):
            wanted = getattr(query, column.key)
            if wanted is not None:
                select = select.where(column == wanted)
        if query.from_ms is not None:
            select = select.where(table.fill_ms >= query.from_ms)
        if query.until_ms is not None:
            select = select.where(table.fill_ms < query.until_ms)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(FillRow, row) for row in reversed(rows)]


def _same_order(order: OrderRow) -> tuple[sa.ColumnElement[bool], ...]:
    table = ORDERS.c
    return (
        table.account_id == order.account_id,
        table.client_id == order.client_id,
        table.order_type == order.order_type.value,
    )


async def _traded(connection: AsyncConnection, order: OrderRow) -> Any:
    """How much of the order has traded as far as is known, None if it is not known. Locks the row."""
    return await connection.scalar(sa.select(ORDERS.c.quantity).where(*_same_order(order)).with_for_update())


async def _known_fill(connection: AsyncConnection, fill: FillRow) -> FillRow | None:
    table = FILLS.c
    found = await connection.execute(
        sa.select(FILLS).where(
            table.account_id == fill.account_id,
            table.symbol == fill.symbol,
            table.trade_id == fill.trade_id,
        )
    )
    row = found.one_or_none()
    return None if row is None else typed(FillRow, row)
