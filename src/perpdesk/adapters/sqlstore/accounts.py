"""``accounts``, ``external_lots``, ``income_rows``, ``position_adjustments``: what is foreign."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Unpack

import msgspec
import sqlalchemy as sa

from perpdesk.adapters.sqlstore.journal import append
from perpdesk.adapters.sqlstore.keyed import add, find, matches
from perpdesk.adapters.sqlstore.rows import checked, typed
from perpdesk.adapters.sqlstore.schema_accounts import ACCOUNTS, ADJUSTMENTS, EXTERNAL_LOTS, INCOME
from perpdesk.adapters.sqlstore.session import Session
from perpdesk.domain.account_books import (
    AccountChange,
    AccountExists,
    AccountRow,
    AccountStatus,
    Adjustment,
    ExternalLots,
    IncomeRow,
    NewAccount,
)
from perpdesk.domain.books import SIMULATED_ACCOUNTS, BooksContradiction, JournalEntry, StepRefused, StoreBusy
from perpdesk.domain.errors import InputError
from perpdesk.domain.order import PositionSide

_INCOME_FACTS = ("asset", "amount", "time_ms")
_ADJUSTMENT_FACTS = ("position_id", "kind", "qty", "price", "realized_pnl", "commission", "funding")
_ATTEMPTS = 20


class Accounts(Session):
    """Accounts and what is foreign on them."""

    async def add_account(self, account: NewAccount) -> AccountRow:
        """Make an account known and give it the next id. Raises AccountExists if its name was ever taken."""
        async with self._writing(durable=True) as connection:
            for _ in range(_ATTEMPTS):
                if await find(connection, ACCOUNTS, {"name": account.name}) is not None:
                    raise AccountExists(account.name)
                # Ids of one database are never used twice, not even those of runs without an account row.
                highest = await connection.scalar(sa.select(sa.func.max(ACCOUNTS.c.account_id))) or 0
                if highest + 1 >= SIMULATED_ACCOUNTS:
                    raise InputError("there are too many accounts", field="accounts.account_id")
                row = AccountRow(
                    **msgspec.structs.asdict(account),
                    account_id=highest + 1,
                    status=AccountStatus.ACTIVE,
                    updated_ms=account.created_ms,
                    last_check_ms=None,
                    last_check_problem=None,
                )
                if await add(connection, ACCOUNTS, {"account_id": row.account_id}, checked(ACCOUNTS, row)):
                    return row
        raise StoreBusy("others are adding accounts at the same time, nothing was written: try again")

    async def account(self, name: str) -> AccountRow | None:
        """The account with this name, None if there never was one."""
        async with self._reading() as connection:
            row = await find(connection, ACCOUNTS, {"name": name})
        return None if row is None else typed(AccountRow, row)

    async def accounts(self) -> list[AccountRow]:
        """All accounts, by id, removed ones too."""
        async with self._reading() as connection:
            rows = (await connection.execute(sa.select(ACCOUNTS).order_by(ACCOUNTS.c.account_id))).all()
        return [typed(AccountRow, row) for row in rows]

    async def change_account(self, account_id: int, ms: int, **changes: Unpack[AccountChange]) -> None:
        """Change an account. Raises StepRefused if it does not exist or was removed."""
        unknown = sorted(changes.keys() - AccountChange.__annotations__.keys())
        if unknown:
            raise InputError("cannot be changed", field=f"accounts.{unknown[0]}")
        values = checked(ACCOUNTS, {**changes, "updated_ms": ms})
        change = ACCOUNTS.update().where(
            ACCOUNTS.c.account_id == account_id, ACCOUNTS.c.status != AccountStatus.REMOVED.value
        )
        async with self._writing(durable=True) as connection:
            if (await connection.execute(change.values(values))).rowcount != 1:
                raise StepRefused(f"account {account_id} does not exist or was removed")

    async def save_external(self, lots: ExternalLots) -> bool:
        """Write how much is foreign there now. A changed quantity has to be acknowledged anew; the first
        sight stays. False: nothing changed."""
        values = checked(EXTERNAL_LOTS, lots)
        key = {name: values[name] for name in ("account_id", "symbol", "position_side")}
        async with self._writing(durable=True) as connection:
            row = await find(connection, EXTERNAL_LOTS, key, lock=True)
            if row is None:
                if await add(connection, EXTERNAL_LOTS, key, values):
                    return True
                row = await find(connection, EXTERNAL_LOTS, key, lock=True)
            if row is not None and row.qty == lots.qty and row.avg_price == lots.avg_price:
                return False
            if row is not None and row.qty == lots.qty:  # a better known price is no new quantity
                values |= {"acknowledged_ms": row.acknowledged_ms, "acknowledged_by": row.acknowledged_by}
            if row is not None and row.qty != 0:
                values["first_seen_ms"] = row.first_seen_ms
            await connection.execute(
                EXTERNAL_LOTS.update().where(*matches(EXTERNAL_LOTS, key)).values(values)
            )
        return True

    async def acknowledge_external(
        self, account_id: int, symbol: str, position_side: PositionSide, qty: Decimal, by: str, ms: int
    ) -> bool:
        """A person has seen this very quantity: entries may go on. Journalled. False if it is another now."""
        key = {"account_id": account_id, "symbol": symbol, "position_side": position_side.value}
        values = checked(EXTERNAL_LOTS, {"acknowledged_ms": ms, "acknowledged_by": by})
        async with self._writing(durable=True) as connection:
            row = await find(connection, EXTERNAL_LOTS, key, lock=True)
            if row is None or row.qty != qty:
                return False
            await connection.execute(
                EXTERNAL_LOTS.update().where(*matches(EXTERNAL_LOTS, key)).values(values)
            )
            payload = {**key, "qty": qty, "by": by}
            await append(connection, [JournalEntry(ms=ms, kind="external_acknowledged", payload=payload)])
        return True

    async def external_lots(self, account_id: int) -> list[ExternalLots]:
        """What is foreign on an account, by symbol; quantities of 0 are history."""
        table = EXTERNAL_LOTS.c
        select = sa.select(EXTERNAL_LOTS).where(table.account_id == account_id)
        async with self._reading() as connection:
            rows = (await connection.execute(select.order_by(table.symbol, table.position_side))).all()
        return [typed(ExternalLots, row) for row in rows]

    async def record_income(self, rows: Sequence[IncomeRow]) -> int:
        """Import lines of the exchange's statement. Returns how many were new; raises BooksContradiction if
        one is known with other content."""
        new = 0
        async with self._writing() as connection:
            for row in rows:
                values = checked(INCOME, row)
                names = ("account_id", "tran_id", "income_type", "symbol")
                key = {name: values[name] for name in names}
                known = await find(connection, INCOME, key)
                if known is None:
                    if await add(connection, INCOME, key, values):
                        new += 1
                        continue
                    known = await find(connection, INCOME, key)
                _refuse_other("income", key, known, row, _INCOME_FACTS)
        return new

    async def income(
        self, account_id: int, from_ms: int | None = None, until_ms: int | None = None
    ) -> list[IncomeRow]:
        """Lines of the statement within [from_ms, until_ms), in order of time."""
        table = INCOME.c
        select = sa.select(INCOME).where(table.account_id == account_id).order_by(table.time_ms, table.id)
        if from_ms is not None:
            select = select.where(table.time_ms >= from_ms)
        if until_ms is not None:
            select = select.where(table.time_ms < until_ms)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(IncomeRow, row) for row in rows]

    async def income_totals(
        self, account_id: int, from_ms: int | None = None, until_ms: int | None = None
    ) -> dict[tuple[str, str], Decimal]:
        """Exact sums of the statement by (income type, asset)."""
        sums: dict[tuple[str, str], Decimal] = {}
        for row in await self.income(account_id, from_ms, until_ms):
            key = (row.income_type, row.asset)
            sums[key] = sums.get(key, Decimal(0)) + row.amount
        return sums

    async def record_adjustments(self, adjustments: Sequence[Adjustment]) -> int:
        """Write corrections, each with its journal entry, once per ``source_key``. Returns how many were
        new; raises BooksContradiction if one is known with other content."""
        new: list[JournalEntry] = []
        async with self._writing() as connection:
            for one in adjustments:
                values = checked(ADJUSTMENTS, one)
                key = {"account_id": one.account_id, "source_key": one.source_key}
                known = await find(connection, ADJUSTMENTS, key)
                if known is None:
                    if await add(connection, ADJUSTMENTS, key, values):
                        new.append(JournalEntry(ms=one.ms, kind="position_adjusted", payload=values))
                        continue
                    known = await find(connection, ADJUSTMENTS, key)
                _refuse_other("adjustment", key, known, one, _ADJUSTMENT_FACTS)
            if new:
                await append(connection, new)
        return len(new)

    async def adjustments(self, account_id: int, position_id: int | None = None) -> list[Adjustment]:
        """Corrections of an account (and position), in the order in which they were written."""
        table = ADJUSTMENTS.c
        select = sa.select(ADJUSTMENTS).where(table.account_id == account_id).order_by(table.id)
        if position_id is not None:
            select = select.where(table.position_id == position_id)
        async with self._reading() as connection:
            rows = (await connection.execute(select)).all()
        return [typed(Adjustment, row) for row in rows]


def _refuse_other(
    what: str, key: dict[str, Any], known: sa.Row[Any] | None, said: msgspec.Struct, facts: Sequence[str]
) -> None:
    for fact in facts:
        if known is None or getattr(known, fact) != getattr(said, fact):
            was = "nothing that can be read" if known is None else f"{fact} {getattr(known, fact)}"
            raise BooksContradiction(
                f"{what} {key} is written down with {was} and now reported with {getattr(said, fact)}: "
                "compare it with the exchange"
            )
