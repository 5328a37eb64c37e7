"""``breaker_days``: what a UTC day of an account or strategy began with, and whether it is over.

A day begins once: a restart, or a clock that steps back over midnight, finds it as it was.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
import sqlalchemy as sa

from perpdesk.adapters.sqlstore.journal import append
from perpdesk.adapters.sqlstore.keyed import add, find, matches
from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.schema_accounts import BREAKER_DAYS
from perpdesk.adapters.sqlstore.session import Session
from perpdesk.domain.account_books import BreakerDay, NewBreakerDay
from perpdesk.domain.books import Failed, JournalEntry, Missing, StepRefused, StoreFailed
from perpdesk.domain.errors import InputError


class Breaker(Session):
    """The days of all accounts."""

    async def start_breaker_day(self, day: NewBreakerDay) -> BreakerDay:
        """Begin a day, or find it as it began: the first base stays."""
        _check_day(day.day)
        began = BreakerDay(**msgspec.structs.asdict(day), updated_ms=day.created_ms)
        key = _key(day.account_id, day.strategy, day.day)
        async with self._writing(durable=True) as connection:
            row = await find(connection, BREAKER_DAYS, key)
            if row is None:
                if await add(connection, BREAKER_DAYS, key, checked(BREAKER_DAYS, began)):
                    return began
                row = await find(connection, BREAKER_DAYS, key)
        if row is None:
            raise StepRefused(f"the breaker day {key} can be neither read nor made")
        return typed(BreakerDay, row)

    async def update_breaker_day(
        self, account_id: int, strategy: str, day: str, ms: int, *, realised: Decimal, transfers: Decimal
    ) -> None:
        """Write the day's sums so far. Raises StepRefused if the day was never begun."""
        values = checked(BREAKER_DAYS, {"realised": realised, "transfers": transfers, "updated_ms": ms})
        await self._change(_key(account_id, strategy, day), values)

    async def trip_breaker(
        self, account_id: int, strategy: str, day: str, ms: int, *, pnl: Decimal, reason: str
    ) -> bool:
        """End the day's entries, durably, with a journal entry. False: it was over already. Raises
        StepRefused if the day was never begun."""
        key = _key(account_id, strategy, day)
        values = checked(
            BREAKER_DAYS, {"tripped_ms": ms, "trip_pnl": pnl, "trip_reason": reason, "updated_ms": ms}
        )
        trip = BREAKER_DAYS.update().where(*matches(BREAKER_DAYS, key), BREAKER_DAYS.c.tripped_ms.is_(None))
        async with self._writing(durable=True) as connection:
            if (await connection.execute(trip.values(values))).rowcount == 1:
                payload = {**key, "pnl": pnl, "reason": reason}
                await append(connection, [JournalEntry(ms=ms, kind="breaker_tripped", payload=payload)])
                return True
            if await find(connection, BREAKER_DAYS, key) is None:
                raise StepRefused(f"the breaker day {key} was never begun")
        return False

    async def reset_breaker(
        self, account_id: int, strategy: str, day: str, ms: int, *, by: str, reason: str
    ) -> bool:
        """A person takes the trip back, with a journal entry. False: nothing had tripped."""
        if not reason.strip():
            raise InputError("say why the breaker is reset", field="breaker_days.reset_reason")
        key = _key(account_id, strategy, day)
        said = {"reset_ms": ms, "reset_by": by, "reset_reason": reason, "updated_ms": ms}
        values = checked(BREAKER_DAYS, said | {"tripped_ms": None, "trip_pnl": None, "trip_reason": None})
        reset = BREAKER_DAYS.update().where(
            *matches(BREAKER_DAYS, key), BREAKER_DAYS.c.tripped_ms.is_not(None)
        )
        async with self._writing(durable=True) as connection:
            if (await connection.execute(reset.values(values))).rowcount != 1:
                return False
            payload = {**key, "by": by, "reason": reason}
            await append(connection, [JournalEntry(ms=ms, kind="breaker_reset", payload=payload)])
        return True

    async def breaker_day(self, account_id: int, strategy: str, day: str) -> BreakerDay | Missing | Failed:
        """The day as it stands. Never raises for a database that does not answer."""
        try:
            async with self._reading() as connection:
                row = await find(connection, BREAKER_DAYS, _key(account_id, strategy, day))
        except StoreFailed as error:
            return Failed(reason=str(error))
        return Missing() if row is None else typed(BreakerDay, row)

    async def breaker_days(self, account_id: int, strategy: str | None = None) -> list[BreakerDay]:
        """The days of an account (and strategy), oldest first."""
        table = BREAKER_DAYS.c
        select = sa.select(BREAKER_DAYS).where(table.account_id == account_id)
        if strategy is not None:
            select = select.where(table.strategy == strategy)
        async with self._reading() as connection:
            rows = (await connection.execute(select.order_by(table.day, table.strategy))).all()
        return [typed(BreakerDay, row) for row in rows]

    async def _change(self, key: dict[str, object], values: dict[str, object]) -> None:
        change = BREAKER_DAYS.update().where(*matches(BREAKER_DAYS, key)).values(values)
        async with self._writing() as connection:
            if (await connection.execute(change)).rowcount != 1:
                raise StepRefused(f"the breaker day {key} was never begun")


def _key(account_id: int, strategy: str, day: str) -> dict[str, object]:
    return {"account_id": account_id, "strategy": strategy, "day": day}


def _check_day(day: str) -> None:
    parts = day.split("-")
    if [len(part) for part in parts] != [4, 2, 2] or not all(p.isascii() and p.isdigit() for p in parts):
        raise InputError(f"must be a UTC day such as 2025-05-24, was {day!r}", field="breaker_days.day")
