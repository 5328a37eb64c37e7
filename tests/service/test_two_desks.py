"""Two desks on one account, as real processes: one trades. A frozen owner that wakes sends nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from proof.rig import ACCOUNT, Rig, wait_until
from tests.service.wires import PRICES, Wire, moving_wire

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("PERPDESK_PROOFS" not in os.environ, reason="minutes of real time: make proofs"),
]


@pytest.fixture
def wire() -> Iterator[Wire]:
    with moving_wire() as made:
        yield made


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
