"""The whole state of the exchange, its counters, and the outbox that the server empties."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perpdesk.domain import units
from perpdesk.exchange.core.accounts import Account
from perpdesk.exchange.core.contracts import Contract
from perpdesk.exchange.core.depth import Depth
from perpdesk.exchange.core.orders import BUY, Conditional, Order
from perpdesk.market.universe import Universe

if TYPE_CHECKING:
    from perpdesk.exchange.core.walks import Walks

_TRADES_KEPT = 2_000


@dataclass(frozen=True, slots=True)
class Rules:
    """What real exchanges differ in or leave open (reference §18, §19)."""

    seed: int = 7
    ack_fields: str = "2026-07"
    depth_level_usdt: int = 50_000
    depth_levels: int = 1_000
    algo_visibility_delay_ms: int = 0
    short_assuming_ppm: int = 500
    margin_call_ppm: int = 800_000
    conditional_max: int = 200
    fills: str = "book"
    slippage_ppm: int = 500
    insurance_e8: int = 10**17
    bnb_price_e8: int = 600 * 10**8


@dataclass(slots=True)
class Print:
    """One public trade. ``buyer_maker``: the buyer rested."""

    id: int
    contract: int
    price: int
    lots: int
    buyer_maker: bool
    ms: int


@dataclass(slots=True)
class Market:
    """One contract's public state: prices, the client orders in its book, recent trades."""

    contract: Contract
    depth: Depth
    last: int = 0
    mark: int = 0
    index: int = 0
    mark_is_own: bool = False
    rate_e8: int = 0
    next_funding_ms: int = 0
    update_id: int = 1_000
    updated_ms: int = 0
    trade_id: int = 0
    bids: list[Order] = field(default_factory=list)
    asks: list[Order] = field(default_factory=list)
    prints: deque[Print] = field(default_factory=lambda: deque(maxlen=_TRADES_KEPT))
    funding: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=2_000))

    def rest(self, order: Order) -> None:
        """Put an order behind its equals."""
        if order.side == BUY:
            insort(self.bids, order, key=lambda one: (-one.price, one.seq))
        else:
            insort(self.asks, order, key=lambda one: (one.price, one.seq))

    def withdraw(self, order: Order) -> None:
        """Take an order out of the book, if it is there."""
        side = self.bids if order.side == BUY else self.asks
        for i, one in enumerate(side):
            if one is order:
                del side[i]
                return

    def best(self, taker_side: int) -> int:
        """The best price a taker of this side meets, clients and synthetic book together; 0: none."""
        found = next((price for price, _ in self.depth.levels(taker_side)), 0)
        resting = self.asks if taker_side == BUY else self.bids
        if resting and (found == 0 or (resting[0].price - found) * taker_side < 0):
            return resting[0].price
        return found


class World:
    """Contracts, markets and accounts; ``events`` are (account, event), ``prints`` are new public trades."""

    def __init__(self, universe: Universe, contracts: tuple[Contract, ...], rules: Rules) -> None:
        self.universe = universe
        self.rules = rules
        self.contracts = contracts
        self.by_symbol = {contract.symbol: contract for contract in contracts}
        level_e8 = rules.depth_level_usdt * 10**units.MONEY_DIGITS
        self.markets = [
            Market(contract, Depth(contract, rules.seed, level_e8, rules.depth_levels))
            for contract in contracts
        ]
        self.accounts: list[Account] = []
        self.events: list[tuple[int, dict[str, Any]]] = []
        self.prints: list[Print] = []
        self.forced: list[tuple[int, dict[str, Any]]] = []
        self.open_algos: dict[int, dict[int, Conditional]] = {c.index: {} for c in contracts}
        self.now_ms = 0
        self._order_id = 8_000_000_000
        self._algo_id = 1_000_000_000_000_000
        self._seq = 0
        self._transfer = 9_000_000_000
        self.house_lots = [0] * len(contracts)
        self.house_cash_e8 = 0
        self.insurance_e8 = 0
        self.funding_paid_e8 = 0
        self.walks: Walks | None = None
        self.is_heard: Callable[[int], bool] = lambda _: True  # does anybody listen to an account's events?
        self.moved: set[int] = set()  # contracts whose last price has changed since the outbox was emptied
        self.charges_by_rows = False  # funding is charged by a file's rows alone, not by the schedule
        self.funding_count = 0
        self.fund_fees_e8 = 0
        self.trigger_refusal: Callable[[Conditional], str | None] | None = None

    @property
    def fund_e8(self) -> int:
        """What the insurance fund has: its size and the liquidation fees, less what it has borne."""
        return self.rules.insurance_e8 + self.fund_fees_e8 - self.insurance_e8

    @property
    def bnb_price_e8(self) -> int:
        """USDT of one BNB: the mark of BNBUSDT where it is traded here, else what the rules say."""
        contract = self.by_symbol.get("BNBUSDT")
        mark = self.markets[contract.index].mark if contract is not None else 0
        if contract is None or mark <= 0:
            return self.rules.bnb_price_e8
        return int(mark * 10 ** (units.MONEY_DIGITS - contract.price_digits))

    def open_account(self, balance_e8: int, now_ms: int) -> Account:
        """A new account with money in it."""
        account = Account(len(self.accounts), balance_e8, now_ms)
        self.accounts.append(account)
        self.income(account, "TRANSFER", balance_e8, "", now_ms)
        return account

    def next_order_id(self) -> int:
        """Ordinary orders."""
        self._order_id += 1
        return self._order_id

    def next_algo_id(self) -> int:
        """Conditional orders: another number space."""
        self._algo_id += 1
        return self._algo_id

    def next_seq(self) -> int:
        """Time priority."""
        self._seq += 1
        return self._seq

    def market_of(self, order: Order | Conditional) -> Market:
        """Where it is traded."""
        return self.markets[order.contract]

    def income(
        self,
        account: Account,
        kind: str,
        amount_e8: int,
        symbol: str,
        now_ms: int,
        trade_id: str = "",
        info: str = "",
        asset: str = "USDT",
    ) -> None:
        """Write one row of the account's income history."""
        self._transfer += 1
        account.income.append(
            {
                "symbol": symbol,
                "incomeType": kind,
                "amount_e8": amount_e8,
                "asset": asset,
                "info": info or kind,
                "time": now_ms,
                "tranId": self._transfer,
                "tradeId": trade_id,
            }
        )
