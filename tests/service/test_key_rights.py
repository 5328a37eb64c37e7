"""A key's rights can change while it is used: then nothing more is opened, until they are harmless again."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from tests.cli.exchanges import Exchange, exchange

from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.folder import DiskFolder
from perpdesk.adapters.vault import Credential, Vault
from perpdesk.config.load import loads
from perpdesk.domain.account_books import AccountRow, AccountStatus
from perpdesk.domain.kill import Rung
from perpdesk.domain.secret import Secret
from perpdesk.service.live import Life, LiveOptions
from perpdesk.service.stopping import Stop


@dataclass
class Alarms:
    sounded: list[str] = field(default_factory=list)

    def sound(self, code: str, text: str, **more: Any) -> None:
        self.sounded.append(f"{code} {text}")

    def clear(self, code: str, key: str = "") -> None:
        self.sounded.clear()


@dataclass
class Desk:
    alarms: Alarms = field(default_factory=Alarms)


@pytest.fixture
def venue() -> Iterator[Exchange]:
    with exchange(accounts=1) as running:
        yield running


async def until(holds: Any) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_key_that_may_withdraw_halts_and_a_harmless_one_goes_on(
    venue: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setattr("keyring.core._keyring_backend", None)
    monkeypatch.setenv(
        "PERPDESK_MASTER_KEY", "k1:" + base64.b64encode(random.Random("k1").randbytes(32)).decode()
    )
    api_key, secret = venue.key(0)
    credential = Credential(Secret(api_key), Secret(secret))
    monkeypatch.delenv("PERPDESK_MASTER_KEY_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    entry = Vault(tmp_path / "vault.json").add("main", "simulated", credential, now_ms=1)
    row = AccountRow(
        account_id=1, name="main", exchange="simulated", created_ms=1, status=AccountStatus.ACTIVE,
        updated_ms=1, last_check_ms=None, last_check_problem=None, vault_ref=entry.vault_ref,
    )  # fmt: skip
    options = LiveOptions(
        loaded=loads(""),
        strategies=["sma_cross"],
        symbols=["BTCUSDT"],
        database="",
        entry=entry,
        credential=credential,
        hosts=simulated(venue.url),
        folder=DiskFolder.made(tmp_path / "control"),
        key_check_ms=20,
    )
    life, desk = Life(options, cast(Any, None), row, Stop()), Desk()
    minding = asyncio.create_task(life._mind_key(cast(Any, desk)))
    try:
        assert life.rungs.now() is Rung.NORMAL
        await asyncio.to_thread(venue.rights, 0, enableWithdrawals=True)
        await until(lambda: life.rungs.now() is Rung.HALT)
        assert "may withdraw" in desk.alarms.sounded[0]
        assert "may withdraw" in life.figures().lines[0]
        await asyncio.to_thread(venue.rights, 0, enableWithdrawals=False)
        await until(lambda: life.rungs.now() is Rung.NORMAL)
        assert life.figures().lines == []
    finally:
        minding.cancel()
        await asyncio.gather(minding, return_exceptions=True)
