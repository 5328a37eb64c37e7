"""A simulated exchange beside real processes: what was signed and sent to it, and a market that moves."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.cli.exchanges import Exchange, exchange

from perpdesk.exchange.core.accounts import Keys

PRICES = {"BTCUSDT": 50_000.0, "ETHUSDT": 2_500.0, "SOLUSDT": 150.0}


@dataclass
class Wire:
    """The exchange, and everything signed that it was sent: (arrival, API key, text)."""

    venue: Exchange
    sent: list[tuple[float, str, str]] = field(default_factory=list)
    signatures: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        gate = self.venue.server.gate
        judge = gate.signature

        def note(keys: Keys, params: Any, text: str, **more: Any) -> Any:
            self.sent.append((time.monotonic(), keys.api_key, text))
            self.signatures.add(str(params.get("signature") or ""))
            return judge(keys, params, text, **more)

        gate.signature = note  # type: ignore[method-assign]

    @property
    def url(self) -> str:
        return self.venue.url

    @property
    def keys(self) -> dict[str, str]:
        api_key, secret = self.venue.key(0)
        return {"api_key": api_key, "secret": secret}

    def do(self, action: str, /, **arguments: Any) -> Any:
        return self.venue.do(action, **arguments)

    def second_key(self) -> dict[str, str]:
        """Another API key of the same account."""
        api_key, secret = "k2" * 32, "s2" * 32
        self.venue.server.gate.add(Keys(0, api_key, "HMAC", secret))
        return {"api_key": api_key, "secret": secret}

    def since(self, moment: float, api_key: str) -> list[str]:
        """What arrived under a key after a moment, orders and cancels (they name a symbol or client id)."""
        named = re.compile(r"(?:newClientOrderId|clientAlgoId|origClientOrderId|marginType|leverage)=")
        return [text for at, key, text in self.sent if at >= moment and key == api_key and named.search(text)]


@contextmanager
def moving_wire() -> Iterator[Wire]:
    """The exchange, its prices moving twice a second."""
    over = threading.Event()
    with exchange(accounts=1) as venue:

        def move() -> None:
            dice, prices = random.Random(3), dict(PRICES)
            while not over.wait(0.5):
                for symbol in prices:
                    prices[symbol] *= 1 + dice.gauss(0, 0.001)
                    digits = 1 if symbol == "BTCUSDT" else 2
                    venue.do("tick", symbol=symbol, price=f"{prices[symbol]:.{digits}f}", walk=True)

        thread = threading.Thread(target=move)
        thread.start()
        try:
            yield Wire(venue)
        finally:
            over.set()
            thread.join()
