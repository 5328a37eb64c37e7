"""The ratings of a live desk: begun from rows, changed by persons, and not known without a row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.app.markets import configured, synthetic

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.adapters.sqlstore.schema_signals import RATINGS
from perpdesk.app import ratings_of, set_up, sleeves_of
from perpdesk.config.records import rating_rules
from perpdesk.domain.books import StoreFailed
from perpdesk.live import new_rating
from perpdesk.service.ratings import AGAIN_MS, begin_ratings, follow_ratings
from perpdesk.strategies.score_rules.rating_book import RatingBook

ACCOUNT, T0 = 1, 1_748_044_800_000
LOADED = configured()
MARKET = synthetic(10, symbols=3, warmup=10)
UNIVERSE = MARKET.universe


class Desk:
    """A rating book over real books, a store, and a clock that the test moves."""

    def __init__(self, store: SqlStore) -> None:
        self.store, self.clock, self.unrated = store, VirtualClock(T0), set[int]()
        setup = set_up(LOADED, sleeves_of(LOADED, ["score_v2", "score_v3"]), MARKET)
        book = ratings_of(LOADED, setup)
        assert isinstance(book, RatingBook)
        self.book, self.heads = book, setup.books.heads

    async def begin(self) -> None:
        await begin_ratings(self.book, self.store, UNIVERSE, ACCOUNT, ["v2", "v3"], T0)
        self.task = asyncio.create_task(
            follow_ratings(self.book, self.store, UNIVERSE, self.clock, self.unrated)
        )
        await self.settle()

    async def look_again(self) -> None:
        self.clock.advance_to(self.clock.now_ms() + AGAIN_MS)
        await self.settle()

    async def settle(self) -> None:
        """Until it sleeps again."""
        for _ in range(400):
            await asyncio.sleep(0.005)
            if self.clock.next_ms is not None and self.clock.next_ms > self.clock.now_ms():
                return
        raise AssertionError("it never sleeps")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    url = f"sqlite:///{tmp_path}/desk.db"
    upgrade(url)
    async with await SqlStore.open(url) as store:
        made = Desk(store)
        yield made
        made.task.cancel()
        with suppress(asyncio.CancelledError):
            await made.task


async def test_every_symbol_is_rated_at_the_start(desk: Desk) -> None:
    await desk.store.save_rating(new_rating(UNIVERSE.symbols[1], 2, desk.book.rules, T0 - 5))
    await desk.begin()
    rows = await desk.store.ratings()
    assert {name: row.rating_level for name, row in rows.items()} == {
        UNIVERSE.symbols[0]: 0, UNIVERSE.symbols[1]: 2, UNIVERSE.symbols[2]: 0,
    }  # fmt: skip
    assert desk.book.levels.tolist() == [0, 2, 0]
    assert desk.heads[0, 1].margin_cut_ppm == 875_000
    await desk.look_again()
    assert desk.unrated == set()


async def test_a_persons_word_is_taken_over(desk: Desk) -> None:
    await desk.begin()
    await desk.store.save_rating(
        new_rating(UNIVERSE.symbols[2], 3, rating_rules(LOADED.config), T0 + 7, before=0, reason="ann")
    )
    await desk.look_again()
    assert desk.book.levels.tolist() == [0, 0, 3]
    assert desk.heads["margin_cut_ppm"][:, 2].tolist() == [1_000_000, 1_000_000]


async def test_a_row_that_is_gone_is_a_rating_that_is_not_known(desk: Desk) -> None:
    await desk.begin()
    async with desk.store._writing() as connection:
        await connection.execute(sa.delete(RATINGS).where(RATINGS.c.symbol == UNIVERSE.symbols[1]))
    await desk.look_again()
    assert desk.unrated == {1}
    await desk.store.save_rating(new_rating(UNIVERSE.symbols[1], 0, desk.book.rules, T0 + 9))
    await desk.look_again()
    assert desk.unrated == set()


async def test_while_ratings_cannot_be_read_none_is_known(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.begin()

    async def fails() -> None:
        raise StoreFailed("no answer")

    with monkeypatch.context() as broken:
        broken.setattr(desk.store, "ratings", fails)
        await desk.look_again()
        assert desk.unrated == {0, 1, 2}
    await desk.look_again()
    assert desk.unrated == set()
