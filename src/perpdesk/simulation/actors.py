"""A person with the app: does to the account what people do, without asking the desk.

Orders of a person carry client ids that are not ours. ``touched_ms``: when a symbol was last touched, because
from then on the account is not what the desk alone made of it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable

from perpdesk.exchange.core import conditional, entry
from perpdesk.exchange.core import settings as account_settings
from perpdesk.exchange.core.accounts import Position
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server import RunningServer
from perpdesk.simulation.loop import Loop


class Person:
    """One person. ``acts`` of a seed are a random part of all; desk_acts: what a person does to the desk.

    haste: so many times as often as usual."""

    def __init__(
        self,
        loop: Loop,
        server: RunningServer,
        seed: int,
        desk_acts: dict[str, Callable[[], Awaitable[None]]],
        haste: int = 1,
    ) -> None:
        self._loop, self._server, self._haste = loop, server, haste
        self._random = random.Random(f"person {seed}")
        self.fired: Counter[str] = Counter()
        self.touched_ms: dict[str, int] = {}
        self.leverage_ms: dict[int, int] = {}  # by contract
        self._number = 0
        self._is_calm = False
        every = {
            "HUM-01 closes": self._close,
            "HUM-02 closes a part": self._close_part,
            "HUM-03 adds": self._add,
            "HUM-04 reverses": self._reverse,
            "HUM-05 cancels a stop": self._cancel_stop,
            "HUM-05 moves a stop": self._move_stop,
            "HUM-06 changes leverage": self._leverage,
            "HUM-07 changes margin type": self._margin_type,
            "HUM-07 changes position mode": self._position_mode,
            "HUM-08 transfers": self._transfer,
            "HUM-09 deletes the key": self._delete_key,
            "HUM-12 another bot": self._other_bot,
            **desk_acts,
        }
        self._acts = {name: act for name, act in every.items() if self._random.random() < 0.4}

    async def run(self) -> None:
        """Act now and then, until ``calm``."""
        if not self._acts:
            return
        while True:
            await self._loop.pause(self._random.randrange(20_000, 400_000) // self._haste)
            if self._is_calm:
                return
            name = self._random.choice(sorted(self._acts))
            self.fired[name] += 1
            await self._acts[name]()
            self._server.flush()

    def calm(self) -> None:
        """The person goes to bed."""
        self._is_calm = True

    def _held(self) -> Position | None:
        held = self._server.world.accounts[0].held()
        return self._random.choice(held) if held else None

    def _order(self, contract: int, side: int, lots: int, *, reduce: bool) -> bool:
        world = self._server.world
        account, one = world.accounts[0], world.contracts[contract]
        self._number += 1
        params = {
            "symbol": one.symbol,
            "side": "BUY" if side > 0 else "SELL",
            "type": "MARKET",
            "quantity": one.qty_text(lots),
            "newClientOrderId": f"web_{self._number}",
        }
        if account.hedge:
            params["positionSide"] = "LONG" if (side > 0) != reduce else "SHORT"
        elif reduce:
            params["reduceOnly"] = "true"
        answer = entry.place(world, account, params, self._loop.now_ms)
        self.touched_ms[one.symbol] = self._loop.now_ms
        return not isinstance(answer, Refusal)

    async def _close(self) -> None:
        if (held := self._held()) is not None:
            self._order(held.contract, -1 if held.lots > 0 else 1, abs(held.lots), reduce=True)

    async def _close_part(self) -> None:
        if (held := self._held()) is not None and abs(held.lots) > 1:
            lots = self._random.randrange(1, abs(held.lots))
            self._order(held.contract, -1 if held.lots > 0 else 1, lots, reduce=True)

    async def _add(self) -> None:
        if (held := self._held()) is not None:
            self._order(held.contract, 1 if held.lots > 0 else -1, max(1, abs(held.lots) // 2), reduce=False)

    async def _reverse(self) -> None:
        if (held := self._held()) is not None:
            self._order(held.contract, -1 if held.lots > 0 else 1, 2 * abs(held.lots), reduce=False)

    async def _cancel_stop(self) -> None:
        world = self._server.world
        algos = list(world.accounts[0].open_algos.values())
        if algos:
            algo = self._random.choice(algos)
            self.touched_ms[world.contracts[algo.contract].symbol] = self._loop.now_ms
            conditional.cancel(world, world.accounts[0], {"algoId": str(algo.id)}, self._loop.now_ms)

    async def _move_stop(self) -> None:
        world = self._server.world
        account = world.accounts[0]
        stops = [a for a in account.open_algos.values() if a.trigger and not a.close_position]
        if not stops:
            return
        algo = self._random.choice(stops)
        contract = world.contracts[algo.contract]
        trigger = algo.trigger + algo.side * (algo.trigger // 200)
        conditional.cancel(world, account, {"algoId": str(algo.id)}, self._loop.now_ms)
        self._number += 1
        params = {
            "symbol": contract.symbol,
            "side": "BUY" if algo.side > 0 else "SELL",
            "algoType": "CONDITIONAL",
            "type": "STOP_MARKET",
            "quantity": contract.qty_text(algo.lots),
            "triggerPrice": contract.price_text(trigger // contract.tick * contract.tick),
            "clientAlgoId": f"web_{self._number}",
        }
        if account.hedge:
            params["positionSide"] = algo.position_side
        else:
            params["reduceOnly"] = "true"
        self.touched_ms[contract.symbol] = self._loop.now_ms
        conditional.place(world, account, params, self._loop.now_ms)

    async def _leverage(self) -> None:
        contract = self._random.choice(self._server.world.contracts)
        params = {"symbol": contract.symbol, "leverage": str(self._random.choice((1, 2, 5, 20, 50)))}
        self.leverage_ms[contract.index] = self._loop.now_ms
        account_settings.set_leverage(
            self._server.world, self._server.world.accounts[0], params, self._loop.now_ms
        )

    async def _margin_type(self) -> None:
        contract = self._random.choice(self._server.world.contracts)
        params = {"symbol": contract.symbol, "marginType": self._random.choice(("ISOLATED", "CROSSED"))}
        account_settings.set_margin_type(
            self._server.world, self._server.world.accounts[0], params, self._loop.now_ms
        )

    async def _position_mode(self) -> None:
        world = self._server.world
        params = {"dualSidePosition": "true"}
        if not isinstance(
            account_settings.set_hedge(world, world.accounts[0], params, self._loop.now_ms), Refusal
        ):
            await self._loop.pause(self._random.randrange(20_000, 120_000))
            account_settings.set_hedge(
                world, world.accounts[0], {"dualSidePosition": "false"}, self._loop.now_ms
            )

    async def _transfer(self) -> None:
        self._server.deposit(0, self._random.choice(("500", "-500", "2000", "-1000")))

    async def _delete_key(self) -> None:
        keys = dict(self._server.gate.keys)
        self._server.gate.keys.clear()
        await self._loop.pause(self._random.randrange(10_000, 90_000))
        self._server.gate.keys.update(keys)

    async def _other_bot(self) -> None:
        """Another program on the same symbol: a resting order, and a small position of its own."""
        world = self._server.world
        contract = self._random.choice(world.contracts)
        market = world.markets[contract.index]
        side = self._random.choice((1, -1))
        price = (market.last - side * market.last // 50) // contract.tick * contract.tick
        lots = max(
            contract.lots_min, -(-contract.notional_min_e8 * 2 // contract.notional_e8(market.last, 1))
        )
        self._number += 1
        params = {
            "symbol": contract.symbol,
            "side": "BUY" if side > 0 else "SELL",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": contract.qty_text(lots),
            "price": contract.price_text(price),
            "newClientOrderId": f"x-bot{self._number}",
        }
        if world.accounts[0].hedge:
            params["positionSide"] = "LONG" if side > 0 else "SHORT"
        entry.place(world, world.accounts[0], params, self._loop.now_ms)
        self.touched_ms[contract.symbol] = self._loop.now_ms
