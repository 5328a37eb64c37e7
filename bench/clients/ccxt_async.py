"""ccxt's async client."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt.async_support as ccxt
import lap


async def main() -> None:
    """Answer laps."""
    told = lap.options()
    base = told.url
    client = ccxt.binanceusdm(
        {
            "apiKey": told.api_key,
            "secret": told.secret,
            "enableRateLimit": False,
            "options": {"defaultType": "swap", "fetchCurrencies": False},
            "urls": {
                "api": {
                    "fapiPublic": f"{base}/fapi/v1",
                    "fapiPublicV2": f"{base}/fapi/v2",
                    "fapiPublicV3": f"{base}/fapi/v3",
                    "fapiPrivate": f"{base}/fapi/v1",
                    "fapiPrivateV2": f"{base}/fapi/v2",
                    "fapiPrivateV3": f"{base}/fapi/v3",
                    "fapiData": f"{base}/futures/data",
                    "sapi": f"{base}/sapi/v1",
                    "public": f"{base}/api/v3",
                    "private": f"{base}/api/v3",
                }
            },
        }
    )
    await client.load_markets()
    symbol, quantity = "BTC/USDT:USDT", float(lap.QUANTITY)

    async def place(client_id: str, side: str) -> Any:
        params = {"newClientOrderId": client_id}
        return await client.create_order(symbol, "market", side.lower(), quantity, None, params)

    await lap.serve("ccxt", told, place)
    await client.close()


asyncio.run(main())
