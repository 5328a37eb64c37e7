"""How old is too old, and what is frozen however fresh it looks."""

from __future__ import annotations

from perpdesk.engine.guardian.staleness import NEVER, AgeLimits, Freshness

T0 = 1_700_000_000_000


def fresh(symbols: int = 2, **limits: object) -> Freshness:
    """Everything heard at T0."""
    found = Freshness(symbols, AgeLimits(**limits))  # type: ignore[arg-type]
    found.user_lives(T0)
    for symbol in range(symbols):
        found.marked(symbol, 100, T0, T0)
        found.bar_closed(symbol, T0)
    return found


def test_fresh() -> None:
    assert fresh().stale(T0) == {}
    assert fresh().mark_price(0) == 100


def test_never_heard_is_stale() -> None:
    nothing = Freshness(1)
    assert nothing.why_not_open(0, T0) == "STALE_PRICE"
    assert nothing.mark_price(0) == 0
    assert nothing.ages(T0).marks == (NEVER,)


def test_each_age_has_its_limit_and_exactly_the_limit_is_fresh() -> None:
    data = fresh(mark_ms=3_000, bars_ms=75_000, user_ms=60_000)
    assert data.why_not_open(0, T0 + 3_000) is None
    assert data.why_not_open(0, T0 + 3_001) == "STALE_PRICE"
    bars = fresh(mark_ms=0, user_ms=0)
    assert bars.why_not_open(0, T0 + 75_000) is None
    assert bars.why_not_open(0, T0 + 75_001) == "STALE_BARS"
    user = fresh(mark_ms=0, bars_ms=0)
    assert user.why_not_open(0, T0 + 60_000) is None
    assert user.why_not_open(0, T0 + 60_001) == "STALE_USER_STREAM"


def test_one_symbol_of_many_is_stale_alone() -> None:
    data = fresh()
    data.marked(0, 101, T0 + 5_000, T0 + 5_000)
    assert data.stale(T0 + 5_000) == {1: "STALE_PRICE"}


def test_the_same_stamp_again_is_no_news() -> None:
    """A feed that repeats its last message looks alive and is not."""
    data = fresh()
    data.marked(0, 100, T0, T0 + 5_000)
    assert data.why_not_open(0, T0 + 5_000) == "STALE_PRICE"


def test_a_price_of_zero_is_no_price() -> None:
    data = fresh()
    data.marked(0, 0, T0 + 4_000, T0 + 4_000)
    assert data.why_not_open(0, T0 + 4_000) == "STALE_PRICE"


def test_frozen_while_others_move() -> None:
    data = fresh(bars_ms=0, user_ms=0)
    for second in range(1, 62):
        now_ms = T0 + second * 1_000
        data.marked(0, 100, now_ms, now_ms)  # punctual, and always the same
        data.marked(1, 100 + second, now_ms, now_ms)
    assert data.stale(T0 + 60_000) == {}
    assert data.stale(T0 + 61_000) == {0: "FROZEN_PRICE"}


def test_a_calm_market_is_not_frozen_for_five_minutes() -> None:
    data = fresh(1, bars_ms=0, user_ms=0)
    for second in range(1, 302):
        data.marked(0, 100, T0 + second * 1_000, T0 + second * 1_000)
    assert data.why_not_open(0, T0 + 300_000) is None
    assert data.why_not_open(0, T0 + 301_000) == "FROZEN_PRICE"


def test_routes() -> None:
    data = fresh(bars_ms=0, mark_ms=0, user_ms=0, routes_ms={"market": 5_000})
    assert data.why_not_open(0, T0) == "STALE_ROUTE:market"
    data.heard("market", T0)
    assert data.why_not_open(0, T0 + 5_000) is None
    assert data.why_not_open(0, T0 + 5_001) == "STALE_ROUTE:market"


def test_a_mark_of_the_future_is_not_believed() -> None:
    data = fresh()
    data.marked(0, 101, T0 + 10_000, T0)
    assert data.why_not_open(0, T0) == "CLOCK_AHEAD"


def test_ages() -> None:
    data = fresh(routes_ms={"market": 1})
    data.heard("market", T0 + 1_000)
    ages = data.ages(T0 + 3_000)
    assert (ages.marks, ages.bars, ages.user, ages.routes) == (
        (3_000, 3_000),
        (3_000, 3_000),
        3_000,
        {"market": 2_000},
    )
