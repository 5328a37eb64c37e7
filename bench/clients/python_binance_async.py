"""python-binance's async client."""

from __future__ import annotations

import asyncio
from typing import Any

import lap
from binance import AsyncClient


async def main() -> None:
    """Answer laps."""
    told = lap.options()
    AsyncClient.FUTURES_URL = f"{told.url}/fapi"
    AsyncClient.API_URL = f"{told.url}/api"
    client = AsyncClient(told.api_key, told.secret)

    async def place(client_id: str, side: str) -> Any:
        return await client.futures_create_order(
            symbol=lap.SYMBOL, side=side, type="MARKET", quantity=lap.QUANTITY, newClientOrderId=client_id
        )

    await lap.serve("python-binance", told, place)
    await client.close_connection()


asyncio.run(main())
