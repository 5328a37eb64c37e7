"""Scans of live data: the readings are those of the same minutes on file, scan by scan."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.app.markets import configured

from perpdesk.adapters.binance.hosts import simulated
from perpdesk.app import known_until, scanner
from perpdesk.domain.errors import InputError
from perpdesk.exchange.server import RunningServer, ServeOptions, serve
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.market.synthetic import synthetic_tape
from perpdesk.market.tape import Tape
from perpdesk.research.scanner import Reading
from perpdesk.service.score_scan import ScanRun
from perpdesk.strategies.score_v3 import STRATEGY

HISTORY = STRATEGY.warmup_minutes


class Stepping:
    """The exchange's own time; whoever sleeps lets the tape go on."""

    def __init__(self) -> None:
        self.server: RunningServer | None = None

    def now_ms(self) -> int:
        return 0 if self.server is None else self.server.now_ms()

    async def sleep_until(self, ms: int) -> None:
        assert self.server is not None
        assert self.server.replay is not None
        while self.now_ms() < ms:
            assert self.server.replay.play_step(), "the tape is over"


@pytest.fixture(scope="module")
def tape() -> Tape:
    return synthetic_tape(7, 3, HISTORY + 40)


@pytest.fixture
async def server(tape: Tape) -> AsyncIterator[tuple[RunningServer, Stepping]]:
    clock = Stepping()
    options = ServeOptions(clock=clock, tape=tape, start_step=HISTORY, lockstep=True, recv_window_mode="skip")
    async with serve(options) as running:
        clock.server = running
        yield running, clock


def run_of(
    server: tuple[RunningServer, Stepping], symbols: tuple[str, ...], shown: list[list[Reading]]
) -> ScanRun:
    running, clock = server
    return ScanRun(
        configured(),
        ["score_v3"],
        symbols,
        simulated(running.rest_url),
        clock,
        lambda found: shown.append(found),
    )


async def test_live_scans_are_those_of_the_file(server: tuple[RunningServer, Stepping], tape: Tape) -> None:
    symbols, shown = tape.universe.symbols, list[list[Reading]]()
    one = run_of(server, symbols, shown)
    await one.run(most=4)
    assert one.scans == len(shown) == 4
    assert one.scored == 12
    for readings in shown:
        now_ms = readings[0].now_ms
        assert now_ms % (5 * MINUTE_MS) == 0
        market = known_until(tape, now_ms)
        expected = {one.symbol: one for one in scanner(configured(), ["score_v3"], market).scan(now_ms)}
        assert readings == [expected[reading.symbol] for reading in readings]
    assert len({readings[0].now_ms for readings in shown}) == 4


async def test_one_scan_now(server: tuple[RunningServer, Stepping], tape: Tape) -> None:
    shown = list[list[Reading]]()
    await run_of(server, tape.universe.symbols[:2], shown).run(once=True)
    (readings,) = shown
    assert {one.symbol for one in readings} == set(tape.universe.symbols[:2])
    assert all(one.long_score is not None for one in readings)


async def test_an_unknown_contract_is_named(server: tuple[RunningServer, Stepping]) -> None:
    with pytest.raises(InputError, match="NOPEUSDT"):
        await run_of(server, ("NOPEUSDT",), []).run(once=True)
