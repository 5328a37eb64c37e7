"""``futures_positions``: born with their intent, changed while they live, never after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Unpack

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from perpdesk.adapters.sqlstore import faults, intents
from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.schema import OI_PLACE, POSITION_PLACE, POSITIONS
from perpdesk.adapters.sqlstore.session import Session, new_id
from perpdesk.domain.books import (
    LIVE_STATUSES,
    POSITION_STEPS,
    NewIntent,
    NewPosition,
    PositionChange,
    PositionEnd,
    PositionExists,
    PositionQuery,
    PositionRow,
    StepRefused,
)
from perpdesk.domain.errors import InputError
from perpdesk.domain.order import PositionSide
from perpdesk.domain.position import PositionStatus

_MONEY = ("realized_pnl", "commission", "funding")
_CHANGEABLE = frozenset(PositionChange.__annotations__)


class Positions(Session):
    """The positions of all versions and accounts."""

    async def open_position(self, position: NewPosition, intent: NewIntent | None) -> int:
        """Write a position and the intent of its entry, together and durably. Returns the position's id."""
        if position.status not in LIVE_STATUSES:
            raise InputError(
                f"must be live at birth, was {position.status}", field="futures_positions.status"
            )
        zero = dict.fromkeys((*_MONEY, "net_pnl"), Decimal(0))
        values = checked(POSITIONS, position) | zero | {"updated_ms": position.created_ms}
        async with self._writing(durable=True) as connection:
            try:
                async with connection.begin_nested():
                    added = await connection.execute(POSITIONS.insert(), values)
                    position_id = new_id(added)
                    if intent is not None:
                        owned = intents.with_position(intent, position_id)
                        await intents.insert(connection, owned)
            except IntegrityError as error:
                if faults.violates(error, POSITION_PLACE) or faults.violates(error, OI_PLACE):
                    raise PositionExists(
                        f"{position.signal_version} already has a live {position.position_side} position on "
                        f"{position.symbol} of account {position.account_id}"
                    ) from None
                raise
        return position_id

    async def update_position(self, position_id: int, ms: int, **changes: Unpack[PositionChange]) -> None:
        """Change a live position."""
        unknown = sorted(changes.keys() - _CHANGEABLE)
        if unknown:
            raise InputError("cannot be changed", field=f"futures_positions.{unknown[0]}")
        target = changes.get("status")
        if target is not None and target not in LIVE_STATUSES:
            raise InputError("a position is ended by close_position", field="futures_positions.status")
        await self._step(position_id, ms, changes, target)

    async def close_position(self, position_id: int, ms: int, end: PositionEnd) -> None:
        """End a live position, for good."""
        if end.status in LIVE_STATUSES:
            raise InputError(f"must be final, was {end.status}", field="futures_positions.status")
        await self._step(position_id, ms, _given(end), end.status)

    async def position(self, position_id: int) -> PositionRow | None:
        """One position, None if there is none."""
        async with self._reading() as connection:
            found = await connection.execute(sa.select(POSITIONS).where(POSITIONS.c.id == position_id))
            row = found.one_or_none()
        return None if row is None else typed(PositionRow, row)

    async def live_positions(
        self,
        account_id: int,
        symbol: str | None = None,
        position_side: PositionSide | None = None,
        signal_version: str | None = None,
    ) -> list[PositionRow]:
        """What is, or may be, on the exchange, oldest first."""
        return await self.positions(
            PositionQuery(
                account_id=account_id,
                symbol=symbol,
                position_side=position_side,
                signal_version=signal_version,
                statuses=LIVE_STATUSES,
            )
        )

    async def positions(self, query: PositionQuery) -> list[PositionRow]:
        """Positions that match, oldest first; with a limit the newest of them."""
        table = POSITIONS.c
        select = sa.select(POSITIONS).order_by(table.id.desc()).limit(query.limit)
        for column in (table.account_id, table.symbol, table.position_side, table.signal_version):
            wanted = getattr(query, column.key)
            if wanted is not None:
                select = select.where(column == wanted)
        if query.statuses is not None:
            select = select.where(table.status.in_([status.value for status in query.statuses]))
        if query.from_ms is not None:
            select = select.where(table.created_ms >= query.from_ms)
        if query.until_ms is not None:
            select = select.where(table.created_ms < query.until_ms)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(PositionRow, row) for row in reversed(rows)]

    async def _step(
        self, position_id: int, ms: int, changes: Mapping[str, Any], target: PositionStatus | None
    ) -> None:
        values = checked(POSITIONS, {**_with_net(changes), "updated_ms": ms})
        sources = LIVE_STATUSES if target is None else _sources(target)
        change = (
            POSITIONS.update()
            .where(POSITIONS.c.id == position_id, POSITIONS.c.status.in_([one.value for one in sources]))
            .values(values)
        )
        async with self._writing() as connection:
            if (await connection.execute(change)).rowcount != 1:
                await _refuse(connection, position_id, target)


def _given(end: PositionEnd) -> dict[str, Any]:
    given = {field: getattr(end, field) for field in end.__struct_fields__}
    return given if end.exit_hits is not None else {k: v for k, v in given.items() if k != "exit_hits"}


def _sources(target: PositionStatus) -> Sequence[PositionStatus]:
    """The statuses from which ``target`` may be taken; a live one may also be repeated."""
    return [
        status
        for status, steps in POSITION_STEPS.items()
        if target in steps or (status is target and status.is_live)
    ]


def _with_net(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    given = [name for name in _MONEY if name in changes]
    if not given:
        return changes
    if len(given) != len(_MONEY):
        raise InputError(f"must be given together: {', '.join(_MONEY)}", field="futures_positions")
    if isinstance(changes["commission"], Decimal) and changes["commission"] < 0:
        raise InputError("must not be negative", field="futures_positions.commission")
    checked(POSITIONS, {name: changes[name] for name in _MONEY})
    net = changes["realized_pnl"] - changes["commission"] + changes["funding"]
    return {**changes, "net_pnl": net}


async def _refuse(connection: AsyncConnection, position_id: int, target: PositionStatus | None) -> None:
    found = await connection.scalar(sa.select(POSITIONS.c.status).where(POSITIONS.c.id == position_id))
    if found is None:
        raise StepRefused(f"there is no position {position_id}")
    step = "be changed" if target is None else f"become {target}"
    raise StepRefused(f"position {position_id} is {found} and cannot {step}: finished rows never change")
