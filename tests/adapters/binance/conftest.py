"""Fixtures of the client's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.adapters.binance.order_bench import NOT_FOUND, Bench, ack, algo_row
from tests.adapters.binance.scripted import Say, scripted


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with scripted() as server:
        server.on("POST", "/fapi/v1/order", ack)
        server.on("POST", "/fapi/v1/algoOrder", lambda sent: Say(algo_row(sent.params["clientAlgoId"])))
        server.on("GET", "/fapi/v1/order", NOT_FOUND)
        server.on("GET", "/fapi/v1/algoOrder", NOT_FOUND)
        server.on("GET", "/fapi/v1/userTrades", Say([]))
        server.on("GET", "/fapi/v1/allOrders", Say([]))
        one = Bench(server)
        yield one
        await one.rest.close()
