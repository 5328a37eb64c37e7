"""Two desks on one account, as real processes: one trades. A frozen owner that wakes sends nothing."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from proof.rig import ACCOUNT, Rig, wait_until
from tests.cli.exchanges import Exchange, exchange

from perpdesk.exchange.core.accounts import Keys

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("PERPDESK_PROOFS" not in os.environ, reason="minutes of real time: make proofs"),
]
PRICES = {"BTCUSDT": 50_000.0, "ETHUSDT": 2_500.0, "SOLUSDT": 150.0}


@dataclass
class Wire:
    """The exchange, and everything signed that it was sent: (arrival, API key, text)."""

    venue: Exchange
    sent: list[tuple[float, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        gate = self.venue.server.gate
        judge = gate.signature

        def note(keys: Keys, params: Any, text: str, **more: Any) -> Any:
            self.sent.append((time.monotonic(), keys.api_key, text))
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


@pytest.fixture
def wire() -> Iterator[Wire]:
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


@pytest.fixture
def rig(wire: Wire, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "desk", wire, f"sqlite:///{tmp_path}/desk.sqlite")  # type: ignore[arg-type]
    yield made
    made.close()


def test_the_second_desk_refuses_and_a_frozen_owner_wakes_to_nothing(
    wire: Wire, rig: Rig, tmp_path: Path
) -> None:
    owner = rig.live(list(PRICES))
    owner.wait_ready()

    second = rig.live(list(PRICES))
    assert second.process.wait(120) == 5, second.text
    assert "owned by" in second.text
    there = rig.elsewhere(tmp_path / "there", wire.second_key())
    try:
        third = there.live(list(PRICES))
        assert third.process.wait(120) == 5, third.text
        assert owner.is_ready()

        owner.process.send_signal(signal.SIGSTOP)
        frozen = time.monotonic()
        taker = None
        while taker is None or taker.process.poll() is not None:
            assert time.monotonic() < frozen + 180, taker and taker.text
            taker = there.live(list(PRICES))
            wait_until(lambda one=taker: one.is_ready() or one.process.poll() is not None, 180)

        woken = time.monotonic()
        owner.process.send_signal(signal.SIGCONT)
        assert owner.process.wait(60) == 5, owner.text
        wire.do("skip_time", ms=1)  # the exchange still answers
        assert wire.since(woken, wire.keys["api_key"]) == []
        assert wire.since(frozen + 1, wire.keys["api_key"]) == []
        assert taker.is_ready()
        assert taker.stop() == 0
        assert "stopped:" in taker.text
    finally:
        there.close()


def test_a_watch_takes_the_place_of_a_frozen_owner_and_closes_when_told(wire: Wire, rig: Rig) -> None:
    owner = rig.live(list(PRICES))
    owner.wait_ready()
    watch = rig.watch("--database", "sqlite:///nowhere/at/all.sqlite")
    wire.do(
        "actor",
        account=0,
        action="order",
        params={"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"},
    )

    def has_disaster_stop() -> bool:
        stops = wire.do("exposure")["stops"]
        return any(one["symbol"] == "ETHUSDT" and one["close_position"] for one in stops)

    wait_until(has_disaster_stop, 60)
    owner.process.send_signal(signal.SIGSTOP)
    wire.do("actor", account=0, action="cancel_all")
    frozen = time.monotonic()
    wait_until(has_disaster_stop, 90)
    assert time.monotonic() - frozen > 15  # not before the owner's last request could not live any more
    rig.run("kill", "flatten", "--account", ACCOUNT, "--reason", "the owner hangs", check=False)

    def is_empty() -> bool:
        seen = wire.do("exposure")
        return not seen["positions"] and not seen["stops"]

    wait_until(is_empty, 90)
    owner.process.send_signal(signal.SIGCONT)
    assert owner.process.wait(60) == 5, owner.text
    assert wire.do("exposure")["positions"] == []
    assert watch.stop() == 0, watch.text
