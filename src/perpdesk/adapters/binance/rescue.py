"""The account as a rescuer sees it: everything that is held and open, and orders that can only reduce.

Over REST alone, for whatever contracts the account happens to hold; no stream, no market data, no books.
"""

from __future__ import annotations

from collections.abc import Sequence

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.facts import text
from perpdesk.adapters.binance.history import read_contracts
from perpdesk.adapters.binance.known_orders import KnownOrders
from perpdesk.adapters.binance.last_resort import LastResort
from perpdesk.adapters.binance.orders import Orders
from perpdesk.adapters.binance.quantise import Rules
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.truth import AccountTruth
from perpdesk.domain.errors import InternalError
from perpdesk.kernel.records import MARKET
from perpdesk.ports import Answer, Leg, NewOrder, OpenOrder, Outcome

_CODE_OUTSIDE_BAND = -4131


class RescueVenue:
    """The part of a LiveVenue that a rescuer needs. ``read`` first; symbols are indexes of ``rules``."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self.rules: list[Rules] = []
        self._truth: AccountTruth | None = None
        self._orders: Orders | None = None

    async def read(self) -> tuple[list[Leg], list[OpenOrder]]:
        """What is held and what is open, of every contract. Raises ExchangeUnreachable, ExchangeRefused."""
        names = await self._names()
        known = {rule.symbol for rule in self.rules}
        if not names <= known:
            await self._learn(sorted(names | known))
        if self._truth is None:
            return [], []
        return await self._truth.legs(), await self._truth.open_orders()

    async def cancel(self, symbol: int, client_id: str) -> Answer:
        """Take one order back."""
        return await self._sender.cancel(symbol, client_id)

    async def close_position_stop(self, symbol: int, client_id: str, side: int, price: int) -> Answer:
        """The stop that closes whatever is held then."""
        return await LastResort(self._sender).close_position_stop(symbol, client_id, side, price)

    async def close(self, symbol: int, client_id: str, side: int, lots: int) -> Answer:
        """Reduce at market, at most by what one order may carry; a limit inside the band where MARKET is
        refused (rule R12)."""
        lots = min(lots, self.rules[symbol].market_lots_max or lots)
        order = NewOrder(client_id, symbol, -1, -1, MARKET, side, 0, lots, True, 0, 0, 0)
        answer = await self._sender.place(order)
        if answer.outcome is Outcome.REFUSED and answer.code == _CODE_OUTSIDE_BAND:
            return await LastResort(self._sender).limit_ioc(symbol, f"{client_id}b", side, lots)
        return answer

    async def _names(self) -> set[str]:
        positions: list[p.PositionRisk] = await self._rest.ask(to.POSITIONS, ())
        orders: list[p.Order] = await self._rest.ask(to.OPEN_ORDERS_ALL, ())
        algos: list[p.AlgoOrder] = await self._rest.ask(to.OPEN_ALGOS_ALL, ())
        held = {row.symbol for row in positions if float(row.position_amt) != 0}
        return held | {row.symbol for row in orders} | {text(row.symbol, "") for row in algos} - {""}

    async def _learn(self, names: Sequence[str]) -> None:
        _, self.rules = await read_contracts(self._rest, names, must_trade=False)
        config: p.AccountConfig = await self._rest.ask(to.ACCOUNT_CONFIG, ())
        known = KnownOrders()
        self._orders = Orders(self._rest, known, self.rules, hedge=config.dual_side_position)
        self._truth = AccountTruth(self._rest, self.rules, known)

    @property
    def _sender(self) -> Orders:
        if self._orders is None:
            raise InternalError("read the account first")
        return self._orders
