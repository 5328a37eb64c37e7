"""Accounts, foreign lots, the exchange's statement, corrections and days: each fact once, each day begun once."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.store_databases import Database
from tests.contract.store_rows import ACCOUNT, T0, ready

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.account_books import (
    WHOLE_ACCOUNT,
    AccountExists,
    AccountStatus,
    Adjustment,
    AdjustmentKind,
    BreakerDay,
    ExternalLots,
    IncomeRow,
    NewAccount,
    NewBreakerDay,
)
from perpdesk.domain.books import BooksContradiction, Failed, Missing, StepRefused
from perpdesk.domain.errors import InputError
from perpdesk.domain.order import PositionSide

DAY = "2025-05-24"


def account(name: str = "main") -> NewAccount:
    """An account whose key is elsewhere."""
    return NewAccount(
        name=name, exchange="binance", vault_ref=f"vault:{name}", params={"leverage": 5}, created_ms=T0
    )


async def test_an_account_is_known_by_one_name(store: SqlStore) -> None:
    made = await store.add_account(account())
    assert (made.account_id, made.status, made.params) == (1, AccountStatus.ACTIVE, {"leverage": 5})
    assert await store.account("main") == made
    assert await store.account("Main") is None
    with pytest.raises(AccountExists, match="'main'"):
        await store.add_account(account())
    assert (await store.add_account(account("Main"))).account_id == 2
    assert [row.name for row in await store.accounts()] == ["main", "Main"]


async def test_accounts_added_at_once_get_ids_of_their_own(database: Database) -> None:
    stores = [await SqlStore.open(database.url) for _ in range(3)]
    try:
        names = [f"account-{number}" for number in range(6)]
        made = await asyncio.gather(
            *(stores[n % 3].add_account(account(name)) for n, name in enumerate(names))
        )
        assert sorted(row.account_id for row in made) == [1, 2, 3, 4, 5, 6]
    finally:
        for store in stores:
            await store.close()


async def test_a_removed_account_stays_and_its_name_is_never_reused(store: SqlStore) -> None:
    made = await store.add_account(account())
    await store.change_account(made.account_id, T0 + 1, last_check_ms=T0 + 1, last_check_problem="no IP list")
    found = await store.account("main")
    assert found is not None
    assert (found.last_check_ms, found.last_check_problem, found.updated_ms) == (T0 + 1, "no IP list", T0 + 1)
    await store.change_account(
        made.account_id, T0 + 2, status=AccountStatus.REMOVED, vault_ref=None, last_check_problem=None
    )
    with pytest.raises(StepRefused):
        await store.change_account(made.account_id, T0 + 3, status=AccountStatus.ACTIVE)
    with pytest.raises(AccountExists):
        await store.add_account(account())
    assert (await store.add_account(account("next"))).account_id == 2
    with pytest.raises(InputError, match=r"accounts\.name"):
        await store.change_account(2, T0, name="other")  # type: ignore[call-arg]


def lots(qty: str, **given: object) -> ExternalLots:
    """What somebody else has of BTCUSDT."""
    values: dict[str, object] = {
        "account_id": ACCOUNT,
        "symbol": "BTCUSDT",
        "position_side": PositionSide.BOTH,
        "qty": Decimal(qty),
        "avg_price": Decimal("64000.1"),
        "client_id": "web_abc",
        "first_seen_ms": T0,
        "updated_ms": T0,
    }
    return ExternalLots(**values | given)  # type: ignore[arg-type]


async def test_foreign_lots_stop_entries_until_this_quantity_is_acknowledged(store: SqlStore) -> None:
    key = (ACCOUNT, "BTCUSDT", PositionSide.BOTH)

    async def now() -> ExternalLots:
        (found,) = await store.external_lots(ACCOUNT)
        return found

    assert await store.save_external(lots("-0.5"))
    assert not await store.save_external(lots("-0.5", updated_ms=T0 + 5))
    assert (await now()).stops_entries
    assert not await store.acknowledge_external(*key, Decimal("-0.4"), "operator", T0 + 6)
    assert (await now()).stops_entries
    assert await store.acknowledge_external(*key, Decimal("-0.5"), "operator", T0 + 7)
    assert not (await now()).stops_entries
    assert not await store.save_external(lots("-0.5", updated_ms=T0 + 8))  # still acknowledged
    assert not (await now()).stops_entries
    assert await store.save_external(lots("-0.5", avg_price=Decimal("64000.2"), updated_ms=T0 + 8))
    assert not (await now()).stops_entries
    assert await store.save_external(lots("-0.6", first_seen_ms=T0 + 9, updated_ms=T0 + 9))
    found = await now()
    assert found.stops_entries
    assert (found.first_seen_ms, found.acknowledged_by) == (T0, None)
    assert await store.save_external(lots("0", avg_price=None, updated_ms=T0 + 10))
    assert not (await now()).stops_entries
    assert await store.save_external(lots("0.1", first_seen_ms=T0 + 11, updated_ms=T0 + 11))
    assert (await now()).first_seen_ms == T0 + 11
    assert (await store.verify_journal()).rows == 1
    assert await store.external_lots(ACCOUNT + 1) == []


def income(tran_id: int = 1, **given: object) -> IncomeRow:
    """A funding payment."""
    values: dict[str, object] = {
        "account_id": ACCOUNT,
        "income_type": "FUNDING_FEE",
        "tran_id": tran_id,
        "symbol": "BTCUSDT",
        "asset": "USDT",
        "amount": Decimal("-0.01234567"),
        "time_ms": T0 + tran_id,
        "imported_ms": T0,
    }
    return IncomeRow(**values | given)  # type: ignore[arg-type]


async def test_a_line_of_the_statement_is_imported_once(database: Database) -> None:
    stores = [await SqlStore.open(database.url) for _ in range(2)]
    try:
        page = [income(number) for number in range(1, 6)]
        new = await asyncio.gather(*(stores[n % 2].record_income(page) for n in range(6)))
        assert sum(new) == 5
        assert await stores[0].record_income([income(5, imported_ms=T0 + 9)]) == 0
        assert len(await stores[0].income(ACCOUNT)) == 5
    finally:
        for store in stores:
            await store.close()


async def test_a_line_with_two_contents_is_an_alarm_and_takes_its_page_with_it(store: SqlStore) -> None:
    await store.record_income([income()])
    for change in ({"amount": Decimal("-0.01234568")}, {"asset": "BNB"}, {"time_ms": T0}):
        with pytest.raises(BooksContradiction, match=next(iter(change))):
            await store.record_income([income(2), income(**change)])
    assert [row.tran_id for row in await store.income(ACCOUNT)] == [1]


async def test_lines_are_told_apart_by_transaction_type_symbol_and_account(store: SqlStore) -> None:
    rows = [
        income(),
        income(income_type="COMMISSION"),
        income(symbol="ETHUSDT"),
        income(symbol="", income_type="TRANSFER", amount=Decimal(100)),
        income(account_id=ACCOUNT + 1),
        income(2, asset="BNB", amount=Decimal("-0.00000001")),
    ]
    assert await store.record_income(rows) == 6
    totals = await store.income_totals(ACCOUNT)
    assert totals == {
        ("FUNDING_FEE", "USDT"): Decimal("-0.02469134"),
        ("FUNDING_FEE", "BNB"): Decimal("-0.00000001"),
        ("COMMISSION", "USDT"): Decimal("-0.01234567"),
        ("TRANSFER", "USDT"): Decimal(100),
    }
    assert await store.income_totals(ACCOUNT, T0 + 2, T0 + 3) == {
        ("FUNDING_FEE", "BNB"): Decimal("-0.00000001")
    }
    assert await store.income(ACCOUNT, until_ms=T0) == []


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.decimals(min_value=-(10**11), max_value=10**11, places=8), max_size=12))
async def test_sums_of_the_statement_are_exact(amounts: list[Decimal]) -> None:
    async with await SqlStore.open("sqlite://") as store:
        rows = [income(number, amount=amount) for number, amount in enumerate(amounts)]
        await store.record_income(rows)
        await store.record_income(list(reversed(rows)))
        expected = {("FUNDING_FEE", "USDT"): sum(amounts, Decimal(0))} if amounts else {}
        assert await store.income_totals(ACCOUNT) == expected


def adjustment(**given: object) -> Adjustment:
    """A person sold half by hand."""
    values: dict[str, object] = {
        "account_id": ACCOUNT,
        "symbol": "BTCUSDT",
        "position_side": PositionSide.LONG,
        "kind": AdjustmentKind.PRO_RATA,
        "qty": Decimal("-0.0155"),
        "price": Decimal("65000"),
        "realized_pnl": Decimal("13.5"),
        "commission": Decimal("0.50375"),
        "source_key": "trade:BTCUSDT:17:1",
        "ms": T0,
    }
    return Adjustment(**values | given)  # type: ignore[arg-type]


async def test_a_correction_is_written_and_journalled_once(store: SqlStore) -> None:
    rows = await ready(store)
    position_id = await store.open_position(rows.position(), rows.intent())
    own = adjustment(position_id=position_id)
    rest = adjustment(kind=AdjustmentKind.TO_EXTERNAL, source_key="trade:BTCUSDT:17:external")
    assert await store.record_adjustments([own, rest]) == 2
    assert await store.record_adjustments([own, rest]) == 0
    assert await store.adjustments(ACCOUNT) == [own, rest]
    assert await store.adjustments(ACCOUNT, position_id) == [own]
    assert (await store.verify_journal()).rows == 2
    with pytest.raises(BooksContradiction, match="qty"):
        await store.record_adjustments([msgspec.structs.replace(own, qty=Decimal("-0.0156"))])
    with pytest.raises(BooksContradiction):
        await store.record_adjustments([adjustment(position_id=99_999, source_key="of nobody")])
    found = await store.verify_journal()
    assert (found.is_intact, found.rows) == (True, 2)


async def test_a_correction_and_its_fill_are_written_together_or_not(store: SqlStore) -> None:
    async def fails() -> None:
        async with store.unit() as books:
            await books.record_adjustments([adjustment()])
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await fails()
    assert await store.adjustments(ACCOUNT) == []
    assert (await store.verify_journal()).rows == 0


def day(**given: object) -> NewBreakerDay:
    """The account's day."""
    values: dict[str, object] = {
        "account_id": ACCOUNT,
        "strategy": WHOLE_ACCOUNT,
        "day": DAY,
        "base_equity": Decimal("50.12345678"),
        "created_ms": T0,
    }
    return NewBreakerDay(**values | given)  # type: ignore[arg-type]


async def test_a_day_begins_once(database: Database) -> None:
    stores = [await SqlStore.open(database.url) for _ in range(2)]
    try:
        bases = [Decimal(50 + number) for number in range(8)]
        found = await asyncio.gather(
            *(stores[n % 2].start_breaker_day(day(base_equity=base)) for n, base in enumerate(bases))
        )
        assert len({row.base_equity for row in found}) == 1
        again = await stores[0].start_breaker_day(day(base_equity=Decimal(1), created_ms=T0 + 99))
        assert again == found[0]
    finally:
        for store in stores:
            await store.close()


async def test_a_trip_survives_a_restart_and_a_second_start_of_the_day(database: Database) -> None:
    key = (ACCOUNT, WHOLE_ACCOUNT, DAY)
    async with await SqlStore.open(database.url) as store:
        assert await store.breaker_day(*key) == Missing()
        await store.start_breaker_day(day())
        await store.update_breaker_day(*key, T0 + 1, realised=Decimal(-10), transfers=Decimal(25))
        assert await store.trip_breaker(*key, T0 + 2, pnl=Decimal("-10.5"), reason="DAILY_LOSS")
        assert not await store.trip_breaker(*key, T0 + 3, pnl=Decimal(-99), reason="again")
    async with await SqlStore.open(database.url) as store:
        found = await store.start_breaker_day(day(base_equity=Decimal(9)))
        assert found.is_tripped
        assert (found.tripped_ms, found.trip_pnl, found.trip_reason) == (
            T0 + 2,
            Decimal("-10.5"),
            "DAILY_LOSS",
        )
        assert (found.base_equity, found.realised, found.transfers) == (Decimal("50.12345678"), -10, 25)
        assert (await store.verify_journal()).rows == 1


async def test_only_a_person_with_a_reason_resets(store: SqlStore) -> None:
    key = (ACCOUNT, "v2", DAY)
    await store.start_breaker_day(day(strategy="v2"))
    assert not await store.reset_breaker(*key, T0, by="operator", reason="nothing tripped")
    await store.trip_breaker(*key, T0, pnl=Decimal(-1), reason="DAILY_LOSS")
    with pytest.raises(InputError, match="say why"):
        await store.reset_breaker(*key, T0, by="operator", reason="  ")
    assert await store.reset_breaker(*key, T0 + 5, by="operator", reason="limit was a typo")
    found = await store.breaker_day(*key)
    assert isinstance(found, BreakerDay)
    assert not found.is_tripped
    assert (found.reset_by, found.reset_reason, found.reset_ms) == ("operator", "limit was a typo", T0 + 5)
    assert await store.trip_breaker(*key, T0 + 6, pnl=Decimal(-2), reason="DAILY_LOSS")
    assert (await store.verify_journal()).rows == 3


async def test_days_are_of_one_account_strategy_and_date(store: SqlStore) -> None:
    for given_ in ({}, {"strategy": "v2"}, {"day": "2025-05-25"}, {"account_id": ACCOUNT + 1}):
        await store.start_breaker_day(day(**given_))
    await store.trip_breaker(ACCOUNT, "v2", DAY, T0, pnl=Decimal(-1), reason="DAILY_LOSS")
    found = [(row.day, row.strategy, row.is_tripped) for row in await store.breaker_days(ACCOUNT)]
    assert found == [(DAY, "*", False), (DAY, "v2", True), ("2025-05-25", "*", False)]
    assert len(await store.breaker_days(ACCOUNT, "v2")) == 1
    with pytest.raises(StepRefused, match="never begun"):
        await store.trip_breaker(ACCOUNT, "v3", DAY, T0, pnl=Decimal(-1), reason="DAILY_LOSS")
    with pytest.raises(StepRefused, match="never begun"):
        await store.update_breaker_day(ACCOUNT, "v3", DAY, T0, realised=Decimal(0), transfers=Decimal(0))
    for bad in ("2025-5-24", "24.05.2025", "20250524", "2025-05-2x"):
        with pytest.raises(InputError, match=r"breaker_days\.day"):
            await store.start_breaker_day(day(day=bad))


async def test_a_day_that_cannot_be_read_is_a_failure_not_a_quiet_day(database: Database) -> None:
    async with await SqlStore.open(database.url) as store:
        database.execute("ALTER TABLE breaker_days RENAME TO hidden")
        try:
            assert isinstance(await store.breaker_day(ACCOUNT, "*", DAY), Failed)
        finally:
            database.execute("ALTER TABLE hidden RENAME TO breaker_days")
