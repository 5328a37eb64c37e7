"""Books and answers side by side: which finding follows from which difference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.reconcile.scenes import BOTH, NOW_MS, books, fill, leg, order

from perpdesk.domain.order import PositionSide
from perpdesk.engine.reconcile.compare import (
    Holding,
    LocalBooks,
    MirrorOrder,
    Opposed,
    OrderMissing,
    Outside,
    Place,
    PositionFinding,
    SettingChanged,
    Truth,
    others,
    positions,
    to_read,
)
from perpdesk.engine.reconcile.evidence import Doubt, Verdict
from perpdesk.ports import AccountSettings, Leg, VenueFill

V = Verdict
BTC: Place = (0, BOTH)


def truth(legs: list[Leg], fills: dict[int, list[VenueFill]] | None = None, **more: object) -> Truth:
    return Truth(NOW_MS, legs, {0: []} if fills is None else fills, **more)  # type: ignore[arg-type]


def twice(local: LocalBooks, answer: Truth) -> list[tuple[Verdict, int, tuple[int, ...]]]:
    """(verdict, difference, trade ids to import) of BTC at two looks 2 s apart."""
    doubts: dict[Place, Doubt] = {}
    found = []
    for ms in (0, 2_000):
        doubts, findings = positions(local, answer, doubts, ms)
        (one,) = [finding for finding in findings if finding.place == BTC]
        found.append((one.verdict, one.difference, tuple(fill.trade_id for fill in one.imports)))
    return found


def test_what_agrees_is_agreed() -> None:
    assert twice(books([6, 4], 2, known=[1]), truth([leg(12)], {0: [fill(1, 12)]}))[0] == (V.AGREES, 0, ())


def test_a_missed_partial_close_is_imported_at_once() -> None:
    found = twice(books([6, 4], known=[1]), truth([leg(6)], {0: [fill(1, 10), fill(2, -4)]}))
    assert found[0] == (V.EXPLAINED, 0, (2,))


def test_a_close_is_imported_at_the_second_look() -> None:
    found = twice(books([10], known=[1]), truth([], {0: [fill(1, 10), fill(2, -6), fill(3, -4)]}))
    assert found == [(V.FIRST_LOOK, 0, ()), (V.CLOSED, 0, (2, 3))]


def test_a_reversal_is_imported_at_once() -> None:
    found = twice(books([10], known=[1]), truth([leg(-5)], {0: [fill(2, -15)]}))
    assert found[0] == (V.EXPLAINED, 0, (2,))


def test_an_empty_answer_imports_and_closes_nothing() -> None:
    assert twice(books([10]), truth([])) == [(V.FIRST_LOOK, -10, ()), (V.SUSPECT, -10, ())]


def test_part_of_an_explanation_is_booked_and_the_rest_is_suspect() -> None:
    found = twice(books([10]), truth([], {0: [fill(2, -4)]}))
    assert found == [(V.FIRST_LOOK, -6, (2,)), (V.SUSPECT, -6, (2,))]


def test_more_than_anybody_bought_is_surplus() -> None:
    found = twice(books([10]), truth([leg(13)]))
    assert found == [(V.FIRST_LOOK, 3, ()), (V.SURPLUS, 3, ())]
    assert twice(books(), truth([leg(-5)]))[1] == (V.SURPLUS, -5, ())


def test_a_stale_answer_decides_nothing() -> None:
    local = books([10], newest_ms=NOW_MS - 100, newest_id=9, known=[9])
    assert twice(local, truth([leg(4, updated_ms=NOW_MS - 200)]))[1][0] is V.NO_DECISION
    assert twice(local, truth([], {0: [fill(8, -10)]}, since_ms={0: 0}))[1] == (V.NO_DECISION, 0, ())
    assert twice(local, truth([leg(10, updated_ms=NOW_MS - 100)], {}))[0][0] is V.AGREES


def test_a_difference_without_the_history_decides_nothing() -> None:
    assert twice(books([10]), truth([leg(4)], {}))[1][0] is V.NO_DECISION
    assert to_read(books([10]), [leg(4)]) == {0}
    assert to_read(books([10]), []) == {0}
    assert to_read(books([10]), [leg(10)]) == set()
    assert to_read(books(), [leg(3, symbol=2), leg(9, symbol=-1)]) == {2}


def test_repeated_rows_count_once() -> None:
    found = twice(books([10]), truth([leg(6)], {0: [fill(2, -4), fill(2, -4)]}))
    assert found[0] == (V.EXPLAINED, 0, (2,))


def test_the_legs_of_hedge_mode_are_compared_apart() -> None:
    long, short = PositionSide.LONG, PositionSide.SHORT
    local = LocalBooks([Holding(0, (10,), 0, long), Holding(0, (-3,), 0, short)], lambda *_: False)
    answer = truth([leg(8, side=long), leg(-3, side=short)], {0: [fill(2, -2, side=long)]})
    _, findings = positions(local, answer, {}, 0)
    assert [(one.place[1], one.verdict) for one in findings] == [(long, V.EXPLAINED), (short, V.AGREES)]


def test_doubts_of_places_that_agree_again_are_gone() -> None:
    doubts, _ = positions(books([10]), truth([]), {}, 0)
    assert list(doubts) == [BTC]
    doubts, _ = positions(books([10]), truth([leg(10)]), doubts, 2_000)
    assert doubts == {}


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=3),
    st.integers(-5, 5),
    st.lists(st.integers(-6, 6).filter(bool), max_size=5),
    st.integers(-12, 12),
    st.integers(0, 5),
)
def test_after_importing_books_and_exchange_differ_by_what_the_finding_says(
    sleeves: list[int], external: int, history: list[int], shown: int, booked: int
) -> None:
    fills = [fill(i, lots) for i, lots in enumerate(history, 1)]
    local = books(sleeves, external, known=range(1, booked + 1))
    answer = truth([leg(shown)] if shown else [], {0: fills})
    doubts: dict[Place, Doubt] = {}
    for ms in (0, 2_000):
        doubts, findings = positions(local, answer, doubts, ms)
        for one in findings:
            after = one.held + sum(each.side * each.lots for each in one.missing)
            assert after + one.difference == shown
            if one.verdict in (V.AGREES, V.EXPLAINED, V.CLOSED):
                assert one.difference == 0
            if one.verdict is V.SURPLUS:
                assert abs(shown) > abs(after)
                assert shown * after >= 0
            assert not any(each.trade_id <= booked for each in one.missing)


def test_contracts_outside_and_opposed_lots_are_named() -> None:
    found = others(books([10, 0], -4), truth([leg(500, symbol=-1, name="XRPUSDT"), leg(6)]))
    assert found == [Outside("XRPUSDT", 500), Opposed(BTC, (10, 0), -4)]
    assert others(books([10], 4), truth([leg(14)])) == []


@pytest.mark.parametrize(("age_ms", "is_missing"), [(4_999, False), (5_000, True)])
def test_an_order_that_neither_book_shows_is_missing_when_it_is_old_enough(
    age_ms: int, is_missing: bool
) -> None:
    local = books(orders={"s2-7-a-xs-0": MirrorOrder("s2-7-a-xs-0", 0, NOW_MS - age_ms)})
    found = others(local, truth([], orders=[order("web_1")]))
    assert found == ([OrderMissing("s2-7-a-xs-0", 0)] if is_missing else [])
    assert others(local, truth([], orders=None)) == []
    assert others(local, truth([], orders=[order("s2-7-a-xs-0")])) == []


def test_changed_settings_are_named_with_both_values() -> None:
    wanted = AccountSettings(False, False, {0: 10, 1: 5}, {0: True})
    shown = AccountSettings(True, False, {0: 20, 1: 5}, {0: False, 1: True})
    assert others(books(settings=wanted), truth([], settings=shown)) == [
        SettingChanged("hedge", None, False, True),
        SettingChanged("leverage", 0, 10, 20),
        SettingChanged("isolated", 0, True, False),
    ]
    assert others(books(settings=wanted), truth([], settings=wanted)) == []
    assert others(books(settings=wanted), truth([])) == []


def test_findings_say_since_when() -> None:
    doubts, _ = positions(books([10]), truth([]), {}, 1_000)
    _, findings = positions(books([10]), truth([]), doubts, 9_000)
    assert [(one.since_ms, one.held, one.exchange) for one in findings] == [(1_000, 10, 0)]
    assert all(isinstance(one, PositionFinding) for one in findings)
