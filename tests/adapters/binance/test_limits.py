"""The governor: lanes, windows, the exchange's own counts, pauses and bans, conditional slots."""

from __future__ import annotations

import asyncio

import pytest

from perpdesk.adapters.binance.errors import Throttled
from perpdesk.adapters.binance.limits import (
    BAN_MARGIN_MS,
    MINUTE_MS,
    PROTECT_AGAIN_MS,
    Cost,
    Governor,
    Lane,
    Ticket,
)
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.clocks import VirtualClock

START = 1_763_640_000_000
ORDER = Cost(0, orders_10s=1, orders_1m=1)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def governor(clock: VirtualClock) -> Governor:
    return Governor(clock, ServerClock(clock))


def taken(governor: Governor, lane: Lane, cost: Cost, account: str = "a") -> int:
    """How many tickets a lane gets before it must wait."""
    count = 0
    while isinstance(governor.try_take(lane, cost, account), Ticket):
        count += 1
    return count


def test_each_lane_leaves_room_for_those_before_it(governor: Governor) -> None:
    counts = [taken(governor, lane, Cost(1)) for lane in reversed(Lane)]
    assert counts == [1920, 144, 144, 120, 72]
    assert sum(counts) == 2400


def test_a_window_starts_again_at_the_exchanges_minute(clock: VirtualClock, governor: Governor) -> None:
    assert taken(governor, Lane.CLOSE, Cost(1200)) == 2
    clock.advance_to(START + MINUTE_MS - 1)
    assert governor.try_take(Lane.CLOSE, Cost(1), "a") == START + MINUTE_MS
    clock.advance_to(START + MINUTE_MS)
    assert taken(governor, Lane.CLOSE, Cost(1200)) == 2


def test_orders_are_counted_by_account_and_weight_by_ip(governor: Governor) -> None:
    assert taken(governor, Lane.CLOSE, ORDER, "a") == 300
    assert taken(governor, Lane.CLOSE, ORDER, "b") == 300
    assert taken(governor, Lane.CLOSE, Cost(2400), "a") == 1
    assert taken(governor, Lane.CLOSE, Cost(2400), "b") == 0


def test_the_exchanges_higher_count_wins_and_a_late_one_is_ignored(
    clock: VirtualClock, governor: Governor
) -> None:
    ticket = governor.try_take(Lane.POLL, Cost(1), "a")
    assert isinstance(ticket, Ticket)
    governor.answered(ticket, {"x-mbx-used-weight-1m": "1900"})
    assert governor.used_fraction() == 1900 / 2400
    governor.answered(ticket, {"x-mbx-used-weight-1m": "3"})
    assert governor.used_fraction() == 1900 / 2400
    clock.advance_to(START + MINUTE_MS)
    governor.answered(ticket, {"x-mbx-used-weight-1m": "2400"})
    assert governor.used_fraction() == 0


@pytest.mark.parametrize("words", ["x", "", "-5", "1.5", "٣"])
def test_a_header_that_is_no_count_is_ignored(governor: Governor, words: str) -> None:
    ticket = governor.try_take(Lane.POLL, Cost(1), "a")
    assert isinstance(ticket, Ticket)
    governor.answered(ticket, {"x-mbx-used-weight-1m": words})
    assert governor.used_fraction() <= 3 / 2400


def test_429_stops_all_but_closers_and_protection_that_weigh_nothing(
    clock: VirtualClock, governor: Governor
) -> None:
    ticket = governor.try_take(Lane.POLL, Cost(1), "a")
    assert isinstance(ticket, Ticket)
    governor.refused(ticket, 429, -1003, "Too many requests", {"retry-after": "90"})
    assert governor.try_take(Lane.ENTRY, ORDER, "a") == START + 90_000
    assert governor.try_take(Lane.QUERY, Cost(1), "a") == START + 90_000
    assert isinstance(governor.try_take(Lane.CLOSE, ORDER, "a"), Ticket)
    clock.advance_to(START + 90_000)
    assert isinstance(governor.try_take(Lane.POLL, Cost(1), "a"), Ticket)


@pytest.mark.parametrize(
    ("text", "headers", "until"),
    [
        (f"Way too many requests; IP banned until {START + 300_000}. Please", {}, START + 300_000),
        ("Way too many requests", {"retry-after": "200"}, START + 200_000),
        ("<html>teapot</html>", {}, START + 120_000),
    ],
)
def test_418_stops_everything_until_the_ban_ends(
    clock: VirtualClock, governor: Governor, text: str, headers: dict[str, str], until: int
) -> None:
    ticket = governor.try_take(Lane.POLL, Cost(1), "a")
    assert isinstance(ticket, Ticket)
    governor.refused(ticket, 418, -1003, text, headers)
    until += 1_000 + BAN_MARGIN_MS  # the clock is not measured yet: it may be off by a second
    assert governor.banned_until_ms == until
    assert governor.try_take(Lane.CLOSE, ORDER, "b") == until
    clock.advance_to(until)
    assert isinstance(governor.try_take(Lane.CLOSE, ORDER, "b"), Ticket)


def test_1015_fills_the_account_that_was_told_and_no_other(clock: VirtualClock, governor: Governor) -> None:
    ticket = governor.try_take(Lane.ENTRY, ORDER, "a")
    assert isinstance(ticket, Ticket)
    text = "Too many new orders; current limit is 300 orders per TEN_SECONDS."
    governor.refused(ticket, 429, -1015, text, {})
    assert governor.try_take(Lane.ENTRY, ORDER, "a") == START + 10_000
    assert isinstance(governor.try_take(Lane.ENTRY, ORDER, "b"), Ticket)
    assert governor.try_take(Lane.PROTECT, ORDER, "a") == START + PROTECT_AGAIN_MS, "we have sent one order"
    clock.advance_to(START + PROTECT_AGAIN_MS)
    assert isinstance(governor.try_take(Lane.CLOSE, ORDER, "a"), Ticket)
    assert governor.try_take(Lane.ENTRY, ORDER, "a") == START + 10_000
    clock.advance_to(START + 10_000)
    assert isinstance(governor.try_take(Lane.ENTRY, ORDER, "a"), Ticket)


def test_1015_with_a_time_to_wait_is_waited_out_by_all(clock: VirtualClock, governor: Governor) -> None:
    ticket = governor.try_take(Lane.ENTRY, ORDER, "a")
    assert isinstance(ticket, Ticket)
    governor.refused(ticket, 429, -1015, "Too many new orders per TEN_SECONDS.", {"retry-after": "4"})
    assert governor.try_take(Lane.CLOSE, ORDER, "a") == START + 4_000 + PROTECT_AGAIN_MS


def test_conditional_slots_are_kept_for_protection(governor: Governor) -> None:
    for i in range(172):
        governor.hold_conditional("a", f"e{i}", Lane.ENTRY)
    with pytest.raises(Throttled, match="172 of 200"):
        governor.hold_conditional("a", "e", Lane.ENTRY)
    assert governor.conditional_free("a", Lane.CLOSE) == 28
    governor.hold_conditional("a", "s", Lane.PROTECT)
    governor.free_conditional("a", "s")
    governor.free_conditional("a", "s")
    assert governor.conditional_free("a", Lane.CLOSE) == 28


async def test_waiting_ends_with_the_window_first_lanes_first(
    clock: VirtualClock, governor: Governor
) -> None:
    assert taken(governor, Lane.CLOSE, Cost(2400)) == 1
    order: list[Lane] = []

    async def want(lane: Lane) -> None:
        await governor.take(lane, Cost(1), "a")
        order.append(lane)

    tasks = [asyncio.create_task(want(lane)) for lane in (Lane.POLL, Lane.ENTRY, Lane.CLOSE)]
    await asyncio.sleep(0)
    assert order == []
    for ms in range(0, 40, 5):
        clock.advance_to(START + MINUTE_MS + ms)
        for _ in range(5):
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == [Lane.CLOSE, Lane.ENTRY, Lane.POLL]


async def test_a_request_that_cannot_go_in_time_is_not_sent(governor: Governor) -> None:
    taken(governor, Lane.CLOSE, ORDER)
    with pytest.raises(Throttled, match="not sent"):
        await governor.take(Lane.ENTRY, ORDER, "a", deadline_ms=START + 2_000)


async def test_limits_follow_exchange_info(governor: Governor) -> None:
    governor.account("a")
    governor.set_limits(weight=6000, orders_10s=10, orders_1m=20)
    assert taken(governor, Lane.CLOSE, ORDER, "a") == 10
    assert taken(governor, Lane.CLOSE, ORDER, "new") == 10
    assert taken(governor, Lane.CLOSE, Cost(6000)) == 1
