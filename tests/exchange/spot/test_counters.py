"""The counter: multiplied, late, new at midnight UTC; and the paths that move many tokens."""

from __future__ import annotations

import pytest
from tests.exchange.spot.market import KOGE, NOW_MS, buy, new_world, place, quote, sell

from perpdesk.exchange.spot.alpha import Paths, default_tokens, random_walk
from perpdesk.exchange.spot.counters import DAY_MS
from perpdesk.exchange.spot.orders import NewList
from perpdesk.exchange.spot.pairs import e8
from perpdesk.exchange.spot.world import SpotWorld


def test_the_default_tokens() -> None:
    tokens = {pair.token: pair for pair, _ in default_tokens()}
    assert {name: pair.multiplier for name, pair in tokens.items()} == {"KOGE": "1", "AOP": "4"}
    assert {pair.taker_ppm for pair in tokens.values()} == {100}
    assert tokens["KOGE"].contract != tokens["AOP"].contract


@pytest.mark.parametrize(
    ("multiplier", "shown"), [("1", 197.30724223), ("4", 789.22896892), ("2.5", 493.268105575)]
)
def test_it_shows_multiplied_buys_after_the_lag(multiplier: str, shown: float) -> None:
    world = new_world()
    pair = world.by_symbol[KOGE]
    pair.multiplier = multiplier
    place(world, buy("0.22690469", "869.56"), symbol=KOGE)
    place(world, sell("0.22690468", "800"), symbol=KOGE)
    at_ms = world.now_ms + pair.counter_lag_ms
    assert world.counters.displayed(0, pair, at_ms - 1) == 0.0
    assert world.counters.displayed(0, pair, at_ms) == pytest.approx(shown, abs=1e-9)
    assert world.counters.real_e8(0, pair, at_ms) == e8("197.30724223")
    assert world.counters.real_e8(0, pair, at_ms, "both") == e8("197.30724223") + e8("181.523744")
    assert world.counters.displayed(1, pair, at_ms) == 0.0


def test_it_starts_again_at_midnight_and_late_volume_stays_in_its_day() -> None:
    world = new_world()
    pair = world.by_symbol[KOGE]
    midnight = (NOW_MS // DAY_MS + 1) * DAY_MS
    world.now_ms = midnight - 10_000
    place(world, buy("0.22690469", "100"), symbol=KOGE)
    world.now_ms = midnight + 10_000
    assert world.counters.displayed(0, pair, midnight + 40_000) == 0.0
    place(world, buy("0.22690469", "200"), symbol=KOGE)
    assert world.counters.real_e8(0, pair, midnight + 40_000) == e8("45.380938")


def test_it_can_stand_still_and_go_down() -> None:
    world = new_world()
    pair = world.by_symbol[KOGE]
    place(world, buy("0.22690469", "100"), symbol=KOGE)
    later = world.now_ms + 60_000
    world.counters.frozen.add(0)
    assert world.counters.displayed(0, pair, later) == 0.0
    world.counters.frozen.clear()
    assert world.counters.displayed(0, pair, later) > 22
    world.counters.forget(0, pair, later)
    assert world.counters.displayed(0, pair, later) == 0.0
    place(world, buy("0.22690469", "100"), symbol=KOGE)
    assert world.counters.displayed(0, pair, later) > 22


def test_paths_of_many_tokens_are_played_in_the_order_of_time() -> None:
    world = new_world()
    paths = Paths(world)
    for pair in world.pairs:
        points = list(random_walk(5, pair, e8("100"), from_ms=NOW_MS, step_ms=1_000, points=50))
        assert points == list(random_walk(5, pair, e8("100"), from_ms=NOW_MS, step_ms=1_000, points=50))
        paths.add(pair, points)
    assert paths.next_ms == NOW_MS
    assert paths.play(NOW_MS + 10_000) == 3 * 11
    assert {book.quoted_ms for book in world.books} == {NOW_MS + 10_000}
    assert paths.play(NOW_MS + 10**9) == 3 * 39
    assert paths.next_ms is None


def test_bars_have_no_gaps_and_know_what_buyers_took() -> None:
    world = new_world()
    book = world.books[world.by_symbol[KOGE].index]
    world.now_ms = NOW_MS + 5_500
    place(world, buy("0.22690469", "100"), symbol=KOGE)
    rows = book.bars.rows("1s", None, None, 60, NOW_MS + 8_000)
    assert [row.open_ms for row in rows] == [NOW_MS - 51_000 + i * 1_000 for i in range(60)]
    traded = [row for row in rows if row.count]
    assert [(row.open_ms, row.taker_qty_e8, row.high_e8) for row in traded] == [
        (NOW_MS + 5_000, e8("100"), e8("0.22690469"))
    ]
    assert rows[0].close_e8 == e8("0.22690468")
    minutes = book.bars.rows("1m", NOW_MS - 60_000, None, 10, NOW_MS + 8_000)
    assert [row.qty_e8 for row in minutes] == [0, e8("100")]


def test_a_second_of_a_thousand_pairs_is_cheap() -> None:
    """Pairs that begin and end in one process: the ledger stays small and the books right."""
    from perpdesk.exchange.spot.alpha import QuotePoint, token
    from perpdesk.exchange.spot.alpha import quote as move

    names = [(f"T{i}", f"ALPHA_{i}USDT") for i in range(50)]
    world = SpotWorld([token(*name) for name in names], says_positions=False, history_max=20)
    for pair in world.pairs:
        world.open_account({"USDT": e8("1000")}, NOW_MS, managed=True)
        move(world, pair, QuotePoint(NOW_MS, e8("10"), e8("10.00000001"), e8("10")))
    from tests.exchange.spot.market import check, place_list

    for _ in range(100):
        for i, (_, symbol) in enumerate(names):
            new = NewList((sell("9.9", "0"),), buy("10.05", "3"), pays=True)
            one = place_list(world, new, account=i, symbol=symbol)
            assert one.is_done
        world.take_events()
    check(world)
    assert all(len(account.orders) <= 40 for account in world.accounts)
    assert not world.crosses
    paid = sum(world.fees.get(pair.base, 0) for pair in world.pairs)
    assert paid == 50 * 100 * e8("0.0003")
    assert quote is not None
