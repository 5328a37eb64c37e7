"""Any sequence of orders, lists, cancellations and quotes keeps every asset, every lock and every rule."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.exchange.spot.market import BTC, KOGE, NOW_MS, check, new_world, quote

from perpdesk.exchange.spot import entry
from perpdesk.exchange.spot.orders import BUY, CONDITIONAL, SELL, WITHOUT_PRICE, NewList, NewOrder
from perpdesk.exchange.spot.pairs import STP_MODES, e8
from perpdesk.exchange.spot.world import SpotWorld

# off by some 1e-8, so that quotes have to be cut and locks rounded up
PRICES = st.integers(97, 104).map(lambda price: price * e8("1") + price % 4)
QTYS = st.sampled_from([e8("0.12"), e8("0.5"), e8("1.03")])
SIDES = st.sampled_from([BUY, SELL])


@st.composite
def orders(draw: st.DrawFn, side: int | None = None, qty: int | None = None) -> NewOrder:
    """Any order that the checks would let through."""
    kind = draw(st.sampled_from(["LIMIT", "LIMIT", "LIMIT", "MARKET", "LIMIT_MAKER", *sorted(CONDITIONAL)]))
    new = NewOrder(draw(SIDES) if side is None else side, kind, qty_e8=draw(QTYS) if qty is None else qty)
    if kind not in WITHOUT_PRICE:
        new.price_e8 = draw(PRICES)
    if kind in CONDITIONAL:
        new.stop_e8 = draw(PRICES)
    if kind == "LIMIT":
        new.tif = draw(st.sampled_from(["GTC", "GTC", "GTC", "IOC", "FOK"]))
    if kind == "MARKET" and qty is None and draw(st.booleans()):
        new.qty_e8, new.quote_qty_e8 = 0, draw(PRICES)
    new.stp = draw(st.sampled_from(STP_MODES))
    return new


@st.composite
def lists_of_orders(draw: st.DrawFn) -> NewList:
    """OTO, OTOCO, OPO, OPOCO or OCO."""
    kind = draw(st.sampled_from(["OTO", "OTOCO", "OPO", "OPOCO", "OCO"]))
    pays = kind.startswith("OPO")
    side = SELL if pays else draw(SIDES)
    qty = 0 if pays else draw(QTYS)
    pending = [draw(orders(side, qty))]
    if kind.endswith("OCO"):
        pending.append(draw(orders(side, qty)))
    if kind == "OCO":
        return NewList(tuple(pending))
    working = NewOrder(
        BUY if pays else draw(SIDES), draw(st.sampled_from(["LIMIT", "LIMIT", "LIMIT_MAKER"])), draw(PRICES)
    )
    working.qty_e8, working.stp = draw(QTYS), draw(st.sampled_from(STP_MODES))
    return NewList(tuple(pending), working, pays=pays)


class SpotMachine(RuleBasedStateMachine):
    """Three accounts, two of them poor; an ordinary pair and an Alpha token at comparable prices."""

    world: SpotWorld

    @initialize()
    def begin(self) -> None:
        self.world = new_world(3, "400")
        for symbol in (BTC, KOGE):
            self.world.by_symbol[symbol].notional_min_e8 = 1
            quote(self.world, "100", "101", symbol=symbol, bid_qty="0.3", ask_qty="0.3")
        self.world.take_events()

    @rule(account=st.integers(0, 2), symbol=st.sampled_from([BTC, KOGE]), new=orders())
    def place(self, account: int, symbol: str, new: NewOrder) -> None:
        entry.place(self.world, self.world.accounts[account], self.world.by_symbol[symbol], new, NOW_MS)

    @rule(account=st.integers(0, 2), symbol=st.sampled_from([BTC, KOGE]), new=lists_of_orders())
    def place_list(self, account: int, symbol: str, new: NewList) -> None:
        entry.place_list(self.world, self.world.accounts[account], self.world.by_symbol[symbol], new, NOW_MS)

    @rule(account=st.integers(0, 2), pick=st.integers(0, 50))
    def cancel(self, account: int, pick: int) -> None:
        alive = list(self.world.accounts[account].open.values())
        if alive:
            entry.cancel(self.world, alive[pick % len(alive)], NOW_MS)

    @rule(
        symbol=st.sampled_from([BTC, KOGE]),
        bid=st.integers(96, 103),
        width=st.integers(1, 3),
        sizes=st.tuples(st.sampled_from(["0.1", "0.3", "50"]), st.sampled_from(["0.1", "0.3", "50"])),
    )
    def move(self, symbol: str, bid: int, width: int, sizes: tuple[str, str]) -> None:
        bid_qty, ask_qty = sizes
        quote(self.world, str(bid), str(bid + width), symbol=symbol, bid_qty=bid_qty, ask_qty=ask_qty)

    @invariant()
    def holds(self) -> None:
        check(self.world)
        for index, event in self.world.take_events():
            assert 0 <= index < 3
            if hasattr(event, "reason") and getattr(event, "happened", "") == "TRADE":
                assert event.last_qty_e8 > 0


TestSpotMachine = SpotMachine.TestCase
TestSpotMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
