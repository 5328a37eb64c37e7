"""The guardian's rows in a real database: the breaker's day, heartbeats, alarms, the canary's facts."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.domain.books import WHOLE_STRATEGY, Missing, StateRow
from perpdesk.engine.alarms import Alarms
from perpdesk.engine.canary import STATE
from perpdesk.engine.guardian.breaker import Booking, Breaker, LossLimits, day_name
from perpdesk.engine.guardian.throttle import RepeatThrottle
from perpdesk.engine.heartbeat import Pulse

E8 = 100_000_000
DAY = 20_000
NOON = DAY * 86_400_000 + 43_200_000
LIMITS = LossLimits(daily_loss_ppm=200_000, worst_case_ppm=500_000)
LOSS = Booking("fill:0:7", NOON, -20 * E8)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without rows: making the tables is slow, copying them is not."""
    file = tmp_path_factory.mktemp("empty") / "books.db"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
async def store(empty: Path, tmp_path: Path) -> AsyncIterator[SqlStore]:
    file = shutil.copy(empty, tmp_path / "books.db")
    async with await SqlStore.open(f"sqlite:///{file}") as opened:
        yield opened


def seen(one: Breaker, ms: int = NOON) -> Breaker:
    one.marked(ms, 0, 100 * E8)
    return one


async def restarted(store: SqlStore, *bookings: Booking, ms: int = NOON + 60_000) -> Breaker:
    one = Breaker(1, LIMITS)
    await one.load(store, ms, bookings)
    return seen(one, ms)


async def test_the_breakers_day_over_restarts(store: SqlStore) -> None:
    one = await restarted(store, ms=NOON)
    await one.save(store)
    one.booked(LOSS)
    one.booked(Booking("income:TRANSFER::1", NOON, -30 * E8, True))
    await one.save(store)
    row = await store.breaker_day(1, "*", day_name(DAY))
    assert not isinstance(row, Missing)
    assert (row.base_equity, row.realised, row.transfers, row.trip_pnl) == (100, -20, -30, -20)  # type: ignore[union-attr]
    again = await restarted(store)  # the ledger's facts are lost, the trip is not
    assert again.why_not_open() == "DAILY_LOSS"
    again.reset(NOON + 61_000, by="ann", reason="looked at it")
    await again.save(store)
    third = await restarted(store, LOSS, ms=NOON + 62_000)
    assert third.why_not_open() is None
    third.booked(Booking("fill:0:8", NOON + 63_000, -20 * E8))
    await third.save(store)
    assert (await restarted(store, ms=NOON + 64_000)).is_tripped
    assert (await store.verify_journal()).rows == 3


async def test_a_reset_from_the_command_line_reaches_the_running_breaker(store: SqlStore) -> None:
    one = await restarted(store, LOSS, ms=NOON)
    await one.save(store)
    await store.reset_breaker(1, "*", day_name(DAY), NOON + 5, by="ann", reason="looked at it")
    assert await one.look(store)
    assert one.why_not_open() is None


async def test_the_next_day_has_a_row_of_its_own(store: SqlStore) -> None:
    one = await restarted(store, LOSS, ms=NOON)
    await one.save(store)
    one.marked((DAY + 1) * 86_400_000, 0, 80 * E8)
    await one.save(store)
    days = {row.day: (row.is_tripped, row.base_equity) for row in await store.breaker_days(1)}
    assert days == {day_name(DAY): (True, Decimal(100)), day_name(DAY + 1): (False, Decimal(80))}


async def test_heartbeats(store: SqlStore) -> None:
    guardian, opener = Pulse(1, "sma", "a", "b", epoch=2), Pulse(1, "sma", "c", "b")
    await opener.look(store)
    assert opener.judge(NOON) == "GUARDIAN_STALE"
    assert await guardian.beat(store, NOON)
    await opener.look(store)
    assert opener.judge(NOON + 15_000, epoch=2) is None
    assert not await Pulse(1, "sma", "old", "b", epoch=1).beat(store, NOON + 1)


async def test_alarms_are_journalled(store: SqlStore) -> None:
    bell = Alarms(VirtualClock(NOON), store)
    bell.sound("UNPROTECTED", "no stop for 3 s", key="BTCUSDT")
    bell.clear("UNPROTECTED", "BTCUSDT")
    await bell.carry_out()
    check = await store.verify_journal()
    assert (check.rows, check.is_intact) == (2, True)


async def test_throttle_and_canary_states_come_back(store: SqlStore) -> None:
    throttle = RepeatThrottle(repeats_max=1)
    throttle.sent("sma", 0, 1, NOON)
    assert throttle.why("sma", 0, 1, NOON) is not None
    for name, state in (("throttle", throttle.to_state()), (STATE, {"filters": {"S0": {"tick": "0.1"}}})):
        await store.save_state(
            StateRow(
                account_id=1,
                strategy=name,
                symbol=WHOLE_STRATEGY,
                state=state,
                params_hash=await store.save_params_snapshot("{}", NOON),
                updated_ms=NOON,
            )
        )
    kept = await store.load_state(1, "throttle", WHOLE_STRATEGY)
    assert kept is not None
    fresh = RepeatThrottle()
    fresh.restore(kept.state)  # type: ignore[arg-type]
    assert fresh.why("sma", 5, 1, NOON) == "REPEATED_EXECUTION"
