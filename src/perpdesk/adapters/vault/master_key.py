"""The master keys that open the vault: from the system's keyring, else a private file, else the environment.

A ring is text: entries ``ID:BASE64`` with 32 random bytes each, parted by blanks, lines or commas; the last
is the newest. Everything that any of them has sealed can be opened, new things are sealed with the newest.
There is no default, and no key is ever printed.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from perpdesk.adapters.vault.private_files import locked, read_private, write_private
from perpdesk.domain.errors import InputError, Refused
from perpdesk.domain.secret import Secret

KEY_BYTES = 32
VARIABLE, FILE_VARIABLE = "PERPDESK_MASTER_KEY", "PERPDESK_MASTER_KEY_FILE"
SERVICE, USER = "perpdesk", "master-key"
_OFF = "switch the keyring off with PYTHON_KEYRING_BACKEND=keyring.backends.null.Keyring"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
# A repeated byte or a word instead of random bytes: 32 random ones have 16 or more different, but for 1e-11.
_DIFFERENT_BYTES_MIN = 16


@dataclass(frozen=True, slots=True)
class MasterKey:
    """One key. ``key_id`` is no secret, it stands in the vault beside what the key has sealed."""

    key_id: str
    _base64: Secret

    def key_bytes(self) -> bytes:
        """The 32 bytes, for the cipher alone."""
        return base64.b64decode(self._base64.reveal())


class Source(Protocol):
    """A place that may hold a ring."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def read(self) -> str | None:
        """The ring's text, None if there is none here. Raises Refused if there is an unfit one."""
        ...

    def write(self, text: str) -> None:
        """Replace the ring's text durably. Raises Refused where perpdesk cannot write."""
        ...


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The master keys of one source, the newest last."""

    keys: tuple[MasterKey, ...]
    source: Source

    @property
    def newest(self) -> MasterKey:
        """What new things are sealed with."""
        return self.keys[-1]

    def by_id(self, key_id: str) -> MasterKey:
        """Raises Refused if the ring has lost it."""
        for key in self.keys:
            if key.key_id == key_id:
                return key
        raise Refused(
            "MASTER_KEY",
            f"the vault was sealed with master key {key_id!r}, {self.source.name} has only "
            f"{', '.join(key.key_id for key in self.keys)}: bring that key back",
        )

    def with_new_key(self) -> KeyRing:
        """One more key, made here and already kept durably by the source."""
        taken = {key.key_id for key in self.keys}
        key_id = next(name for name in iter(lambda: f"m-{secrets.token_hex(4)}", "") if name not in taken)
        key = MasterKey(key_id, Secret(base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()))
        return self._kept((*self.keys, key))

    def with_newest_only(self) -> KeyRing:
        """Forget the others: what they have sealed can never be opened again."""
        return self._kept(self.keys[-1:])

    def _kept(self, keys: tuple[MasterKey, ...]) -> KeyRing:
        text = "".join(f"{key.key_id}:{key._base64.reveal()}\n" for key in keys)
        self.source.write(text)
        back = self.source.read()
        kept = KeyRing(parse_ring(back or "", self.source.name), self.source)
        if [key.key_id for key in kept.keys] != [key.key_id for key in keys] or any(
            not one._base64.matches(other._base64) for one, other in zip(kept.keys, keys, strict=True)
        ):
            raise Refused(
                "MASTER_KEY", f"{self.source.name} did not keep what was written: nothing was sealed with it"
            )
        return kept


def parse_ring(text: str, source: str) -> tuple[MasterKey, ...]:
    """The keys of a ring's text. Raises Refused, showing nothing of it."""
    keys: list[MasterKey] = []
    for number, entry in enumerate(re.split(r"[\s,]+", text.strip()), 1):
        key_id, colon, encoded = entry.partition(":")
        problem = None
        if not colon or not _ID.fullmatch(key_id):
            problem = "must read ID:BASE64, the id of up to 32 letters, digits, '_', '.' or '-'"
        else:
            try:
                raw = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                raw = b""
            if len(raw) != KEY_BYTES:
                problem = f"must be {KEY_BYTES} bytes in base64"
            elif len(set(raw)) < _DIFFERENT_BYTES_MIN:
                problem = "is not random"
            elif any(key.key_id == key_id for key in keys):
                problem = "has an id that is there already"
        if problem is not None:
            raise Refused("MASTER_KEY", f"{source}: entry {number} {problem}")
        keys.append(MasterKey(key_id, Secret(encoded)))
    return tuple(keys)


# -- sources ---------------------------------------------------------------------------------------


class Keyring(Protocol):
    """What is used of the system's key store (the module ``keyring``, or one of its backends)."""

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...


class KeyringSource:
    """The operating system's key store: service ``perpdesk``, user ``master-key``."""

    name = f"the system's keyring ({SERVICE}/{USER})"

    def __init__(self, store: Callable[[], Keyring | None]) -> None:
        self._store = store

    def read(self) -> str | None:
        """None without a key store, or without an entry in it. A store that is locked is refused: taking the
        next source instead would seal with another key than yesterday."""
        store = self._store()
        if store is None:
            return None
        try:
            return store.get_password(SERVICE, USER)
        except Exception as error:  # each backend has errors of its own
            raise Refused(
                "MASTER_KEY",
                f"{self.name} cannot be read ({type(error).__name__}): unlock it, or {_OFF}",
            ) from None

    def write(self, text: str) -> None:
        """Replace the entry."""
        store = self._store()
        try:
            if store is None:
                raise LookupError("there is none")
            store.set_password(SERVICE, USER, text)
        except Exception as error:
            raise Refused("MASTER_KEY", f"{self.name} cannot be written ({type(error).__name__})") from None


def system_keyring() -> Keyring | None:
    """The system's key store, None where there is none. Raises Refused for one that keeps plain text."""
    import keyring  # takes a while, and asks the system what it has
    from keyring.backends import chainer, fail, null

    found = keyring.get_keyring()
    if isinstance(found, (fail.Keyring, null.Keyring)):
        return None
    members = found.backends if isinstance(found, chainer.ChainerBackend) else [found]
    for member in members:
        kind = type(member)
        # Others (keyrings.alt) keep plain or password-less files.
        if not kind.__module__.startswith("keyring.backends."):
            raise Refused(
                "MASTER_KEY",
                f"the keyring {kind.__module__}.{kind.__qualname__} is not the operating system's: "
                f"remove it, or {_OFF}",
            )
    return found


class FileSource:
    """A file of mode 0600 that belongs to the user perpdesk runs as."""

    def __init__(self, path: Path, *, must_exist: bool = False) -> None:
        """must_exist: the operator named it, so its absence is an error, not a hint to look further."""
        self.path, self._must_exist = path, must_exist

    @property
    def name(self) -> str:
        """For messages."""
        return f"the master key file {self.path}"

    def read(self) -> str | None:
        """None if the file is not there (and was not named)."""
        raw = read_private(self.path, "the master key file")
        if raw is None:
            if self._must_exist:
                raise InputError("no such file", field=FILE_VARIABLE, file=self.path)
            return None
        try:
            return raw.decode("ascii")
        except UnicodeDecodeError:
            raise Refused("MASTER_KEY", f"{self.name} is no text") from None

    def write(self, text: str) -> None:
        """Replace the file, whole or not at all."""
        try:
            with locked(self.path):
                write_private(self.path, text.encode("ascii"))
        except OSError as error:
            raise Refused("MASTER_KEY", f"{self.name} cannot be written: {error.strerror}") from None


class EnvironmentSource:
    """The variable PERPDESK_MASTER_KEY. The weakest: whoever reads the process's environment has it."""

    name = f"the environment variable {VARIABLE}"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def read(self) -> str | None:
        """None if it is not set, or empty."""
        return self._environment.get(VARIABLE) or None

    def write(self, text: str) -> None:
        """Refused: what starts perpdesk sets it."""
        raise Refused(
            "MASTER_KEY",
            f"{self.name} can only be changed by you: append `,NEWID:BASE64` with 32 new random bytes where "
            "it is set, and run this again; keep the old entry until then",
        )


def sources(environment: Mapping[str, str] | None = None) -> tuple[Source, ...]:
    """Where a ring is looked for, in this order."""
    known = os.environ if environment is None else environment
    named = known.get(FILE_VARIABLE)
    return (
        KeyringSource(system_keyring),
        FileSource(Path(named), must_exist=True) if named else FileSource(default_file(known)),
        EnvironmentSource(known),
    )


def default_file(environment: Mapping[str, str]) -> Path:
    """``$XDG_CONFIG_HOME/perpdesk/master.key``. Not beside the vault: a copied folder must not hold both."""
    chosen = environment.get("XDG_CONFIG_HOME")
    folder = Path(chosen) if chosen else Path(environment.get("HOME") or Path.home()) / ".config"
    return folder / "perpdesk" / "master.key"


def load_ring(places: Sequence[Source] | None = None) -> KeyRing:
    """The ring of the first source that has one.

    Raises Refused if the first that has one is not fit to be used, or if none has: perpdesk does not start
    without, and makes no first key by itself.
    """
    looked = sources() if places is None else tuple(places)
    for source in looked:
        text = source.read()
        if text is not None:
            return KeyRing(parse_ring(text, source.name), source)
    file = next((source.path for source in looked if isinstance(source, FileSource)), None)
    make = (
        f'(umask 077; mkdir -p {file.parent}; echo "k1:$(openssl rand -base64 32)" > {file})' if file else ""
    )
    raise Refused(
        "MASTER_KEY",
        "there is no master key in " + ", ".join(source.name for source in looked) + ". "
        f"Make one: `keyring set {SERVICE} {USER}` with an entry ID:BASE64 of 32 random bytes, or {make}. "
        "Keep a copy of it apart from the vault",
    )
