"""The meter of uncovered time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from perpdesk.simulation.protection import Meter, uncovered_lots

S = 1_000_000


def test_time_counts_from_bare_to_covered_less_what_nobody_could_use() -> None:
    meter = Meter()
    meter.look(0, "BTCUSDT", 5, 10 * S, excluded="", death=False)
    meter.look(0, "BTCUSDT", 5, 11 * S, excluded="outage", death=False)  # the outage begins
    meter.look(0, "BTCUSDT", 5, 31 * S, excluded="", death=False)  # and ends
    meter.look(0, "BTCUSDT", 0, 32 * S, excluded="", death=False)
    assert meter.done[0].causes_us == {"outage": 20 * S}
    (interval,) = meter.done
    assert interval.seconds == 2
    assert not interval.with_death
    assert meter.running == {}


def test_a_death_on_the_way_marks_the_interval() -> None:
    meter = Meter()
    meter.look(0, "BTCUSDT", 5, 1 * S, excluded="", death=False)
    meter.look(0, "BTCUSDT", 5, 2 * S, excluded="", death=True)
    meter.look(0, "BTCUSDT", 0, 9 * S, excluded="", death=False)
    assert [(one.seconds, one.with_death) for one in meter.all()] == [(8, True)]


def stop(**given: Any) -> SimpleNamespace:
    values = {
        "contract": 0, "side": -1, "type": "STOP_MARKET", "reduce_only": True, "close_position": False,
        "position_side": "BOTH", "working_type": "CONTRACT_PRICE", "trigger": 95, "lots": 10, "extreme": 0,
    }  # fmt: skip
    return SimpleNamespace(**values | given)


def uncovered(ours: int, *stops: SimpleNamespace, mark: int = 100) -> int:
    world = SimpleNamespace(markets=[SimpleNamespace(mark=mark, last=mark)])
    account = SimpleNamespace(open_algos=dict(enumerate(stops)))
    return uncovered_lots(world, account, 0, ours)  # type: ignore[arg-type]


def test_a_good_stop_covers() -> None:
    assert uncovered(10, stop()) == 0
    assert uncovered(10, stop(lots=4), stop(lots=5)) == 1
    assert uncovered(10, stop(type="TRAILING_STOP_MARKET", trigger=0, extreme=101)) == 0
    assert uncovered(0) == 0


@pytest.mark.parametrize(
    "flaw",
    [
        {"side": 1},
        {"type": "STOP"},
        {"type": "TAKE_PROFIT_MARKET"},
        {"reduce_only": False},
        {"contract": 1},
        {"close_position": True},
        {"type": "TRAILING_STOP_MARKET", "trigger": 0},
        {"trigger": 105},
    ],
)
def test_a_flawed_one_does_not(flaw: dict[str, Any]) -> None:
    assert uncovered(10, stop(**flaw)) == 10
