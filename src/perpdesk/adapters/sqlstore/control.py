"""``trading_control`` and ``strategy_states``: one row per key, the newest word holds."""

from __future__ import annotations

from base64 import b64decode, b64encode

import msgspec
import sqlalchemy as sa

from perpdesk.adapters.sqlstore.keyed import bound, matches, named, put
from perpdesk.adapters.sqlstore.rows import typed
from perpdesk.adapters.sqlstore.schema import CONTROL, STATES
from perpdesk.adapters.sqlstore.session import Session
from perpdesk.domain.books import Failed, Json, Missing, StateRow, StoreFailed, TradingControl

# The switch as it is in the database: SQLite would take any text ("no") for true.
_SWITCH = sa.type_coerce(CONTROL.c.trading_enabled, sa.types.NULLTYPE).label("switch")
_SELECT = sa.select(CONTROL, _SWITCH).where(*named(CONTROL, ("account_id", "trading_type")))


class Control(Session):
    """The switch and what strategies keep."""

    async def trading_control(
        self, account_id: int, trading_type: str = "usdt_futures"
    ) -> TradingControl | Missing | Failed:
        """May new exposure be opened on this account? Never raises for a database that does not answer."""
        key = {"account_id": account_id, "trading_type": trading_type}
        try:
            async with self._reading() as connection:
                found = await connection.execute(_SELECT, bound(key))
                row = found.one_or_none()
            if row is None:
                return Missing()
            if not isinstance(row.switch, int) or row.switch not in (0, 1):
                return Failed(reason=f"trading_control.trading_enabled is {row.switch!r}, not 0 or 1")
            return typed(TradingControl, row)
        except StoreFailed as error:
            return Failed(reason=str(error))
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            return Failed(reason=f"the row of trading_control cannot be read: {error}")

    async def set_trading_control(
        self, account_id: int, enabled: bool, by: str, ms: int, trading_type: str = "usdt_futures"
    ) -> None:
        """Turn the switch, saying who and when."""
        key = {"account_id": account_id, "trading_type": trading_type}
        values = {"trading_enabled": enabled, "updated_by": by, "updated_ms": ms}
        async with self._writing(durable=True) as connection:
            await put(connection, CONTROL, key, values, {"created_ms": ms})

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
            await put(connection, STATES, key, values, {})

    async def load_state(self, account_id: int, strategy: str, symbol: str) -> StateRow | None:
        """What was kept, None if nothing was."""
        key = {"account_id": account_id, "strategy": strategy, "symbol": symbol}
        async with self._reading() as connection:
            row = (await connection.execute(sa.select(STATES).where(*matches(STATES, key)))).one_or_none()
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
