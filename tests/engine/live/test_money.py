"""Money of a live account: what a person is told when the day's loss is reached."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from perpdesk.engine.alarms import Alarms
from perpdesk.engine.guardian.breaker import Booking, Breaker, LossLimits
from perpdesk.engine.live.desk import LiveDesk
from perpdesk.engine.live.money import Money
from perpdesk.engine.metrics import Metrics
from perpdesk.kernel.records import account_dt

NOW_MS = 1_700_000_000_000
E8 = 10**8


class StandingClock:
    def now_ms(self) -> int:
        return NOW_MS

    async def sleep_until(self, ms: int) -> None:
        raise AssertionError("nothing waits here")


def money() -> Money:
    account = np.zeros(1, account_dt).view(np.recarray)
    account.cash_e8 = 1_000 * E8
    parts: dict[str, Any] = {
        "engine": SimpleNamespace(books=SimpleNamespace(account=account)),
        "venue": SimpleNamespace(exchange_ms=lambda: NOW_MS),
        "store": None, "universe": None, "recorder": None, "account_id": 1, "params_hash": "",
        "clock": StandingClock(), "alarms": Alarms(StandingClock()),
        "breaker": Breaker(1, LossLimits(daily_loss_ppm=10_000, worst_case_ppm=0)),
    }  # fmt: skip
    return Money(**parts)


def standing(alarms: Alarms) -> list[str]:
    return [notice.code for notice in alarms.standing()]


def test_a_loss_that_a_booking_has_reached_is_told_at_the_next_mark() -> None:
    one = money()
    one.mark(0)
    one.booked(Booking("fill:0:1", NOW_MS, -11 * E8))
    assert one.breaker.is_tripped
    one.mark(0)
    assert standing(one.alarms) == ["DAILY_LOSS"]
    assert one.alarms.sounded == 1
    one.mark(0)
    assert one.alarms.sounded == 1  # once for each trip


def test_a_loss_that_a_mark_has_reached_is_told_at_once() -> None:
    one = money()
    one.mark(0)
    one.mark(-9 * E8)
    assert standing(one.alarms) == []
    one.mark(-11 * E8)
    assert standing(one.alarms) == ["DAILY_LOSS"]


def test_a_person_is_told_of_silence_and_of_its_end() -> None:
    ages = [100, 3_001]
    desk = SimpleNamespace(
        venue=SimpleNamespace(reachable=lambda: False),
        owner=SimpleNamespace(database_is_silent=True, from_ms=NOW_MS - 60_000),
        _started_ms=NOW_MS - 60_000,
        freshness=SimpleNamespace(
            limits=SimpleNamespace(mark_ms=3_000), mark_age_ms=lambda s, now_ms: ages[s]
        ),
        universe=SimpleNamespace(symbols=["BTCUSDT", "ETHUSDT"]),
        alarms=Alarms(StandingClock()),
        metrics=Metrics(),
    )
    LiveDesk._tell_of_silence(desk, NOW_MS)  # type: ignore[arg-type]
    assert set(standing(desk.alarms)) == {"UNREACHABLE", "STORE_UNHEALTHY", "STALE_PRICE"}
    assert "ETHUSDT" in desk.alarms.standing()[-1].text
    assert "BTCUSDT" not in desk.alarms.standing()[-1].text
    desk.venue.reachable = lambda: True
    desk.owner.database_is_silent = False
    ages[1] = 3_000
    LiveDesk._tell_of_silence(desk, NOW_MS)  # type: ignore[arg-type]
    assert standing(desk.alarms) == []
    ages[1], desk._started_ms = 3_001, NOW_MS - 3_000  # the streams have just been opened
    LiveDesk._tell_of_silence(desk, NOW_MS)  # type: ignore[arg-type]
    assert standing(desk.alarms) == []
