"""Repetition is stopped until a person says otherwise, and nobody fights a human."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.domain.errors import InputError, Refused
from perpdesk.engine.guardian.throttle import FightLimit, RepeatThrottle, releases_of, repeats_of
from perpdesk.kernel.records import SLOT_OWN


def sent_until_refused(throttle: RepeatThrottle, every_ms: int, most: int = 50) -> int:
    for n in range(most):
        if throttle.why("sma", 3, 1, n * every_ms):
            return n
        throttle.sent("sma", 3, 1, n * every_ms)
    return most


def test_the_eleventh_within_a_minute_switches_the_strategy_off() -> None:
    throttle = RepeatThrottle()
    assert sent_until_refused(throttle, 1_000) == 10
    assert throttle.why("sma", 9, -1, 10**9) == "REPEATED_EXECUTION"  # every symbol, for good
    assert throttle.why("score", 3, 1, 10_000) is None  # and no other strategy


def test_a_grid_may_fill_and_place_each_of_its_levels_again() -> None:
    assert repeats_of(SLOT_OWN) == 10
    assert repeats_of(SLOT_OWN + 20) == 50
    throttle = RepeatThrottle(limits={"sma": repeats_of(SLOT_OWN + 6)})
    assert sent_until_refused(throttle, 1_000) == 22
    throttle = RepeatThrottle(limits={"grid": 90})
    assert sent_until_refused(throttle, 1_000) == 10, "another strategy's limit"


def test_a_word_from_before_releases_nothing() -> None:
    throttle = RepeatThrottle()
    sent_until_refused(throttle, 1)
    since_ms = throttle.disabled["sma"]
    word = {"sma": {"ms": since_ms - 1, "by": "ann", "reason": "looked"}, "score": 7, "grid": {"ms": 9}}
    assert throttle.heed(releases_of(word)) == []
    assert throttle.heed(releases_of(None)) == []
    word["sma"] = {"ms": since_ms + 5, "by": "ann", "reason": "looked"}
    assert throttle.heed(releases_of(word)) == ["sma"]
    assert throttle.why("sma", 3, 1, since_ms + 6) is None


def test_a_slower_pace_goes_on() -> None:
    assert sent_until_refused(RepeatThrottle(), 6_001) == 50


def test_only_a_person_with_a_reason_switches_it_on() -> None:
    throttle = RepeatThrottle()
    sent_until_refused(throttle, 1)
    for by, reason in (("", "checked"), ("ann", " ")):
        with pytest.raises(InputError):
            throttle.enable("sma", by=by, reason=reason)
    assert throttle.why("sma", 3, 1, 10**9)
    throttle.enable("sma", by="ann", reason="checked the feed")
    assert throttle.why("sma", 3, 1, 100) is None
    with pytest.raises(Refused):
        throttle.enable("sma", by="ann", reason="again")


def test_survives_a_restart() -> None:
    throttle = RepeatThrottle()
    sent_until_refused(throttle, 1)
    restarted = RepeatThrottle()
    restarted.restore(json.loads(json.dumps(throttle.to_state())))
    assert restarted.why("sma", 3, 1, 10**9) == "REPEATED_EXECUTION"
    fresh = RepeatThrottle()
    fresh.restore(None)
    assert fresh.why("sma", 3, 1, 0) is None
    with pytest.raises(InputError):
        fresh.restore({"disabled": ["sma"]})


@given(st.lists(st.integers(0, 20_000), max_size=60))
def test_never_more_than_the_limit_in_any_window(gaps: list[int]) -> None:
    throttle, now_ms, sent = RepeatThrottle(repeats_max=4, window_ms=30_000), 0, []
    for gap in gaps:
        now_ms += gap
        if throttle.why("sma", 0, 1, now_ms) is None:
            throttle.sent("sma", 0, 1, now_ms)
            sent.append(now_ms)
    for at in sent:
        assert sum(at - 30_000 < one <= at for one in sent) <= 4


def test_three_times_in_ten_minutes() -> None:
    fight = FightLimit()
    assert [fight.may("k", ms) for ms in (0, 60_000, 120_000, 180_000, 599_999)] == [True] * 3 + [False] * 2
    assert fight.may("k", 600_000)
    assert fight.may("other", 600_000)
    fight.forget("k")
    assert fight.may("k", 600_001)
