"""The same executor over Spot order lists: to the target, with partial fills, late fills, refused keys."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from tests.volume_run.spots import SYMBOL, Rig, hold_true_on_spot, rig, spot_config, until

from perpdesk.engine.volume.desk import Desk


async def test_two_users_reach_their_targets_and_every_figure_agrees(tmp_path: Path) -> None:
    async with rig(tmp_path) as one:
        desk = one.desk(spot_config())
        await desk.start_strategy("doge")
        await desk.finished()
        status = await desk.get_strategy_status("doge")
        users = status["users"]
        assert isinstance(users, dict)
        assert {user: row["state"] for user, row in users.items()} == {"1": "DONE", "2": "DONE"}
        for user in (1, 2):
            bought = sum(Decimal(row["quoteQty"]) for row in one.ledger(user)["fills"] if row["isBuyer"])
            assert 60 <= bought < 80
        await desk.close()
        await hold_true_on_spot(one, (1, 2))


def states(desk: Desk) -> dict[int, str]:
    """By user."""
    return {user: one.run.state.value for user, one in desk.running["doge"].runs.items()}


def pair_state(desk: Desk, user: int) -> str | None:
    """Of the live pair."""
    current = desk.running["doge"].runs[user].current
    return None if current is None else current.state.value


@pytest.mark.slow
async def test_a_buy_filled_in_part_times_out_and_what_was_bought_is_sold(tmp_path: Path) -> None:
    async with rig(tmp_path) as one:
        one.quote("0.25000", "0.25001", ask_qty="30")
        loaded = spot_config(user_ids="[1]", target_volume=20, order_timeout_seconds=10)
        desk = one.desk(loaded)
        await desk.start_strategy("doge")
        await until(lambda: pair_state(desk, 1) == "BUYING")
        await until(lambda: pair_state(desk, 1) in ("FLATTENING", None))
        one.quote("0.25000", "0.25001")
        await desk.finished()
        first = (await one.books.volume_pairs())[0]
        assert first.outcome == "BUY_TIMED_OUT"
        assert states(desk) == {1: "DONE"}
        await desk.close()
        await hold_true_on_spot(one, (1,))


async def test_a_key_that_is_taken_back_stops_its_user_alone_and_a_new_one_lets_it_go_on(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path) as one:
        desk = one.desk(spot_config(target_volume=200))
        await desk.start_strategy("doge")
        await until(lambda: desk.running["doge"].runs[2].run.pairs >= 1)
        revoke(one, 2)
        await until(lambda: states(desk)[2] == "HALTED")
        assert states(desk)[1] not in ("HALTED", "DONE")
        await desk.running["doge"].tasks[2]
        [halt] = await one.books.volume_halts("doge")
        assert (halt.user_id, halt.reason) == (2, "KEY AUTH -2015")
        await one.books.clear_volume_halts(2, one.venue.now_ms(), "test")
        revoke(one, 2, back=True)  # as a rotated key: the old connection never asks again
        assert await desk.resume_user(2) == ["doge"]
        await desk.finished()
        assert states(desk) == {1: "DONE", 2: "DONE"}
        await desk.close()
        await hold_true_on_spot(one, (1, 2))


def revoke(one: Rig, user: int, *, back: bool = False) -> None:
    """The exchange does not know the user's key any more."""
    known = one.server.gate.keys
    key = one.server.accounts[user - 1].api_key
    if back:
        known[key] = one.kept.pop(key)
    else:
        one.kept[key] = known.pop(key)


async def test_a_key_with_a_right_too_many_never_trades(tmp_path: Path) -> None:
    async with rig(tmp_path) as one:
        rights = one.server.key_rights[one.server.accounts[0].api_key]
        rights["enableWithdrawals"] = True
        desk = one.desk(spot_config(target_volume=20))
        await desk.start_strategy("doge")
        await desk.finished()
        assert states(desk) == {1: "HALTED", 2: "DONE"}
        assert "it may withdraw" in desk.running["doge"].runs[1].run.detail
        assert one.ledger(1)["lists"] == []
        await desk.close()


async def test_a_lost_answer_is_looked_for_and_never_sent_again(tmp_path: Path) -> None:
    async with rig(tmp_path) as one:
        desk = one.desk(spot_config(user_ids="[1]", target_volume=20))
        one.lose_answers("/api/v3/orderList/oto", 1)
        await desk.start_strategy("doge")
        await desk.finished()
        assert states(desk) == {1: "DONE"}
        assert len(one.ledger(1)["lists"]) == len(await one.books.volume_pairs()) == 2
        assert SYMBOL in one.ledger(1)["fills"][0]["symbol"]
        await desk.close()
        await hold_true_on_spot(one, (1,))
