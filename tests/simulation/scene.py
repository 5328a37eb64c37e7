"""A script in the simulated world: what it sees of exchange and database, and what it does as a person."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

from perpdesk.engine import ids
from perpdesk.exchange.core import entry
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.simulation.database import Files
from perpdesk.simulation.run import Options, Result, Simulation, simulate
from perpdesk.simulation.subject import Make
from perpdesk.simulation.sums import differences

BTC = 0
LIVE = "status IN ('building', 'open', 'closing')"


class Scene:
    """What a script sees of the exchange and of the database file, and what it does as a person."""

    def __init__(self, simulation: Simulation, symbol: int = BTC) -> None:
        self.it = simulation
        self.account, self.world = simulation.server.world.accounts[0], simulation.server.world
        self.contract = self.world.contracts[symbol]
        self.orders = 0

    async def until(self, holds: Callable[[], bool], seconds: int, what: str) -> None:
        for _ in range(2 * seconds):
            if holds():
                return
            await self.it.loop.pause(500)
        raise AssertionError(f"{what}: {self.rows()} {self.stops()} of {self.net()}")

    def net(self) -> int:
        """Lots of the exchange's position; whether long or short is the market's."""
        return abs(sum(one.lots for one in self.account.held(self.contract.index)))

    @property
    def away(self) -> int:
        """The side on which the position is closed."""
        return -1 if sum(one.lots for one in self.account.held(self.contract.index)) > 0 else 1

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
            if algo.contract == self.contract.index and named is not None and named.leg == "xs":
                assert algo.reduce_only
                assert not algo.close_position
                found[named.version] = found.get(named.version, 0) + algo.lots
        return found

    def disasters(self) -> int:
        return sum(
            algo.close_position
            for algo in self.account.open_algos.values()
            if algo.contract == self.contract.index
        )

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

    async def switch(self, on: int) -> None:
        """The account's trading switch, 1 or 0."""
        await self.it.file.write("UPDATE trading_control SET trading_enabled = ?", on)

    async def both_hold(self) -> dict[str, int]:
        """Wait until both versions hold, each under its own stop. Nothing more is opened from then on."""
        self.it.market.quiet()
        await self.until(lambda: len(self.rows()) == 2 and self.rows() == self.stops(), 420, "both hold")
        await self.switch(0)
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


def played(
    folder: Files, make: Make, script: Callable[[Scene], Awaitable[None]], minutes: int = 20, symbols: int = 2
) -> Result:
    """One life of a world in which nothing happens but the script."""
    ended: list[Exception | None] = []

    async def run(simulation: Simulation) -> None:
        try:
            await script(Scene(simulation))
            ended.append(None)
        except Exception as error:
            ended.append(error)

    options = Options(
        faults=0.0, minutes=minutes, people=False, events=False, deaths=False, script=run, symbols=symbols
    )
    result = simulate(7, make, folder, options)
    if ended and ended[0] is not None:
        raise ended[0]
    assert ended, "the script did not come to its end in time"
    assert [(one.rule, one.text) for one in result.violations] == []
    assert result.doubled == 0
    assert max((seconds for seconds, _ in result.naked), default=0.0) <= 15
    return result
