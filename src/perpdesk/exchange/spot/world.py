"""Everything together: accounts, books, ids, the house's side of every asset, and the outbox of events."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from perpdesk.exchange.core.depth import mixed
from perpdesk.exchange.spot.bars import bars_of
from perpdesk.exchange.spot.book import Book
from perpdesk.exchange.spot.counters import Counters
from perpdesk.exchange.spot.events import Deposit, Event, ListReport, Position, Report
from perpdesk.exchange.spot.orders import Fill, Order, OrderList
from perpdesk.exchange.spot.pairs import Pair, numbered
from perpdesk.exchange.spot.wallets import Account

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ID_LENGTH = 22


@dataclass(frozen=True, slots=True)
class Cross:
    """Two managed accounts traded with each other: it must never happen."""

    ms: int
    pair: int
    taker: int
    maker: int
    order_ids: tuple[int, int]


class SpotWorld:
    """Accounts and books. ``now_ms`` is the time of the last thing that happened.

    house: what the synthetic counterparty has gained of each asset (negative: given); with the fees and the
    accounts it adds up to the deposits, always. says_positions: tell balances after each operation.
    history_max: closed orders, lists and executions that are remembered of each account (None: all).
    market_max: seconds and public executions that are remembered of each pair (None: an hour, a thousand).
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        seed: int = 7,
        says_positions: bool = True,
        history_max: int | None = None,
        market_max: int | None = None,
    ) -> None:
        self.pairs = numbered(pairs)
        self.by_symbol = {pair.symbol: pair for pair in self.pairs}
        self.books = [Book(pair, seed) for pair in self.pairs]
        if market_max is not None:
            for book in self.books:
                book.prints, book.bars = deque(maxlen=market_max), bars_of(market_max)
        self.accounts: list[Account] = []
        self.events: list[tuple[int, Event]] = []
        self.fees: dict[str, int] = {}
        self.house: dict[str, int] = {}
        self.crosses: list[Cross] = []
        self.counters = Counters()
        self.now_ms = 0
        self.seed = seed
        self.says_positions = says_positions
        self.history_max = history_max
        self.to_start: deque[Order] = deque()  # orders that begin to work when the running one has done
        self.moved: dict[int, None] = {}  # pairs whose last price has changed since triggers were looked at
        self.changed: dict[int, None] = {}  # accounts whose balances may have changed
        self.open_orders = 0
        self._order_id = self._list_id = self._made_ids = 0

    def pair(self, order: Order) -> Pair:
        """The pair of an order."""
        return self.pairs[order.pair]

    def book(self, order: Order) -> Book:
        """The book of an order."""
        return self.books[order.pair]

    def open_account(self, balances: dict[str, int], now_ms: int, *, managed: bool = False) -> Account:
        """A client with so much of each asset."""
        account = Account(len(self.accounts), managed)
        self.accounts.append(account)
        for asset, amount_e8 in balances.items():
            account.deposit(asset, amount_e8)
        account.touched.clear()
        account.updated_ms = now_ms
        return account

    def deposit(self, account: Account, asset: str, amount_e8: int, now_ms: int) -> None:
        """Money in or out, with its events."""
        account.deposit(asset, amount_e8)
        self.tell(account, Deposit(now_ms, asset, amount_e8))
        self.say_position(account, now_ms)

    # -- ids ---------------------------------------------------------------------------------

    def next_order_id(self) -> int:
        """Orders are numbered through."""
        self._order_id += 1
        return self._order_id

    def next_list_id(self) -> int:
        """Lists are numbered from 0."""
        self._list_id += 1
        return self._list_id - 1

    def made_client_id(self) -> str:
        """A client id for those who sent none."""
        self._made_ids += 1
        bits = mixed(self.seed, 1, self._made_ids) << 64 | mixed(self.seed, 2, self._made_ids)
        letters = []
        for _ in range(_ID_LENGTH):
            bits, place = divmod(bits, len(_ALPHABET))
            letters.append(_ALPHABET[place])
        return "".join(letters)

    # -- books of an account ---------------------------------------------------------------------

    def add(self, order: Order) -> None:
        """An order that lives."""
        self.open_orders += 1
        account = self.accounts[order.account]
        account.orders[order.id] = account.open[order.id] = order
        account.client_ids[order.client_id] = account.last_by_client_id[order.client_id] = order

    def add_list(self, one: OrderList) -> None:
        """A list that lives."""
        account = self.accounts[one.account]
        account.lists[one.id] = account.open_lists[one.id] = one
        account.last_list_by_client_id[one.client_id] = one

    def close(self, order: Order) -> None:
        """An order that has ended: history."""
        account = self.accounts[order.account]
        if account.open.pop(order.id, None) is None:
            return
        self.open_orders -= 1
        if account.client_ids.get(order.client_id) is order:
            del account.client_ids[order.client_id]
        if self.history_max is not None and len(account.orders) > 2 * self.history_max:
            account.trim(self.history_max)

    # -- telling -----------------------------------------------------------------------------

    def tell(self, account: Account, event: Event) -> None:
        """Into the outbox."""
        self.events.append((account.index, event))

    def report(
        self,
        order: Order,
        happened: str,
        now_ms: int,
        *,
        reason: str = "NONE",
        cancel_id: str = "",
        fill: Fill | None = None,
    ) -> None:
        """An execution report of the order as it stands. cancel_id: the client id of the cancel."""
        order.updated_ms = now_ms
        self.changed[order.account] = None
        report = Report(
            now_ms,
            order.pair,
            order.id,
            cancel_id or order.client_id,
            order.list_id,
            order.side,
            order.type,
            order.tif,
            order.price_e8,
            order.qty_e8,
            order.stop_e8,
            order.quote_qty_e8,
            order.stp,
            happened,
            order.status,
            order.filled_e8,
            order.quote_e8,
            order.created_ms,
            order.working_ms,
            order.on_book,
            reason,
            order.client_id if cancel_id else "",
        )
        if fill is not None:
            report = msgspec.structs.replace(
                report,
                last_qty_e8=fill.qty_e8,
                last_price_e8=fill.price_e8,
                last_quote_e8=fill.quote_e8,
                commission_e8=fill.commission_e8,
                commission_asset=fill.commission_asset,
                trade_id=fill.id,
                is_maker=fill.is_maker,
            )
        self.events.append((order.account, report))

    def report_list(self, one: OrderList, status_type: str, order_status: str, now_ms: int) -> None:
        """A list status."""
        orders = tuple((order.id, order.client_id) for order in one.orders)
        event = ListReport(
            now_ms, one.pair, one.id, one.kind, status_type, order_status, one.client_id, orders
        )
        self.events.append((one.account, event))

    def say_position(self, account: Account, now_ms: int) -> None:
        """The balances that have changed since this was last called."""
        if not account.touched:
            return
        account.updated_ms = now_ms
        if self.says_positions:
            free, locked = account.free, account.locked
            rows = tuple((asset, free.get(asset, 0), locked.get(asset, 0)) for asset in account.touched)
            self.tell(account, Position(now_ms, rows))
        account.touched.clear()

    def take_events(self) -> list[tuple[int, Event]]:
        """Empty the outbox."""
        events, self.events = self.events, []
        return events
