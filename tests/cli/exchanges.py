"""A simulated exchange that runs beside the commands under test, in a thread."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from perpdesk.adapters.clocks import SystemClock
from perpdesk.exchange.server import RunningServer, ServeOptions, serve


class Exchange:
    """Its address and accounts, and what a person does to it."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.url = server.rest_url

    def key(self, account: int) -> tuple[str, str]:
        """(API key, secret)."""
        made = self.server.accounts[account]
        return made.api_key, made.secret

    def do(self, action: str, /, **arguments: Any) -> Any:
        """One action of the control channel."""
        body = json.dumps({"do": action, **arguments}).encode()
        with urllib.request.urlopen(f"{self.url}/control", body, timeout=20) as answer:
            return json.loads(answer.read())

    def rights(self, account: int, **changes: Any) -> None:
        """Change what a key may do."""
        self.do("key_rights", api_key=self.key(account)[0], set=changes)


@contextmanager
def exchange(accounts: int = 3, **options: Any) -> Iterator[Exchange]:
    """Runs until the block is left. options: further ``ServeOptions``."""
    ready, over = threading.Event(), asyncio.Event()
    found: list[Any] = []

    async def run() -> None:
        chosen = ServeOptions(clock=SystemClock(), accounts=accounts, control=True, **options)
        async with serve(chosen) as server:
            found.extend((server, asyncio.get_running_loop()))
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert ready.wait(60)
        yield Exchange(found[0])
    finally:
        if found:
            found[1].call_soon_threadsafe(over.set)
        thread.join(30)
