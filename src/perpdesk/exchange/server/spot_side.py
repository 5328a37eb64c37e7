"""The Spot half of a running server: its world, limits, listen keys and sockets.

Every futures contract has a Spot pair of the same name whose quotes are laid around the same last price;
the Alpha tokens have their own. Nothing is computed for them until somebody looks or has an order there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perpdesk.domain import units
from perpdesk.exchange.core.depth import mixed
from perpdesk.exchange.faults import Plan
from perpdesk.exchange.server.listen import ListenKeys
from perpdesk.exchange.server.options import ServeOptions
from perpdesk.exchange.server.sockets import Connection, Hub, encode
from perpdesk.exchange.server.spot_limits import ORDERS_10S, ORDERS_DAY, WEIGHT_LIMIT, SpotLimits
from perpdesk.exchange.spot import alpha, matching, views
from perpdesk.exchange.spot.alpha import QuotePoint
from perpdesk.exchange.spot.events import Report
from perpdesk.exchange.spot.pairs import E8, PPM, Pair, e8
from perpdesk.exchange.spot.wallets import Account
from perpdesk.exchange.spot.world import SpotWorld

if TYPE_CHECKING:
    from perpdesk.exchange.server.running import RunningServer

_LEVEL_E8 = 50_000 * E8
_DIGITS_MAX = 8
_WALK_MS = 1_000


def pairs_of(server: RunningServer) -> tuple[list[Pair], list[int]]:
    """A pair for every contract that Spot's eight places can hold, and the contract of each."""
    pairs, contracts = [], []
    for contract in server.world.contracts:
        one = contract.instrument
        if contract.price_digits > _DIGITS_MAX or units.digits_of(one.lot_step) > _DIGITS_MAX:
            continue
        tick = contract.tick * 10 ** (_DIGITS_MAX - contract.price_digits)
        pairs.append(Pair(0, one.symbol, one.base, one.quote, tick, e8(one.lot_step)))
        contracts.append(contract.index)
    return pairs, contracts


class SpotHub(Hub):
    """Who listens to Spot user events: by listen key, or subscribed on the WebSocket API."""

    def __init__(self, side: SpotSide) -> None:
        super().__init__(side)
        self.subscriptions: dict[int, dict[int, Connection]] = {}
        self._subscription_id = -1

    def _may(self, connection: Connection, stream: str) -> bool:
        return False  # market streams are served on the futures side only

    def _may_user(self, connection: Connection) -> bool:
        return True

    def subscribe_account(self, account: int, connection: Connection) -> int:
        """The account's events on this connection; gives the subscription's id."""
        self._subscription_id += 1
        self.subscriptions.setdefault(account, {})[self._subscription_id] = connection
        return self._subscription_id

    def unsubscribe_account(self, connection: Connection, subscription_id: int | None = None) -> int:
        """End one subscription of a connection, or all; how many that were."""
        ended = 0
        for subscribed in self.subscriptions.values():
            for one in [i for i, other in subscribed.items() if other is connection]:
                if subscription_id in (None, one):
                    del subscribed[one]
                    ended += 1
        return ended

    def listens(self, account: int, key: str | None) -> bool:
        """Does anybody hear this account's events?"""
        return bool(self.subscriptions.get(account)) or (key is not None and key in self.users)

    def tell(self, account: int, event: dict[str, Any]) -> None:
        """One user event to everybody who listens to the account."""
        self.publish_user(account, event)
        for subscription, connection in tuple(self.subscriptions.get(account, {}).items()):
            message = encode({"subscriptionId": subscription, "event": event})
            self._deliver(connection, f"user:{event['e']}", message)


class SpotSide:
    """What ``RunningServer.spot`` is."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self.options: ServeOptions = server.options
        pairs, self._contracts = pairs_of(server)
        tokens = alpha.default_tokens()
        self.world = SpotWorld([*pairs, *(pair for pair, _ in tokens)], seed=server.options.rules.seed)
        self._seen = [0] * len(pairs)
        self.limits = SpotLimits(WEIGHT_LIMIT, ORDERS_10S, ORDERS_DAY)
        self.listen_keys = ListenKeys(server.options.listen_key_ms)
        self.hub = SpotHub(self)
        self._tokens = tokens
        self._walked = 0

    @property
    def faults(self) -> Plan:
        """One plan for the whole server."""
        return self._server.faults

    def now_ms(self) -> int:
        """The exchange's time."""
        return self._server.now_ms()

    def session_ms(self) -> int:
        """The time of connections."""
        return self._server.session_ms()

    def open_market(self, now_ms: int) -> None:
        """The Alpha tokens have their first prices."""
        for pair, price in self._tokens:
            self.quote(pair, QuotePoint(now_ms, price, price + pair.tick_e8, price))

    def account(self, index: int) -> Account:
        """The Spot wallet of an account, made when it is first asked for."""
        balances = {asset: e8(amount) for asset, amount in self.options.spot_balances.items()}
        while len(self.world.accounts) <= index:
            self.world.open_account(dict(balances), self.now_ms())
        return self.world.accounts[index]

    def pair(self, symbol: str) -> Pair | None:
        """The pair of this name."""
        return self.world.by_symbol.get(symbol)

    def quote(self, pair: Pair, point: QuotePoint) -> None:
        """The market of a token moves."""
        alpha.quote(self.world, pair, point)

    # -- time ----------------------------------------------------------------------------------

    def follow(self) -> None:
        """Take over what the futures market has done since."""
        now_ms = self.now_ms()
        markets = self._server.world.markets
        for i, contract in enumerate(self._contracts):
            market = markets[contract]
            if market.last and market.last != self._seen[i]:
                self._seen[i] = market.last
                last_e8 = market.last * 10 ** (_DIGITS_MAX - market.contract.price_digits)
                book = self.world.books[i]
                book.lay(last_e8, _LEVEL_E8)
                matching.moved(self.world, book, last_e8, now_ms)
        self._walk(now_ms)

    def _walk(self, now_ms: int) -> None:
        """Alpha tokens wander a little every second, if the server was told so."""
        swing = self.options.alpha_walk_ppm
        step = now_ms // _WALK_MS
        if not swing or step == self._walked:
            return
        self._walked = step
        for pair, _ in self._tokens:
            book = self.world.books[pair.index]
            draw = mixed(self.world.seed, pair.index, step) % (2 * swing + 1) - swing
            price = max(2 * pair.tick_e8, book.last_e8 + book.last_e8 * draw // PPM)
            price = price // pair.tick_e8 * pair.tick_e8
            self.quote(pair, QuotePoint(now_ms, price, price + pair.tick_e8, price))

    def flush(self) -> None:
        """Follow where orders wait, and hand the outbox to the sockets."""
        if self.world.open_orders:
            self.follow()
        if not self.world.events:
            return
        now_ms = self.now_ms()
        for account, event in self.world.take_events():
            if isinstance(event, Report) and event.last_qty_e8 and event.filled_e8 == event.last_qty_e8:
                self.limits.filled(account, self.session_ms())
            if self.hub.listens(account, self.listen_keys.active.get(account)):
                self.hub.tell(account, views.event_row(self.world, event, now_ms))

    def pass_time(self, session_ms: int) -> None:
        """Listen keys that end, connections that are too old."""
        for key, _ in self.listen_keys.expired(session_ms):
            self.hub.send_user(key, {"e": "listenKeyExpired", "E": self.now_ms(), "listenKey": key})
        self.hub.end_old(session_ms)

    def ledger(self, index: int) -> dict[str, Any]:
        """The server's own figures of an account, for comparisons."""
        account = self.account(index)
        assets = sorted({*account.free, *account.locked})
        return {
            "balances": {
                asset: {
                    "free": views.amount(account.free.get(asset, 0)),
                    "locked": views.amount(account.locked.get(asset, 0)),
                }
                for asset in assets
            },
            "deposited": {asset: views.amount(amount) for asset, amount in account.deposited.items()},
            "fills": [views.fill_row(self.world, fill) for fill in account.fills],
            "open_orders": len(account.open),
            "lists": [views.list_row(self.world, one) for one in account.lists.values()],
        }
