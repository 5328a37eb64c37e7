"""The simulated exchange in a process of its own, with limits that no benchmark reaches."""

from __future__ import annotations

import asyncio
import json
import sys

from perpdesk.adapters.clocks import SystemClock
from perpdesk.exchange.server import ServeOptions, serve

FREE = 10**9


async def main() -> None:
    """Print one line with URL and accounts; run until standard input is closed."""
    options = ServeOptions(
        clock=SystemClock(),
        accounts=8,
        balance="1000000",
        weight_limit=FREE,
        order_limit_10s=FREE,
        order_limit_1m=FREE,
    )
    async with serve(options) as server:
        accounts = [{"api_key": one.api_key, "secret": one.secret} for one in server.accounts]
        print(json.dumps({"url": server.rest_url, "accounts": accounts}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
