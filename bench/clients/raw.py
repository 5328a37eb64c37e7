"""The exchange's own speed: requests signed beforehand, over plain connections, answers only counted."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from urllib.parse import urlsplit

import lap

WINDOW_MS = 60_000


def requests(told: lap.argparse.Namespace, host: str, prefix: str) -> list[bytes]:
    """Whole HTTP requests, in turn buying and selling."""
    found = []
    for number in range(told.orders):
        side = "SELL" if number % 2 else "BUY"
        text = (
            f"symbol={lap.SYMBOL}&side={side}&type=MARKET&quantity={lap.QUANTITY}&newClientOrderId={prefix}-{number}"
            f"&recvWindow={WINDOW_MS}&timestamp={time.time_ns() // 1_000_000}"
        )
        signature = hmac.new(told.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        body = f"{text}&signature={signature}"
        head = (
            f"POST /fapi/v1/order HTTP/1.1\r\nHost: {host}\r\nX-MBX-APIKEY: {told.api_key}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        found.append((head + body).encode())
    return found


async def run(told: lap.argparse.Namespace, prefix: str) -> dict[str, float]:
    """One lap: as many connections as the concurrency, one request at a time on each."""
    parts = urlsplit(told.url)
    waiting = iter(requests(told, parts.netloc, prefix))

    async def worker() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for request in waiting:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head[:100])
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(told.concurrency)))
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {"orders_per_second": told.orders / wall, "client_cpu_fraction": cpu / wall}


async def main() -> None:
    """Answer laps."""
    told = lap.options()
    print(json.dumps({"client": "raw", "memory_mb": lap.memory_mb()}), flush=True)
    number = 0
    while await asyncio.get_running_loop().run_in_executor(None, lap.sys.stdin.readline):
        print(json.dumps(await run(told, f"r{number}")), flush=True)
        number += 1


asyncio.run(main())
