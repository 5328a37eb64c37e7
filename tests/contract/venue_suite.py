"""What every venue must do, whichever it is: one suite, run over the in-process venue and over the client.

A subclass gives the fixture ``desk``. Prices are in units of 0.1, quantities in lots of 0.001 BTC; the market
stands at 50,000.0 when a test begins. What a venue need not do is asked of its traits, not of its name.
"""

from __future__ import annotations

from typing import Protocol

import pytest

from perpdesk.kernel.records import BUY, LIMIT, MARKET, SELL, STOP, TAKE_PROFIT, TRAILING
from perpdesk.ports import Message, NewOrder, Outcome, Traded, Venue, VenuePosition

START = 500_000
TAKER_PPM, MAKER_PPM = 500, 200
UNIT_E8 = 10_000  # 0.1 USDT times 0.001 BTC


class Desk(Protocol):
    """A venue and the hand that moves its market."""

    @property
    def venue(self) -> Venue: ...

    async def move(self, *prices: int) -> list[Message]:
        """Let the price walk there; what the venue told of the account meanwhile, all of it."""
        ...


def order(
    client_id: str,
    kind: int,
    side: int,
    price: int = 0,
    *,
    lots: int = 10,
    slot: int = 0,
    reduce_only: bool = False,
    activation: int = 0,
    callback_ppm: int = 0,
) -> NewOrder:
    """An order of the first sleeve on the first symbol."""
    return NewOrder(
        client_id=client_id,
        symbol=0,
        sleeve=0,
        slot=slot,
        kind=kind,
        side=side,
        price=price,
        lots=lots,
        reduce_only=reduce_only,
        activation=activation,
        callback_ppm=callback_ppm,
        leverage=10,
    )


def trades(messages: list[Message]) -> list[Traded]:
    return [message for message in messages if isinstance(message, Traded)]


class VenueSuite:
    """The tests. They hold for any venue whose market can be moved."""

    async def held(self, desk: Desk) -> VenuePosition | None:
        found = [position for position in await desk.venue.positions() if position.symbol == 0]
        assert len(found) <= 1
        return found[0] if found else None

    async def lots(self, desk: Desk) -> int:
        held = await self.held(desk)
        return 0 if held is None else held.lots

    async def buy(self, desk: Desk, client_id: str = "entry", lots: int = 10) -> list[Traded]:
        """A long position at the market."""
        answer = await desk.venue.place(order(client_id, MARKET, BUY, lots=lots, slot=9))
        assert answer.outcome is Outcome.ACCEPTED
        told = trades(await desk.move(START))
        assert sum(fill.lots for fill in told) == lots
        return told

    async def books_balance(self, desk: Desk, start_e8: int, told: list[Traded]) -> None:
        """Wallet, position and messages tell one story."""
        held = await self.held(desk)
        assert held is not None
        assert held.fees_e8 == sum(fill.fee_e8 for fill in told)
        assert held.lots == sum(fill.side * fill.lots for fill in told)
        wallet_e8 = await desk.venue.wallet_e8()
        assert wallet_e8 == start_e8 + held.realised_e8 - held.fees_e8 + held.funding_e8
        if held.lots == 0:
            assert held.realised_e8 == -sum(fill.side * fill.price * fill.lots for fill in told) * UNIT_E8

    async def test_a_market_order_trades_once_at_the_market_and_pays_the_taker_fee(self, desk: Desk) -> None:
        start_e8 = await desk.venue.wallet_e8()
        told = await self.buy(desk)
        for fill in told:
            assert (fill.client_id, fill.symbol, fill.sleeve, fill.slot) == ("entry", 0, 0, 9)
            assert (fill.side, fill.taker) == (BUY, 1)
            assert abs(fill.price - START) <= START // 100
            assert fill.fee_e8 == fill.price * fill.lots * UNIT_E8 * TAKER_PPM // 1_000_000
        assert trades(await desk.move(START + 100, START)) == []
        await self.books_balance(desk, start_e8, told)
        assert await desk.venue.open_client_ids(0) == set()

    async def test_cost_is_the_entry_notional(self, desk: Desk) -> None:
        told = await self.buy(desk)
        held = await self.held(desk)
        assert held is not None
        assert held.cost_e8 == sum(fill.price * fill.lots for fill in told) * UNIT_E8

    async def test_a_limit_rests_until_its_price_and_trades_there_as_maker(self, desk: Desk) -> None:
        answer = await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))
        assert answer.outcome is Outcome.ACCEPTED
        assert await desk.venue.open_client_ids(0) == {"rest"}
        assert trades(await desk.move(START - 900)) == []
        told = trades(await desk.move(START - 1_100))
        assert [(fill.price, fill.lots, fill.taker) for fill in told] == [(START - 1_000, 10, 0)]
        assert told[0].fee_e8 == (START - 1_000) * 10 * UNIT_E8 * MAKER_PPM // 1_000_000
        assert await desk.venue.open_client_ids(0) == set()
        assert await self.lots(desk) == 10

    async def test_a_canceled_order_never_trades(self, desk: Desk) -> None:
        await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))
        await desk.venue.place(order("stop", STOP, BUY, START + 1_000, slot=1))
        assert await desk.venue.open_client_ids(0) == {"rest", "stop"}
        for client_id in ("rest", "stop"):
            answer = await desk.venue.cancel(0, client_id)
            assert answer.outcome is Outcome.ACCEPTED
        assert await desk.venue.open_client_ids(0) == set()
        assert trades(await desk.move(START - 2_000, START + 2_000)) == []
        assert await self.lots(desk) == 0

    async def test_what_is_not_open_cannot_be_canceled(self, desk: Desk) -> None:
        assert (await desk.venue.cancel(0, "nobody")).outcome is Outcome.REFUSED
        await desk.venue.place(order("rest", LIMIT, BUY, START - 1_000))
        await desk.venue.cancel(0, "rest")
        assert (await desk.venue.cancel(0, "rest")).outcome is Outcome.REFUSED
        await self.buy(desk)
        assert (await desk.venue.cancel(0, "entry")).outcome is Outcome.REFUSED

    async def test_a_client_id_is_not_used_twice(self, desk: Desk) -> None:
        assert (await desk.venue.place(order("a", LIMIT, BUY, START - 1_000))).outcome is Outcome.ACCEPTED
        again = await desk.venue.place(order("a", LIMIT, BUY, START - 2_000, slot=1))
        assert again.outcome is Outcome.REFUSED
        assert again.reason
        assert await desk.venue.open_client_ids(0) == {"a"}

    @pytest.mark.parametrize("kind", [MARKET, LIMIT, STOP])
    async def test_no_quantity_is_no_order(self, desk: Desk, kind: int) -> None:
        price = {MARKET: 0, LIMIT: START - 1_000, STOP: START + 1_000}[kind]
        answer = await desk.venue.place(order("none", kind, BUY, price, lots=0))
        assert answer.outcome is Outcome.REFUSED
        assert await desk.venue.open_client_ids(0) == set()

    @pytest.mark.parametrize("side", [BUY, SELL])
    async def test_a_stop_closes_a_position_when_its_trigger_is_reached(self, desk: Desk, side: int) -> None:
        start_e8 = await desk.venue.wallet_e8()
        await desk.venue.place(order("entry", MARKET, side, slot=9))
        told = trades(await desk.move(START))
        stop = order("stop", STOP, -side, START - side * 2_000, slot=1, reduce_only=True)
        assert (await desk.venue.place(stop)).outcome is Outcome.ACCEPTED
        assert trades(await desk.move(START - side * 1_900)) == []
        assert await desk.venue.open_client_ids(0) == {"stop"}
        told += trades(await desk.move(START - side * 2_100))
        assert [fill.client_id for fill in told[1:]] == ["stop"]
        assert (told[-1].slot, told[-1].taker) == (1, 1)
        assert await desk.venue.open_client_ids(0) == set()
        await self.books_balance(desk, start_e8, told)
        assert await self.lots(desk) == 0

    async def test_a_take_profit_acts_on_the_other_side(self, desk: Desk) -> None:
        await self.buy(desk)
        wanted = order("take", TAKE_PROFIT, SELL, START + 1_000, slot=2, reduce_only=True)
        assert (await desk.venue.place(wanted)).outcome is Outcome.ACCEPTED
        assert trades(await desk.move(START - 1_000, START + 900)) == []
        told = trades(await desk.move(START + 1_100))
        assert [fill.client_id for fill in told] == ["take"]
        assert await self.lots(desk) == 0

    async def test_a_trailing_order_follows_from_its_activation_and_acts_at_the_callback(
        self, desk: Desk
    ) -> None:
        await self.buy(desk)
        trail = order(
            "trail", TRAILING, SELL, slot=3, reduce_only=True, activation=START + 5_000, callback_ppm=10_000
        )
        assert (await desk.venue.place(trail)).outcome is Outcome.ACCEPTED
        assert trades(await desk.move(START - 6_000)) == []  # not active: no callback
        assert trades(await desk.move(START + 10_000)) == []
        assert trades(await desk.move(START + 5_000)) == []  # 510,000 less 1 % is 504,900
        told = trades(await desk.move(START + 4_800))
        assert [fill.client_id for fill in told] == ["trail"]
        assert abs(told[0].price - 504_900) <= 504_900 // 100
        assert await self.lots(desk) == 0

    async def test_reduce_only_closes_and_never_opens(self, desk: Desk) -> None:
        await self.buy(desk)
        wanted = order("out", LIMIT, SELL, START + 500, lots=30, slot=2, reduce_only=True)
        assert (await desk.venue.place(wanted)).outcome is Outcome.ACCEPTED
        told = trades(await desk.move(START + 600))
        assert sum(fill.lots for fill in told) == 10
        assert await self.lots(desk) == 0
        assert trades(await desk.move(START, START + 600)) == []

    async def test_a_stop_left_over_does_not_open_a_position(self, desk: Desk) -> None:
        await self.buy(desk)
        await desk.venue.place(order("stop", STOP, SELL, START - 2_000, slot=1, reduce_only=True))
        await desk.venue.place(order("exit", MARKET, SELL, slot=2, reduce_only=True))
        assert [fill.client_id for fill in trades(await desk.move(START))] == ["exit"]
        assert trades(await desk.move(START - 2_500)) == []
        assert await self.lots(desk) == 0

    async def test_every_fill_has_its_own_trade_id(self, desk: Desk) -> None:
        told = await self.buy(desk, "one")
        await desk.venue.place(order("two", LIMIT, SELL, START + 100, slot=1))
        await desk.venue.place(order("three", LIMIT, SELL, START + 200, slot=2))
        told += trades(await desk.move(START + 300))
        ids = [fill.trade_id for fill in told]
        assert len(ids) >= 3
        assert sorted(set(ids)) == ids
        assert [fill.ms for fill in told] == sorted(fill.ms for fill in told)

    async def test_a_passed_trigger_is_refused_where_orders_are_checked(self, desk: Desk) -> None:
        if not desk.venue.traits.checks_orders:
            pytest.skip("this venue does not check orders")
        await self.buy(desk)
        answer = await desk.venue.place(order("late", STOP, SELL, START + 1_000, slot=1, reduce_only=True))
        assert answer.outcome is Outcome.REFUSED
        assert "-2021" in answer.reason
        nothing_to_close = order("close", MARKET, BUY, slot=2, reduce_only=True)
        answer = await desk.venue.place(nothing_to_close)
        assert answer.outcome is Outcome.REFUSED
        assert "-2022" in answer.reason
