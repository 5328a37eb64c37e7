"""ccxt (async) watches Spot accounts while somebody else trades on them, and tells what it has seen.

    ccxt_watch.py < accounts.json     a list of {"user", "api_key", "secret"}; symbols in PERPDESK_SYMBOL

It asks for the order lists and the orders behind them again and again until stdin's second line comes, then
once more for everything, and prints one JSON document: by user, lists, orders, trades and balances as it saw
them last, and every status that each order was seen in.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import defaultdict

import ccxt.async_support as ccxt
from ccxt_common import options

SYMBOL = os.environ["PERPDESK_SYMBOL"]
PAUSE_S = 3  # every look weighs 26 of the 6,000 a minute that all on this address share
PAGE = 500


class Watcher:
    """One account's eyes."""

    def __init__(self, row: dict) -> None:
        self.user = row["user"]
        common = options(row["api_key"], row["secret"])
        common["options"] |= {
            "defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False,
        }  # fmt: skip
        self.client = ccxt.binance(common)
        self.statuses: dict[str, list[str]] = defaultdict(list)
        self.looks = 0

    async def look(self) -> None:
        """The open lists and the newest orders now."""
        open_lists = await self.client.private_get_openorderlist()
        for row in await self.client.private_get_allorders({"symbol": SYMBOL, "limit": 20}):
            seen = self.statuses[row["clientOrderId"]]
            if not seen or seen[-1] != row["status"]:
                seen.append(row["status"])
        self.looks += 1 if isinstance(open_lists, list) else 0

    async def everything(self) -> dict:
        """All of it, page by page."""
        lists = await self.pages(self.client.private_get_allorderlist, {}, "orderListId", "fromId")
        symbol = {"symbol": SYMBOL}
        orders = await self.pages(self.client.private_get_allorders, symbol, "orderId", "orderId")
        trades = await self.pages(self.client.private_get_mytrades, symbol, "id", "fromId")
        balance = await self.client.fetch_balance()
        return {
            "looks": self.looks,
            "lists": lists,
            "orders": orders,
            "trades": trades,
            "free": {asset: str(value) for asset, value in balance["free"].items() if value},
            "used": {asset: str(value) for asset, value in balance["used"].items() if value},
            "statuses": self.statuses,
        }

    async def pages(self, ask: object, params: dict, key: str, start: str) -> list:
        """Rows from the first on."""
        rows: list = []
        while True:
            first = int(rows[-1][key]) + 1 if rows else 0
            page = await ask(params | {start: first, "limit": PAGE})  # type: ignore[operator]
            rows += page
            if len(page) < PAGE:
                return rows


async def main() -> None:
    """Watch until told to stop."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    watchers = [Watcher(row) for row in json.loads(await reader.readline())]
    for one in watchers:
        await one.client.load_markets()
    print(json.dumps({"watching": len(watchers)}), flush=True)
    over = asyncio.ensure_future(reader.readline())
    while not over.done():
        await asyncio.gather(*(one.look() for one in watchers))
        await asyncio.wait({over}, timeout=PAUSE_S)
    await asyncio.sleep(PAUSE_S)
    print(json.dumps({one.user: await one.everything() for one in watchers}), flush=True)
    await asyncio.gather(*(one.client.close() for one in watchers))


asyncio.run(main())
