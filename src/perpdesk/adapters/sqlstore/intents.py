"""``order_intents``: every attempt to place an order, on disk before it is on the wire."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from perpdesk.adapters.sqlstore import faults
from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.schema import ATTEMPT_PLACE, INTENTS
from perpdesk.adapters.sqlstore.session import Session, new_id, savepoint
from perpdesk.domain.books import (
    INTENT_STEPS,
    PENDING_STATES,
    AttemptInFlight,
    IntentRow,
    IntentState,
    Json,
    NewIntent,
    StepRefused,
)


class Intents(Session):
    """Attempts of all accounts."""

    async def record_intent(self, intent: NewIntent) -> int:
        """Write an intent durably, in state NEW. Returns its id."""
        async with self._writing(durable=True) as connection, savepoint(connection):
            return await insert(connection, intent)

    async def mark_intent(
        self,
        client_id: str,
        state: IntentState,
        ms: int,
        *,
        signed_ms: int | None = None,
        fence_ms: int | None = None,
        result: Json | None = None,
    ) -> bool:
        """Take an intent to ``state``. Returns False if it is there already: nothing is changed then."""
        given = {"signed_ms": signed_ms, "fence_ms": fence_ms, "result": result}
        changes = {key: value for key, value in given.items() if value is not None}
        values = checked(INTENTS, {"state": state, "updated_ms": ms, **changes})
        sources = [source.value for source, steps in INTENT_STEPS.items() if state in steps]
        change = (
            INTENTS.update()
            .where(INTENTS.c.client_id == client_id, INTENTS.c.state.in_(sources))
            .values(values)
        )
        async with self._writing(durable=state is IntentState.SENT) as connection:
            if (await connection.execute(change)).rowcount == 1:
                return True
            found = await connection.scalar(
                sa.select(INTENTS.c.state).where(INTENTS.c.client_id == client_id)
            )
        if found == state.value:
            return False
        if found is None:
            raise StepRefused(f"there is no intent with client id {client_id}")
        raise StepRefused(f"intent {client_id} is {found} and cannot become {state}")

    async def intent(self, client_id: str) -> IntentRow | None:
        """The attempt with this client id, None if there is none."""
        async with self._reading() as connection:
            found = await connection.execute(sa.select(INTENTS).where(INTENTS.c.client_id == client_id))
            row = found.one_or_none()
        return None if row is None else typed(IntentRow, row)

    async def pending_intents(self, account_id: int) -> list[IntentRow]:
        """Attempts that are not settled, oldest first: what a start must clear up."""
        pending = [state.value for state in PENDING_STATES]
        select = (
            sa.select(INTENTS)
            .where(INTENTS.c.account_id == account_id, INTENTS.c.state.in_(pending))
            .order_by(INTENTS.c.id)
        )
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(IntentRow, row) for row in rows]


def with_position(intent: NewIntent, position_id: int) -> NewIntent:
    """The same intent, of this position."""
    return msgspec.structs.replace(intent, position_id=position_id)


async def insert(connection: AsyncConnection, intent: NewIntent) -> int:
    """Insert an intent in state NEW and return its id. The caller's savepoint catches a refusal."""
    values = checked(INTENTS, intent) | {"state": IntentState.NEW.value, "updated_ms": intent.created_ms}
    try:
        added = await connection.execute(INTENTS.insert(), values)
    except IntegrityError as error:
        if faults.violates(error, ATTEMPT_PLACE):
            raise AttemptInFlight(
                f"an earlier attempt of {intent.leg} of position {intent.position_id} is not proven dead"
            ) from None
        raise
    return new_id(added)
