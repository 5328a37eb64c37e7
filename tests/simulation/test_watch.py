"""What is looked at every second: told alarms, bounds, other accounts, secrets; and days and wallets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.simulation.trader import Trader

from perpdesk.ports import Notice
from perpdesk.simulation import run
from perpdesk.simulation.database import Files, files
from perpdesk.simulation.loop import OWNER, Incarnation, new_loop
from perpdesk.simulation.run import EPOCH_MS, Options, Simulation
from perpdesk.simulation.trace import Trace
from perpdesk.simulation.watch import TASKS_MAX


@pytest.fixture(scope="module")
def folder() -> Iterator[Files]:
    with files() as found:
        yield found


@pytest.fixture
def world(folder: Files) -> Iterator[Simulation]:
    loop = new_loop(1, EPOCH_MS)
    trace = Trace(loop)
    with folder.one(loop, trace, 1) as file:
        yield Simulation(1, Options(faults=0.0, users=2), Trader(), loop, file, trace)
    loop.bury()


def rules(world: Simulation) -> list[str]:
    return [one.rule for one in world.observer.violations]


def alive(world: Simulation) -> Incarnation:
    """A process that has long been ready."""
    one = Incarnation("process 1", 1, born_us=0)
    world.lives.append(one)
    return one


def seconds(world: Simulation, count: int) -> None:
    for _ in range(count):
        world.loop._now_us += 1_000_000
        world.watch.look()


def notice(code: str, *, is_over: bool = False) -> Notice:
    return Notice(code, "", "error", "", 0, 1, is_over)


def test_a_silent_exchange_of_which_nobody_was_told_is_found(world: Simulation) -> None:
    alive(world)
    world.network.weather.is_down = True
    seconds(world, 10)
    assert rules(world) == []
    seconds(world, 5)
    assert rules(world) == ["L6"]


def test_a_silent_exchange_of_which_a_person_was_told_is_none(world: Simulation) -> None:
    alive(world)
    world.network.weather.is_down = True
    seconds(world, 10)
    world.watch.heard(1, notice("STALE_PRICE"))
    seconds(world, 30)
    assert rules(world) == []
    world.watch.heard(1, notice("STALE_PRICE", is_over=True))
    seconds(world, 1)
    assert rules(world) == ["L6"]


def test_who_is_dead_tells_nobody(world: Simulation) -> None:
    one = alive(world)
    world.network.weather.is_down = True
    seconds(world, 10)
    one.frozen_until_us = world.loop.now_us + 60_000_000
    seconds(world, 30)
    assert rules(world) == []


def test_a_secret_on_the_wire_is_found(world: Simulation) -> None:
    world.trace.say("request", "1 POST /fapi/v1/order", b"symbol=BTCUSDT&secret=" + run.API_SECRET.encode())
    assert rules(world) == ["I20"]


def test_a_secret_at_rest_is_found(world: Simulation) -> None:
    world.watch.files()
    assert rules(world) == []
    with world.file.path.open("ab") as database:
        database.write(run.API_KEY.encode())
    world.watch.files()
    assert rules(world) == ["I20"]


def test_tasks_without_end_and_tasks_that_died_unseen_are_found(world: Simulation) -> None:
    owner = alive(world)
    OWNER.set(owner)
    try:

        async def fails() -> None:
            raise ValueError("nobody looks")

        async def begins() -> None:
            failed = asyncio.get_running_loop().create_task(fails())
            for _ in range(3):
                await world.loop.pause(1)
            assert failed.done()
            seconds(world, 5)
            assert rules(world) == []  # somebody may be about to look
            seconds(world, 5)

        world.loop.run(begins())
        assert rules(world) == ["I24"]
        for _ in range(TASKS_MAX + 1):
            world.loop.create_task(world.loop.pause(1))
        seconds(world, 5)
        assert len(rules(world)) == 2
    finally:
        OWNER.set(None)


def test_a_day_that_has_not_begun_on_the_exchange_is_found(world: Simulation) -> None:
    columns = "account_id, strategy, day, base_equity, created_ms, unrealised_start, realised, transfers, updated_ms"
    for day in ("2023-11-14", "2023-11-15"):
        world.loop.run(
            world.file.write(
                f"INSERT INTO breaker_days ({columns}) VALUES (1, '', ?, '1', 0, '0', '0', '0', 0)", day
            )
        )
    world.books.at_any_time()
    assert rules(world) == ["I25"]


def test_the_wallet_must_be_what_the_books_say(world: Simulation) -> None:
    row = world.observer.account.income[0]
    columns = "account_id, income_type, tran_id, symbol, asset, amount, time_ms, imported_ms"
    world.loop.run(
        world.file.write(
            f"INSERT INTO income_rows ({columns}) VALUES (1, 'TRANSFER', ?, '', 'USDT', '1', ?, 0)",
            row["tranId"],
            row["time"],
        )
    )
    world.loop._now_us += 200_000_000
    world.books._wallet_agrees()
    assert rules(world) == []
    world.observer.opening_e8 += 1
    world.books._wallet_agrees()
    assert rules(world) == ["I14"]
