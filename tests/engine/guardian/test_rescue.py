"""The rescuer: what it finds to do about an account whose owner is silent, and that it never increases."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.guardian.cases import leg

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.domain.kill import Rung
from perpdesk.engine.guardian.disaster import DisasterRule
from perpdesk.engine.guardian.rescue import Need, Rescue
from perpdesk.engine.ids import ClientIds
from perpdesk.kernel.records import LIMIT, STOP, TAKE_PROFIT
from perpdesk.ports import Answer, Leg, OpenOrder, Outcome

YES = Answer(Outcome.ACCEPTED)
ENTRY, OWN_STOP, PROFIT = "sma-1-mwq00000aa-e1-0", "sma-1-mwq00000aa-xs-0", "sma-1-mwq00000aa-s4-0"
FOREIGN = "web_1"


@dataclass
class Account:
    """A netted position of symbol 0 around a price of 1000, and its open orders."""

    lots: int = 0
    orders: dict[str, OpenOrder] = field(default_factory=dict)
    refused: Answer | None = None
    log: list[str] = field(default_factory=list)

    def put(self, client_id: str, kind: int, side: int, price: int, lots: int, *, reduces: bool) -> None:
        self.orders[client_id] = OpenOrder(
            client_id, 0, kind, side, price, lots, reduces, 0, 0, False, kind != LIMIT, "NEW", 0
        )

    def legs(self) -> list[Leg]:
        sign = 1 if self.lots > 0 else -1
        return (
            [replace(leg(self.lots, entry=1000, liq=1000 - 195 * sign), mark_price=1000)] if self.lots else []
        )

    async def cancel(self, symbol: int, client_id: str) -> Answer:
        self.log.append(f"cancel {client_id}")
        return YES if self.orders.pop(client_id, None) else Answer(Outcome.REFUSED, code=-2011)

    async def close_position_stop(self, symbol: int, client_id: str, side: int, price: int) -> Answer:
        assert side * self.lots < 0
        self.log.append(f"stop {side} {price}")
        if self.refused is not None:
            return self.refused
        self.orders[client_id] = OpenOrder(
            client_id, symbol, STOP, side, price, 0, True, 0, 0, True, True, "NEW", 0
        )
        return YES

    async def close(self, symbol: int, client_id: str, side: int, lots: int) -> Answer:
        assert side * self.lots < 0
        assert lots <= abs(self.lots)
        self.log.append(f"close {side * lots}")
        self.lots += side * lots
        return YES


def rescuer(account: Account) -> tuple[Rescue, VirtualClock]:
    clock = VirtualClock(1_700_000_000_000)
    made = Rescue(account, ClientIds(1, 5), clock, DisasterRule(100_000, 800_000)).with_stops()
    made.names, made.ticks = ["BTCUSDT"], [1]
    return made, clock


async def round_of(rescue: Rescue, clock: VirtualClock, account: Account, rung: Rung = Rung.NORMAL) -> Need:
    legs, orders = account.legs(), list(account.orders.values())
    need = rescue.look(legs, orders, rung)
    if need:
        await rescue.act(need, legs, orders)
    clock.advance_to(clock.now_ms() + 2_500)
    return need


async def test_nothing_to_do_for_a_covered_or_an_empty_account() -> None:
    account = Account()
    rescue, clock = rescuer(account)
    assert not await round_of(rescue, clock, account)
    account.lots = 10
    assert (await round_of(rescue, clock, account)).stops
    assert not await round_of(rescue, clock, account)
    assert account.log == ["stop -1 900"]


async def test_a_naked_position_gets_its_stop_at_once_and_is_closed_if_it_gets_none() -> None:
    account = Account(lots=-10)
    rescue, clock = rescuer(account)
    account.refused = Answer(Outcome.REFUSED, "no", code=-4045)
    rounds = 0
    while account.lots:
        await round_of(rescue, clock, account)
        rounds += 1
        assert rounds < 20
    assert account.log[-1] == "close 10"
    assert (rounds - 1) * 2_500 == 15_000


async def test_a_price_beyond_the_stop_closes_at_market() -> None:
    account = Account(lots=10, refused=Answer(Outcome.REFUSED, "would trigger", code=-2021))
    rescue, clock = rescuer(account)
    await round_of(rescue, clock, account)
    assert account.log == ["stop -1 900", "close -10"]


async def test_entries_of_ours_are_taken_back_and_nobody_elses() -> None:
    account = Account()
    account.put(ENTRY, LIMIT, 1, 990, 5, reduces=False)
    account.put(FOREIGN, LIMIT, 1, 980, 5, reduces=False)
    rescue, clock = rescuer(account)
    await round_of(rescue, clock, account)
    assert list(account.orders) == [FOREIGN]


async def test_the_ladder_is_obeyed_stops_last() -> None:
    account = Account(lots=10)
    account.put(OWN_STOP, STOP, -1, 950, 10, reduces=True)
    account.put(PROFIT, TAKE_PROFIT, -1, 1_050, 5, reduces=True)
    rescue, clock = rescuer(account)
    await round_of(rescue, clock, account)
    assert not await round_of(rescue, clock, account, Rung.REDUCE)
    await round_of(rescue, clock, account, Rung.CANCEL)
    assert (OWN_STOP in account.orders, PROFIT in account.orders) == (True, False)
    await round_of(rescue, clock, account, Rung.FLATTEN)
    assert account.lots == 0
    assert OWN_STOP in account.orders
    await round_of(rescue, clock, account, Rung.FLATTEN)  # flat once
    assert OWN_STOP in account.orders
    await round_of(rescue, clock, account, Rung.FLATTEN)  # flat twice
    assert account.orders == {}
    assert not await round_of(rescue, clock, account, Rung.FLATTEN)


@settings(max_examples=100)
@given(
    st.integers(-20, 20),
    st.lists(st.sampled_from([*Rung, "flip", "entry", "profit", "cancel", "refuse"]), max_size=15),
)
async def test_whatever_happens_it_only_reduces_and_ends_covered(lots: int, happens: list[object]) -> None:
    account = Account(lots=lots)
    rescue, clock = rescuer(account)
    for what in happens:
        if what == "flip":
            account.lots = -account.lots
        elif what == "entry":
            account.put(ENTRY, LIMIT, 1, 990, 5, reduces=False)
        elif what == "profit":
            account.put(PROFIT, TAKE_PROFIT, -1, 1_050, 5, reduces=True)
        elif what == "cancel":
            account.orders.clear()
        elif what == "refuse":
            account.refused = Answer(Outcome.REFUSED, "no", code=-4045)
        await round_of(rescue, clock, account, what if isinstance(what, Rung) else Rung.NORMAL)
        account.refused = None
        assert ENTRY not in account.orders
    for _ in range(5):
        need = await round_of(rescue, clock, account)
    assert not need
    stops = [one for one in account.orders.values() if one.close_position]
    assert len(stops) == (1 if account.lots else 0)
