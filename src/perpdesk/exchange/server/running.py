"""A running server: the world with its time, keys, limits and streams, and what may be done to it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perpdesk.domain import units
from perpdesk.domain.errors import InputError
from perpdesk.exchange.core import events as user_events
from perpdesk.exchange.core import market as market_rules
from perpdesk.exchange.core import views
from perpdesk.exchange.core.accounts import Keys
from perpdesk.exchange.core.contracts import Contract
from perpdesk.exchange.core.numbers import money
from perpdesk.exchange.core.world import World
from perpdesk.exchange.faults import Plan
from perpdesk.exchange.server.limits import Limits
from perpdesk.exchange.server.listen import ListenKeys
from perpdesk.exchange.server.options import ServeOptions
from perpdesk.exchange.server.publish import Publisher
from perpdesk.exchange.server.security import Gate, make_key
from perpdesk.exchange.server.sockets import Hub
from perpdesk.exchange.server.spot_side import SpotSide

if TYPE_CHECKING:
    from perpdesk.exchange.server.call import Endpoint
    from perpdesk.exchange.server.sources import Replay


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """One account that a client can use."""

    index: int
    api_key: str
    secret: str


class RunningServer:
    """``rest_url``, ``ws_url`` and ``accounts`` are what a client needs."""

    def __init__(self, options: ServeOptions, world: World) -> None:
        self.options = options
        self.world = world
        self.rest_url = ""
        self.ws_url = ""
        self.accounts: list[AccountKeys] = []
        self.signed_keys: list[Keys] = []
        self.gate = Gate(options.signature_mode == "strict", options.recv_window_mode == "check")
        self.limits = Limits(options.weight_limit, options.order_limit_10s, options.order_limit_1m)
        self.listen_keys = ListenKeys(options.listen_key_ms)
        self.faults = options.faults if options.faults is not None else Plan(options.rules.seed)
        self.hub = Hub(self)
        world.is_heard = self.hub.is_heard
        self.publisher = Publisher(self)
        self.unknown_paths: list[str] = []
        self.key_rights: dict[str, dict[str, Any]] = {}  # what was changed of each key's rights
        self.replay: Replay | None = None
        self.follows_tape = options.tape is not None
        self._shuffle = random.Random(options.rules.seed)
        self._offset_ms = 0
        self._clock_error_ms = 0
        self.last_answers: dict[str, bytes] = {}
        self.events_sent: Counter[int] = Counter()
        self.spot = SpotSide(self)

    # -- time --------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The exchange's time: the tape's, or the clock's plus what tests have skipped."""
        if self.follows_tape:
            return self.world.now_ms
        return max(self.world.now_ms, self.options.clock.now_ms() + self._offset_ms)

    def session_ms(self) -> int:
        """The time of what belongs to connections (limits, listen keys, their longest life): it goes on while
        a tape stands still, and does not race with it."""
        return self.options.clock.now_ms() if self.follows_tape else self.now_ms()

    def shown_ms(self) -> int:
        """What the server says and judges timestamps by: its time plus a clock error."""
        return self.now_ms() + self._clock_error_ms

    def step_clock(self, ms: int) -> None:
        """Make the server's clock wrong by so much more."""
        self._clock_error_ms += ms

    def expire_listen_key(self, account: int, *, silently: bool) -> None:
        """End an account's key before its time, with or without telling."""
        key = self.listen_keys.active.get(account)
        if key is None:
            return
        self.listen_keys.stop(account)
        if not silently:
            self._say_expired(key)

    def _say_expired(self, key: str) -> None:
        self.hub.send_user(key, {"e": "listenKeyExpired", "E": str(self.now_ms()), "listenKey": key})

    def skip_time(self, ms: int) -> None:
        """Let that much exchange time pass at once: funding, expiries, dead-man switches."""
        now_ms = self.now_ms() + ms
        if not self.follows_tape:
            self._offset_ms += ms
        self.pass_time(now_ms)

    def pass_time(self, now_ms: int) -> None:
        """Timers that are due, their events, and listen keys that end."""
        market_rules.advance(self.world, now_ms)
        session_ms = self.session_ms() if self.follows_tape else now_ms
        for key, _ in self.listen_keys.expired(session_ms):
            self._say_expired(key)
        self.hub.end_old(session_ms)
        self.spot.pass_time(session_ms)
        self.flush()

    # -- the market --------------------------------------------------------------------------

    def contract(self, symbol: str) -> Contract:
        """Raises InputError for a symbol that is not traded here."""
        found = self.world.by_symbol.get(symbol)
        if found is None:
            raise InputError(f"unknown symbol {symbol!r}", field="symbol")
        return found

    def tick(self, symbol: str, price: str, *, qty: str | None = None, walk: bool = False) -> None:
        """The market trades at this price. qty: the most that resting orders may take from it.
        walk: move there continuously, so that everything on the way acts at its own price."""
        self._refuse_on_path("tick")
        contract = self.contract(symbol)
        units_ = units.price_to_units(price, contract.price_digits)
        move = market_rules.walk if walk else market_rules.tick
        lots = {} if qty is None else {"lots": units.lots_floor(qty, contract.lot_step)}
        move(self.world, contract.index, units_, self.now_ms(), **lots)
        self.flush()

    def set_mark(self, symbol: str, price: str) -> None:
        """Part the mark price from the last one (``0``: together again)."""
        self._refuse_on_path("mark")
        contract = self.contract(symbol)
        units_ = units.price_to_units(price, contract.price_digits)
        market_rules.set_mark(self.world, contract.index, units_, self.now_ms())
        self.flush()

    def _refuse_on_path(self, action: str) -> None:
        if self.world.walks is not None:
            raise InputError(f"{action} cannot be combined with --fills kernel: the tape moves", field="do")

    def set_funding(self, symbol: str, rate: str, hours: int | None = None) -> None:
        """The rate of the next settlement, and the symbol's interval (8, 4 or 1 hours)."""
        contract = self.contract(symbol)
        market = self.world.markets[contract.index]
        market.rate_e8 = units.rate_e8(rate)
        if hours is not None:
            contract.funding_ms = hours * 3_600_000
            market.next_funding_ms = (self.now_ms() // contract.funding_ms + 1) * contract.funding_ms

    def set_book(self, symbol: str, levels: dict[str, str] | None) -> None:
        """Exactly these levels ({price: quantity}) around the market price; None: the synthetic book."""
        contract = self.contract(symbol)
        depth = self.world.markets[contract.index].depth
        depth.eaten.clear()
        depth.overrides = (
            None
            if levels is None
            else {
                units.price_to_units(price, contract.price_digits): units.lots_of(qty, contract.lot_step)
                for price, qty in levels.items()
            }
        )

    def deposit(self, account: int, amount: str, asset: str = "USDT") -> None:
        """Money in (negative: out), in USDT or BNB. Raises InputError for more than can be taken out."""
        one = self.world.accounts[account]
        amount_e8 = units.money_e8(amount)
        free = one.bnb_e8 if asset == "BNB" else views.totals(self.world, one)["withdrawable"]
        if -amount_e8 > free:
            raise InputError(f"only {money(free)} {asset} can be taken out", field="amount")
        if asset == "BNB" and one.multi_assets:
            raise InputError("BNB is no margin here: leave multi-assets mode first", field="asset")
        if asset not in ("USDT", "BNB"):
            raise InputError("must be USDT or BNB", field="asset")
        self.world.income(one, "TRANSFER", amount_e8, "", self.now_ms(), asset=asset)
        reason = "DEPOSIT" if amount_e8 > 0 else "WITHDRAW"
        if asset == "BNB":
            one.bnb_e8 += amount_e8
            user_events.account_update(
                self.world, one, reason, self.now_ms(), balances=False, bnb=True, bnb_change_e8=amount_e8
            )
        else:
            one.deposit(amount_e8)
            user_events.account_update(self.world, one, reason, self.now_ms(), change_e8=amount_e8)
        self.flush()

    def add_account(self, balance: str | None = None) -> AccountKeys:
        """One more account with a key of its own."""
        amount = units.money_e8(balance if balance is not None else self.options.balance)
        account = self.world.open_account(amount, self.now_ms())
        keys = make_key(account.index)
        self.gate.add(keys)
        made = AccountKeys(account.index, keys.api_key, keys.secret)
        self.accounts.append(made)
        return made

    # -- out ---------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand the outbox to the sockets."""
        events, self.world.events = self.world.events, []
        if self.options.event_order == "shuffled":
            self._shuffle.shuffle(events)
        for account, event in events:
            if self.hub.publish_user(account, event):
                self.events_sent[account] += 1
        self.publisher.flush()
        self.spot.flush()

    def limits_of(self, endpoint: Endpoint) -> Limits:
        """The pools that an endpoint draws on."""
        return self.spot.limits if endpoint.side == "spot" else self.limits

    def ledger(self, account: int) -> dict[str, Any]:
        """The server's own figures in 1e-8 USDT, for comparisons."""
        one = self.world.accounts[account]
        return {
            "wallet_e8": one.cash_e8,
            "initial_e8": one.total_e8("initial"),
            "realised_e8": one.total_e8("realised"),
            "fees_e8": one.total_e8("fees"),
            "funding_e8": one.total_e8("funding"),
            "bnb_e8": one.bnb_e8,
            "positions": {(self.world.contracts[p.contract].symbol, p.side): p.lots for p in one.held()},
        }
