"""Two versions hold one netted position in the live desk, and survive people, the exchange and a death.

The desk, its store and its client are the real ones; the script plays the person and the exchange.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal

import pytest

from perpdesk.domain.kill import Rung
from perpdesk.engine import ids
from perpdesk.exchange.core import entry
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.simulation import desk
from perpdesk.simulation.database import Files, files
from perpdesk.simulation.run import Options, Simulation, simulate
from perpdesk.simulation.subject import Make
from perpdesk.simulation.sums import differences

pytestmark = pytest.mark.slow
BTC = 0
LIVE = "status IN ('building', 'open', 'closing')"


@pytest.fixture(scope="module")
def folder() -> Iterator[Files]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with files() as found:
        yield found
    logging.disable(before)


class Scene:
    """What a script sees of the exchange and of the database file, and what it does as a person."""

    def __init__(self, simulation: Simulation) -> None:
        self.it = simulation
        self.account, self.world = simulation.server.world.accounts[0], simulation.server.world
        self.contract = self.world.contracts[BTC]
        self.orders = 0

    async def until(self, holds: Callable[[], bool], seconds: int, what: str) -> None:
        for _ in range(2 * seconds):
            if holds():
                return
            await self.it.loop.pause(500)
        raise AssertionError(f"{what}: {self.rows()} {self.stops()} of {self.net()}")

    def net(self) -> int:
        """Lots of the exchange's position; whether long or short is the market's."""
        return abs(sum(one.lots for one in self.account.held(BTC)))

    @property
    def away(self) -> int:
        """The side on which the position is closed."""
        return -1 if sum(one.lots for one in self.account.held(BTC)) > 0 else 1

    def rows(self) -> dict[str, int]:
        """Lots of each version's live row."""
        found = self.it.file.read(
            f"SELECT signal_version, quantity FROM futures_positions WHERE symbol = ? AND {LIVE}",
            self.contract.symbol,
        )
        return {row["signal_version"]: self.lots(row["quantity"]) for row in found}

    def external(self) -> int:
        found = self.it.file.read("SELECT qty FROM external_lots WHERE symbol = ?", self.contract.symbol)
        return sum(abs(self.lots(row["qty"])) for row in found)

    def lots(self, quantity: str) -> int:
        return int(Decimal(quantity) / Decimal(self.contract.qty_text(1)))

    def stops(self) -> dict[str, int]:
        """Lots of each version's own stops; every one of them can only reduce."""
        found: dict[str, int] = {}
        for algo in self.account.open_algos.values():
            named = ids.parse(algo.client_id)
            if algo.contract == BTC and named is not None and named.leg == "xs":
                assert algo.reduce_only
                assert not algo.close_position
                found[named.version] = found.get(named.version, 0) + algo.lots
        return found

    def disasters(self) -> int:
        return sum(algo.close_position for algo in self.account.open_algos.values() if algo.contract == BTC)

    def is_whole(self, **lots: int) -> bool:
        """Does every version hold so much, under a stop of its own over just that, with one disaster stop?"""
        return (
            self.rows() == lots
            and self.stops() == lots
            and self.net() == sum(lots.values()) + self.external()
            and self.disasters() == 1
        )

    def order(self, side: int, lots: int, *, reduce: bool = False, limit: int = 0) -> None:
        """A person in the app."""
        self.orders += 1
        params = {
            "symbol": self.contract.symbol,
            "side": "BUY" if side > 0 else "SELL",
            "type": "LIMIT" if limit else "MARKET",
            "quantity": self.contract.qty_text(lots),
            "newClientOrderId": f"web_{self.orders}",
        }
        if limit:
            params |= {"price": self.contract.price_text(limit), "timeInForce": "GTC"}
        if reduce:
            params["reduceOnly"] = "true"
        answer = entry.place(self.world, self.account, params, self.it.loop.now_ms)
        assert not isinstance(answer, Refusal), answer
        self.it.server.flush()

    async def restart(self) -> None:
        (living,) = self.it.living()
        self.it.loop.kill(living)
        lives = len(self.it.lives)
        await self.until(lambda: len(self.it.lives) > lives, 30, "nobody starts it again")

    async def both_hold(self) -> dict[str, int]:
        """Wait until both versions hold, each under its own stop. Nothing more is opened from then on."""
        self.it.market.quiet()
        await self.until(lambda: len(self.rows()) == 2 and self.rows() == self.stops(), 420, "both hold")
        await self.it.file.write("UPDATE trading_control SET trading_enabled = ?", 0)
        held = self.rows()
        await self.until(lambda: self.is_whole(**held), 30, "a disaster stop stands behind them")
        return held

    def fills_of(self, prefix: str) -> int:
        """Lots of fills of orders whose client id begins so."""
        return sum(
            row["lots"]
            for row in self.account.fills
            if self.account.orders[row["orderId"]].client_id.startswith(prefix)
        )

    def check_sums(self) -> None:
        found = list(differences(self.world, self.account, self.it.file, self.it.loop.now_ms - 90_000))
        assert found == []


def played(folder: Files, make: Make, script: Callable[[Scene], Awaitable[None]], minutes: int = 20) -> None:
    """One life of a world in which nothing happens but the script."""
    ended: list[Exception | None] = []

    async def run(simulation: Simulation) -> None:
        try:
            await script(Scene(simulation))
            ended.append(None)
        except Exception as error:
            ended.append(error)

    options = Options(
        faults=0.0, minutes=minutes, people=False, events=False, deaths=False, script=run, symbols=2
    )
    result = simulate(7, make, folder, options)
    if ended and ended[0] is not None:
        raise ended[0]
    assert ended, "the script did not come to its end in time"
    assert [(one.rule, one.text) for one in result.violations] == []
    assert max((seconds for seconds, _ in result.naked), default=0.0) <= 15


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
