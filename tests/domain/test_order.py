"""An order's life: the good one, and the ones that really happen."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.domain.errors import InvalidTransition
from perpdesk.domain.order import (
    KIND_OF_CODE,
    OrderEvent,
    OrderKind,
    OrderStatus,
    Side,
    is_alarming,
    next_status,
)
from perpdesk.kernel import records

S, E = OrderStatus, OrderEvent


def life(*events: OrderEvent, start: OrderStatus = S.INTENDED) -> OrderStatus:
    status = start
    for event in events:
        status = next_status(status, event)
    return status


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ((E.SENT, E.ACCEPTED, E.PARTLY_FILLED, E.PARTLY_FILLED, E.FILLED), S.FILLED),
        ((E.SENT, E.ACCEPTED, E.TRIGGERED, E.FILLED), S.FILLED),
        ((E.SENT, E.ACCEPTED, E.CANCELED), S.CANCELED),
        ((E.SENT, E.REFUSED), S.REFUSED),
        ((E.ABORTED,), S.DEAD),
        # no answer, and the order was there all the time
        ((E.SENT, E.ANSWER_LOST, E.ANSWER_LOST, E.ACCEPTED), S.ACCEPTED),
        ((E.SENT, E.ANSWER_LOST, E.FILLED), S.FILLED),
        # no answer, and it never was there
        ((E.SENT, E.ANSWER_LOST, E.FOUND_ABSENT), S.DEAD),
        # the stream is faster than the reply
        ((E.SENT, E.FILLED, E.ACCEPTED), S.FILLED),
        ((E.SENT, E.ACCEPTED, E.FILLED, E.TRIGGERED), S.FILLED),
        # a cancel that came too late
        ((E.SENT, E.ACCEPTED, E.FILLED, E.CANCELED), S.FILLED),
        # the part that had traded is reported after the cancel
        ((E.SENT, E.ACCEPTED, E.CANCELED, E.PARTLY_FILLED), S.CANCELED),
        # given up, and filled after all
        ((E.SENT, E.ANSWER_LOST, E.FOUND_ABSENT, E.FILLED), S.FILLED),
        # the process died between the wire and writing it down
        ((E.PARTLY_FILLED, E.FILLED), S.FILLED),
    ],
)
def test_lives(events: tuple[OrderEvent, ...], wanted: OrderStatus) -> None:
    assert life(*events) is wanted


def test_a_lost_answer_is_unknown_and_neither_failed_nor_free_to_be_tried_again() -> None:
    status = life(E.SENT, E.ANSWER_LOST)
    assert status is S.UNKNOWN
    assert status.may_be_live
    assert not status.is_final
    with pytest.raises(InvalidTransition):
        next_status(status, E.SENT)


@pytest.mark.parametrize("order", list(permutations((E.ACCEPTED, E.PARTLY_FILLED, E.FILLED))))
def test_facts_of_a_filled_order_may_come_in_any_order(order: tuple[OrderEvent, ...]) -> None:
    assert life(E.SENT, *order) is S.FILLED
    assert life(E.SENT, E.ANSWER_LOST, *order) is S.FILLED


def test_every_way_back_from_an_end_is_an_alarm_and_filled_has_none() -> None:
    ways_back = set()
    for status in S:
        for event in E:
            try:
                after = next_status(status, event)
            except InvalidTransition:
                assert not is_alarming(status, event)
                continue
            if status.is_final and after is not status:
                ways_back.add((status, event))
    assert ways_back
    assert all(is_alarming(*way) for way in ways_back)
    assert not any(status is S.FILLED for status, _ in ways_back)


@pytest.mark.parametrize("status", [s for s in S if s is not S.FILLED])
def test_a_fill_is_booked_whatever_we_believed(status: OrderStatus) -> None:
    assert next_status(status, E.FILLED) is S.FILLED
    assert is_alarming(status, E.FILLED) == status.is_final


@pytest.mark.parametrize(
    ("status", "event"),
    [
        (S.SENT, E.SENT),
        (S.DEAD, E.SENT),
        (S.FILLED, E.ABORTED),
        (S.FILLED, E.REFUSED),
        (S.SENT, E.FOUND_ABSENT),
    ],
)
def test_what_cannot_happen_is_an_error_that_names_both(status: OrderStatus, event: OrderEvent) -> None:
    with pytest.raises(InvalidTransition, match=f"{status}.*{event}"):
        next_status(status, event)


def test_a_stop_rejected_at_its_trigger_is_an_alarm() -> None:
    assert life(E.SENT, E.ACCEPTED, E.TRIGGERED, E.REFUSED) is S.REFUSED
    assert is_alarming(S.TRIGGERED, E.REFUSED)
    assert not is_alarming(S.SENT, E.REFUSED)


@given(st.lists(st.sampled_from(list(E)), max_size=12))
def test_once_filled_always_filled(events: list[OrderEvent]) -> None:
    status = S.INTENDED
    filled = False
    for event in events:
        try:
            status = next_status(status, event)
        except InvalidTransition:
            continue
        filled = filled or event is E.FILLED
        assert (status is S.FILLED) == filled


def test_kernel_codes_and_words_agree() -> None:
    assert KIND_OF_CODE[records.NONE] is None
    assert KIND_OF_CODE[records.MARKET] is OrderKind.MARKET
    assert KIND_OF_CODE[records.LIMIT] is OrderKind.LIMIT
    assert KIND_OF_CODE[records.STOP] is OrderKind.STOP_MARKET
    assert KIND_OF_CODE[records.TAKE_PROFIT] is OrderKind.TAKE_PROFIT_MARKET
    assert KIND_OF_CODE[records.TRAILING] is OrderKind.TRAILING_STOP_MARKET
    assert Side.of(records.BUY) is Side.BUY
    assert Side.of(records.SELL).sign == records.SELL


def test_conditional_kinds_are_those_with_a_trigger() -> None:
    assert [kind for kind in OrderKind if not kind.is_conditional] == [OrderKind.MARKET, OrderKind.LIMIT]
