"""The kill ladder on runs that go on, the gate right before the wire, and reloads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.volume_run.sims import START_MS, bought_of, config, hold_true, new_desk, new_market, run_to_end

from perpdesk.adapters.folder import DiskFolder
from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.config.volume import VolumeConfigError, VolumeConfigs, read_volume
from perpdesk.domain.kill import Rung
from perpdesk.engine.control_file import say
from perpdesk.engine.volume.desk import Desk
from perpdesk.engine.volume.ladder import Ladder, control_id
from perpdesk.exchange.spot.inprocess import Latency
from perpdesk.volume_run.sim import SimulatedMarket, drive, driven
from perpdesk.volume_run.start import fixed_configs, sim_desk

SLOW = Latency((20, 60), (20, 60), (20, 120))


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[SqlStore]:
    url = f"sqlite:///{tmp_path / 'volume.sqlite'}"
    upgrade(url)
    async with await SqlStore.open(url) as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> DiskFolder:
    return DiskFolder.made(tmp_path / "control")


def word(folder: DiskFolder, rung: Rung, user: int | None = None) -> None:
    say(folder, control_id(user), rung, "a test", by="test", ms=START_MS)


def laddered(market: SimulatedMarket, books: SqlStore, folder: DiskFolder, **changes: object) -> Desk:
    """Three users whose SELLs rest and never fill: they have something to end."""
    resting = {"price_mode": "profit_on_buy", "order_timeout_seconds": 300, **changes}
    state_of = Ladder(folder).state_of
    desk = sim_desk(market, fixed_configs(config(**resting)), books, owner="test", state_of=state_of)
    desk.open()
    return desk


async def pass_ms(market: SimulatedMarket, desk: Desk, ms: int) -> None:
    end_ms = market.now_ms() + ms
    await drive(market, desk, lambda: market.now_ms() >= end_ms)


def states(desk: Desk) -> dict[int, str]:
    runs = desk.running["boost"].runs
    return {
        user: one.current.state.value if one.current else one.run.state.value for user, one in runs.items()
    }


async def test_flatten_ends_one_users_pair_and_nobody_elses(books: SqlStore, folder: DiskFolder) -> None:
    market = new_market(latency=SLOW)
    market.hold()
    desk = laddered(market, books, folder)
    await driven(market, desk, desk.start_strategy("boost"))
    await pass_ms(market, desk, 10_000)
    assert states(desk) == {1: "SELLING", 2: "SELLING", 3: "SELLING"}
    word(folder, Rung.FLATTEN, user=2)
    await pass_ms(market, desk, 5_000)
    assert states(desk) == {1: "SELLING", 2: "HALTED", 3: "SELLING"}
    assert desk.running["boost"].runs[2].run.detail == "FLATTEN"
    word(folder, Rung.FLATTEN)
    await pass_ms(market, desk, 10_000)
    assert set(states(desk).values()) == {"HALTED"}
    await desk.close()
    assert {pair.outcome for pair in await books.volume_pairs()} == {"STOPPED"}
    await hold_true(market, books)


async def test_halt_lets_pairs_end_and_starts_none(books: SqlStore, folder: DiskFolder) -> None:
    market = new_market(latency=SLOW)
    desk = laddered(
        market, books, folder, price_mode="discount_on_buy", sell_profit_percentage=1, user_ids="[1]"
    )
    await driven(market, desk, desk.start_strategy("boost"))
    await drive(market, desk, lambda: desk.running["boost"].runs[1].current is not None)
    word(folder, Rung.HALT)
    pairs = desk.running["boost"].runs[1].run.pairs
    await run_to_end(market, desk)
    assert states(desk) == {1: "HALTED"}
    found = await books.volume_pairs()
    assert [pair.outcome for pair in found][-1] in ("COMPLETED", "NOT_SENT")
    assert len(found) == pairs
    await desk.close()
    await hold_true(market, books)


async def test_cancel_takes_buys_back_and_leaves_sells(books: SqlStore, folder: DiskFolder) -> None:
    market = new_market(latency=SLOW)
    market.hold(Decimal("0.1"))  # the BUY finds a little and then rests
    desk = laddered(market, books, folder, user_ids="[1]")
    await pass_ms(market, desk, 2_000)
    await driven(market, desk, desk.start_strategy("boost"))
    await drive(market, desk, lambda: states(desk)[1] == "BUYING")
    await pass_ms(market, desk, 3_000)
    assert states(desk) == {1: "BUYING"}
    word(folder, Rung.CANCEL)
    await pass_ms(market, desk, 5_000)
    assert states(desk) == {1: "HALTED"}
    await desk.close()
    await hold_true(market, books)


async def test_a_file_that_cannot_be_trusted_halts(books: SqlStore, folder: DiskFolder) -> None:
    (folder.path / "0.control.json").write_text("no word of ours")
    market = new_market()
    desk = laddered(market, books, folder)
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    assert set(states(desk).values()) == {"HALTED"}
    assert await books.volume_pairs() == []
    await desk.close()


async def test_what_became_durable_too_late_is_not_sent(
    books: SqlStore, folder: DiskFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word that comes between the plan and the wire holds."""
    market = new_market()
    desk = laddered(market, books, folder, user_ids="[1]")
    save = SqlStore.save_volume

    async def slow(self: SqlStore, new: list[object], changed: list[object]) -> None:
        await save(self, new, changed)  # type: ignore[arg-type]
        if any(type(row).__name__ == "VolumePair" for row in new):
            word(folder, Rung.HALT)

    monkeypatch.setattr(SqlStore, "save_volume", slow)
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    [pair] = await books.volume_pairs()
    assert (pair.state, pair.outcome) == ("FLAT", "NOT_SENT")
    assert market.world.accounts[market.accounts[1]].lists == {}
    assert states(desk) == {1: "HALTED"}
    await desk.close()


async def test_a_reload_acts_from_the_next_pair_and_a_bad_one_not_at_all(books: SqlStore) -> None:
    texts = [STRATEGY_30.format(amount=30, target=150)]
    market = new_market()
    desk = sim_desk(market, VolumeConfigs(lambda: read_volume(texts[-1])), books, owner="test")
    desk.open()
    await driven(market, desk, desk.start_strategy("boost"))
    run = desk.running["boost"].runs[1]
    await drive(market, desk, lambda: run.run.pairs >= 2 and run.current is None)
    first = run.effective.config_hash
    texts.append(STRATEGY_30.format(amount=-5, target=150))
    with pytest.raises(VolumeConfigError, match="OUT_OF_RANGE"):
        await driven(market, desk, desk.reload())
    assert run.effective.config_hash == first
    texts.append(STRATEGY_30.format(amount=30, target=150).replace("target_token: KOGE", "target_token: AOP"))
    with pytest.raises(VolumeConfigError, match="NEEDS_RESTART"):
        await driven(market, desk, desk.reload())
    texts.append(STRATEGY_30.format(amount=15, target=120))
    await driven(market, desk, desk.reload())
    await run_to_end(market, desk)
    pairs = await books.volume_pairs()
    assert {pair.config_hash for pair in pairs[:2]} == {first}
    assert pairs[-1].config_hash != first
    assert 120 <= bought_of(market, 1) <= 135
    await desk.close()
    await hold_true(market, books)


STRATEGY_30 = """
strategies:
  - strategy_id: boost
    strategy_name: Boost
    enabled: true
    target_token: KOGE
    target_chain: BSC
    target_volume: {target}
    single_trade_amount_usdt: {amount}
    sell_profit_percentage: 1
    price_mode: discount_on_buy
    user_ids: [1]
"""


async def test_a_halted_user_goes_on_in_the_same_process(books: SqlStore) -> None:
    market = new_market()
    market.spot.revoked.add(market.account(2))
    desk = new_desk(market, config(sell_profit_percentage=1, target_volume=150), books)
    await driven(market, desk, desk.start_strategy("boost"))
    await drive(market, desk, lambda: states(desk)[2] == "HALTED")
    await driven(market, desk, desk.running["boost"].tasks[2])
    market.spot.revoked.clear()
    assert await driven(market, desk, desk.resume_user(2)) == ["boost"]
    assert "volume resume --user 2" in desk.running["boost"].errors[2]
    assert await driven(market, desk, books.clear_volume_halts(2, START_MS, "test")) == 1
    assert await driven(market, desk, desk.resume_user(2)) == ["boost"]
    await run_to_end(market, desk)
    assert states(desk) == {1: "DONE", 2: "DONE", 3: "DONE"}
    await desk.close()
    await hold_true(market, books)


async def test_a_key_that_is_taken_back_under_way_halts_its_user_at_once(books: SqlStore) -> None:
    market = new_market(latency=SLOW)
    desk = new_desk(market, config(sell_profit_percentage=1, target_volume=3000, user_ids="[1]"), books)
    await driven(market, desk, desk.start_strategy("boost"))
    run = desk.running["boost"].runs[1]
    await drive(market, desk, lambda: run.run.pairs >= 2 and run.current is None)
    market.spot.revoked.add(market.account(1))
    await pass_ms(market, desk, 3_000)
    assert (states(desk), run.run.detail) == ({1: "HALTED"}, "AUTH -2015")
    await desk.close()
