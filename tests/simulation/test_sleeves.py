"""Two versions hold one netted position in the live desk, and survive people, the exchange and a death.

The desk, its store and its client are the real ones; the script plays the person and the exchange.
"""

from __future__ import annotations

import pytest
from tests.simulation.scene import BTC, Scene, played

from perpdesk.domain.kill import Rung
from perpdesk.simulation import desk
from perpdesk.simulation.database import Files

pytestmark = pytest.mark.slow


async def whole_life(scene: Scene) -> None:
    """Entered, funded, partly closed by hand, restarted, partly liquidated, restarted, liquidated."""
    held = await scene.both_hold()
    assert set(held) == {"v2", "v3"}
    assert held["v2"] > held["v3"] > 4
    await scene.until(lambda: scene.it.loop.now_ms % 3_600_000 < 3_000_000, 600, "the hour's funding")
    await scene.it.loop.pause(70_000)
    by = {kind: row for row in scene.account.income for kind in (row["incomeType"],)}
    assert "FUNDING_FEE" in by

    scene.order(scene.away, 7, reduce=True)  # score.md §12: pro rata, the largest remainder
    total = sum(held.values())
    shares = {name: 7 * lots // total for name, lots in held.items()}
    rests = sorted(held, key=lambda name: (-(7 * held[name] % total), name))
    for name in rests[: 7 - sum(shares.values())]:
        shares[name] += 1
    left = {name: lots - shares[name] for name, lots in held.items()}
    await scene.until(lambda: scene.is_whole(**left), 20, "a person has closed a part")

    await scene.restart()
    await scene.until(lambda: scene.is_whole(**left), 40, "a restart")

    scene.order(-scene.away, 3)
    await scene.until(lambda: scene.external() == 3 and scene.is_whole(**left), 20, "a person has added")
    (position,) = scene.account.held(BTC)
    scene.it.market._force(position, 5, "autoclose-17")
    two = scene.rows()
    await scene.until(lambda: scene.external() == 0 and scene.rows() != two, 20, "a partial liquidation")
    after = scene.rows()
    assert sum(after.values()) == sum(left.values()) - 2  # external lots first
    await scene.until(lambda: scene.is_whole(**after), 20, "a partial liquidation resizes the stops")

    await scene.restart()
    await scene.until(lambda: scene.is_whole(**after), 40, "a second restart")
    (position,) = scene.account.held(BTC)
    scene.it.market._force(position, abs(position.lots), "autoclose-18")
    await scene.until(lambda: scene.rows() == {} and scene.stops() == {}, 40, "the liquidation")
    ends = scene.it.file.read("SELECT close_reason FROM futures_positions WHERE symbol = 'BTCUSDT'")
    assert {row["close_reason"] for row in ends} == {"LIQUIDATION"}
    assert scene.fills_of("autoclose-") == 5 + sum(after.values())
    await scene.it.loop.pause(100_000)
    scene.check_sums()


async def others_orders_in_the_way(scene: Scene) -> None:
    """A person's resting order on the closing side: the exchange refuses our plain exits beside it (-4118)."""
    held = await scene.both_hold()
    last = scene.it.server.world.markets[BTC].last
    away = last - scene.away * last // 25
    scene.order(scene.away, sum(held.values()) - 5, limit=away // scene.contract.tick * scene.contract.tick)
    (theirs,) = scene.account.open_orders.values()
    scene.it.subject._say(Rung.FLATTEN, scene.it.loop.now_ms)  # type: ignore[attr-defined]
    await scene.until(lambda: scene.net() == 0 and scene.rows() == {}, 180, "everything is out")
    assert list(scene.account.open_orders.values()) == [theirs]
    assert theirs.filled == 0
    said = scene.it.file.read("SELECT payload FROM journal WHERE kind = 'OrderRefused'")
    assert any("-4118" in row["payload"] for row in said)
    await scene.until(lambda: not scene.account.open_algos, 30, "nothing of ours is left")
    await scene.it.loop.pause(100_000)
    scene.check_sums()


def test_two_scorers_on_one_position_survive(folder: Files) -> None:
    played(folder, desk.scores, whole_life)


def test_exits_get_out_beside_somebody_elses_orders(folder: Files) -> None:
    played(folder, desk.scores, others_orders_in_the_way)
