"""Two strategies on one account: each owns its symbols, and together they are the account after every step."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.app.markets import DAY, SCORE_WARMUP, configured, synthetic, with_drops
from tests.kernel.balance import check_books, check_levels

from perpdesk.app import Desk, desk
from perpdesk.kernel.records import CROSS, NONE, SLOT_ENTRY, SYMBOL_TAKEN
from perpdesk.ports import StepOver

STRATEGIES = ["sma_cross", "score_v2"]
EAGER = "score.versions.v2.params.min_score_to_trade=50"


async def check_step(one: Desk) -> None:
    """Sleeves against account, and the desk's books against the exchange's own."""
    books = one.setup.books
    check_books(books)
    check_levels(books)
    occupied = (books.positions["lots"] != 0) | (books.slots["kind"][:, :, SLOT_ENTRY] != NONE)
    assert (occupied.sum(axis=0) <= 1).all(), "a symbol belongs to one strategy at a time"
    assert await one.venue.wallet_e8() == books.account.cash_e8[0]
    theirs = {position.symbol: position for position in await one.venue.positions()}
    for s in range(len(books.instruments)):
        ours = books.positions[:, s]
        for name in ("lots", "cost_e8", "realised_e8", "fees_e8", "funding_e8"):
            venue = getattr(theirs[s], name) if s in theirs else 0
            assert ours[name].sum() == venue, (s, name)


async def run_checked(one: Desk) -> None:
    async for message in one.venue.messages():
        await one.engine.handle(message)
        if isinstance(message, StepOver):
            await check_step(one)


@settings(max_examples=12)
@given(
    seed=st.integers(0, 3),
    hour=st.integers(0, 20),
    cross=st.booleans(),
    few_lots=st.booleans(),
    drop=st.sampled_from([0.0, 0.03, 0.25]),
)
def test_the_sum_of_the_sleeves_is_the_account(
    seed: int, hour: int, cross: bool, few_lots: bool, drop: float
) -> None:
    market = synthetic(240, seed=seed, warmup=SCORE_WARMUP + 60 * hour)
    if drop:
        market = with_drops(market, drop, every=60, length=10)
    loaded = configured(
        EAGER,
        f"account.margin_mode={'cross' if cross else 'isolated'}",
        f"paper.volume_share={'0.000005' if few_lots else '0.1'}",
        "risk.daily_loss_limit=null",
    )
    asyncio.run(run_checked(desk(loaded, STRATEGIES, market)))


def test_a_symbol_that_one_holds_is_taken_for_the_other() -> None:
    one = desk(configured(EAGER), STRATEGIES, synthetic(DAY, warmup=SCORE_WARMUP))
    asyncio.run(run_checked(one))
    account = one.setup.books.account[0]
    assert account.verdicts[SYMBOL_TAKEN] > 0
    result = one.result()
    assert [part.version for part in result.versions] == ["sma_cross", "v2"]
    assert all(part.round_trips > 2 for part in result.versions), result.versions
    assert sum(part.fills for part in result.versions) == result.fills
    for name in ("realised_e8", "fees_e8", "funding_e8", "net_e8"):
        assert sum(getattr(part, name) for part in result.versions) == getattr(result, name)
    assert result.funding_e8 != 0


def test_a_forced_close_hits_only_the_sleeve_that_holds() -> None:
    """A drop beyond every liquidation price, isolated and cross."""
    for margin_mode in ("isolated", "cross"):
        loaded = configured(EAGER, f"account.margin_mode={margin_mode}", "risk.daily_loss_limit=null")
        market = with_drops(synthetic(DAY, warmup=SCORE_WARMUP), 0.40, every=300, length=30)
        one = desk(loaded, STRATEGIES, market)
        asyncio.run(run_checked(one))
        account = one.setup.books.account[0]
        assert account.margin_mode == (CROSS if margin_mode == "cross" else 0)
        if margin_mode == "isolated":
            assert account.liquidations > 0
        assert account.cash_e8 >= 0


def test_one_sleeve_does_not_change_what_another_does_alone() -> None:
    """With room for both and symbols of their own, each trades as if it were alone."""
    market = synthetic(DAY, symbols=3, warmup=SCORE_WARMUP)
    never = "score.versions.v2.params.min_score_to_trade=100"
    alone, beside = (desk(configured(never), names, market) for names in (["sma_cross"], STRATEGIES))
    asyncio.run(run_checked(alone))
    asyncio.run(run_checked(beside))
    assert len(alone.engine.fills()) > 20
    assert alone.engine.fills().tobytes() == beside.engine.fills().tobytes()
