"""A close that takes minutes, and a process that dies at every point of it: it goes on and ends flat."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.grid_desk.places import ACCOUNT, BEGIN_MS, database, enabled, market, place_of, step

from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.grid_desk.executing import ask_to_close
from perpdesk.kernel.records import MINUTE_MS

STARTED_MS = BEGIN_MS + 130 * MINUTE_MS


def little_volume() -> str:
    """A share of the volume that lets some three lots a minute trade."""
    median = float(np.median(market().bars["volume_lots"]))
    return f"grid.sim.participation_fraction={max(1e-6, round(3 / median, 6)):.6f}"


async def closed(url: str, deaths: list[int]) -> tuple[list[tuple[object, ...]], list[str]]:
    """Close minute by minute; before each step a first try dies after so many turns of the event loop."""
    async with await SqlStore.open(url) as store:
        await enabled(store)
        settings = (little_volume(),)
        place = place_of(store, *settings, lease_ms=1)
        for now_ms in range(BEGIN_MS + 15 * MINUTE_MS, STARTED_MS, 15 * MINUTE_MS):
            await step(place, now_ms)
        await step(place, STARTED_MS)
        async with place.leased("executor") as mine:
            assert mine
            assert await ask_to_close(place, ACCOUNT) is not None
        states = []
        for minute in range(1, 25):
            now_ms = STARTED_MS + minute * MINUTE_MS
            if minute <= len(deaths):
                dying = place_of(store, *settings, lease_ms=1)
                task = asyncio.create_task(step(dying, now_ms, what="e"))
                for _ in range(deaths[minute - 1]):
                    await asyncio.sleep(0)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                await asyncio.sleep(0.005)  # its lease lapses
            await step(place, now_ms, what="e")
            (run, *_) = await store.grid_runs(ACCOUNT)
            states.append(run.state)
            if run.state == "IDLE":
                break
        fills = await store.grid_fills(run.run_id)
        live = await store.grid_orders(run.run_id, live_only=True)
        held = sum(fill.lots if fill.side.value == "BUY" else -fill.lots for fill in fills)
        assert (run.state, held, live) == ("IDLE", 0, [])
        return [(fill.trade_id, fill.client_id, fill.lots, fill.price) for fill in fills], states


def test_it_goes_on_where_it_died_and_ends_flat(tmp_path):
    undisturbed, states = asyncio.run(closed(database(tmp_path), []))
    assert states.count("CLOSING") >= 3
    folder = tmp_path / "dying"
    folder.mkdir()
    deaths = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89]
    disturbed, _ = asyncio.run(closed(database(folder), deaths))
    assert disturbed == undisturbed


class Died(Exception):
    """The process is gone: it says nothing to the database any more."""


async def asked(url: str, minutes: int) -> None:
    """A grid that was told to close, so many minutes into it."""
    async with await SqlStore.open(url) as store:
        await enabled(store)
        place = place_of(store, little_volume(), lease_ms=1)
        for now_ms in range(BEGIN_MS + 15 * MINUTE_MS, STARTED_MS, 15 * MINUTE_MS):
            await step(place, now_ms)
        await step(place, STARTED_MS)
        async with place.leased("executor") as mine:
            assert mine
            assert await ask_to_close(place, ACCOUNT) is not None
        if minutes:
            await step(place, STARTED_MS + minutes * MINUTE_MS, what="e")


async def ended(url: str, death: int | None, minute: int, monkeypatch) -> tuple[list[object], int]:
    """Step to the minute, dying before the given statement, then go on to the end: (fills, statements)."""
    statements = 0
    execute = AsyncConnection.execute

    async def counted(connection, *arguments, **options):
        nonlocal statements
        statements += 1
        if death is not None and statements >= death:
            raise Died
        return await execute(connection, *arguments, **options)

    async with await SqlStore.open(url) as store:
        dying = place_of(store, little_volume(), lease_ms=1)
        with monkeypatch.context() as patch:
            patch.setattr(AsyncConnection, "execute", counted)
            with suppress(Died):
                await step(dying, STARTED_MS + minute * MINUTE_MS, what="e")
        await asyncio.sleep(0.005)  # its lease lapses
        place = place_of(store, little_volume(), lease_ms=1)
        await step(place, STARTED_MS + 30 * MINUTE_MS, what="e")
        (run, *_) = await store.grid_runs(ACCOUNT)
        fills = await store.grid_fills(run.run_id)
        held = sum(fill.lots if fill.side.value == "BUY" else -fill.lots for fill in fills)
        live = await store.grid_orders(run.run_id, live_only=True)
        assert (run.state, run.close_reason, held, live) == ("IDLE", "MANUAL", 0, [])
        return [(fill.trade_id, fill.client_id, fill.lots, fill.price) for fill in fills], statements


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [0, 2])
def test_every_crash_point_of_closing_ends_flat(tmp_path, monkeypatch, minutes):
    """A death before each statement to the database: as it starts to close, and in the middle of it."""
    url = database(tmp_path)
    asyncio.run(asked(url, minutes))
    file = Path(url.removeprefix("sqlite:///"))

    def copied(name: str) -> str:
        shutil.copy(file, tmp_path / f"{name}.sqlite")
        return f"sqlite:///{tmp_path}/{name}.sqlite"

    expected, statements = asyncio.run(ended(copied("calm"), None, minutes + 1, monkeypatch))
    assert statements > 10
    for death in range(1, statements + 1):
        fills, _ = asyncio.run(ended(copied(f"death-{death}"), death, minutes + 1, monkeypatch))
        assert fills == expected, f"died before statement {death}"
