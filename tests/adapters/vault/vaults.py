"""What the tests of the vault share: keys, credentials, and a process that dies at a chosen call."""

from __future__ import annotations

import base64
import os
import random
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from perpdesk.adapters.vault.master_key import FileSource, KeyRing, load_ring
from perpdesk.adapters.vault.records import Credential
from perpdesk.adapters.vault.store import Vault
from perpdesk.domain.secret import Secret

NOW_MS = 1_750_000_000_000
_CALLS = ("open", "write", "fsync", "replace", "unlink", "fchmod", "close")
_DIED = 77


def ring_text(*ids: str) -> str:
    """A ring whose keys follow from their ids."""
    return "".join(
        f"{key_id}:{base64.b64encode(random.Random(key_id).randbytes(32)).decode()}\n" for key_id in ids
    )


def credential(seed: object) -> Credential:
    """Canaries: 64 letters each, found nowhere else."""
    chance = random.Random(f"credential {seed}")
    key, secret = (chance.randbytes(32).hex() for _ in range(2))
    return Credential(Secret(key), Secret(secret))


class Place:
    """A folder with a vault and a master key file."""

    def __init__(self, folder: Path, *ids: str) -> None:
        self.folder = folder
        self.path = folder / "data" / "vault.json"
        self.key_file = folder / "config" / "master.key"
        self.key_file.parent.mkdir()
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(ring_text(*(ids or ("k1",))))

    def ring(self) -> KeyRing:
        return load_ring([FileSource(self.key_file)])

    def vault(self) -> Vault:
        """As a new process opens it."""
        return Vault(self.path, self.ring)

    def filled(self, count: int) -> Vault:
        """With accounts a0, a1, … and their credentials 0, 1, …"""
        vault = self.vault()
        for i in range(count):
            vault.add(f"a{i}", "binance", credential(i), now_ms=NOW_MS + i)
        return vault

    def files(self) -> Iterable[Path]:
        return (path for path in self.folder.rglob("*") if path.is_file())

    def holds_in_clear(self, *credentials: Credential) -> list[str]:
        """Files in which a key or secret stands as it is."""
        values = [one.reveal().encode() for each in credentials for one in (each.api_key, each.secret)]
        return [str(path) for path in self.files() if any(value in path.read_bytes() for value in values)]


def same(found: Credential, wanted: Credential) -> bool:
    return found.api_key.matches(wanted.api_key) and found.secret.matches(wanted.secret)


def died_at(call: int, act: Callable[[], object]) -> bool:
    """Run ``act`` in a process of its own that is gone at its ``call``-th call of the system (a write: half done).
    False: it made fewer calls and ended."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # other threads do not matter: the child only acts
        child = os.fork()
    if child == 0:
        try:
            _die_at(call)
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, _DIED), f"the act itself failed with {code}"
    return code == _DIED


def _die_at(call: int) -> None:
    left = [call]

    def dying(name: str) -> Callable[..., object]:
        real = getattr(os, name)

        def act(*arguments: object, **options: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])  # type: ignore[arg-type, call-overload]
                os._exit(_DIED)
            return real(*arguments, **options)

        return act

    for name in _CALLS:
        setattr(os, name, dying(name))
