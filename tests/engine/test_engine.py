"""The engine on the in-process venue, minute by minute. Where both can run, the compiled loop must agree."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.app.markets import configured, drawn, synthetic, with_drops
from tests.engine.actors import HERD, HOLDER, KEEN, MEMBER, member_params
from tests.engine.desks import (
    ENTER_LONG,
    ENTER_SHORT,
    LEAVE,
    NO_SLIP,
    Acting,
    HandDesk,
    NotedRecorder,
    acted,
    desk_of,
    replayed,
    scripted,
)
from tests.kernel.actors import SLOTS
from tests.kernel.balance import check_books
from tests.kernel.tables import MONEY, fill_row, guard_record, rows

from perpdesk.app import Market
from perpdesk.config.load import Loaded
from perpdesk.kernel.records import (
    COOLDOWN,
    MINUTE_MS,
    NONE,
    SLOT_ENTRY,
    SLOT_OWN,
    TAG_LIQUIDATION,
    TRADING_DISABLED,
)
from perpdesk.ports import Answer, NewOrder, Outcome, StepOver

HOLDING = member_params(HOLDER, notional_e8=1_000 * MONEY)


def both(
    market: Market, sleeve: Acting, loaded: Loaded | None = None, **how: object
) -> tuple[HandDesk, list[str]]:
    """Run engine and loop; the fills, which must be equal to the last bit as all the books."""
    one = desk_of(market, sleeve, loaded=loaded, **how)  # type: ignore[arg-type]
    asyncio.run(one.run())
    loop = replayed(market, sleeve, loaded=loaded)
    fills = loop.all_fills()
    assert [fill_row(fill) for fill in fills] == one.fills()
    assert fills.tobytes() == one.engine.fills().tobytes()
    for name in ("account", "positions"):
        ours, theirs = getattr(loop.books, name), getattr(one.books, name)
        assert [field for field in ours.dtype.names if (ours[field] != theirs[field]).any()] == [], name
    assert one.venue.wallet_now_e8() == loop.books.account.cash_e8[0]
    return one, one.fills()


def test_an_entry_fills_at_the_next_open() -> None:
    _, fills = both(
        drawn("""
            100 101  99 100
            102 103 101 102
            105 106 104 105
            107 108 106 107
        """),
        scripted({0: ENTER_LONG, 2: LEAVE}),
    )
    assert fills == rows("""
        1 +0s entry BUY 10 @ 102 taker
        3 +0s exit SELL 10 @ 107 taker
    """)


def test_the_stop_rests_from_the_entry_on() -> None:
    _, fills = both(
        drawn("""
            100 101  99 100
            100 101  94 100
        """),
        scripted({0: ENTER_SHORT}, guard=guard_record(stop_ppm=10_000)),
    )
    assert fills == rows("""
        1 +0s entry SELL 10 @ 100 taker
        1 +20s stop BUY 10 @ 101 taker
    """)


def test_a_jump_fills_beyond_the_stop() -> None:
    _, fills = both(
        drawn("""
            100 101  99 100
            100 100 100 100
             90  92  89  91
        """),
        scripted({0: ENTER_LONG}, guard=guard_record(stop_ppm=40_000)),
    )
    assert fills == rows("""
        1 +0s entry BUY 10 @ 100 taker
        2 +0s stop SELL 10 @ 90 taker
    """)


def test_an_exit_takes_what_the_volume_gives() -> None:
    one, fills = both(
        drawn("""
            100 100 100 100 100
            100 100 100 100 100
            100 100 100 100 40
            100 100 100 100 0
            100 100 100 100 30
            100 100 100 100 100
        """),
        scripted({0: ENTER_LONG, 1: LEAVE}),
    )
    assert fills == rows("""
        1 +0s entry BUY 10 @ 100 taker
        2 +0s exit SELL 4 @ 100 taker
        4 +0s exit SELL 3 @ 100 taker
        5 +0s exit SELL 3 @ 100 taker
    """)
    assert one.executor.codes == {}
    assert one.executor.open == {}


def test_an_entry_that_finds_nobody_goes_stale() -> None:
    """A signal is worth less than a missed one after a whole minute without a trade."""
    recorder = NotedRecorder()
    one, fills = both(
        drawn("""
            100 100 100 100 1000
            100 100 100 100 0
            100 100 100 100 0
            100 100 100 100 1000
        """),
        scripted({0: ENTER_LONG}),
        recorder=recorder,
    )
    assert fills == []
    assert recorder.rows == [
        "approved s0 e1-0 MARKET BUY 10",
        "sent s0 e1-0 MARKET BUY 10",
        "gone e1-0 CANCELED",
        "dead e1-0",
    ]
    assert one.executor.codes == {}


def test_the_rest_of_an_entry_goes_stale_and_what_filled_is_protected() -> None:
    recorder = NotedRecorder()
    one, fills = both(
        drawn("""
            100 100 100 100 1000
            100 100 100 100 30
            100 100 100 100 0
            100 100 100 100 1000
            100 100  90 100 1000
        """),
        scripted({0: ENTER_LONG}, guard=guard_record(stop_ppm=40_000)),
        recorder=recorder,
    )
    assert fills == rows("""
        1 +0s entry BUY 3 @ 100 taker
        4 +40s stop SELL 3 @ 96 taker
    """)
    assert "gone e1-0 CANCELED" in recorder.rows
    assert "dead e1-0" not in recorder.rows
    assert one.books.account.open_positions[0] == 0


def test_whose_symbol_acted_in_the_bar_is_asked_at_its_close() -> None:
    """A strategy that never asks: its stop fills inside bar 2, so it is heard at the close of bar 2 (and not again)."""
    market = drawn("""
        100 100 100 100
        100 100 100 100
        100 101  90  95
         95  95  95  95
         95  96  85  90
         90  90  90  90
    """)
    keen = member_params(KEEN, notional_e8=10 * MONEY, leverage=5)
    guard = guard_record(stop_ppm=40_000)
    _, fills = both(market, acted(MEMBER, keen, guard=guard))
    assert fills == rows("""
        1 +0s entry BUY 10 @ 100 taker
        2 +40s stop SELL 10 @ 96 taker
        3 +0s entry BUY 10 @ 95 taker
        4 +40s stop SELL 10 @ 92 taker
        5 +0s entry BUY 11 @ 90 taker
    """)
    one, fills = both(market, acted(MEMBER, keen, guard=guard, cooldown_ms=2 * MINUTE_MS))
    assert fills == rows("""
        1 +0s entry BUY 10 @ 100 taker
        2 +40s stop SELL 10 @ 96 taker
    """)
    assert one.books.account.verdicts[0, COOLDOWN] == 1


def test_a_symbol_without_bars_stands_still() -> None:
    _, fills = both(
        drawn("""
            100 100 100 100
            -
            -
            103 103 103 103
            104 104 104 104
        """, """
            100 100 100 100
            101 101 101 101
            102 102 102 102
            103 103 103 103
            104 104 104 104
        """),
        scripted({0: ENTER_LONG, 2: LEAVE}),
    )  # fmt: skip
    assert fills == rows("""
        1 +0s s1 entry BUY 10 @ 101 taker
        3 +0s entry BUY 10 @ 103 taker
        3 +0s s1 exit SELL 10 @ 103 taker
    """)


def test_entries_of_one_step_go_by_universe_order_when_scores_are_equal() -> None:
    table = "100 100 100 100\n100 100 100 100"
    _, fills = both(
        drawn(table, table, table), scripted({0: ENTER_LONG}), configured(NO_SLIP, "risk.positions_max=2")
    )
    assert fills == rows("""
        1 +0s entry BUY 10 @ 100 taker
        1 +0s s1 entry BUY 10 @ 100 taker
    """)


def test_an_isolated_position_is_liquidated_by_a_jump() -> None:
    one, fills = both(
        drawn("""
            100 100 100 100
            100 100 100 100
             70  75  70  75
        """),
        scripted({0: ENTER_LONG}, guard=guard_record(stop_ppm=40_000), leverage=5),
    )
    assert fills == rows("""
        1 +0s entry BUY 10 @ 100 taker
        2 +0s stop SELL 10 @ 70 taker
    """)
    assert one.engine.fills()["tag"].tolist()[-1] == TAG_LIQUIDATION
    assert one.books.account.liquidations[0] == 1
    assert one.executor.open == {}
    assert (one.books.slots["kind"] == NONE).all()


# -- what the books of record and the switch say ---------------------------------------------------


def test_an_entry_that_the_books_refuse_is_not_sent_and_the_run_goes_on() -> None:
    table = "\n".join(["100 100 100 100"] * 6)
    recorder = NotedRecorder(frozenset({0}))
    one = desk_of(drawn(table, table), scripted({0: ENTER_LONG, 2: LEAVE, 3: ENTER_LONG}), recorder=recorder)
    fills = asyncio.run(one.run())
    assert fills == rows("""
        1 +0s s1 entry BUY 10 @ 100 taker
        3 +0s s1 exit SELL 10 @ 100 taker
        4 +0s s1 entry BUY 10 @ 100 taker
    """)
    assert [row for row in recorder.rows if "s0" in row] == ["refused s0 e1-0 MARKET BUY 10"] * 2
    assert one.books.slots[0, 0, SLOT_ENTRY].kind == NONE
    check_books(one.books)


def test_an_entry_that_the_venue_refuses_is_dropped_and_the_run_goes_on() -> None:
    table = "\n".join(["100 100 100 100"] * 4)
    recorder = NotedRecorder()
    one = desk_of(drawn(table), scripted({0: ENTER_LONG, 1: ENTER_LONG}), recorder=recorder)
    take = one.venue.place

    async def refuse_the_first(order: NewOrder) -> Answer:
        one.venue.place = take  # type: ignore[method-assign]
        return Answer(Outcome.REFUSED, "no margin")

    one.venue.place = refuse_the_first  # type: ignore[method-assign]
    fills = asyncio.run(one.run())
    assert fills == ["2 +0s entry BUY 10 @ 100 taker"]
    assert recorder.rows[:2] == ["approved s0 e1-0 MARKET BUY 10", "dead e1-0"]


def test_with_the_switch_off_nothing_is_opened() -> None:
    async def off() -> bool:
        return False

    recorder = NotedRecorder()
    table = "\n".join(["100 100 100 100"] * 4)
    one = desk_of(drawn(table), scripted({0: ENTER_LONG, 1: ENTER_SHORT}), switch=off, recorder=recorder)
    assert asyncio.run(one.run()) == []
    assert recorder.rows == ["no s0 TRADING_DISABLED"] * 2
    assert one.books.account.verdicts[0, TRADING_DISABLED] == 2


@pytest.mark.parametrize("ending", ["stop", "exit", "timeout"])
def test_the_switch_goes_off_and_positions_are_still_left(ending: str) -> None:
    """Off after the first entry: no other symbol is opened, and every kind of exit goes on."""
    on = True

    async def switch() -> bool:
        return on

    quiet = ["100 100 100 100"] * 8
    falling = [*quiet[:5], "100 100 90 95", *quiet[:2]]
    market = drawn("\n".join(falling if ending == "stop" else quiet), "\n".join(quiet))
    plan = {0: ENTER_LONG, 2: ENTER_LONG, 4: LEAVE} if ending == "exit" else {0: ENTER_LONG, 2: ENTER_LONG}
    sleeve = scripted(
        plan, guard=guard_record(stop_ppm=40_000), timeout_ms=MINUTE_MS * 3 if ending == "timeout" else 0
    )
    recorder = NotedRecorder(frozenset({1}))  # the second symbol stays flat and wants in again at bar 2
    one = desk_of(market, sleeve, switch=switch, recorder=recorder)

    def turn(now_ms: int) -> None:
        nonlocal on
        on = now_ms < market.from_ms + 2 * MINUTE_MS

    fills = asyncio.run(one.run(turn))
    assert fills == [
        "1 +0s entry BUY 10 @ 100 taker",
        {
            "stop": "5 +40s stop SELL 10 @ 96 taker",
            "exit": "5 +0s exit SELL 10 @ 100 taker",
            "timeout": "4 +0s exit SELL 10 @ 100 taker",
        }[ending],
    ]
    assert recorder.rows.count("no s1 TRADING_DISABLED") == 1
    assert one.books.account.open_positions[0] == 0


def test_the_switch_is_read_only_when_somebody_wants_in() -> None:
    asked = 0

    async def switch() -> bool:
        nonlocal asked
        asked += 1
        return True

    table = "\n".join(["100 100 100 100"] * 6)
    asyncio.run(desk_of(drawn(table), scripted({1: ENTER_LONG, 3: LEAVE}), switch=switch).run())
    assert asked == 1


# -- two sleeves on one symbol ----------------------------------------------------------------------


def test_two_versions_share_a_forced_close() -> None:
    """Both hold 10 lots; the exchange closes 20, once, for one fee."""
    market = drawn("""
        100 100 100 100
        100 100 100 100
         70  75  70  75
         75  75  75  75
    """)
    one = desk_of(market, scripted({0: ENTER_LONG}), scripted({0: ENTER_LONG}))
    asyncio.run(one.run())
    forced = one.engine.fills()[one.engine.fills()["tag"] == TAG_LIQUIDATION]
    assert sorted(forced["sleeve"].tolist()) == [0, 1]
    assert forced["lots"].tolist() == [10, 10]
    (venue,) = asyncio.run(one.venue.positions())
    assert venue.lots == 0
    assert int(one.books.account.fees_e8[0]) == venue.fees_e8
    assert one.venue.wallet_now_e8() == one.books.account.cash_e8[0]
    check_books(one.books)


def test_what_a_forced_close_costs_the_versions_is_what_the_exchange_took() -> None:
    """One version bought at 100 and left at 120, the other bought at 120 and is liquidated. The exchange has only
    seen one position, at 110: its margin was smaller, and what its wallet says afterwards is the truth."""
    market = drawn("""
        100 100 100 100
        100 100 100 100
        120 120 120 120
        120 120 120 120
        120 120 120 120
         50  50  50  50
         50  50  50  50
    """)
    one = desk_of(
        market,
        scripted({0: ENTER_LONG, 2: LEAVE}, notional_e8=1_000 * MONEY),
        scripted({1: ENTER_LONG}, notional_e8=1_200 * MONEY),
    )
    fills = asyncio.run(one.run())
    assert len(fills) == 4
    assert (one.books.positions["lots"] == 0).all()
    check_books(one.books)
    assert one.books.account.cash_e8[0] == one.venue.wallet_now_e8()


def test_two_versions_have_the_equity_of_the_netted_position() -> None:
    """Each realises on its own average, the exchange on the netted one; together they are worth the same."""
    market = drawn("""
        100 100 100 100
        100 100 100 100
        110 110 110 110
        120 120 120 120
        110 110 110 110
        100 100 100 100
        100 100 100 100
    """)
    one = desk_of(market, scripted({0: ENTER_LONG, 4: LEAVE}), scripted({1: ENTER_LONG, 3: LEAVE}))

    async def go() -> None:
        async for message in one.venue.messages():
            await one.engine.handle(message)
            if not isinstance(message, StepOver):
                continue
            check_books(one.books)
            found = await one.venue.positions()
            held = found[0].lots if found else 0
            cost = found[0].cost_e8 if found else 0
            price = int(one.books.heads["last"][:, 0].max())
            unit = int(one.books.instruments[0].unit_e8)
            assert held == one.books.positions["lots"][:, 0].sum()
            worth = one.venue.wallet_now_e8() + abs(held) * price * unit - cost
            ours = int(one.books.account.cash_e8[0])
            for position in one.books.positions[:, 0]:
                ours += int(position.lots) * price * unit - int(position.cost_e8)
            assert worth == ours

    asyncio.run(go())
    assert len(one.fills()) == 4


# -- everything at random ----------------------------------------------------------------------------


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**31 - 1),
    market_seed=st.integers(0, 5),
    cross=st.booleans(),
    share=st.sampled_from([None, "0.01", "0.000005"]),
    drop=st.sampled_from([0.0, 0.02, 0.12]),
)
def test_whatever_surrounds_a_position_fills_alike(
    seed: int, market_seed: int, cross: bool, share: str | None, drop: float
) -> None:
    """Limits, stops, take-profits, trailing orders and markets, adding and reducing, through gaps and crashes."""
    guard = guard_record(stop_ppm=20_000, trail_activation_ppm=3_000, trail_callback_ppm=2_000)
    loaded = configured(
        f"account.margin_mode={'cross' if cross else 'isolated'}",
        f"paper.volume_share={share or 'null'}",
        "risk.daily_loss_limit=null",
    )
    market = synthetic(240, seed=market_seed, symbols=2)
    if drop:
        market = with_drops(market, drop, every=80)
    one, fills = both(market, acted(MEMBER, HOLDING, guard=guard, seed=seed), loaded)
    check_books(one.books)
    assert one.executor.codes.keys() == {
        (0, s)
        for s in range(2)
        if one.books.positions[0, s].lots or (one.books.slots["kind"][0, s] != NONE).any()
    }
    for s in range(2):
        open_ids = asyncio.run(one.venue.open_client_ids(s))
        assert open_ids == {order.client_id for place, order in one.executor.open.items() if place[1] == s}


def test_the_random_desk_is_not_idle() -> None:
    guard = guard_record(stop_ppm=20_000, trail_activation_ppm=3_000, trail_callback_ppm=2_000)
    one, fills = both(synthetic(400), acted(MEMBER, HOLDING, guard=guard), configured())
    assert len(fills) > 100
    slots = set(one.engine.fills()["slot"].tolist())
    assert slots >= {SLOT_ENTRY, *range(SLOT_OWN, SLOTS)}
    assert 0 < one.engine.fills()["taker"].mean() < 1


@pytest.mark.parametrize("cross", [False, True])
def test_who_looks_at_all_symbols_sees_the_same(cross: bool) -> None:
    """What a strategy observed once a step, also where it is asked again inside a bar."""
    params = member_params(HERD, notional_e8=300 * MONEY)
    loaded = configured(
        f"account.margin_mode={'cross' if cross else 'isolated'}", "risk.daily_loss_limit=null"
    )
    guard = guard_record(stop_ppm=4_000)
    _, fills = both(synthetic(400), acted(MEMBER, params, guard=guard), loaded)
    assert len(fills) > 100
