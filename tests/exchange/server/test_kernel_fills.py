"""Fills over sockets with ``--fills kernel`` are the in-process venue's fills, order by order.

The same scripted trader lives on both: it sees the stops of the path (and nothing else), and answers each with
orders before the path goes on. Fills are compared as the client's own user stream tells them.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from tests.conformance.wire import Wire, kinds, running
from tests.exchange.server.test_replay import control
from tests.kernel.tables import account_record, bars_of

from perpdesk.adapters.clocks import SystemClock, VirtualClock
from perpdesk.domain.errors import InputError
from perpdesk.exchange.core.contracts import universe_of
from perpdesk.exchange.core.world import Rules
from perpdesk.exchange.inprocess import InProcessVenue
from perpdesk.exchange.recorded import RecordedMinutes
from perpdesk.exchange.server import ServeOptions
from perpdesk.exchange.server.app import build
from perpdesk.kernel.records import (
    BUY,
    CROSS,
    LIMIT,
    MARKET,
    MINUTE_MS,
    SELL,
    STOP,
    TAKE_PROFIT,
    TRAILING,
    funding_dt,
    zeros,
)
from perpdesk.market.instruments import bundled
from perpdesk.market.synthetic import synthetic_tape
from perpdesk.market.tape import Tape
from perpdesk.ports import (
    ForcedClose,
    FundingCharged,
    NewOrder,
    PriceReached,
    StepClosed,
    StepOver,
    Traded,
    Triggered,
)

LEVERAGE, SLOTS = 5, 12
SLIPPAGE_PPM = 500

# (symbol, client id, side, price, lots, taker, fee_e8, ms)
Fill = tuple[int, str, int, int, int, bool, int, int]


@dataclass(frozen=True)
class Wish:
    """An order that a trader wants."""

    symbol: int
    slot: int
    client_id: str
    kind: int
    side: int
    lots: int
    price: int = 0
    reduce_only: bool = False
    activation: int = 0
    callback_ppm: int = 0


@dataclass(frozen=True)
class Seen:
    """A stop of the path, as both venues tell it."""

    at: str
    symbol: int
    price: int
    ms: int


@dataclass
class Outcome:
    """What a life came to."""

    stops: list[Seen] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    wallet_e8: int = 0


class Trader:
    """Random but seeded: the same stops and fills give the same orders."""

    def __init__(self, seed: int, tape: Tape, lots: int) -> None:
        self.random = random.Random(seed)
        self.tape = tape
        self.lots = lots
        self.held = [0] * len(tape.universe)
        self.open: list[dict[int, Wish]] = [{} for _ in tape.universe.symbols]
        self.last = [int(bar["open"]) for bar in tape.bars[0]]
        self.number = 0

    def filled(self, fill: Fill) -> None:
        """One of its orders traded."""
        symbol, client_id, side, _, lots, *_ = fill
        self.held[symbol] += side * lots
        for slot, wish in list(self.open[symbol].items()):
            if wish.client_id == client_id:
                left = wish.lots - lots
                if left <= 0 or (wish.reduce_only and self.held[symbol] == 0):
                    del self.open[symbol][slot]
                else:
                    self.open[symbol][slot] = Wish(**{**wish.__dict__, "lots": left})

    def lost(self, symbol: int) -> None:
        """Liquidated."""
        self.held[symbol] = 0
        self.open[symbol].clear()

    def react(self, seen: Seen) -> tuple[list[Wish], list[Wish]]:
        """(orders to cancel, orders to place)."""
        if seen.at == "close":
            index = (seen.ms - self.tape.start_ms) // MINUTE_MS - 1
            for i, bar in enumerate(self.tape.bars[index]):
                self.last[i] = int(bar["close"]) if bar["open_ms"] >= 0 else self.last[i]
            symbols = [i for i in range(len(self.last)) if self.random.random() < 0.15]
        elif seen.symbol >= 0:
            self.last[seen.symbol] = seen.price
            symbols = [seen.symbol]
        else:
            return [], []
        gone: list[Wish] = []
        made: list[Wish] = []
        for s in symbols:
            self._answer(s, gone, made)
        return gone, made

    def _answer(self, s: int, gone: list[Wish], made: list[Wish]) -> None:
        for slot, wish in list(self.open[s].items()):
            stale = wish.reduce_only and self.held[s] == 0
            if stale or self.random.random() < 0.1:
                gone.append(self.open[s].pop(slot))
        for _ in range(self.random.randrange(1, 4)):
            free = [slot for slot in range(SLOTS) if slot not in self.open[s]]
            if not free:
                return
            wish = self._wish(s, self.random.choice(free))
            if wish is not None:
                self.open[s][wish.slot] = wish
                made.append(wish)

    def _wish(self, s: int, slot: int) -> Wish | None:
        draw, last = self.random.random(), self.last[s]
        self.number += 1
        name = f"t{self.number}"
        lots = self.lots * self.random.randrange(1, 6)
        away = max(2, last * self.random.randrange(1, 60) // 10_000)
        held = self.held[s]
        if held == 0 or (draw < 0.15 and abs(held) < 10 * self.lots):
            side = self.random.choice([BUY, SELL]) if held == 0 else (BUY if held > 0 else SELL)
            if draw < 0.5:
                return Wish(s, slot, name, MARKET, side, lots)
            return Wish(s, slot, name, LIMIT, side, lots, last - side * away)
        side = SELL if held > 0 else BUY
        size = min(lots, abs(held)) if self.random.random() < 0.6 else lots
        ahead, behind = (last + away, last - away) if side == SELL else (last - away, last + away)
        if draw < 0.4:
            return Wish(s, slot, name, STOP, side, size, behind, True)
        if draw < 0.6:
            return Wish(s, slot, name, TAKE_PROFIT, side, size, ahead, True)
        if draw < 0.75:
            return Wish(
                s, slot, name, TRAILING, side, size, 0, True,
                ahead if draw < 0.68 else 0,
                self.random.choice([2_000, 5_000, 10_000]),
            )  # fmt: skip
        if draw < 0.9:
            return Wish(s, slot, name, LIMIT, side, size, ahead, True)
        return Wish(s, slot, name, MARKET, side, size, 0, True)


async def in_process(trader: Trader, share_ppm: int, funding: Any, cash: int, every_point: bool) -> Outcome:
    """A life on the in-process venue."""
    tape = trader.tape
    account = account_record(cash=cash, slippage_ppm=SLIPPAGE_PPM, volume_share_ppm=share_ppm)
    account["margin_mode"] = CROSS
    venue = InProcessVenue(
        account=account,
        instruments=tape.universe.records(),
        market=RecordedMinutes(
            [(tape.start_ms, tape.bars)], VirtualClock(tape.start_ms), SystemClock()
        ),
        funding=funding,
        sleeves=1,
        slots=SLOTS,
        last_prices=np.asarray(trader.last),
        every_point=every_point,
    )  # fmt: skip
    out = Outcome()

    async def answer(seen: Seen) -> None:
        out.stops.append(seen)
        gone, made = trader.react(seen)
        for wish in gone:
            await venue.cancel(wish.symbol, wish.client_id)
        for wish in made:
            order = NewOrder(
                wish.client_id, wish.symbol, 0, wish.slot, wish.kind, wish.side, wish.price, wish.lots,
                wish.reduce_only, wish.activation, wish.callback_ppm, LEVERAGE,
            )  # fmt: skip
            told = await venue.place(order)
            assert told.outcome.value == "accepted", told

    charged = 0
    async for message in venue.messages():
        match message:
            case Traded():
                fill = (
                    message.symbol, message.client_id, message.side, message.price, message.lots,
                    bool(message.taker), message.fee_e8, message.ms,
                )  # fmt: skip
                out.fills.append(fill)
                trader.filled(fill)
                if not message.in_jump:
                    await answer(Seen("fill", message.symbol, message.cursor, message.ms))
            case Triggered():
                price = venue._cursor[message.symbol]
                await answer(Seen("trigger", message.symbol, price, message.ms))
            case ForcedClose():
                out.fills.append(
                    (message.symbol, "forced", message.side, message.price, message.lots, True,
                     message.fee_e8, message.ms)
                )  # fmt: skip
                trader.lost(message.symbol)
                await answer(Seen("liquidation", message.symbol, message.cursor, message.ms))
            case PriceReached():
                await answer(Seen("point", message.symbol, message.price, message.ms))
            case StepClosed():
                await answer(Seen("close", -1, 0, message.now_ms))
            case FundingCharged():
                charged += 1
            case StepOver():
                if charged:
                    out.stops.append(Seen("funding", -1, 0, message.now_ms))
                charged = 0
                await answer(Seen("over", -1, 0, message.now_ms))
    out.wallet_e8 = venue.wallet_now_e8()
    return out


class Socket:
    """The trader's own client over sockets: orders by REST, fills from its user stream."""

    def __init__(self, wire: Wire, tape: Tape, events: Any) -> None:
        self.wire, self.tape, self.events = wire, tape, events
        self.heard = 0

    def _texts(self, wish: Wish) -> tuple[Any, dict[str, Any]]:
        contract = self.wire.server.contract(self.tape.universe.symbols[wish.symbol])
        params = {
            "symbol": contract.symbol,
            "side": "BUY" if wish.side > 0 else "SELL",
            "quantity": contract.qty_text(wish.lots),
        }
        return contract, params | ({"reduceOnly": "true"} if wish.reduce_only else {})

    async def place(self, wish: Wish) -> None:
        contract, params = self._texts(wish)
        await control(self.wire, do="rank", ranks={wish.client_id: wish.slot})
        if wish.kind in (MARKET, LIMIT):
            params |= {"type": "MARKET", "newClientOrderId": wish.client_id}
            if wish.kind == LIMIT:
                params |= {"type": "LIMIT", "timeInForce": "GTC", "price": contract.price_text(wish.price)}
            await self.wire.ok("POST", "/fapi/v1/order", **params)
            return
        params |= {"algoType": "CONDITIONAL", "clientAlgoId": wish.client_id}
        if wish.kind == TRAILING:
            params |= {
                "type": "TRAILING_STOP_MARKET",
                "callbackRate": str(Decimal(wish.callback_ppm) / 10_000),
            }
            if wish.activation:
                params["activatePrice"] = contract.price_text(wish.activation)
        else:
            params["type"] = "STOP_MARKET" if wish.kind == STOP else "TAKE_PROFIT_MARKET"
            params["triggerPrice"] = contract.price_text(wish.price)
        await self.wire.ok("POST", "/fapi/v1/algoOrder", **params)

    async def cancel(self, wish: Wish) -> None:
        """It is in one of the two books, or has ended already."""
        contract, _ = self._texts(wish)
        reply = await self.wire.call(
            "DELETE", "/fapi/v1/order", symbol=contract.symbol, origClientOrderId=wish.client_id
        )
        if reply.status != 200:
            reply = await self.wire.call("DELETE", "/fapi/v1/algoOrder", clientAlgoId=wish.client_id)
            assert reply.status == 200 or reply.body["code"] == -2011, reply.body

    async def fills(self, up_to: int) -> list[Fill]:
        """Wait until so many events were heard: nothing of the stop is still on its way."""
        found: list[Fill] = []
        while self.heard < up_to:
            event = await self.events.socket.receive_json(timeout=20)
            self.heard += 1
            if event["e"] != "ORDER_TRADE_UPDATE" or event["o"]["x"] != "TRADE":
                continue
            body = event["o"]
            s = self.tape.universe.symbols.index(body["s"])
            contract = self.wire.server.contract(body["s"])
            forced = body["c"].startswith("autoclose-")
            found.append(
                (
                    s,
                    "forced" if forced else body["c"],
                    1 if body["S"] == "BUY" else -1,
                    int(Decimal(body["L"]).scaleb(contract.price_digits)),
                    int(Decimal(body["l"]) / contract.lot_step),
                    not body["m"],
                    int(Decimal(body["n"]).scaleb(8)),
                    body["T"],
                )
            )
        return found


async def over_sockets(trader: Trader, share_ppm: int, funding: Any, cash: int, every_point: bool) -> Outcome:
    """The same life against the server."""
    tape = trader.tape
    out = Outcome()
    async with running(
        tape=tape,
        lockstep=True,
        control=True,
        recv_window_mode="skip",
        volume_share_ppm=share_ppm,
        rules=Rules(fills="kernel", slippage_ppm=SLIPPAGE_PPM),
        balance=str(cash),
        funding=funding,
        weight_limit=1 << 40,
        order_limit_10s=1 << 40,
        order_limit_1m=1 << 40,
    ) as wire:
        for symbol in tape.universe.symbols:
            await wire.ok("POST", "/fapi/v1/leverage", symbol=symbol, leverage=LEVERAGE)
        async with wire.user_stream() as events:
            socket = Socket(wire, tape, events)
            while True:
                stop = await control(wire, do="step", every_point=every_point)
                for fill in await socket.fills(stop["events"].get("0", 0)):
                    out.fills.append(fill)
                    trader.lost(fill[0]) if fill[1] == "forced" else trader.filled(fill)
                if stop["at"] == "end":
                    break
                symbol = tape.universe.symbols.index(stop["symbol"]) if stop["symbol"] else -1
                at = "point" if stop["at"] in ("open", "level") else stop["at"]
                price = (
                    int(Decimal(stop["price"]).scaleb(tape.universe.price_digits[symbol]))
                    if symbol >= 0
                    else 0
                )
                seen = Seen(at, symbol, price, stop["ms"])
                out.stops.append(seen)
                gone, made = trader.react(seen)
                for wish in gone:
                    await socket.cancel(wish)
                for wish in made:
                    await socket.place(wish)
                assert stop["more"] == (stop["at"] != "over")
        out.wallet_e8 = wire.server.world.accounts[0].cash_e8
        check_books_of_path(wire)
    return out


def check_books_of_path(wire: Wire) -> None:
    """The ledger's own sums hold."""
    account = wire.server.world.accounts[0]
    total = account.total_e8("initial") + account.total_e8("realised")
    total += account.total_e8("funding") - account.total_e8("fees")
    assert account.cash_e8 == total == sum(row["amount_e8"] for row in account.income)


def rates_of(tape: Tape) -> Any:
    """A funding rate for every symbol, every twenty minutes; some with a mark of their own."""
    count = tape.steps // 20 * len(tape.universe)
    rows = zeros(count, funding_dt)
    for i in range(count):
        t, s = divmod(i, len(tape.universe))
        rows[i].symbol, rows[i].ms = s, tape.start_ms + (t + 1) * 20 * MINUTE_MS
        rows[i].rate_e8 = (-1) ** t * 10_000
        rows[i].mark = int(tape.bars[t * 20, s]["open"]) if t % 2 else 0
    return rows


@pytest.mark.parametrize(
    ("seed", "share_ppm", "every_point", "minutes"),
    [
        (1, 0, False, 70),
        (2, 20_000, False, 70),
        (3, 20_000, True, 20),
        pytest.param(4, 2_000, False, 400, marks=pytest.mark.slow),
        pytest.param(6, 100_000, True, 100, marks=pytest.mark.slow),
    ],
)
async def test_a_life_over_sockets_is_the_life_in_process(
    seed: int, share_ppm: int, every_point: bool, minutes: int
) -> None:
    tape = synthetic_tape(seed, 2, minutes)
    lots = 50 * int(tape.universe.records()[0].lots_min)
    funding = rates_of(tape)
    inside = await in_process(Trader(seed, tape, lots), share_ppm, funding, 100_000, every_point)
    outside = await over_sockets(Trader(seed, tape, lots), share_ppm, funding, 100_000, every_point)
    assert len(inside.fills) > minutes
    for mine, theirs in zip(outside.stops, inside.stops, strict=False):
        assert mine == theirs
    assert outside.fills == inside.fills
    assert outside.stops == inside.stops
    assert outside.wallet_e8 == inside.wallet_e8


# -- single rules, by hand -------------------------------------------------------------------------

SOL = "SOLUSDT"


def tape_of(*rows: str) -> Tape:
    """SOL minutes in ticks of 0.01: open high low close volume (lots of 1 SOL)."""
    one = structs.replace(
        bundled()[SOL], lot_step=Decimal(1), qty_min=Decimal(1), market_qty_max=Decimal(80_000)
    )
    universe = universe_of([one])
    bars = bars_of("\n".join(rows))
    return Tape(universe, bars, int(bars[0, 0]["open_ms"]), len(bars))


@asynccontextmanager
async def standing(*rows: str, **options: Any) -> AsyncIterator[tuple[Wire, Callable[..., Any]]]:
    """A kernel-fills server over these minutes, and what goes on to the next stop."""
    rules = Rules(fills="kernel", slippage_ppm=options.pop("slippage_ppm", 0))
    options = {"lockstep": True, "control": True, "recv_window_mode": "skip", "rules": rules} | options
    async with running(tape=tape_of(*rows), **options) as wire:

        async def step() -> Any:
            return await control(wire, do="step")

        yield wire, step


def short(stop: Any) -> str:
    """A stop as one line."""
    acted = "".join(
        f" {row['client_id']} {row['side']} {row.get('qty', 0)} @ {row.get('price', '-')}"
        for row in stop["acted"]
    )
    return f"{stop['at']} {stop['price']}{acted}".strip()


def order(client_id: str, side: str, kind: str, qty: int, **extra: Any) -> dict[str, Any]:
    named = {"symbol": SOL, "side": side, "type": kind, "quantity": qty, "newClientOrderId": client_id}
    return named | ({"timeInForce": "GTC"} if kind == "LIMIT" else {}) | extra


async def test_the_two_minutes_of_the_prose() -> None:
    """docs/simulation.md's picture: stages, the volume share, the jump; one stop at the open."""
    share = {"volume_share_ppm": 100_000}
    async with standing("10000 10000 10000 10000 0", "10000 10000 10000 10000 1000",
                        "10000 10300 9550 9600 60", "9400 9500 9300 9450 500", **share) as (wire, step):  # fmt: skip
        assert short(await step()) == "close"
        await wire.ok("POST", "/fapi/v1/order", **order("in", "BUY", "MARKET", 10))
        assert [short(await step()) for _ in range(4)] == [
            "over",
            "fill 100.00 in BUY 10 @ 100.00",
            "close",
            "over",
        ]
        common = {"symbol": SOL, "algoType": "CONDITIONAL", "side": "SELL", "reduceOnly": "true"}
        for client_id, kind, qty, trigger in (
            ("a", "TAKE_PROFIT_MARKET", 4, "102.50"),
            ("b", "STOP_MARKET", 6, "95.80"),
        ):
            await wire.ok(
                "POST", "/fapi/v1/algoOrder", **common, type=kind, quantity=qty, triggerPrice=trigger,
                clientAlgoId=client_id,
            )  # fmt: skip
        await wire.ok("POST", "/fapi/v1/order", **order("c", "BUY", "LIMIT", 5, price="95.00"))
        async with wire.user_stream() as stream:
            told = [short(await step()) for _ in range(7)]
            events = await stream.settled()
        assert told == [
            "fill 102.50 a SELL 4 @ 102.50",
            "fill 95.80 b SELL 2 @ 95.80",
            "close",
            "over",
            "open 94.00 c BUY 5 @ 95.00",
            "fill 94.00 b SELL 4 @ 94.00",
            "close",
        ]
        lines = [line for line in kinds(events) if line.startswith("ALGO")]
        assert lines == [
            "ALGO_UPDATE/TRIGGERING", "ALGO_UPDATE/TRIGGERED", "ALGO_UPDATE/FINISHED",
            "ALGO_UPDATE/TRIGGERING", "ALGO_UPDATE/TRIGGERED", "ALGO_UPDATE/FINISHED",
        ]  # fmt: skip


async def test_liquidation_is_the_kernels() -> None:
    """Price, fee and wallet of a forced close as in process; the symbol's orders end."""
    rows = ("10000 10000 10000 10000 9", "10000 10000 7000 7500 9")
    tape = tape_of(*rows)
    inside = InProcessVenue(
        account=account_record(cash=1000, slippage_ppm=SLIPPAGE_PPM, margin_mode=CROSS),
        instruments=tape.universe.records(),
        market=RecordedMinutes([(tape.start_ms, tape.bars)], VirtualClock(tape.start_ms), SystemClock()),
        funding=zeros(0, funding_dt),
        sleeves=1,
        slots=2,
        last_prices=np.asarray([10000]),
    )
    forced = []
    async for message in inside.messages():
        if isinstance(message, StepOver) and message.now_ms == tape.start_ms + MINUTE_MS:
            for slot, (kind, price) in enumerate(((MARKET, 0), (LIMIT, 6_500))):
                await inside.place(NewOrder(f"o{slot}", 0, 0, slot, kind, BUY, price, 45, False, 0, 0, 5))
        if isinstance(message, ForcedClose):
            forced.append(message)
    assert len(forced) == 1
    async with standing(*rows, slippage_ppm=SLIPPAGE_PPM, balance="1000") as (wire, step):
        await wire.ok("POST", "/fapi/v1/leverage", symbol=SOL, leverage=5)
        while (await step())["at"] != "over":
            pass
        await wire.ok("POST", "/fapi/v1/order", **order("o0", "BUY", "MARKET", 45))
        assert (await step())["at"] == "fill"
        await wire.algo("BUY", "TAKE_PROFIT_MARKET", symbol=SOL, quantity=1, triggerPrice="65")
        stop = await step()
        assert stop["at"] == "liquidation"
        row = stop["acted"][0]
        assert (row["lots"], row["fee_e8"], row["ms"]) == (forced[0].lots, forced[0].fee_e8, forced[0].ms)
        assert row["price"] == wire.server.contract(SOL).price_text(forced[0].price)
        assert row["client_id"].startswith("autoclose-")
        assert wire.server.world.accounts[0].cash_e8 == inside.wallet_now_e8() == 0
        assert not wire.server.world.accounts[0].open_algos
        clear = [
            row for row in await wire.ok("GET", "/fapi/v1/income") if row["incomeType"] == "INSURANCE_CLEAR"
        ]
        assert len(clear) == 1


async def test_levels_and_points_are_stops() -> None:
    """watch: the path stands still where the client wants to be asked, once for each level."""
    async with standing("10000 10000 10000 10000 9", "10000 10400 9800 10100 9") as (wire, step):
        assert [short(await step()) for _ in range(2)] == ["close", "over"]
        await control(wire, do="watch", symbol=SOL, fire_lo="99.00", fire_hi="103.00")
        assert short(await step()) == "level 99.00"
        await control(wire, do="watch", symbol=SOL, fire_hi="103.00", peak_hi="103.50")
        assert [short(await step()) for _ in range(3)] == ["level 103.00", "point 104.00", "close"]


async def test_one_price_one_order_of_ranks() -> None:
    """Two stops at one price: the lower rank acts first, and takes what the volume allows."""
    async with standing("10000 10000 10000 10000 9", "10000 10000 9500 9600 100",
                        volume_share_ppm=100_000) as (wire, step):  # fmt: skip
        for _ in range(2):
            await step()
        await wire.ok("POST", "/fapi/v1/order", **order("in", "BUY", "MARKET", 8))
        await step()
        for client_id in ("late", "early"):
            await wire.algo(
                "SELL", "STOP_MARKET", symbol=SOL, quantity=8, triggerPrice="98", reduceOnly="true",
                clientAlgoId=client_id,
            )  # fmt: skip
        await control(wire, do="rank", ranks={"early": 0, "late": 1})
        stop = await step()
        assert [(row["client_id"], row["qty"]) for row in stop["acted"]] == [("early", "2")]


async def test_times_in_force_on_the_path() -> None:
    """A post-only that would cross is refused; IOC acts once; FOK needs a marketable price."""
    async with standing("10000 10000 10000 10000 9", "10000 10000 9500 9600 100",
                        volume_share_ppm=50_000) as (wire, step):  # fmt: skip
        for _ in range(2):
            await step()
        where = order("x", "BUY", "LIMIT", 8, price="100.00")
        await wire.refused(-5022, "POST", "/fapi/v1/order", **where | {"timeInForce": "GTX"})
        await wire.refused(-5021, "POST", "/fapi/v1/order", **where | {"timeInForce": "FOK", "price": "99"})
        await wire.ok("POST", "/fapi/v1/order", **where | {"timeInForce": "IOC", "newClientOrderId": "ioc"})
        await wire.ok("POST", "/fapi/v1/order", **where | {"timeInForce": "GTC", "newClientOrderId": "gtc"})
        assert short(await step()) == "fill 100.00 ioc BUY 5 @ 100.00"
        row = (await wire.call("GET", "/fapi/v1/order", symbol=SOL, origClientOrderId="ioc")).body
        assert (row["status"], row["executedQty"]) == ("EXPIRED", "5")
        amended = await wire.ok(
            "PUT",
            "/fapi/v1/order",
            symbol=SOL,
            side="BUY",
            quantity=8,
            price="99.00",
            origClientOrderId="gtc",
        )
        assert (amended["status"], amended["price"]) == ("NEW", "99.00")


async def test_accounts_do_not_disturb_each_other() -> None:
    """Two clients on one symbol: the nearer event first, and each life as if it were alone."""
    rows = ("10000 10000 10000 10000 9", "10000 10200 9500 9600 100", "9600 9900 9300 9800 100")
    plans = [
        [("a1", "BUY", "98.00"), ("a2", "BUY", "95.50"), ("a3", "SELL", "101.00")],
        [("b1", "BUY", "99.00"), ("b2", "BUY", "94.00"), ("b3", "SELL", "97.00")],
    ]

    async def life(wire: Wire, step: Any, who: list[int]) -> list[tuple[Any, ...]]:
        for _ in range(2):
            await step()
        wires = [Wire(wire.server, wire.session, account) for account in (0, 1)]
        for account in who:
            for client_id, side, price in plans[account]:
                await wires[account].ok(
                    "POST", "/fapi/v1/order", **order(client_id, side, "LIMIT", 7, price=price)
                )
        found = []
        while (stop := await step())["at"] != "end":
            found += [
                (row["account"], row["client_id"], row["qty"], row["price"], row["ms"], stop["price"])
                for row in stop["acted"]
            ]
        return found

    lives = []
    for who in ([0, 1], [0], [1]):
        async with standing(*rows, volume_share_ppm=100_000) as (wire, step):
            lives.append(await life(wire, step, who))
    both, first, second = lives
    assert [row for row in both if row[0] == 0] == first
    assert [row for row in both if row[0] == 1] == second
    assert len(first) >= 3
    assert len(second) >= 3
    minute = [row for row in both if row[4] < tape_of(*rows).start_ms + 2 * MINUTE_MS]
    down = [row[1] for row in minute if row[4] % MINUTE_MS == 40_000]
    assert down == ["b1", "a1"]


async def test_hedge_legs_and_close_position() -> None:
    """LONG and SHORT walk side by side; a closePosition stop takes the whole leg."""
    async with standing("10000 10000 10000 10000 9", "10000 10200 9500 9600 1000") as (wire, step):
        await wire.ok("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
        for _ in range(2):
            await step()
        for side, leg in (("BUY", "LONG"), ("SELL", "SHORT")):
            await wire.ok("POST", "/fapi/v1/order", **order(leg, side, "MARKET", 5, positionSide=leg))
        assert [short(await step()) for _ in range(2)] == [
            "fill 100.00 LONG BUY 5 @ 100.00",
            "fill 100.00 SHORT SELL 5 @ 100.00",
        ]
        for side, leg, price in (("SELL", "LONG", "97"), ("BUY", "SHORT", "101.5")):
            await wire.algo(
                side, "STOP_MARKET", symbol=SOL, closePosition="true", positionSide=leg, triggerPrice=price,
                clientAlgoId=f"stop{leg}",
            )  # fmt: skip
        told = [short(await step()) for _ in range(2)]
        assert told == ["fill 101.50 stopSHORT BUY 5 @ 101.50", "fill 97.00 stopLONG SELL 5 @ 97.00"]
        assert await wire.ok("GET", "/fapi/v3/positionRisk") == []


async def test_a_trailing_stop_and_a_stop_limit() -> None:
    """Activation is told with ia; a STOP becomes a LIMIT that rests on the rest of the path."""
    async with standing("10000 10000 10000 10000 9", "10000 10200 9500 9600 1000",
                        "9600 9900 9550 9850 1000") as (wire, step):  # fmt: skip
        for _ in range(2):
            await step()
        await wire.ok("POST", "/fapi/v1/order", **order("in", "BUY", "MARKET", 9))
        await step()
        async with wire.user_stream() as stream:
            await wire.algo(
                "SELL", "TRAILING_STOP_MARKET", symbol=SOL, quantity=4, callbackRate="1",
                activatePrice="101.00", reduceOnly="true", clientAlgoId="trail",
            )  # fmt: skip
            await wire.algo(
                "SELL", "STOP", symbol=SOL, quantity=5, triggerPrice="98.00", price="98.00",
                reduceOnly="true", clientAlgoId="limited",
            )  # fmt: skip
            assert short(await step()) == "fill 100.98 trail SELL 4 @ 100.98"
            assert short(await step()) == "trigger 98.00 limited SELL 0 @ -"
            row = await wire.ok("GET", "/fapi/v1/order", symbol=SOL, origClientOrderId="limited")
            assert (row["status"], row["type"], row["price"]) == ("NEW", "LIMIT", "98.00")
            assert short(await step()) == "fill 98.00 limited SELL 5 @ 98.00"
            events = await stream.settled()
        active = [e["o"]["caid"] for e in events if e["e"] == "ALGO_UPDATE" and e["o"]["ia"]]
        assert active == ["trail"]


async def test_whole_minutes_and_the_end() -> None:
    """count plays minutes without standing still; after the last one there is nothing to answer."""
    async with standing("10000 10000 10000 10000 9", "10000 10200 9500 9600 9", "1 1 1 1 1") as (wire, step):
        await wire.ok("POST", "/fapi/v1/order", **order("in", "BUY", "LIMIT", 1, price="96.00"))
        assert (await control(wire, do="step", count=2))["played"] == 2
        assert [short(await step()) for _ in range(2)][-1] == "over"
        assert (await step())["at"] == "end"
        async with wire.session.post(
            wire.server.rest_url + "/control", json={"do": "tick", "symbol": SOL, "price": "1"}
        ) as answer:
            assert answer.status == 400
            assert "--fills kernel" in (await answer.json())["error"]


@pytest.mark.parametrize("options", [{}, {"tape": synthetic_tape(1, 1, 5)}])
def test_it_needs_a_tape_in_lockstep(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="lockstep"):
        build(ServeOptions(clock=VirtualClock(0), rules=Rules(fills="kernel"), **options))
