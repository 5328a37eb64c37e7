"""Decimals and times come back exactly, or are refused with the name of the column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.store_databases import Database, run_apart
from tests.contract.store_rows import ACCOUNT, T0, end, fill, ready

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import FillQuery, TradingControl
from perpdesk.domain.errors import InputError

per_database = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    """Everything that DECIMAL(precision, scale) can hold, in any of a Decimal's spellings."""
    top = 10**precision - 1
    edges = st.sampled_from([0, 1, -1, top, -top, 10**scale, 5 * 10 ** (scale - 1)])
    units = st.integers(-top, top) | st.integers(-(10**12), 10**12) | edges
    return units.map(lambda number: Decimal((int(number < 0), tuple(map(int, str(abs(number)))), -scale)))


@per_database
@given(
    rows=st.lists(
        st.tuples(decimals(30, 12), decimals(30, 12), decimals(20, 8), decimals(20, 8)),
        min_size=1,
        max_size=20,
    )
)
def test_prices_and_money_come_back_to_the_last_digit(database: Database, rows: list[Any]) -> None:
    written = [
        fill(
            trade_id=number, fill_ms=number, qty=qty, price=price, commission=paid, realized_pnl_venue=profit
        )
        for number, (qty, price, paid, profit) in enumerate(rows)
    ]

    async def there_and_back() -> None:
        async with await SqlStore.open(database.url) as store:
            account = 1 + len(await store.fills(FillQuery()))
            async with store.unit(durable=False) as books:
                for row in written:
                    await books.record_fill(_of(row, account))
            found = await store.fills(FillQuery(account_id=account))
            assert found == [_of(row, account) for row in written]
            for row in found:
                assert row.price.as_tuple().exponent == -12
                assert row.commission.as_tuple().exponent == -8

    run_apart(there_and_back())


def _of(row: Any, account: int) -> Any:
    return fill(**{field: getattr(row, field) for field in row.__struct_fields__} | {"account_id": account})


async def test_the_database_holds_the_very_digits(store: SqlStore, database: Database) -> None:
    """Not only our reading of them: no float on the way."""
    await store.record_fill(fill(price=Decimal("123456789012345678.123456789012"), qty=Decimal("1E+3")))
    ((price, qty),) = database.execute("SELECT price, qty FROM fills")
    assert Decimal(price) == Decimal("123456789012345678.123456789012")
    assert Decimal(qty) == 1000
    assert not isinstance(price, float)


async def test_signs_of_money_can_be_asked_in_sql(store: SqlStore, database: Database) -> None:
    rows = await ready(store)
    for number, net in enumerate(("-12.5", "-0.00000001", "0", "-0.0", "0.00000001", "9", "10.25")):
        position_id = await store.open_position(rows.position(symbol=f"S{number}"), rows.intent())
        money = {"realized_pnl": Decimal(net), "commission": Decimal(0), "funding": Decimal(0)}
        await store.close_position(position_id, T0 + 1, end(**money))

    def count(condition: str) -> int:
        return int(database.execute(f"SELECT count(*) FROM futures_positions WHERE {condition}")[0][0])

    assert [count(f"net_pnl {sign} 0") for sign in "<=>"] == [2, 2, 3]
    assert count("net_pnl + 0 > 9.5") == 1
    assert float(database.execute("SELECT sum(net_pnl) FROM futures_positions")[0][0]) == 6.75


REFUSED = [
    ("price", Decimal("0.0000000000001"), "at most 12 decimal places"),
    ("price", Decimal("1E+18"), "below 1e18"),
    ("commission", Decimal("0.123456789"), "at most 8 decimal places"),
    ("commission", Decimal("1000000000000"), "below 1e12"),
    ("commission", 0.1, "must be a Decimal, was float 0.1"),
    ("qty", Decimal("NaN"), "finite"),
    ("qty", Decimal("Infinity"), "finite"),
    ("qty", True, "must be a Decimal"),
    ("qty", "1", "must be a Decimal"),
    ("qty", None, "must be given"),
    ("trade_id", 1 << 63, "must be within"),
    ("trade_id", 1.0, "must be an integer"),
    ("account_id", 1 << 31, "must be within"),
    ("account_id", True, "must be an integer"),
    ("symbol", "S" * 31, "at most 30 characters"),
    ("symbol", "BTC\x00", "printable"),
    ("symbol", 5, "must be text"),
    ("is_maker", 1, "must be true or false"),
]


async def test_what_would_not_come_back_is_refused(store: SqlStore) -> None:
    for column, value, problem in REFUSED:
        with pytest.raises(InputError, match=problem) as refused:
            await store.record_fill(fill(**{column: value}))
        assert refused.value.field == f"fills.{column}"
    assert await store.fills(FillQuery()) == []


MOMENTS = [0, 1, 999, T0, 951_782_399_999, 1_709_164_800_001, 1_711_846_800_000, 4_102_444_800_000]


@pytest.mark.parametrize("ms", MOMENTS)
async def test_times_are_exact_to_the_millisecond_and_utc(
    store: SqlStore, database: Database, ms: int
) -> None:
    rows = await ready(store)
    position_id = await store.open_position(rows.position(timeout_at_ms=ms), rows.intent())
    await store.update_position(position_id, T0, open_ms=ms)
    found = await store.position(position_id)
    assert found is not None
    assert (found.open_ms, found.timeout_at_ms) == (ms, ms)
    ((written,),) = database.execute("SELECT open_time FROM futures_positions")
    moment = datetime.fromisoformat(written) if isinstance(written, str) else written
    assert moment.replace(tzinfo=UTC) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


@per_database
@given(moments=st.lists(st.integers(0, 253_402_300_799_999), min_size=20, max_size=20))
def test_every_millisecond_comes_back(database: Database, moments: list[int]) -> None:
    async def there_and_back() -> None:
        async with await SqlStore.open(database.url) as store, store.unit() as books:
            for ms in moments:
                await books.set_trading_control(ACCOUNT, True, "test", ms)
                control = await books.trading_control(ACCOUNT)
                assert isinstance(control, TradingControl)
                assert control.updated_ms == ms

    run_apart(there_and_back())


async def test_times_outside_of_the_calendar_are_refused(store: SqlStore) -> None:
    rows = await ready(store)
    for ms in (-1, 253_402_300_800_000, 1.5):
        with pytest.raises(InputError, match=r"futures_positions\.timeout_at"):
            await store.open_position(rows.position(timeout_at_ms=ms), rows.intent())


async def test_what_json_cannot_hold_is_refused(store: SqlStore) -> None:
    rows = await ready(store)
    odd: list[Any] = [{"a": float("nan")}, {"a": {1: 2}}, {"a": b"x"}, {"a": {2}}]
    for value in odd:
        with pytest.raises(InputError, match=r"futures_positions\.guard_params.*JSON"):
            await store.open_position(rows.position(guard_params=value), rows.intent())
