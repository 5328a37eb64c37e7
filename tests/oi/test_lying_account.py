"""An exchange that answers nothing, zero or an error to reads of the account: nothing closes, nothing trips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.oi.stage import Stage, play, theatre
from tests.oi.test_session import ETH, holds

from perpdesk.exchange.faults import Fault
from perpdesk.simulation.database import Files, files

LIES: dict[str, dict[str, Any]] = {
    "an empty list": {"kind": "reply", "http": 200, "body": "[]"},
    "an empty object": {"kind": "reply", "http": 200, "body": "{}"},
    "zeros": {"kind": "empty"},
    "half an answer": {"kind": "garble", "form": "truncate"},
    "a page of HTML": {"kind": "garble", "form": "html"},
    "a server error": {"kind": "reply", "http": 503, "body": "Service Unavailable."},
    "an unknown error": {"kind": "reply", "http": 400, "code": -1000, "msg": "unknown"},
}
READS = ("GET /fapi/v3/positionRisk", "GET /fapi/v3/account", "GET /fapi/v2/account", "GET /fapi/v3/balance")


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kept() -> Iterator[Files]:
    with files() as made:
        yield made


@pytest.mark.parametrize("lie", LIES)
def test_nothing_closes_and_nothing_trips(kept: Files, tmp_path: Path, lie: str) -> None:
    async def story(one: Stage) -> None:
        lots = await holds(one)
        stood = one.conditionals(ETH)
        for route in READS:
            one.server.faults.add(Fault(route=route, count=-1, **LIES[lie]))
        one.price(ETH, "2540")
        await one.passes(5 * 60_000)
        assert sum(one.server.faults.fired.values()) >= 5, "it was asked"
        assert one.held(ETH) == one.lots(ETH) == lots
        assert one.conditionals(ETH) == stood
        assert len(one.fills(ETH)) == 1
        breaker = one.desk.money.breaker
        assert not breaker.is_tripped
        assert not one.process.is_over, one.process.error
        (row,) = one.file.read("SELECT status FROM futures_positions")
        assert row[0] == "open"
        one.server.faults.clear()
        await one.passes(2 * 60_000)
        assert one.held(ETH) == one.lots(ETH) == lots
        one.price(ETH, "2735")
        await one.until(lambda: one.lots(ETH) == one.held(ETH) < lots)

    with theatre(kept, tmp_path) as one:
        play(one, story)


@pytest.mark.parametrize("lie", LIES)
def test_a_start_among_lies_closes_nothing(kept: Files, tmp_path: Path, lie: str) -> None:
    """The process dies, and the exchange lies to the next one for a while."""

    async def story(one: Stage) -> None:
        lots = await holds(one)
        await one.kill()
        for route in READS:
            one.server.faults.add(Fault(route=route, count=-1, **LIES[lie]))
        starting = one.loop.create_task(one.start(within_ms=600_000), name="start")
        await one.passes(60_000)
        assert one.held(ETH) == lots
        assert len(one.fills(ETH)) == 1
        one.server.faults.clear()
        await starting
        await one.until(lambda: one.lots(ETH) == lots)
        assert not one.desk.money.breaker.is_tripped
        await one.until(lambda: len(one.conditionals(ETH)) == 5)

    with theatre(kept, tmp_path) as one:
        play(one, story)
