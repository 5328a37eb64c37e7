"""Scanner, trigger and executor over one database: however they are called, the same grid comes out."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from tests.grid_desk.places import (
    ACCOUNT,
    BEGIN_MS,
    database,
    enabled,
    loaded,
    market,
    place_of,
    shortened,
    step,
)

from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.app import backtest
from perpdesk.domain.books import BooksContradiction, StoreBusy
from perpdesk.domain.errors import NeedsPerson, Refused
from perpdesk.grid_desk.executing import Executing, ask_to_close
from perpdesk.grid_desk.explain import explain
from perpdesk.grid_desk.gate import Verdict
from perpdesk.grid_desk.place import Place
from perpdesk.grid_desk.watching import grounds
from perpdesk.kernel.records import MINUTE_MS

HOURS = 4
END_MS = BEGIN_MS + HOURS * 60 * MINUTE_MS
QUARTER = 15


async def written(store: SqlStore) -> dict[str, object]:
    """Everything that was decided, without times of writing."""
    runs = await store.grid_runs(ACCOUNT)
    fills = [fill for run in runs for fill in await store.grid_fills(run.run_id)]
    orders = [order for run in runs for order in await store.grid_orders(run.run_id)]
    return {
        "runs": [(run.run_id, run.state, run.begun_ms, run.ended_ms, run.close_reason) for run in runs],
        "fills": [(fill.client_id, fill.trade_id, fill.price, fill.lots, fill.venue_ms) for fill in fills],
        "orders": sorted((one.client_id, one.level, one.intent, one.cum_lots, one.status) for one in orders),
        "zones": sorted(zone.id for zone in await store.grid_zones("AAAUSDT")),
        "signals": sorted((one.id, one.status) for one in await store.signals("AAAUSDT")),
    }


async def played(url: str, times: list[int], *, end_ms: int = END_MS) -> dict[str, object]:
    """All three commands at each of these minutes, then at the end."""
    async with await SqlStore.open(url) as store:
        await enabled(store)
        place = place_of(store)
        for now_ms in [*times, end_ms]:
            await step(place, now_ms)
        return await written(store)


@pytest.fixture(scope="module")
def by_quarters(tmp_path_factory):
    url = database(tmp_path_factory.mktemp("quarters"))
    times = list(range(BEGIN_MS + QUARTER * MINUTE_MS, END_MS, QUARTER * MINUTE_MS))
    return url, asyncio.run(played(url, times))


def test_a_grid_starts_on_the_signal_and_is_the_backtests(by_quarters):
    _, result = by_quarters
    assert result["runs"]
    assert len(result["fills"]) >= 3
    whole = shortened(market(), HOURS * 60)
    run_result, setup, fills = backtest(loaded(), ["grid"], whole)
    digits = whole.universe.price_digits[0]
    assert [(int(f["lots"]), int(f["price"]), int(f["ms"])) for f in fills] == [
        (lots, int(price.scaleb(digits)), ms) for _, _, price, lots, ms in result["fills"]
    ]
    assert [start.ms for start in setup.conductor.starts] == [run[2] for run in result["runs"]]
    assert run_result.bars == HOURS * 60


def test_however_often_it_is_called_the_same_is_written(by_quarters, tmp_path):
    """A cron that comes late and unevenly, but before a signal is over, decides minute by minute all the same."""
    chance = random.Random(5)
    now_ms = BEGIN_MS + QUARTER * MINUTE_MS  # the same beginning
    times = [now_ms]
    while now_ms < END_MS:
        now_ms += chance.randrange(5, 75) * MINUTE_MS
        times.append(min(now_ms, END_MS))
    assert asyncio.run(played(database(tmp_path), times)) == by_quarters[1]


def test_again_changes_nothing(by_quarters):
    url, before = by_quarters
    assert asyncio.run(played(url, [END_MS, END_MS])) == before


def test_an_order_is_explained_back_to_its_parameters(by_quarters):
    url, result = by_quarters

    async def look():
        async with await SqlStore.open(url) as store:
            return await explain(store, result["fills"][0][0])

    found = asyncio.run(look())
    assert found["signal"]["numbers"]["rule"] == found["signal"]["type"]
    assert found["zone"]["id"] == found["signal"]["zone_id"]
    assert found["scan"]["as_of_ms"] == found["zone"]["as_of_ms"]
    assert found["params"]["executor"]["order_size_usdt"] == "400"
    for process in (found["run"], found["signal"], found["scan"]):
        assert len(process["process"]["data_hash"]) == 64
    assert found["run"]["override"] == "test"


@pytest.mark.parametrize("table", ["grid_scans", "grid_signal_numbers", "params_snapshots"])
def test_a_snapshot_edited_by_hand_is_refused(by_quarters, tmp_path, table):
    url, result = by_quarters
    copy = tmp_path / "grid.sqlite"
    copy.write_bytes(Path(url.removeprefix("sqlite:///")).read_bytes())
    column = "params" if table == "params_snapshots" else "document"

    async def edited():
        engine = sa.create_engine(f"sqlite:///{copy}")
        with engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE {table} SET {column} = replace({column}, '1', '2')"))
        engine.dispose()
        async with await SqlStore.open(f"sqlite:///{copy}") as store:
            await explain(store, result["fills"][0][0])

    with pytest.raises((NeedsPerson, BooksContradiction)):
        asyncio.run(edited())


def test_a_plan_edited_by_hand_stops_the_run(by_quarters, tmp_path):
    url, _ = by_quarters
    copy = tmp_path / "grid.sqlite"
    copy.write_bytes(Path(url.removeprefix("sqlite:///")).read_bytes())

    async def go(change):
        async with await SqlStore.open(f"sqlite:///{copy}") as store:
            (run, *_) = [one for one in await store.grid_runs(ACCOUNT) if one.state != "IDLE"]
            await store.save_grid_run(change(run))
            await step(place_of(store), END_MS + 5 * MINUTE_MS, what="e")

    with pytest.raises(BooksContradiction, match="changed afterwards"):
        asyncio.run(go(lambda run: msgspec.structs.replace(run, document=run.document.replace("1", "2", 1))))


def test_a_close_is_obeyed_at_the_next_minute_and_ends_flat(by_quarters, tmp_path):
    url, _ = by_quarters
    copy = tmp_path / "grid.sqlite"
    copy.write_bytes(Path(url.removeprefix("sqlite:///")).read_bytes())

    async def go():
        async with await SqlStore.open(f"sqlite:///{copy}") as store:
            place = place_of(store)
            async with place.leased("executor") as mine:
                assert mine
                assert await ask_to_close(place, ACCOUNT) is not None
                assert await ask_to_close(place, ACCOUNT) is not None  # twice is once
            await step(place, END_MS + 10 * MINUTE_MS, what="e")
            (run, *_) = reversed(await store.grid_runs(ACCOUNT))
            fills = await store.grid_fills(run.run_id)
            live = await store.grid_orders(run.run_id, live_only=True)
            held = sum(fill.lots if fill.side.value == "BUY" else -fill.lots for fill in fills)
            return run, held, live

    run, held, live = asyncio.run(go())
    assert (run.state, run.close_reason, held, live) == ("IDLE", "MANUAL", 0, [])
    assert run.ended_ms <= END_MS + 3 * MINUTE_MS


def test_without_a_backtest_nothing_starts(tmp_path):
    async def go():
        async with await SqlStore.open(database(tmp_path)) as store:
            await enabled(store)
            place = place_of(store)
            stepped = None
            for now_ms in range(BEGIN_MS + 15 * MINUTE_MS, BEGIN_MS + 150 * MINUTE_MS, 15 * MINUTE_MS):
                await step(place, now_ms, what="st")
                stepped = await step(place, now_ms, what="e", override=None)
                if stepped.why == "NO_BACKTEST":
                    break
            return stepped, await store.grid_runs(ACCOUNT)

    stepped, runs = asyncio.run(go())
    assert stepped.why == "NO_BACKTEST"
    assert runs == []


def test_other_parameters_do_not_touch_a_live_run(by_quarters, tmp_path):
    url, _ = by_quarters
    copy = tmp_path / "grid.sqlite"
    copy.write_bytes(Path(url.removeprefix("sqlite:///")).read_bytes())

    async def go():
        async with await SqlStore.open(f"sqlite:///{copy}") as store:
            place = place_of(store, "grid.executor.grid_levels=9")
            await step(place, END_MS + 5 * MINUTE_MS, what="e")

    with pytest.raises(Refused, match="PARAMS_CHANGED"):
        asyncio.run(go())


def test_ten_at_once_killed_at_random_double_nothing(by_quarters, tmp_path):
    """Crons that overlap and die at any await: the zones, signals, orders and fills of a single one."""
    url = database(tmp_path)
    chance = random.Random(11)

    async def one(now_ms: int) -> None:
        async with await SqlStore.open(url) as store:
            place = place_of(store, lease_ms=60)
            try:
                await step(place, now_ms)
            except (AssertionError, StoreBusy):  # another holds the lease, or took it meanwhile
                return

    async def crowd() -> dict[str, object]:
        async with await SqlStore.open(url) as store:
            await enabled(store)
        for now_ms in range(BEGIN_MS + QUARTER * MINUTE_MS, END_MS, 60 * MINUTE_MS):
            tasks = [asyncio.create_task(one(now_ms)) for _ in range(10)]
            await asyncio.sleep(chance.random() * 0.3)
            for task in chance.sample(tasks, 5):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.07)  # a dead one's lease lapses
        for _ in range(20):
            with suppress(StoreBusy):  # what a killed one had begun may still be under way in its thread
                return await played(url, [])
        return await played(url, [])

    result = asyncio.run(crowd())
    assert result == by_quarters[1]


def test_scans_and_signals_in_ticks_of_another_size_are_not_read(by_quarters, monkeypatch):
    """47 000 ticks of 0.01 and of 0.1 are different prices: nothing starts on what is not in today's."""
    url, _ = by_quarters

    async def read() -> tuple[dict[int, object], list[object]]:
        async with await SqlStore.open(url) as store:
            place = place_of(store)
            executing = Executing(place, ACCOUNT, Verdict(False, "none"), "test")
            return await grounds(place, 0), await executing._offers(BEGIN_MS, END_MS)

    found, offers = asyncio.run(read())
    assert any(found.values())
    assert offers
    monkeypatch.setattr(Place, "tick", "0.5")
    found, offers = asyncio.run(read())
    assert found
    assert not any(found.values())
    assert not offers


def test_a_first_call_that_waits_for_the_trigger_loses_no_minute(by_quarters, tmp_path):
    """Whoever is called first: the executor decides from its own first minute on."""

    async def go():
        async with await SqlStore.open(database(tmp_path)) as store:
            await enabled(store)
            place = place_of(store)
            waiting = await step(place, BEGIN_MS + QUARTER * MINUTE_MS, what="e")
            assert waiting.waits_for_trigger
            for now_ms in range(BEGIN_MS + QUARTER * MINUTE_MS, END_MS, QUARTER * MINUTE_MS):
                await step(place, now_ms, what="st")
            await step(place, END_MS)
            return await written(store)

    assert asyncio.run(go()) == by_quarters[1]
