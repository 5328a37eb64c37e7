"""The statistics of /futures/data: real rows from the served market, gaps omitted, always the same."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from tests.conformance.wire import running

from perpdesk.exchange.core.world import Rules
from perpdesk.exchange.server.details import CandleDetails
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS
from perpdesk.market.synthetic import synthetic_tape
from perpdesk.market.tape import Tape

SYMBOL = "AAAUSDT"
CROWDS = ("globalLongShortAccountRatio", "topLongShortAccountRatio", "topLongShortPositionRatio")
ALL = (*CROWDS, "takerlongshortRatio")


def served(tape: Tape, steps: int, **options: Any) -> Any:
    return running(tape=tape, start_step=steps, lockstep=True, recv_window_mode="skip", **options)


@pytest.mark.parametrize("name", ALL)
async def test_rows_of_periods_that_are_over(name: str) -> None:
    """Ascending on the grid, at most 30, none of the period under way; startTime counts from there."""
    tape = synthetic_tape(3, 2, 400)
    async with served(tape, 333) as wire:
        path = f"/futures/data/{name}"
        rows = (await wire.get(path, symbol=SYMBOL, period="5m")).body
        times = [row["timestamp"] for row in rows]
        last = tape.start_ms + 325 * MINUTE_MS
        assert times == [last - (29 - i) * 5 * MINUTE_MS for i in range(30)]
        assert len((await wire.get(path, symbol=SYMBOL, period="5m", limit=500)).body) == 66
        hours = (await wire.get(path, symbol=SYMBOL, period="1h", startTime=tape.start_ms, limit=2)).body
        assert [row["timestamp"] for row in hours] == [tape.start_ms, tape.start_ms + 60 * MINUTE_MS]
        assert (await wire.get(path, symbol=SYMBOL, period="5m")).body == rows
        ended = (await wire.get(path, symbol=SYMBOL, period="5m", endTime=times[4], limit=3)).body
        assert ended == rows[2:5]
        reply = await wire.get(path, symbol=SYMBOL, period="7m")
        assert reply.body["code"] == -1130
        reply = await wire.get(path, symbol=SYMBOL, period="5m", limit=501)
        assert reply.body["code"] == -1130


async def test_the_crowd_is_seeded_and_leans() -> None:
    """Shares sum to one, the ratio is theirs; the same seed tells the same, another one another."""
    tape = synthetic_tape(3, 1, 400)
    told: dict[int, Any] = {}
    for seed in (7, 7, 8):
        async with served(tape, 400, rules=Rules(seed=seed)) as wire:
            rows = {}
            for name in CROWDS:
                rows[name] = (
                    await wire.get(f"/futures/data/{name}", symbol=SYMBOL, period="5m", limit=80)
                ).body
            assert told.setdefault(seed, rows) == rows
    assert told[7] != told[8]
    for name in CROWDS:
        for row in told[7][name]:
            longs, shorts = Decimal(row["longAccount"]), Decimal(row["shortAccount"])
            assert longs + shorts == 1
            assert abs(Decimal(row["longShortRatio"]) - longs / shorts) <= Decimal("0.0001")
        assert len({row["longAccount"] for row in told[7][name]}) > 10
    opens, closes = (np.asarray(tape.bars[name])[:, 0].reshape(80, 5) for name in ("open", "close"))
    moves = (closes[:, -1] - opens[:, 0]) / opens[:, 0]
    shares = {name: [float(row["longAccount"]) for row in told[7][name]] for name in CROWDS}
    assert np.corrcoef(moves, shares[CROWDS[0]])[0, 1] < 0 < np.corrcoef(moves, shares[CROWDS[2]])[0, 1]


async def test_taker_volumes_are_the_files() -> None:
    """Where the file has them they are exact; elsewhere both sides make up the volume."""
    tape = synthetic_tape(3, 1, 60)
    count = 30
    bought = [float(i % 7) / 10 for i in range(count)]
    details = CandleDetails(
        {tape.start_ms + i * MINUTE_MS: i for i in range(count)},
        (np.full(count, 10.0), np.full(count, 5.0), np.asarray(bought), np.full(count, 4.0)),
    )
    async with served(tape, 60, candle_details={SYMBOL: details}) as wire:
        contract = wire.server.contract(SYMBOL)
        rows = (await wire.get("/futures/data/takerlongshortRatio", symbol=SYMBOL, period="5m")).body
        volumes = np.asarray(tape.bars["volume_lots"])[:, 0].reshape(12, 5).sum(axis=1)
        for i, row in enumerate(rows):
            total = Decimal(row["buyVol"]) + Decimal(row["sellVol"])
            assert total == Decimal(contract.qty_text(int(volumes[i])))
            if i < count // 5:
                assert Decimal(row["buyVol"]) == sum(
                    (
                        Decimal(str(one)) // contract.lot_step * contract.lot_step
                        for one in bought[i * 5 : i * 5 + 5]
                    ),
                    Decimal(0),
                )


async def test_a_gap_has_no_row() -> None:
    tape = synthetic_tape(3, 1, 60)
    tape.bars["open_ms"][20:30] = ABSENT_MS
    async with served(tape, 60) as wire:
        for name in ALL:
            rows = (await wire.get(f"/futures/data/{name}", symbol=SYMBOL, period="5m")).body
            assert [(row["timestamp"] - tape.start_ms) // MINUTE_MS for row in rows] == [
                0, 5, 10, 15, 30, 35, 40, 45, 50, 55,
            ]  # fmt: skip


async def test_basis() -> None:
    """The index is the contract's own price here: a basis of nothing, at the prices of the candles."""
    tape = synthetic_tape(3, 1, 60)
    async with served(tape, 60) as wire:
        asked = {"pair": SYMBOL, "contractType": "PERPETUAL", "period": "5m"}
        rows = (await wire.get("/futures/data/basis", **asked)).body
        closes = [row[4] for row in (await wire.get("/fapi/v1/klines", symbol=SYMBOL, interval="5m")).body]
        assert [row["futuresPrice"] for row in rows] == closes[:12] == [row["indexPrice"] for row in rows]
        assert {(row["basis"], row["basisRate"], row["pair"]) for row in rows} == {("0.0", "0.0000", SYMBOL)}
        assert (await wire.get("/futures/data/basis", **asked | {"contractType": "NEXT_QUARTER"})).body == []
        assert (await wire.get("/futures/data/basis", **asked | {"contractType": "X"})).body["code"] == -1130
