"""``trading_control`` and ``strategy_states``: one row per key, the newest word holds."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.schema import CONTROL, STATES
from perpdesk.adapters.sqlstore.session import Session, savepoint
from perpdesk.domain.books import Failed, Json, Missing, StateRow, StoreFailed, TradingControl


class Control(Session):
    """The switch and what strategies keep."""

    async def trading_control(
        self, account_id: int, trading_type: str = "usdt_futures"
    ) -> TradingControl | Missing | Failed:
        """May new exposure be opened on this account? Never raises for a database that does not answer."""
        key = {"account_id": account_id, "trading_type": trading_type}
        try:
            async with self._reading() as connection:
                row = (await connection.execute(sa.select(CONTROL).where(*_is(CONTROL, key)))).one_or_none()
        except StoreFailed as error:
            return Failed(reason=str(error))
        return Missing() if row is None else typed(TradingControl, row)

    async def set_trading_control(
        self, account_id: int, enabled: bool, by: str, ms: int, trading_type: str = "usdt_futures"
    ) -> None:
        """Turn the switch, saying who and when."""
        key = {"account_id": account_id, "trading_type": trading_type}
        values = {"trading_enabled": enabled, "updated_by": by, "updated_ms": ms}
        async with self._writing(durable=True) as connection:
            await _put(connection, CONTROL, key, values, {"created_ms": ms})

    async def save_state(self, state: StateRow) -> None:
        """Keep a strategy's state, replacing what was kept under (account, strategy, symbol)."""
        kept = state.state
        values = {
            "state": None if isinstance(kept, bytes) else kept,
            "state_base64": b64encode(kept).decode() if isinstance(kept, bytes) else None,
            "params_hash": state.params_hash,
            "updated_ms": state.updated_ms,
        }
        key = {"account_id": state.account_id, "strategy": state.strategy, "symbol": state.symbol}
        async with self._writing() as connection:
            await _put(connection, STATES, key, values, {})

    async def load_state(self, account_id: int, strategy: str, symbol: str) -> StateRow | None:
        """What was kept, None if nothing was."""
        key = {"account_id": account_id, "strategy": strategy, "symbol": symbol}
        async with self._reading() as connection:
            row = (await connection.execute(sa.select(STATES).where(*_is(STATES, key)))).one_or_none()
        if row is None:
            return None
        kept: Json | bytes = row.state if row.state_base64 is None else b64decode(row.state_base64)
        return StateRow(
            account_id=account_id,
            strategy=strategy,
            symbol=symbol,
            state=kept,
            params_hash=row.params_hash,
            updated_ms=row.updated_ms,
        )


def _is(table: sa.Table, key: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == value for name, value in key.items()]


async def _put(
    connection: AsyncConnection,
    table: sa.Table,
    key: Mapping[str, Any],
    values: Mapping[str, Any],
    at_birth: Mapping[str, Any],
) -> None:
    """Update the row with this key, or insert it."""
    row = checked(table, {**key, **values, **at_birth})
    update = table.update().where(*_is(table, key)).values({name: row[name] for name in values})
    if (await connection.execute(update)).rowcount == 0:
        try:
            async with savepoint(connection):
                await connection.execute(table.insert(), row)
        except IntegrityError:
            # Another writer inserted it in between.
            if (await connection.execute(update)).rowcount == 0:
                raise
