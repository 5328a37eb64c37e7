"""Do two managed accounts ever trade with each other? Random orders of everything that can happen.

Each round gives every account one pair on one token, with the self-trade guard as it is (``Lanes``) and the
simulated venue's own matching, and lets chance choose what happens next: the market moves, a request arrives,
an event is heard (late, out of order), a pair is cancelled, an exit asks for room. The venue notes every
match between managed accounts; there must be none.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast

from perpdesk.engine.volume.lanes import Lanes
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.spot import entry
from perpdesk.exchange.spot.alpha import QuotePoint, default_tokens, quote
from perpdesk.exchange.spot.events import Report
from perpdesk.exchange.spot.orders import BUY, SELL, NewList, NewOrder
from perpdesk.exchange.spot.pairs import E8
from perpdesk.exchange.spot.wallets import Account
from perpdesk.exchange.spot.world import SpotWorld
from perpdesk.strategies.volume_target.facts import Seen
from perpdesk.strategies.volume_target.pair import Pair
from perpdesk.volume_run.sim import SEEN

PRICE_E8, TICKS = 22_690_469, 6
STEPS_MAX, ASKS_MAX, EXITS_IOC = 400, 40, 2
STP = "EXPIRE_TAKER"
BANDS_E8 = 100_000  # the market's ticks are as coarse as its offsets, so that prices often meet


@dataclass(slots=True)
class Leg:
    """What has been heard of an order."""

    client_id: str
    seen: Seen = Seen.UNSEEN
    traded_e8: int = 0


@dataclass(slots=True)
class Trader:
    """One account's pair. wish: what it wants to do at the venue next; it arrives when chance says so."""

    account: Account
    number: int
    client_id: str = ""
    buy: Leg = field(default_factory=lambda: Leg(""))
    sell: Leg = field(default_factory=lambda: Leg(""))
    exit: Leg | None = None
    buy_e8: int = 0
    sell_e8: int = 0
    qty_e8: int = 0
    kept_e8: int = 0
    asks: int = 0
    exits: int = 0
    wish: Callable[[], None] | None = None
    inbox: list[Report] = field(default_factory=list)
    is_live: bool = False
    is_over: bool = False
    wants_cancel: bool = False
    cancelled: bool = False

    @property
    def legs(self) -> tuple[Leg, ...]:
        """BUY, SELL, the newest exit."""
        return (self.buy, self.sell) if self.exit is None else (self.buy, self.sell, self.exit)


class Meetings:
    """Rounds on one world. tally counts what happened, so that nobody can say that nothing did."""

    def __init__(self, seed: int, accounts: int = 2) -> None:
        self.draw = random.Random(seed)
        token, _ = default_tokens()[0]
        self.world = SpotWorld([token], seed=seed, says_positions=False, history_max=8, market_max=4)
        self.token = self.world.pairs[0]
        self.tick_e8 = max(self.token.tick_e8, BANDS_E8)
        self.accounts = [
            self.world.open_account({"USDT": 10**9 * E8}, 1, managed=True) for _ in range(accounts)
        ]
        self.lanes = Lanes()
        self.tally: Counter[str] = Counter()
        self.traders: list[Trader] = []
        self.by_account: dict[int, Trader] = {}
        self.now_ms = 1
        self.round = 0
        self.bid_e8 = PRICE_E8 // self.tick_e8 * self.tick_e8
        self._move()

    def play(self, rounds: int) -> int:
        """So many interleavings; returns how often managed accounts have met."""
        for _ in range(rounds):
            self._round()
        return len(self.world.crosses)

    def _round(self) -> None:
        self.round += 1
        self.traders = [Trader(account, i) for i, account in enumerate(self.accounts)]
        self.by_account = {one.account.index: one for one in self.traders}
        steps = 0
        while steps < STEPS_MAX and not all(one.is_over for one in self.traders):
            steps += 1
            if self.draw.random() < 0.15:
                self._move()
            else:
                self._act(self.draw.choice(self.traders))
        self.tally["steps"] += steps
        self.tally["cut short"] += steps == STEPS_MAX
        for one in self.traders:  # the next round begins with an empty book
            for order in list(one.account.open.values()):
                if order.is_open:
                    entry.cancel(self.world, order, self.now_ms)
            self.lanes.withdraw(one.client_id)
        self.world.take_events()

    # -- what can happen ----------------------------------------------------------------------------------

    def _move(self) -> None:
        """The market goes a few ticks."""
        self.now_ms += 1
        self.bid_e8 = max(20 * self.tick_e8, self.bid_e8 + self.draw.randint(-TICKS, TICKS) * self.tick_e8)
        ask_e8 = self.bid_e8 + self.draw.randint(1, 3) * self.tick_e8
        size = None if self.draw.random() < 0.6 else self.draw.randint(1, 200) * E8
        quote(self.world, self.token, QuotePoint(self.now_ms, self.bid_e8, ask_e8, self.bid_e8, size, size))
        self._deliver()

    def _act(self, one: Trader) -> None:
        if one.is_over:
            return
        if one.inbox and self.draw.random() < 0.5:
            self._hear(one)
        elif one.wish is not None:
            wish, one.wish = one.wish, None
            self.now_ms += 1
            wish()
            self._deliver()
        elif not one.is_live:
            self._ask(one)
        else:
            self._go_on(one)

    def _ask(self, one: Trader) -> None:
        if one.asks == 0:
            one.client_id = f"pv{one.number}-{self.round}-1"
            one.buy, one.sell = Leg(f"{one.client_id}-b"), Leg(f"{one.client_id}-s")
        one.asks += 1
        ticks = self.draw.randint(-2, 5)  # profit, at cost, or a discount: prices that cross and that do not
        one.buy_e8 = self.bid_e8 + self.draw.randint(-2, 6) * self.tick_e8
        one.sell_e8 = one.buy_e8 + ticks * self.tick_e8
        one.qty_e8 = self.draw.randint(30, 150) * E8
        buy, sell = Decimal(one.buy_e8), Decimal(one.sell_e8)

        def cancel() -> None:
            one.wants_cancel = True
            self.tally["made room"] += 1

        if self.lanes.ask(one.client_id, one.account.index, buy, sell, cancel):
            one.is_live, one.wish = True, lambda: self._place(one)
        elif one.asks >= ASKS_MAX:
            self.lanes.withdraw(one.client_id)
            one.is_over = True
        else:
            self.tally["waits"] += 1

    def _place(self, one: Trader) -> None:
        buy = NewOrder(BUY, "LIMIT", one.buy_e8, one.qty_e8, "GTC", one.buy.client_id, stp=STP)
        sell = NewOrder(SELL, "LIMIT", one.sell_e8, 0, "GTC", one.sell.client_id, stp=STP)
        new = NewList((sell,), buy, one.client_id, pays=True)
        done = entry.place_list(self.world, one.account, self.token, new, self.now_ms)
        if isinstance(done, Refusal):
            self.tally["refused"] += 1
            one.buy.seen = one.sell.seen = Seen.ABSENT
        else:
            self.tally["lists"] += 1

    def _go_on(self, one: Trader) -> None:
        if one.buy.seen.is_terminal and one.sell.seen.is_terminal and not one.inbox:
            self._leave_or_exit(one)
        elif not one.cancelled and (one.wants_cancel or self.draw.random() < 0.05):
            one.cancelled, one.wish = True, lambda: self._cancel(one)

    def _cancel(self, one: Trader) -> None:
        alive = [row for row in one.account.open_lists.values() if row.client_id == one.client_id]
        if alive:
            self.tally["cancels"] += 1
            entry.cancel_list(self.world, alive[0], self.now_ms)
        else:
            one.cancelled = False  # it had ended already, or has not arrived: look again

    def _leave_or_exit(self, one: Trader) -> None:
        if one.exit is not None and not one.exit.seen.is_terminal:
            return
        sold = sum(leg.traded_e8 for leg in one.legs[1:])
        left = (one.buy.traded_e8 - one.kept_e8 - sold) // self.token.step_e8 * self.token.step_e8
        limit_e8 = None if one.exits >= EXITS_IOC else self.bid_e8 - self.draw.randint(0, 3) * self.tick_e8
        if left < self.token.qty_floor_e8 or left * self.bid_e8 // E8 < 2 * self.token.notional_min_e8:
            self.lanes.withdraw(one.client_id)
            one.is_over = True
            return
        limit = None if limit_e8 is None else Decimal(limit_e8)
        if not self.lanes.room_for_exit(one.client_id, one.account.index, limit):
            self.tally["exits wait"] += 1
            return
        one.exits += 1
        if one.exit is not None:  # what the last one has sold stays sold
            one.kept_e8 += one.exit.traded_e8
        one.exit = Leg(f"{one.client_id}-x{one.exits}")
        one.wish = lambda: self._exit(one, limit_e8, left)

    def _exit(self, one: Trader, limit_e8: int | None, qty_e8: int) -> None:
        assert one.exit is not None
        name = one.exit.client_id
        if limit_e8 is None:
            new = NewOrder(SELL, "MARKET", 0, qty_e8, "GTC", name, stp=STP)
        else:
            new = NewOrder(SELL, "LIMIT", limit_e8, qty_e8, "IOC", name, stp=STP)
        done = entry.place(self.world, one.account, self.token, new, self.now_ms)
        self.tally["exits"] += 1
        if isinstance(done, Refusal):
            self.tally["exits refused"] += 1
            one.exit.seen = Seen.ABSENT

    # -- what is heard ------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        for account, event in self.world.take_events():
            if isinstance(event, Report):
                self.by_account[account].inbox.append(event)

    def _hear(self, one: Trader) -> None:
        """One report, usually the oldest."""
        at = 0 if self.draw.random() < 0.8 else self.draw.randrange(len(one.inbox))
        event = one.inbox.pop(at)
        name = event.orig_client_id or event.client_id
        for leg in one.legs:
            if leg.client_id == name:
                leg.seen = max(leg.seen, SEEN[event.status])
                leg.traded_e8 = max(leg.traded_e8, event.filled_e8)
        if event.trade_id >= 0:
            self.tally["executions"] += 1
            if event.commission_asset == self.token.base:
                one.kept_e8 += event.commission_e8
        self.lanes.heard(cast(Pair, one))  # it looks at the two legs and nothing else
