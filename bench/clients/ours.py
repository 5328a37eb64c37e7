"""perpdesk's client: the whole path of an order, with its governor, filters, ledger of ids and verdicts."""

from __future__ import annotations

import asyncio

import lap

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.known_orders import KnownOrders
from perpdesk.adapters.binance.limits import Governor
from perpdesk.adapters.binance.orders import Orders
from perpdesk.adapters.binance.quantise import rules_of
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.clocks import SystemClock
from perpdesk.domain.units import decimal_of
from perpdesk.kernel.records import BUY, MARKET, SELL
from perpdesk.ports import NewOrder, Outcome


async def main() -> None:
    """Answer laps."""
    told = lap.options()
    clock = SystemClock()
    server = ServerClock(clock)
    governor = Governor(clock, server)
    rest = Rest(
        hosts=simulated(told.url),
        clock=clock,
        server=server,
        governor=governor,
        credentials=Credentials(told.api_key, told.secret),
    )
    await rest.sync_time()
    info = await rest.ask(to.EXCHANGE_INFO, ())
    row = next(row for row in info.symbols if row.symbol == lap.SYMBOL)
    limits = {one.rate_limit_type + one.interval: one.limit for one in info.rate_limits}
    governor.set_limits(
        weight=limits["REQUEST_WEIGHTMINUTE"],
        orders_10s=limits["ORDERSSECOND"],
        orders_1m=limits["ORDERSMINUTE"],
    )
    rules = rules_of(row, 1, decimal_of("0.001"))
    known = KnownOrders()
    orders = Orders(rest, known, [rules], hedge=False)
    lots = rules.lots(lap.QUANTITY)

    async def place(client_id: str, side: str) -> None:
        sign = BUY if side == "BUY" else SELL
        order = NewOrder(client_id, 0, 0, 0, MARKET, sign, 0, lots, False, 0, 0, 0)
        answer = await orders.place(order)
        if answer.outcome is not Outcome.ACCEPTED:
            raise RuntimeError(answer.reason)
        found = known.get(client_id)
        assert found is not None
        known.end(found)

    await lap.serve("perpdesk", told, place)
    await rest.close()


asyncio.run(main())
