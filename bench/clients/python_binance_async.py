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

    async def place(client_id: str) -> Any:
        return await client.futures_create_order(
            symbol=lap.SYMBOL,
            side="BUY",
            type="LIMIT",
            timeInForce="GTC",
            quantity=lap.QUANTITY,
            price=lap.PRICE,
            newClientOrderId=client_id,
        )

    async def cancel(client_id: str, placed: Any) -> None:
        await client.futures_cancel_order(symbol=lap.SYMBOL, origClientOrderId=client_id)

    await lap.serve("python-binance", told, place, cancel)
    await client.close_connection()


asyncio.run(main())
