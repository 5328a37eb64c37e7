"""Ctrl-C and SIGTERM: between two steps, entries taken back, positions and their stops left, books complete."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.app.markets import configured, drawn, started_at, synthetic
from tests.cli.conftest import Perpdesk
from tests.engine.desks import ENTER_LONG, NotedRecorder, desk_of, scripted
from tests.kernel.tables import guard_record

from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.app import Desk, desk, paper, run_desk
from perpdesk.domain.books import PositionQuery
from perpdesk.domain.position import PositionStatus
from perpdesk.kernel.records import MINUTE_MS, NONE, SLOT_ENTRY
from perpdesk.market.synthetic import synthetic_market
from perpdesk.market.writing import write_market
from perpdesk.ports import StepOver


def stopped_after(one: Desk, steps: int) -> Desk:
    """The desk, asked to stop in the middle of this step."""
    handle = one.engine.handle

    async def handling(message):  # type: ignore[no-untyped-def]
        if one.engine.steps == steps - 1:
            one.stop_soon()
        await handle(message)

    one.engine.handle = handling  # type: ignore[method-assign]
    return one


@pytest.mark.parametrize("steps", [1, 77, 300])
def test_a_stopped_run_is_the_beginning_of_the_whole(steps: int) -> None:
    market = synthetic(300)
    whole = desk(configured(), ["sma_cross"], market)
    run_desk(whole)
    one = stopped_after(desk(configured(), ["sma_cross"], market), steps)
    result = run_desk(one)
    end_ms = market.from_ms + steps * MINUTE_MS
    assert one.engine.steps == steps
    assert result.to_ms == end_ms
    fills = whole.engine.fills()
    assert one.engine.fills().tobytes() == fills[fills["ms"] < end_ms].tobytes()


def test_entries_are_taken_back_and_stops_stay() -> None:
    """The first symbol is held, the second's entry has found no volume yet."""
    market = drawn(
        "100 100 100 100 1000\n" * 2 + "100 100 100 100 1000",
        "100 100 100 100 1000\n" + "100 100 100 100 0\n" * 2,
    )
    recorder = NotedRecorder()
    one = desk_of(market, scripted({0: ENTER_LONG}, guard=guard_record(stop_ppm=40_000)), recorder=recorder)

    async def go() -> list[tuple[int, int]]:
        async for message in one.venue.messages():
            await one.engine.handle(message)
            if isinstance(message, StepOver) and one.engine.steps == 2:
                return await one.engine.stop(message.now_ms)
        raise AssertionError("the market ended before the stop")

    assert asyncio.run(go()) == [(0, 0)]
    assert recorder.rows[-2:] == ["gone e1-0 CANCELED", "dead e1-0"]
    assert (one.books.slots["kind"][:, :, SLOT_ENTRY] == NONE).all()
    assert asyncio.run(one.venue.open_client_ids(1)) == set()
    (stop,) = asyncio.run(one.venue.open_client_ids(0))
    assert "-xs-" in stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_run_with_its_books_complete(number: signal.Signals, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'desk.db'}"
    upgrade(url)
    market = started_at(synthetic(900), 300)
    result = await paper(
        configured(), ["sma_cross"], market, database=url, progress=lambda steps: os.kill(os.getpid(), number)
    )
    assert market.from_ms < result.to_ms < market.to_ms
    async with await SqlStore.open(url) as store:
        (run,) = await store.runs()
        assert run.ended_ms is not None
        assert run.summary is not None
        assert run.summary["to_ms"] == result.to_ms
        positions = await store.positions(PositionQuery(account_id=run.account_id))
        assert len(positions) > 0
        assert all(position.created_ms <= result.to_ms for position in positions)
        live = [position for position in positions if position.status.is_live]
        assert {position.status for position in live} <= {PositionStatus.OPEN, PositionStatus.CLOSING}
        assert len(live) == result.open_positions
        assert (await store.verify_journal()).is_intact
        assert [intent.state for intent in await store.pending_intents(run.account_id)] == []


def test_the_command_says_what_stays_open(
    perpdesk: Perpdesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_market(synthetic_market(7, 2, 400), tmp_path / "market")
    make = desk

    def interrupted(*args, **options):  # type: ignore[no-untyped-def]
        return stopped_after(make(*args, **options), 200)

    monkeypatch.setattr("perpdesk.app.desk", interrupted)
    answer = perpdesk("paper", "--strategy", "sma_cross", "--data", files / "klines_1m", "--json")
    assert answer.code == 0
    still = answer.json["open_positions"]
    assert (
        f"stopped at 2025-01-01 03:20 UTC: {still} positions stay open with their exchange stops"
        in answer.err
    )


async def test_a_paced_run_does_not_sleep_through_a_stop() -> None:
    """At the speed of life the next minute is a minute away; who wants to stop does not wait for it."""
    one = desk(configured(), ["sma_cross"], synthetic(300), speed=1.0)
    task = asyncio.create_task(one.run())
    for _ in range(10):
        await asyncio.sleep(0)
    one.stop_soon()
    await asyncio.wait_for(task, 10)
    assert one.stopped_at_ms is not None
