"""Two score versions on one account as real processes, on a recorded market: their guardian is killed.

One process is opener and guardian. While it is dead nothing reaches the exchange, its heartbeat is stale for
every other opener within 15 s, the stops stand; the next process finishes what fell due meanwhile.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from proof.accounts import compare
from proof.rig import ACCOUNT, Desk, Rig, perpdesk, wait_until
from tests.cli.exchanges import exchange
from tests.service.wires import Wire

from perpdesk.adapters.clocks import SystemClock
from perpdesk.domain.units import plain, price_of
from perpdesk.market.instruments import bundled
from perpdesk.market.tape import read_tape

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_data,
    pytest.mark.skipif("PERPDESK_PROOFS" not in os.environ, reason="minutes of real time: make proofs"),
]
SYMBOLS = ("BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT")
HISTORY, END_MS = 33 * 60, 1_747_699_200_000
CONFIG = """
account: {balance_usdt: 100000, leverage: 5, margin_mode: isolated}
risk: {positions_max: 12, max_total_notional_usdt: 60000, worst_case_fraction: 0.9}
score:
  cooldown_s: 0
  versions:
    - {name: v3, scorer: v3, scan_interval_s: 60, margin_usdt: 200, leverage: 5, max_positions: 4,
       params: {min_score_long: 4, min_score_short: 4}}
    - {name: v4, scorer: v3, scan_interval_s: 60, margin_usdt: 120, leverage: 5, max_positions: 4,
       params: {min_score_long: 4, min_score_short: 4}}
  guardian:
    timeouts: [{ratio: 0, minutes: 3}]
"""


@pytest.fixture
def wire(real_data: Path) -> Iterator[Wire]:
    """Four coins: the recorded minutes up to 2025-05-20 as history, then prices that walk."""
    files = [path for name in SYMBOLS for path in (real_data / "klines_1m" / "usdm").glob(f"{name}_*")]
    tape = read_tape(files, instruments=bundled(), end_ms=END_MS)
    minutes = [
        {symbol: plain(price_of(int(bar.close), digits)) for symbol, digits, bar in zip(
            tape.universe.symbols, tape.universe.price_digits, bars, strict=True
        )}
        for bars in tape.bars[-HISTORY:].view(np.recarray)
    ]  # fmt: skip
    over = threading.Event()
    with exchange(accounts=1, prices=minutes[0], balance="100000") as venue:
        for prices in minutes:
            for symbol, price in prices.items():
                venue.do("tick", symbol=symbol, price=price)
            venue.do("skip_time", ms=60_000)

        def walk() -> None:
            dice, last = random.Random(3), {name: Decimal(price) for name, price in minutes[-1].items()}
            ticks = {name: bundled()[name].price_tick for name in SYMBOLS}
            while not over.wait(0.5):
                for name, price in last.items():
                    near = price * Decimal(1 + dice.gauss(0, 0.00005))
                    last[name] = round(near / ticks[name]) * ticks[name]
                    venue.do("tick", symbol=name, price=plain(last[name]), walk=True)

        thread = threading.Thread(target=walk)
        thread.start()
        try:
            yield Wire(venue)
        finally:
            over.set()
            thread.join()


@pytest.fixture
def rig(wire: Wire, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "desk", wire, f"sqlite:///{tmp_path}/desk.sqlite", CONFIG)  # type: ignore[arg-type]
    # this machine's clock shows the time of the market
    made.shift_ms = int(wire.do("exposure")["now_ms"]) - SystemClock().now_ms()
    yield made
    made.close()


def live(rig: Rig) -> Desk:
    return rig.start(
        perpdesk(
            "live", "--strategy", "score_v3", "--strategy", "score_v4", "--live", "--confirm", ACCOUNT,
            "--account", ACCOUNT, "--symbols", ",".join(SYMBOLS), "--config", rig.folder / "config.yaml",
            shift_ms=rig.shift_ms,
        )
    )  # fmt: skip


def shared(seen: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Per symbol the lots under each version's own stop, where both versions have one and these, together,
    are over the whole position."""
    found: dict[str, dict[str, int]] = {}
    for stop in seen["stops"]:
        version, _, _, leg, _ = (stop["client_id"] + "----").split("-")[:5]
        if leg == "xs":
            found.setdefault(stop["symbol"], {})[version] = int(stop["lots"])
    held = {one["symbol"]: abs(int(one["lots"])) for one in seen["positions"]}
    return {s: lots for s, lots in found.items() if len(lots) == 2 and sum(lots.values()) == held.get(s)}


def beats(rig: Rig) -> list[bool]:
    """Are the guardians' heartbeats fresh for an opener, says `perpdesk guardian status`?"""
    answer = rig.run("guardian", "status", "--account", ACCOUNT, "--json")
    return [bool(beat["fresh"]) for beat in json.loads(answer.stdout)["heartbeats"]]


def test_the_guardian_is_killed(wire: Wire, rig: Rig) -> None:
    since_ms = int(wire.do("exposure")["now_ms"])
    desk = live(rig)
    desk.wait_ready()
    wait_until(lambda: shared(wire.do("exposure")), 240)
    time.sleep(6)
    assert beats(rig) == [True, True]

    before = wire.do("exposure")
    together = shared(before)
    print(json.dumps(together))
    desk.kill()
    killed = time.monotonic()
    wait_until(lambda: beats(rig) == [False, False], 60)
    while time.monotonic() - killed < 200:
        seen = wire.do("exposure")
        assert seen["stops"] == before["stops"]
        assert seen["positions"] == [] or shared(seen) == together
        time.sleep(5)
    assert wire.since(killed + 1, wire.keys["api_key"]) == []

    orders = len(wire.since(0, wire.keys["api_key"]))
    desk = live(rig)
    desk.wait_ready()
    wait_until(lambda: timed_out(rig) >= 2, 60)
    wait_until(lambda: len(wire.since(0, wire.keys["api_key"])) > orders, 180)
    rig.run("kill", "flatten", "--account", ACCOUNT, "--reason", "end of the test", check=False)
    wait_until(lambda: not wire.do("exposure")["positions"], 60)
    time.sleep(3)
    assert desk.stop() == 0, desk.text
    compared = compare(wire, rig.database, since_ms)  # type: ignore[arg-type]
    assert compared["fills_equal"]
    assert compared["doubled_entries"] == []


def timed_out(rig: Rig) -> int:
    """Rows that ended by TIMEOUT."""
    with sqlite3.connect(rig.database.removeprefix("sqlite:///")) as connection:
        (count,) = connection.execute(
            "SELECT COUNT(*) FROM futures_positions WHERE close_reason = 'TIMEOUT'"
        ).fetchone()
    return int(count)
