"""I20 with the real desk: no secret in anything that it says, stores or shows, whatever the exchange does.

A desk trades on PostgreSQL, at DEBUG, under each fault of the simulated exchange in turn; its database is cut
off and comes back; its key is revoked; a bug that quotes every secret ends it with a traceback. Then all
that left it is searched: its log, what `ps` shows, every file of its folders (metrics, beats, the owner's
file, the vault), every row of every table, and what the commands print meanwhile, with --json too.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from proof.databases import database
from proof.rig import ACCOUNT, Desk, Rig, wait_until
from tests.security.sinks import Sinks
from tests.security.test_canaries_client import API_KEY, FAULTS, SECRET, STREAM_FAULTS
from tests.service.wires import PRICES, Wire, moving_wire

from perpdesk.exchange.core.accounts import Keys
from perpdesk.exchange.faults import Fault

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("PERPDESK_PROOFS" not in os.environ, reason="minutes of real time: make proofs"),
]
PASSWORD, PROXY, CACHE = "CANARYdatabase77", "CANARYproxy88", "CANARYredis99"
LISTEN_PATH = "/fapi/v1/listenKey"
FAULT_S, FAULT_MAX_S = 0.7, 9.0
ECHO = Fault(kind="reply", http=401, code=-2015, msg=f"Invalid API-key {API_KEY}, secret {SECRET}")
# A bug of ours that puts every secret into its message: the second net is all that is left.
BUGGY = """
import sys
from perpdesk.adapters.clocks import SystemClock
from perpdesk.engine.live.money import Money
from perpdesk.domain.secret import living
def mark(money, unrealised_e8):
    raise RuntimeError("at " + sys.argv[0] + " ".join(secret.reveal() for secret in living()))
Money.mark = mark
from perpdesk.cli import main
main()
"""


class CanaryWire(Wire):
    """The exchange with the account's canary key. It keeps every signature and listen key it sees."""

    def __init__(self, wire: Wire) -> None:
        self.venue, self.sent, self.signatures = wire.venue, wire.sent, wire.signatures
        self.venue.server.gate.add(Keys(0, API_KEY, "HMAC", SECRET))
        self.listen_keys: set[str] = set()

    @property
    def keys(self) -> dict[str, str]:
        return {"api_key": API_KEY, "secret": SECRET}

    def look(self) -> None:
        self.listen_keys.update(self.venue.server.listen_keys.active.values())


@pytest.fixture
def wire() -> Iterator[CanaryWire]:
    with moving_wire() as made:
        yield CanaryWire(made)


@pytest.fixture
def dsn(tmp_path: Path) -> Iterator[str]:
    """A PostgreSQL database of its own; the server does not ask for the password that we name."""
    with database("postgresql", tmp_path) as url:
        yield url.replace("://postgres@", f"://postgres:{PASSWORD}@").replace(
            "://postgres:@", f"://postgres:{PASSWORD}@"
        )


def commands(rig: Rig, sinks: Sinks) -> None:
    """What an operator looks at while it runs."""
    for words in (
        ("status", "--account", ACCOUNT, "--json"),
        ("status", "--account", ACCOUNT),
        ("accounts", "list", "--json"),
        ("accounts", "check", "--json"),
        ("report", "--json"),
        ("control", "status", "--account", ACCOUNT, "--json"),
        ("guardian", "status", "--account", ACCOUNT, "--json"),
    ):
        done = rig.run(*words, check=False)
        sinks.text(f"{' '.join(words)}: stdout", done.stdout)
        sinks.text(f"{' '.join(words)}: stderr", done.stderr)


async def tables(dsn: str) -> dict[str, str]:
    """Every row of every table, as text."""
    connection = await asyncpg.connect(dsn)
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            name: "\n".join(str(dict(row)) for row in await connection.fetch(f'SELECT * FROM "{name}"'))
            for (name,) in names
        }
    finally:
        await connection.close()


async def cut_off(dsn: str, seconds: float) -> None:
    """The database throws everybody out and lets nobody in for a while."""
    base, _, name = dsn.rpartition("/")
    connection = await asyncpg.connect(f"{base}/test")
    try:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        await asyncio.sleep(seconds)
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    finally:
        await connection.close()


def faults() -> list[Fault]:
    """Every fault of the exchange's plan. Those of the listen key strike when a new one is asked for; the ban,
    after which nothing is asked any more, comes last."""
    found = [*FAULTS, *STREAM_FAULTS, ECHO]
    for one in found:
        if one.route.endswith(LISTEN_PATH):
            one.route = f"* {LISTEN_PATH}"
    return sorted(found, key=lambda one: one.http == 418)


def strike(wire: CanaryWire, number: int, fault: Fault) -> None:
    """Break something, and let a person trade, so that the desk has something to ask and to be told."""
    given = {name: getattr(fault, name) for name in Fault.__struct_fields__}
    wire.do("fault", fault=given | {"count": -1, "name": f"{number} {fault.kind}"})
    until = time.monotonic() + FAULT_MAX_S
    side = 0
    while time.monotonic() < until and not (side > 1 and fired(wire, number)):
        order = {"symbol": "ETHUSDT", "side": ("BUY", "SELL")[side % 2], "type": "MARKET", "quantity": "1"}
        wire.do("actor", account=0, action="order", params=order)
        if LISTEN_PATH in fault.route:
            wire.do("expire_listen_key", account=0)
        wire.look()
        time.sleep(FAULT_S)
        side += 1
    wire.do("clear_faults")


def fired(wire: CanaryWire, number: int) -> int:
    """How often a fault has struck."""
    counts: dict[str, int] = wire.do("fired")["fired"]
    return sum(count for name, count in counts.items() if name.startswith(f"{number} "))


def alive(rig: Rig, desk: Desk, sinks: Sinks) -> Desk:
    """A desk that runs: a new one if the fault has ended it."""
    if desk.process.poll() is None:
        return desk
    again = rig.live(list(PRICES))
    sinks.text("ps", Path(f"/proc/{again.process.pid}/cmdline").read_bytes())
    wait_until(lambda: again.is_ready() or again.process.poll() is not None, 120)
    return again


def test_a_desk_keeps_its_secrets_under_every_fault(wire: CanaryWire, dsn: str, tmp_path: Path) -> None:
    sinks, plan = Sinks(), faults()
    rig = Rig(tmp_path / "desk", wire, dsn)  # type: ignore[arg-type]
    rig.environment |= {
        "PERPDESK_LOG": "DEBUG",
        "HTTPS_PROXY": f"http://user:{PROXY}@127.0.0.1:9",
        "HTTP_PROXY": f"http://user:{PROXY}@127.0.0.1:9",
        "REDIS_URL": f"redis://:{CACHE}@127.0.0.1:6379/0",
        "NO_PROXY": "",
    }
    lives = 1
    try:
        desk = rig.live(list(PRICES))
        sinks.text("ps", Path(f"/proc/{desk.process.pid}/cmdline").read_bytes())
        desk.wait_ready()
        for number, fault in enumerate(plan):
            strike(wire, number, fault)
            before, desk = desk, alive(rig, desk, sinks)
            lives += desk is not before
        counts = [fired(wire, number) for number in range(len(plan))]
        without = threading.Thread(target=lambda: asyncio.run(cut_off(dsn, 15.0)))
        without.start()
        commands(rig, sinks)  # the first of them find no database
        without.join()
        desk = alive(rig, desk, sinks)
        wire.do("revoke_key", api_key=API_KEY)
        time.sleep(3)
        done = rig.run("accounts", "check", "--json", check=False)
        sinks.text("accounts check of a revoked key", done.stdout + done.stderr)
        wire.venue.server.gate.add(Keys(0, API_KEY, "HMAC", SECRET))
        desk.kill()
        command = [sys.executable, "-c", BUGGY, *rig.live_words(list(PRICES))]
        buggy = rig.start(command)
        sinks.text("ps", Path(f"/proc/{buggy.process.pid}/cmdline").read_bytes())
        assert buggy.process.wait(180) == 1, buggy.text[-2000:]
        assert "Traceback" in buggy.text
        assert "RuntimeError" in buggy.text
        assert "***" in buggy.text
        for path in rig.folder.rglob("*"):
            if path.is_file() and path.name != "master.key":
                sinks.text(f"file {path.name}", path.read_bytes())
        rows = asyncio.run(tables(dsn))
        for name, text in rows.items():
            sinks.text(f"table {name}", text)
    finally:
        rig.close()
    master = (rig.folder / "master.key").read_text().strip()
    canaries = {API_KEY, SECRET, PASSWORD, PROXY, CACHE, master, master.partition(":")[2]}
    seen = {one for one in wire.signatures | wire.listen_keys if one}
    print(
        f"{lives} lives, {len(plan)} faults fired {sum(counts)} times, {len(seen)} signatures and listen keys,"
    )
    print(f"{len(sinks.texts)} texts, {sum(len(text) for _, text in sinks.texts)} bytes: {counts}")
    assert sinks.leaks(canaries | seen) == []
    assert [plan[number] for number, count in enumerate(counts) if not count] == []
    assert len(wire.listen_keys) >= 1
    assert len(wire.signatures) > 100
    assert rows["journal"]
    names = {where for where, _ in sinks.texts}
    assert {"ps", "table journal", "table account_leases", "table guardian_heartbeat"} <= names
    assert any(name.endswith(".live.metrics.json") for name in names)
    assert any(name.endswith(".owner.json") for name in names)
    assert any(b"DEBUG" in text for where, text in sinks.texts if where.startswith("file desk-"))
