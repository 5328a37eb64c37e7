"""A stateful machine of random clients: after every action the ledgers agree and nothing has crashed."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.exchange.server.traffic import PRICES, check_books, new_world

from perpdesk.exchange.core import conditional, delisting, entry, market
from perpdesk.exchange.core import settings as configure
from perpdesk.exchange.core.refusals import Refusal

SYMBOLS = st.sampled_from(sorted(PRICES))
ACCOUNTS = st.integers(0, 2)
SIDES = st.sampled_from(["BUY", "SELL"])
OFFSETS = st.integers(-60, 60)
SIZES = st.sampled_from([1, 2, 3, 10, 50, 200, 1000])


class Exchange(RuleBasedStateMachine):
    """Three accounts, two contracts, prices that jump."""

    def __init__(self) -> None:
        super().__init__()
        self.world = new_world(fund_e8=100 * 10**8)  # soon empty: auto-deleveraging happens

    def _price(self, symbol: str, offset: int) -> str:
        contract = self.world.by_symbol[symbol]
        last = self.world.markets[contract.index].last
        return contract.price_text(max(contract.tick, last + offset * last // 2000))

    def _qty(self, symbol: str, size: int) -> str:
        return self.world.by_symbol[symbol].qty_text(size)

    def _sided(self, account: int, params: dict[str, str], long: bool) -> dict[str, str]:
        if self.world.accounts[account].hedge:
            params.pop("reduceOnly", None)
            params["positionSide"] = "LONG" if long else "SHORT"
        return params

    @rule(
        account=ACCOUNTS,
        symbol=SYMBOLS,
        side=SIDES,
        tif=st.sampled_from(["GTC", "IOC", "FOK", "GTX"]),
        offset=OFFSETS,
        size=SIZES,
        reducing=st.booleans(),
        stp=st.sampled_from(["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"]),
        long=st.booleans(),
    )
    def place_limit(self, account, symbol, side, tif, offset, size, reducing, stp, long) -> None:
        params = {
            "symbol": symbol,
            "side": side,
            "type": "LIMIT",
            "timeInForce": tif,
            "price": self._price(symbol, offset),
            "quantity": self._qty(symbol, size),
            "selfTradePreventionMode": stp,
        }
        if reducing:
            params["reduceOnly"] = "true"
        entry.place(
            self.world, self.world.accounts[account], self._sided(account, params, long), self.world.now_ms
        )

    @rule(account=ACCOUNTS, symbol=SYMBOLS, side=SIDES, size=SIZES, long=st.booleans())
    def place_market(self, account, symbol, side, size, long) -> None:
        params = {"symbol": symbol, "side": side, "type": "MARKET", "quantity": self._qty(symbol, size)}
        entry.place(
            self.world, self.world.accounts[account], self._sided(account, params, long), self.world.now_ms
        )

    @rule(
        account=ACCOUNTS,
        symbol=SYMBOLS,
        side=SIDES,
        kind=st.sampled_from(["STOP", "STOP_MARKET", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]),
        offset=OFFSETS,
        size=SIZES,
        closing=st.booleans(),
        long=st.booleans(),
    )
    def place_algo(self, account, symbol, side, kind, offset, size, closing, long) -> None:
        price = self._price(symbol, offset)
        params = {"algoType": "CONDITIONAL", "symbol": symbol, "side": side, "type": kind}
        if kind == "TRAILING_STOP_MARKET":
            params |= {"callbackRate": "0.5", "activatePrice": price, "quantity": self._qty(symbol, size)}
        elif closing and kind != "STOP":
            params |= {"triggerPrice": price, "closePosition": "true"}
        else:
            params |= {"triggerPrice": price, "price": price, "quantity": self._qty(symbol, size)}
        conditional.place(
            self.world, self.world.accounts[account], self._sided(account, params, long), self.world.now_ms
        )

    @rule(account=ACCOUNTS, pick=st.integers(0, 99))
    def cancel(self, account, pick) -> None:
        found = list(self.world.accounts[account].open_orders.values())
        if found:
            order = found[pick % len(found)]
            params = {"symbol": self.world.contracts[order.contract].symbol, "orderId": str(order.id)}
            answer = entry.cancel(self.world, self.world.accounts[account], params, self.world.now_ms)
            assert not isinstance(answer, Refusal)

    @rule(account=ACCOUNTS, pick=st.integers(0, 99), offset=OFFSETS, size=SIZES)
    def amend(self, account, pick, offset, size) -> None:
        found = list(self.world.accounts[account].open_orders.values())
        if found:
            order = found[pick % len(found)]
            symbol = self.world.contracts[order.contract].symbol
            params = {
                "symbol": symbol,
                "orderId": str(order.id),
                "side": "BUY" if order.side > 0 else "SELL",
                "price": self._price(symbol, offset),
                "quantity": self._qty(symbol, size),
            }
            entry.amend(self.world, self.world.accounts[account], params, self.world.now_ms)

    @rule(symbol=SYMBOLS, offset=OFFSETS, walking=st.booleans(), lots=st.sampled_from([1, 50, 1 << 60]))
    def move(self, symbol, offset, walking, lots) -> None:
        contract = self.world.by_symbol[symbol]
        last = self.world.markets[contract.index].last
        target = max(contract.tick, last + offset * last // 500)
        step = market.walk if walking else market.tick
        step(self.world, contract.index, target, self.world.now_ms + 1000, lots=lots)

    @rule(symbol=SYMBOLS, rate=st.integers(-100_000, 100_000), hours=st.sampled_from([1, 4, 8]))
    def fund(self, symbol, rate, hours) -> None:
        self.world.markets[self.world.by_symbol[symbol].index].rate_e8 = rate
        market.advance(self.world, self.world.now_ms + hours * 3_600_000)

    @rule(account=ACCOUNTS, symbol=SYMBOLS, leverage=st.sampled_from(["1", "5", "20", "50", "100"]))
    def lever(self, account, symbol, leverage) -> None:
        configure.set_leverage(
            self.world,
            self.world.accounts[account],
            {"symbol": symbol, "leverage": leverage},
            self.world.now_ms,
        )

    @rule(account=ACCOUNTS, symbol=SYMBOLS, kind=st.sampled_from(["ISOLATED", "CROSSED"]))
    def isolate(self, account, symbol, kind) -> None:
        configure.set_margin_type(
            self.world,
            self.world.accounts[account],
            {"symbol": symbol, "marginType": kind},
            self.world.now_ms,
        )

    @rule(account=ACCOUNTS, hedge=st.booleans())
    def switch_mode(self, account, hedge) -> None:
        params = {"dualSidePosition": "true" if hedge else "false"}
        configure.set_hedge(self.world, self.world.accounts[account], params, self.world.now_ms)

    @rule(account=ACCOUNTS, burns=st.booleans(), amount_e8=st.sampled_from([0, 10**5, 10**8]))
    def pay_in_bnb(self, account, burns, amount_e8) -> None:
        one = self.world.accounts[account]
        configure.set_fee_burn(self.world, one, {"feeBurn": str(burns).lower()}, self.world.now_ms)
        one.bnb_e8 += amount_e8
        self.world.income(one, "TRANSFER", amount_e8, "", self.world.now_ms, asset="BNB")

    @rule(symbol=SYMBOLS, offset=OFFSETS)
    def delist_and_list_again(self, symbol, offset) -> None:
        contract = self.world.by_symbol[symbol]
        last = self.world.markets[contract.index].last
        delisting.settle(self.world, contract, max(1, last + offset * last // 2000), self.world.now_ms)
        assert not any(account.held(contract.index) for account in self.world.accounts)
        contract.status = "TRADING"

    @rule(
        account=ACCOUNTS,
        symbol=SYMBOLS,
        amount=st.sampled_from(["1", "50"]),
        kind=st.sampled_from(["1", "2"]),
    )
    def shift_margin(self, account, symbol, amount, kind) -> None:
        params = self._sided(account, {"symbol": symbol, "amount": amount, "type": kind}, True)
        configure.move_margin(self.world, self.world.accounts[account], params, self.world.now_ms)

    @invariant()
    def books_agree(self) -> None:
        check_books(self.world)


TestExchange = Exchange.TestCase
TestExchange.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
