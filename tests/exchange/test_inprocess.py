"""The in-process venue alone: an exchange that knows orders, a netted position and a wallet, and no strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from tests.kernel.tables import (
    MONEY,
    START_MS,
    account_record,
    bars_of,
    instrument_records,
    rows,
)

from perpdesk.adapters.clocks import SystemClock, VirtualClock
from perpdesk.exchange.inprocess import InProcessVenue
from perpdesk.exchange.recorded import RecordedMinutes
from perpdesk.kernel.records import BUY, LIMIT, MARKET, MINUTE_MS, SELL, STOP, TRAILING, funding_dt, zeros
from perpdesk.ports import (
    ForcedClose,
    FundingCharged,
    NewOrder,
    Outcome,
    PriceReached,
    StepClosed,
    StepOver,
    Traded,
    Triggered,
)

QUIET = "100 100 100 100"


def venue_over(*tables: str, last: int = 100, sleeves: int = 2, slots: int = 6, every_point: bool = False,
               funding: list[tuple[int, int, int, int]] = (), **account: int) -> InProcessVenue:  # type: ignore[assignment]  # fmt: skip
    bars = bars_of(*tables)
    n = bars.shape[1]
    rates = zeros(len(funding), funding_dt)
    for i, row in enumerate(funding):
        rates[i] = row
    return InProcessVenue(
        account=account_record(**account),
        instruments=instrument_records(n),
        market=RecordedMinutes([(START_MS, bars)], VirtualClock(START_MS), SystemClock()),
        funding=rates,
        sleeves=sleeves,
        slots=slots,
        last_prices=[last] * n,  # type: ignore[arg-type]
        every_point=every_point,
    )


def order(client_id: str, kind: int, side: int, lots: int, price: int = 0, *, slot: int = 0, sleeve: int = 0,
          symbol: int = 0, reduce_only: bool = False, activation: int = 0, callback_ppm: int = 0, leverage: int = 5) -> NewOrder:  # fmt: skip
    return NewOrder(client_id, symbol, sleeve, slot, kind, side, price, lots, reduce_only, activation, callback_ppm, leverage)  # fmt: skip


def told(message: Any) -> str:
    """A message as a text row."""
    if isinstance(message, StepOver):
        return "over"
    if isinstance(message, StepClosed):
        return f"closed {(message.now_ms - START_MS) // MINUTE_MS}"
    seconds = f"+{(message.ms - START_MS) % MINUTE_MS / 1000:g}s"
    where = f"{seconds} s{message.symbol}"
    if isinstance(message, Traded):
        jump = " in the jump" if message.in_jump else ""
        side = "BUY" if message.side > 0 else "SELL"
        return f"{where} {message.client_id} {side} {message.lots} @ {message.price}{jump}"
    if isinstance(message, Triggered):
        return f"{where} {message.client_id} triggered"
    if isinstance(message, PriceReached):
        return f"{where} at {message.price}"
    if isinstance(message, ForcedClose):
        return f"{where} liquidated {message.lots} @ {message.price}"
    assert isinstance(message, FundingCharged)
    return f"funding {message.rate_e8} at {message.mark}"


@dataclass
class Listener:
    """Plays a venue to its end; ``answers`` are orders to place when a row begins with their key."""

    venue: InProcessVenue
    answers: dict[str, NewOrder]

    async def hear(self) -> list[str]:
        heard = []
        async for message in self.venue.messages():
            heard.append(told(message))
            for start, new in list(self.answers.items()):
                if heard[-1].startswith(start):
                    del self.answers[start]
                    assert (await self.venue.place(new)).outcome is Outcome.ACCEPTED
        return heard


async def hear(venue: InProcessVenue, **answers: NewOrder) -> list[str]:
    return await Listener(venue, {key.replace("_", " "): new for key, new in answers.items()}).hear()


async def test_a_minute_is_trades_then_the_bars_then_the_end() -> None:
    venue = venue_over(QUIET, "50 55 45 50", last=100)
    assert (await venue.place(order("a", MARKET, BUY, 3))).outcome is Outcome.ACCEPTED
    assert await hear(venue) == rows("""
        +0s s0 a BUY 3 @ 100
        closed 1
        over
    """)


async def test_the_path_stands_still_until_it_is_asked_for_more() -> None:
    """An answer to a fill works on the rest of the very same bar."""
    venue = venue_over("100 102 90 95")
    await venue.place(order("a", LIMIT, BUY, 3, 98, slot=0))
    heard = await Listener(
        venue, {"+40s s0 a": order("b", STOP, SELL, 3, 96, slot=1, reduce_only=True)}
    ).hear()
    assert heard == rows("""
        +40s s0 a BUY 3 @ 98
        +40s s0 b SELL 3 @ 96
        closed 1
        over
    """)


async def test_inside_a_jump_nobody_can_act() -> None:
    """Two limits are crossed by the open: both trade, then the venue says where the path stands."""
    venue = venue_over("90 92 88 91")
    await venue.place(order("a", LIMIT, BUY, 3, 98, slot=0))
    await venue.place(order("b", LIMIT, BUY, 3, 95, slot=1))
    assert await hear(venue) == rows("""
        +0s s0 a BUY 3 @ 98 in the jump
        +0s s0 b BUY 3 @ 95 in the jump
        +0s s0 at 90
        closed 1
        over
    """)


async def test_a_trigger_without_volume_is_told_and_works_on() -> None:
    venue = venue_over("100 100 90 95 40\n95 96 94 95 1000", volume_share_ppm=100_000)
    await venue.place(order("a", MARKET, BUY, 4, slot=0))
    await venue.place(order("b", STOP, SELL, 4, 95, slot=1, reduce_only=True))
    assert await hear(venue) == rows("""
        +0s s0 a BUY 4 @ 100
        +40s s0 b triggered
        closed 1
        over
        +0s s0 b SELL 4 @ 95
        closed 2
        over
    """)


async def test_a_watched_level_is_told_once_and_a_peak_at_every_leg_beyond_it() -> None:
    venue = venue_over("100 103 97 100\n100 103 97 100")
    await venue.watch(0, 98, 1 << 60, -(1 << 60), 102)
    assert await hear(venue) == rows("""
        +20s s0 at 98
        +40s s0 at 103
        closed 1
        over
        +40s s0 at 103
        closed 2
        over
    """)


async def test_a_liquidation_takes_every_order_of_the_symbol() -> None:
    venue = venue_over(f"{QUIET}\n70 75 70 72", f"{QUIET}\n{QUIET}")
    await venue.place(order("a", MARKET, BUY, 10))
    await venue.place(order("b", STOP, SELL, 10, 95, slot=1, reduce_only=True))
    await venue.place(order("c", LIMIT, SELL, 10, 110, slot=2, reduce_only=True))
    await venue.place(order("d", LIMIT, BUY, 1, 90, slot=2, symbol=1))
    heard = await hear(venue)
    assert heard[3] == "+0s s0 liquidated 10 @ 70"
    assert heard[4:] == ["closed 2", "over"]
    assert await venue.open_client_ids(0) == set()
    assert await venue.open_client_ids(1) == {"d"}
    (position,) = await venue.positions()
    assert (position.symbol, position.lots) == (0, 0)


async def test_sleeves_are_netted() -> None:
    venue = venue_over(QUIET)
    await venue.place(order("a", MARKET, BUY, 10, sleeve=0))
    await venue.place(order("b", MARKET, SELL, 4, sleeve=1))
    await hear(venue)
    (position,) = await venue.positions()
    assert position.lots == 6
    assert position.cost_e8 == 6 * 100 * 1000
    assert await venue.wallet_e8() == 10_000 * MONEY + position.realised_e8 - position.fees_e8


async def test_funding_is_exchanged_on_what_is_held() -> None:
    at = START_MS + 2 * MINUTE_MS
    venue = venue_over(
        f"{QUIET}\n{QUIET}\n{QUIET}",
        f"{QUIET}\n{QUIET}\n{QUIET}",
        funding=[
            (START_MS, 0, 500_000, 0),
            (at, 0, 10_000, 0),
            (at, 1, 10_000, 0),
            (at + MINUTE_MS, 0, -10_000, 200),
        ],
    )
    await venue.place(order("a", MARKET, BUY, 100_000))
    heard = await hear(venue)
    assert [row for row in heard if "funding" in row] == ["funding 10000 at 100", "funding -10000 at 200"]
    (position,) = await venue.positions()
    # 100,000 lots of 0.001 USDT: 100 USDT pay 0.01 %, 200 USDT receive it
    assert position.funding_e8 == -1_000_000 + 2_000_000
    assert await venue.wallet_e8() == 10_000 * MONEY - position.fees_e8 + position.funding_e8


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (order("a", LIMIT, BUY, 3, 90, slot=1), "client id is taken by an open order"),
        (order("b", LIMIT, BUY, 3, 90, slot=0), "the place holds an open order"),
        (order("b", LIMIT, BUY, 0, 90, slot=1), "quantity must be positive"),
        (order("b", LIMIT, BUY, -1, 90, slot=1), "quantity must be positive"),
    ],
)
async def test_what_cannot_be_placed_is_refused_and_changes_nothing(new: NewOrder, reason: str) -> None:
    venue = venue_over(QUIET)
    await venue.place(order("a", LIMIT, BUY, 3, 90))
    answer = await venue.place(new)
    assert (answer.outcome, answer.reason) == (Outcome.REFUSED, reason)
    assert await venue.open_client_ids(0) == {"a"}


async def test_cancelling() -> None:
    venue = venue_over("100 100 80 90")
    await venue.place(order("a", LIMIT, BUY, 3, 90))
    assert (await venue.cancel(0, "a")).outcome is Outcome.ACCEPTED
    again = await venue.cancel(0, "a")
    assert (again.outcome, again.reason) == (Outcome.REFUSED, "no such open order")
    assert (await venue.cancel(0, "nobody")).outcome is Outcome.REFUSED
    assert await hear(venue) == ["closed 1", "over"]
    assert (await venue.place(order("a", LIMIT, BUY, 3, 90))).outcome is Outcome.ACCEPTED


async def test_a_filled_order_leaves_its_place_and_id_free() -> None:
    venue = venue_over(f"{QUIET}\n{QUIET}")
    await venue.place(order("a", MARKET, BUY, 3))
    heard = await Listener(venue, {"over": order("a", MARKET, SELL, 3, reduce_only=True)}).hear()
    assert [row for row in heard if " a " in row] == rows("""
        +0s s0 a BUY 3 @ 100
        +0s s0 a SELL 3 @ 100
    """)


async def test_trade_ids_count_up() -> None:
    venue = venue_over(f"{QUIET}\n70 75 70 72", f"{QUIET}\n{QUIET}")
    for s in range(2):
        await venue.place(order(f"a{s}", MARKET, BUY, 10, symbol=s))
    ids = [
        message.trade_id async for message in venue.messages() if isinstance(message, (Traded, ForcedClose))
    ]
    assert ids == [1, 2, 3]


async def test_an_absent_bar_tells_nothing_of_its_symbol() -> None:
    venue = venue_over(f"{QUIET}\n-\n103 103 103 103", f"{QUIET}\n{QUIET}\n{QUIET}")
    heard = await Listener(venue, {"over": order("a", MARKET, BUY, 3)}).hear()
    assert heard == rows("""
        closed 1
        over
        closed 2
        over
        +0s s0 a BUY 3 @ 103
        closed 3
        over
    """)


async def test_a_trailing_order_follows_the_path() -> None:
    venue = venue_over("100 110 99 100")
    await venue.place(order("a", MARKET, BUY, 3))
    await venue.place(
        order("t", TRAILING, SELL, 3, slot=3, reduce_only=True, activation=105, callback_ppm=50_000)
    )
    # up to 110 after 99, then 5 % below it
    assert await hear(venue) == rows("""
        +0s s0 a BUY 3 @ 100
        +59.999s s0 t SELL 3 @ 105
        closed 1
        over
    """)


async def test_the_traits_are_declared() -> None:
    traits = venue_over(QUIET).traits
    assert (traits.watches_levels, traits.replaces_in_place) == (True, True)
