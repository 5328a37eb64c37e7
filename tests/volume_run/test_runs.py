"""Runs on the simulated market: to the target, with accidents, over kills, and with bad input."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.volume_run.sims import (
    START_MS,
    STRATEGY,
    bought_of,
    config,
    hold_true,
    new_desk,
    new_market,
    run_to_end,
)

from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.config.volume import read_volume
from perpdesk.domain.errors import LeaseHeld, Refused
from perpdesk.engine.volume.status import status_of
from perpdesk.engine.volume.user import UserRun
from perpdesk.exchange.faults import Fault, Plan
from perpdesk.exchange.spot.inprocess import Latency
from perpdesk.volume_run.sim import drive, driven, settle

SLOW = Latency((10, 60), (10, 60), (5, 120))


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[SqlStore]:
    """In a file: a kill in the middle of a transaction closes its connection."""
    url = f"sqlite:///{tmp_path / 'volume.sqlite'}"
    upgrade(url)
    async with await SqlStore.open(url) as store:
        yield store


async def test_three_users_with_overrides_reach_their_targets_and_end_flat(books: SqlStore) -> None:
    loaded = read_volume(
        STRATEGY
        + "user_overrides:\n"
        + "  - {user_id: 1, strategies: {boost: {single_trade_amount_usdt: 50}}}\n"
        + "  - {user_id: 3, strategies: {boost: {target_volume: 100, single_trade_amount_usdt: 20}}}\n"
    )
    market = new_market(latency=SLOW)
    desk = new_desk(market, loaded, books)
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    status = await desk.get_strategy_status("boost")
    for user, target, pair in ((1, 300, 50), (2, 300, 30), (3, 100, 20)):
        assert status["users"][str(user)]["state"] == "DONE"  # type: ignore[index]
        assert target <= bought_of(market, user) <= target + pair
    assert status["progress"] == "100.00%"
    losses = [pair.loss_usdt for pair in await books.volume_pairs()]
    assert status["cost_usdt"] == f"{sum(losses):.4f}"
    await desk.close()
    await hold_true(market, books)


async def test_a_user_at_the_target_sends_no_order(books: SqlStore) -> None:
    market = new_market()
    first = new_desk(market, config(user_ids="[1]", target_volume=60), books)
    await driven(market, first, first.start_strategy("boost"))
    await run_to_end(market, first)
    await first.close()
    pairs = len(await books.volume_pairs())
    again = new_desk(market, config(user_ids="[1, 2]", target_volume=60), books)
    await driven(market, again, again.start_strategy("boost"))
    await run_to_end(market, again)
    status = await again.get_strategy_status("boost")
    assert status["users"]["1"]["state"] == "SKIPPED"  # type: ignore[index]
    assert status["users"]["1"]["reading_age_seconds"] is not None  # type: ignore[index]
    assert status["users"]["2"]["state"] == "DONE"  # type: ignore[index]
    assert [one.user_id for one in (await books.volume_pairs())].count(1) == pairs
    await again.close()
    await hold_true(market, books)


@pytest.mark.slow
async def test_all_users_share_one_target_and_overshoot_by_at_most_one_pair(books: SqlStore) -> None:
    market = new_market(latency=SLOW)
    desk = new_desk(market, config(target_scope="all_users", target_volume=250), books)
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    total = sum(bought_of(market, user) for user in (1, 2, 3))
    assert 250 <= total < 250 + 30
    await desk.close()
    await hold_true(market, books)


def fault(kind: str, *, rate: float, ms: int = 0, route: str = "*", http: int = 503) -> Fault:
    """A fault that strikes at this rate for ever."""
    return Fault(kind=kind, route=route, count=-1, probability_ppm=int(rate * 1_000_000), ms=ms, http=http)


FAULTS = {
    "answers are lost": [fault("drop-resp", rate=0.3)],
    "requests are lost": [fault("drop-req", rate=0.2)],
    "late execution": [fault("late-exec", route="place_list", rate=0.5, ms=3_000)],
    "events twice, reordered, held back": [
        fault("ws-dup", rate=0.3),
        fault("ws-reorder", rate=0.3),
        fault("ws-lag", rate=0.2, ms=4_000),
    ],
    "silent stream": [fault("ws-silent", rate=0.2, ms=60_000)],
    "stream ends": [fault("ws-close", rate=0.1)],
}


def test_the_names_of_faults_are_known() -> None:
    for faults in FAULTS.values():
        Plan(1, faults)


@pytest.mark.parametrize("name", FAULTS)
async def test_accidents_end_flat_at_the_target_and_never_twice(name: str, books: SqlStore) -> None:
    market = new_market(latency=SLOW, plan=Plan(3, FAULTS[name]))
    desk = new_desk(market, config(user_ids="[1]", target_volume=150, max_consecutive_failures=100), books)
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    status = await desk.get_strategy_status("boost")
    assert status["users"]["1"]["state"] == "DONE", status  # type: ignore[index]
    assert 150 <= bought_of(market, 1) <= 180
    assert market.spot.plan.fired.total() > 0
    await desk.close()
    await hold_true(market, books)


async def test_a_sell_that_never_fills_is_cancelled_and_flattened(books: SqlStore) -> None:
    market = new_market(latency=SLOW)
    market.hold()
    desk = new_desk(
        market,
        config(user_ids="[1]", target_volume=50, price_mode="profit_on_buy", max_loss_per_trade_usdt=5),
        books,
    )
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    outcomes = {pair.outcome for pair in await books.volume_pairs()}
    assert outcomes == {"SELL_TIMED_OUT"}
    assert bought_of(market, 1) >= 50
    await desk.close()
    await hold_true(market, books)


@pytest.mark.slow
async def test_a_refused_key_stops_that_user_and_nobody_else(books: SqlStore) -> None:
    market = new_market()
    desk = new_desk(market, config(), books)
    market.spot.revoked.add(market.account(2))
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    status = await desk.get_strategy_status("boost")
    states = {user: row["state"] for user, row in status["users"].items()}  # type: ignore[attr-defined]
    assert states == {"1": "DONE", "2": "HALTED", "3": "DONE"}, status
    assert status["users"]["2"]["reason"] == "KEY AUTH -2015"  # type: ignore[index]
    await desk.close()
    # a person clears the halt, and not before that does the user run again
    market.spot.revoked.clear()
    again = new_desk(market, config(), books)
    running = await driven(market, again, again.start_strategy("boost"))
    assert "volume resume --user 2" in running.errors[2]
    await run_to_end(market, again)
    await again.close()
    assert await books.clear_volume_halts(2, START_MS, "test") == 1
    last = new_desk(market, config(), books)
    await driven(market, last, last.start_strategy("boost"))
    await run_to_end(market, last)
    assert bought_of(market, 2) >= 300
    await last.close()
    await hold_true(market, books)


@pytest.mark.slow
async def test_one_users_bug_ends_that_run_alone(books: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    market = new_market()
    desk = new_desk(market, config(), books)
    take = UserRun._take

    async def broken(self: UserRun, message: object) -> None:
        if self.seat.user_id == 2 and self.run.pairs == 2 and self.current is None:
            raise RuntimeError("a bug")
        await take(self, message)  # type: ignore[arg-type]

    monkeypatch.setattr(UserRun, "_take", broken)
    running = await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    assert running.errors == {2: "RuntimeError: a bug"}
    assert bought_of(market, 1) >= 300
    assert bought_of(market, 3) >= 300
    await desk.close()
    monkeypatch.setattr(UserRun, "_take", take)
    again = new_desk(market, config(), books)
    await driven(market, again, again.start_strategy("boost"))
    await run_to_end(market, again)
    assert 300 <= bought_of(market, 2) <= 330
    await again.close()
    await hold_true(market, books)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_kills_at_any_moment_are_survived(seed: int, books: SqlStore) -> None:
    """The desk is dropped at random moments, again and again; the market and the ledger live on."""
    draw = random.Random(seed)
    plan = Plan(seed, [fault("drop-resp", rate=0.1), fault("ws-lag", rate=0.2, ms=900)])
    market = new_market(latency=SLOW, plan=plan)
    loaded = config(target_volume=200, max_consecutive_failures=100)
    kills = 0
    for life in range(40):
        desk = new_desk(market, loaded, books, owner="same host")
        running = await driven(market, desk, desk.start_strategy("boost"))
        if life < 25:
            turns, stop_ms = draw.randint(1, 400), market.now_ms() + draw.randint(5, 4_000)

            def killed(turns: int = turns, stop_ms: int = stop_ms) -> bool:
                return market.now_ms() >= stop_ms

            task = asyncio.ensure_future(drive(market, desk, killed))
            for _ in range(turns):
                await asyncio.sleep(0)
                if task.done():
                    break
            if not task.done() and draw.random() < 0.5:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            kills += 1
            await desk.abandon()
            continue
        await run_to_end(market, desk)
        assert running.errors == {}
        await desk.close()
        break
    assert kills > 10
    for user in (1, 2, 3):
        assert 200 <= bought_of(market, user) <= 230
    await hold_true(market, books)


async def test_a_stop_ends_within_the_grace_and_sends_nothing_new(books: SqlStore) -> None:
    market = new_market(latency=SLOW)
    market.hold()
    loaded = config(price_mode="profit_on_buy", order_timeout_seconds=300, stop_grace_seconds=2)
    desk = new_desk(market, loaded, books)
    await driven(market, desk, desk.start_strategy("boost"))
    begun = market.now_ms()
    await drive(market, desk, lambda: market.now_ms() >= begun + 10_000)
    pairs = len(await books.volume_pairs())
    assert pairs == 3, await desk.get_strategy_status("boost")
    desk.stop()
    await run_to_end(market, desk)
    assert market.now_ms() <= begun + 10_000 + 15_000
    found = await books.volume_pairs()
    assert {pair.outcome for pair in found} == {"STOPPED"}
    assert len(found) == pairs
    await desk.close()
    await hold_true(market, books)


async def test_a_second_desk_on_the_same_token_is_refused_by_the_lease(books: SqlStore) -> None:
    market = new_market()
    desk = new_desk(market, config(), books, owner="one")
    await driven(market, desk, desk.start_strategy("boost"))
    other = new_desk(market, config(), books, owner="two")
    with pytest.raises(LeaseHeld, match="one"):
        await driven(market, other, other.start_strategy("boost"))
    await other.close()
    await settle(desk)
    await desk.close()


@pytest.mark.slow
async def test_the_same_user_in_two_strategies_on_one_token_runs_once(books: SqlStore) -> None:
    second = (
        STRATEGY[STRATEGY.index("  - strategy_id") :].replace("boost", "other").replace("[1, 2, 3]", "[3, 4]")
    )
    market = new_market()
    desk = new_desk(market, read_volume(STRATEGY + second), books)
    await driven(market, desk, desk.start_strategy("boost"))
    running = await driven(market, desk, desk.start_strategy("other"))
    assert "boost already" in running.errors[3]
    assert set(running.runs) == {4}
    with pytest.raises(Refused, match="RUNNING"):
        await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    await desk.close()
    await hold_true(market, books)


async def test_an_amount_below_the_smallest_order_halts_before_any_order(books: SqlStore) -> None:
    market = new_market()
    desk = new_desk(market, config(single_trade_amount_usdt=4), books)
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    status = await desk.get_strategy_status("boost")
    assert {row["reason"] for row in status["users"].values()} == {"FILTER FILTER_MIN_NOTIONAL"}  # type: ignore[attr-defined]
    assert await books.volume_pairs() == []
    await desk.close()


async def test_a_counter_that_cannot_be_read_is_never_zero(books: SqlStore) -> None:
    plan = Plan(1, [fault("reply", route="volume", rate=1.0, http=503)])
    market = new_market(plan=plan)
    desk = new_desk(market, config(user_ids="[1]", soft_wait_max_seconds=120), books)
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    status = await desk.get_strategy_status("boost")
    assert status["users"]["1"]["state"] == "HALTED"  # type: ignore[index]
    assert status["user_volumes"] == {"1": None}
    assert status["users"]["1"]["reading_age_seconds"] is None  # type: ignore[index]
    assert await books.volume_pairs() == []
    await desk.close()


async def test_the_status_of_another_process_is_the_same(books: SqlStore) -> None:
    market = new_market()
    loaded = config(user_ids="[1]", target_volume=90)
    desk = new_desk(market, loaded, books)
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    mine = await desk.get_strategy_status("boost")
    assert mine == await status_of(books, loaded.strategies["boost"], market.now_ms())
    assert Decimal(str(mine["total_volume"])) >= 90
    later = await status_of(books, loaded.strategies["boost"], market.now_ms() + 41_000)
    for document, seconds in ((mine, 0), (later, 41)):
        age = document["users"]["1"]["reading_age_seconds"]  # type: ignore[index]
        assert seconds <= age <= seconds + 1
    await desk.close()
