"""The exchange's time from round trips."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.clocks import VirtualClock

START = 1_763_640_000_000


@given(
    offset=st.integers(-86_400_000, 86_400_000),
    trips=st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 30_000)), min_size=1, max_size=12),
)
def test_the_estimate_is_within_its_own_error(offset: int, trips: list[tuple[int, int]]) -> None:
    clock = VirtualClock(START)
    server = ServerClock(clock)
    for out_ms, back_ms in trips:
        sent = clock.now_ms()
        clock.advance_to(sent + out_ms + back_ms)
        server.observe(sent, sent + out_ms + offset, clock.now_ms())
        if server.best is not None:  # a trip of many seconds measures nothing
            assert abs(server.now_ms() - (clock.now_ms() + offset)) <= server.error_ms
    assert server.local_ms(server.now_ms()) == clock.now_ms()


def test_a_trip_during_which_our_clock_was_set_back_says_nothing() -> None:
    server = ServerClock(VirtualClock(START))
    server.observe(START, START, START - 5)
    assert server.best is None
    assert server.error_ms == 1000


def test_a_clock_that_is_far_off_is_told() -> None:
    server = ServerClock(VirtualClock(START))
    server.observe(START, START + 256, START + 4)
    assert server.is_alarming
    server = ServerClock(VirtualClock(START))
    server.observe(START, START + 5_200, START + 10_000)  # the trip explains it
    assert not server.is_alarming
