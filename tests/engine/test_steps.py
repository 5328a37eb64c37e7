"""The barrier: bars in any order become steps in minute order; what is late is refused and counted."""

from __future__ import annotations

import numpy as np
import pytest

from perpdesk.engine.steps import StepBarrier
from perpdesk.kernel.records import ABSENT_MS, MINUTE_MS, bar_dt


def bar(minute: int, close: int = 100) -> np.void:
    return np.array((minute * MINUTE_MS, close, close, close, close, 1), bar_dt)[()]


def test_a_minute_is_complete_when_every_symbol_has_reported() -> None:
    barrier = StepBarrier(symbols=2)
    assert barrier.offer(1, bar(0, 11))
    assert barrier.take(MINUTE_MS) is None
    assert barrier.offer(0, bar(0, 10))
    step = barrier.take(MINUTE_MS)
    assert step is not None
    assert step.now_ms == MINUTE_MS
    assert step.bars["close"].tolist() == [10, 11]
    assert barrier.take(MINUTE_MS) is None


def test_the_deadline_closes_an_incomplete_minute_with_absent_bars() -> None:
    barrier = StepBarrier(symbols=3, deadline_ms=500)
    barrier.offer(2, bar(0))
    assert barrier.due_ms() == MINUTE_MS + 500
    assert barrier.take(MINUTE_MS + 499) is None
    step = barrier.take(MINUTE_MS + 500)
    assert step is not None
    assert step.bars["open_ms"].tolist() == [ABSENT_MS, ABSENT_MS, 0]


def test_a_late_bar_never_changes_a_decided_step() -> None:
    barrier = StepBarrier(symbols=2, deadline_ms=0)
    barrier.offer(0, bar(5))
    assert barrier.take(6 * MINUTE_MS) is not None
    assert not barrier.offer(1, bar(5))
    assert not barrier.offer(1, bar(4))
    assert (barrier.late, barrier.duplicates) == (2, 0)
    assert barrier.take(10 * MINUTE_MS) is None


def test_a_second_bar_of_one_minute_is_refused() -> None:
    barrier = StepBarrier(symbols=2)
    assert barrier.offer(0, bar(0, 10))
    assert not barrier.offer(0, bar(0, 99))
    barrier.offer(1, bar(0, 20))
    step = barrier.take(MINUTE_MS)
    assert step is not None
    assert step.bars["close"].tolist() == [10, 20]
    assert barrier.duplicates == 1


def test_minutes_come_out_in_order_and_the_younger_one_waits() -> None:
    barrier = StepBarrier(symbols=1)
    barrier.offer(0, bar(1))
    barrier.offer(0, bar(0))
    steps = [barrier.take(3 * MINUTE_MS) for _ in range(3)]
    assert [step and step.now_ms for step in steps] == [MINUTE_MS, 2 * MINUTE_MS, None]


def test_a_bar_off_the_minute_is_an_error() -> None:
    odd = np.array((1, 1, 1, 1, 1, 1), bar_dt)[()]
    with pytest.raises(ValueError, match="whole minute"):
        StepBarrier(symbols=1).offer(0, odd)
