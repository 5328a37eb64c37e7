"""Absence needs evidence: what one look may decide, and what it may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.engine.reconcile.evidence import (
    APART_MS,
    UNEXPLAINED_MS,
    Doubt,
    Look,
    Verdict,
    is_stale,
    judge,
)

V = Verdict


def run(*looks: tuple[int, int, int, int | None]) -> list[Verdict]:
    """(ms, held, explained by missing fills, shown by the exchange) → verdicts."""
    doubt: Doubt | None = None
    found = []
    for ms, held, explained, exchange in looks:
        doubt, verdict = judge(doubt, Look(ms, held, explained, exchange, explained != 0))
        found.append(verdict)
    return found


@pytest.mark.parametrize(
    ("looks", "verdicts"),
    [
        ([(0, 10, 0, 10)], [V.AGREES]),
        ([(0, 0, 0, 0)], [V.AGREES]),
        # fills that were missed and explain what is shown
        ([(0, 10, -4, 6)], [V.EXPLAINED]),
        ([(0, 0, 10, 10)], [V.EXPLAINED]),
        ([(0, 10, -15, -5)], [V.EXPLAINED]),
        # closed: only by two looks and fills
        ([(0, 10, -10, 0)], [V.FIRST_LOOK]),
        ([(0, 10, -10, 0), (1_999, 10, -10, 0)], [V.FIRST_LOOK, V.FIRST_LOOK]),
        ([(0, 10, -10, 0), (2_000, 10, -10, 0)], [V.FIRST_LOOK, V.CLOSED]),
        # empty answers without fills close nothing, ever
        ([(0, 10, 0, 0), (2_000, 10, 0, 0)], [V.FIRST_LOOK, V.SUSPECT]),
        ([(0, 10, 0, 0), (2_000, 10, 0, 10)], [V.FIRST_LOOK, V.AGREES]),
        ([(0, 10, 0, 0), (59_999, 10, 0, 0)], [V.FIRST_LOOK, V.SUSPECT]),
        ([(0, 10, 0, 0), (60_000, 10, 0, 0)], [V.FIRST_LOOK, V.UNEXPLAINED]),
        # fills that explain a part of it
        ([(0, 10, -4, 0), (2_000, 6, 0, 0)], [V.FIRST_LOOK, V.SUSPECT]),
        # reads that failed or are stale decide nothing and forget nothing
        ([(0, 10, 0, None)], [V.NO_DECISION]),
        ([(0, 10, -10, 0), (2_000, 10, -10, None), (4_000, 10, -10, 0)],
         [V.FIRST_LOOK, V.NO_DECISION, V.CLOSED]),
        # two looks that do not agree
        ([(0, 10, 0, 0), (2_000, 10, 0, 3), (4_000, 10, 0, 0)], [V.FIRST_LOOK] * 3),
        ([(0, 10, 0, 0), (2_000, 10, -10, 0)], [V.FIRST_LOOK, V.FIRST_LOOK]),
        ([(0, 10, 0, 0), (2_000, 11, 0, 0)], [V.FIRST_LOOK, V.FIRST_LOOK]),
        # more than anybody bought
        ([(0, 10, 0, 13), (2_000, 10, 0, 13)], [V.FIRST_LOOK, V.SURPLUS]),
        ([(0, 0, 0, -5), (2_000, 0, 0, -5)], [V.FIRST_LOOK, V.SURPLUS]),
        ([(0, -10, 0, -13), (2_000, -10, 0, -13)], [V.FIRST_LOOK, V.SURPLUS]),
        # the other side, without a fill
        ([(0, 10, 0, -5), (2_000, 10, 0, -5)], [V.FIRST_LOOK, V.SUSPECT]),
        ([(0, 10, 0, 7), (2_000, 10, 0, 7)], [V.FIRST_LOOK, V.SUSPECT]),
        # our clock was set back: start again
        ([(5_000, 10, -10, 0), (3_000, 10, -10, 0), (5_000, 10, -10, 0)],
         [V.FIRST_LOOK, V.FIRST_LOOK, V.CLOSED]),
    ],
)  # fmt: skip
def test_the_table(looks: list[tuple[int, int, int, int | None]], verdicts: list[Verdict]) -> None:
    assert run(*looks) == verdicts


held = st.integers(-3, 3)
reads = st.lists(
    st.tuples(st.integers(0, 70_000), st.integers(-3, 3), st.one_of(st.none(), st.integers(-3, 3))),
    max_size=12,
)


@given(
    st.integers(1, 5), st.lists(st.tuples(st.integers(0, 70_000), st.sampled_from([None, 0])), max_size=15)
)
def test_no_sequence_of_empty_and_failed_reads_closes_anything(
    lots: int, sequence: list[tuple[int, int | None]]
) -> None:
    ms, looks = 0, []
    for later_ms, exchange in sequence:
        ms += later_ms
        looks.append((ms, lots, 0, exchange))
    assert not {V.CLOSED, V.EXPLAINED, V.SURPLUS, V.AGREES} & set(run(*looks))


@given(held, reads)
def test_a_closing_needs_two_agreeing_looks_apart_and_fills(
    lots: int, sequence: list[tuple[int, int, int | None]]
) -> None:
    ms, looks = 0, []
    for later_ms, explained, exchange in sequence:
        ms += later_ms
        looks.append((ms, lots, explained, exchange))
    for i, verdict in enumerate(run(*looks)):
        if verdict is V.CLOSED:
            assert lots != 0
            assert looks[i][1:] == (lots, -lots, 0)
            earlier = [look for look in looks[:i] if look[1:] == (lots, -lots, 0)]
            assert earlier
            assert looks[i][0] - earlier[0][0] >= APART_MS
        if verdict is V.SURPLUS:
            earlier = [look for look in looks[:i] if look[3] == looks[i][3]]
            assert any(looks[i][0] - look[0] >= APART_MS for look in earlier)
        if verdict is V.UNEXPLAINED:
            assert looks[i][0] - looks[0][0] >= UNEXPLAINED_MS


@pytest.mark.parametrize(
    ("updated_ms", "newest_ms", "newest_id", "read_id", "stale"),
    [
        (500, 0, 0, None, False),  # the stream told no fill
        (500, 500, 7, None, False),
        (499, 500, 7, None, True),  # the position is older than the fill
        (None, 500, 7, None, False),  # not there: the fills must explain that
        (0, 500, 7, None, False),  # no time was given
        (500, 1_000, 7, None, True),  # a fill came while it was read
        (1_500, 1_200, 7, None, True),
        (500, 500, 7, 7, False),
        (500, 500, 7, 6, True),  # the history lags
        (500, 500, 7, 0, True),  # an empty history that must have at least one fill
        (500, 500, 7, 9, False),
    ],
)
def test_a_read_that_is_older_than_the_stream_is_stale(
    updated_ms: int | None, newest_ms: int, newest_id: int, read_id: int | None, stale: bool
) -> None:
    assert (
        is_stale(
            asked_ms=1_000,
            updated_ms=updated_ms,
            newest_fill_ms=newest_ms,
            newest_trade_id=newest_id,
            read_trade_id=read_id,
            read_since_ms=400,
        )
        is stale
    )


def test_a_history_read_from_later_on_need_not_have_the_fill() -> None:
    assert not is_stale(
        asked_ms=1_000,
        updated_ms=500,
        newest_fill_ms=500,
        newest_trade_id=7,
        read_trade_id=0,
        read_since_ms=501,
    )
