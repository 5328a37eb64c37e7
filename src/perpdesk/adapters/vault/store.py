"""The vault: accounts and their sealed keys in one file.

Each change is made alone (a lock between processes), to what the file holds then, and is there whole or not
at all, whatever dies. Reading needs no lock.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from perpdesk.adapters.vault.master_key import KeyRing, load_ring
from perpdesk.adapters.vault.private_files import locked, read_private, write_private
from perpdesk.adapters.vault.records import (
    AccountEntry,
    Credential,
    LastCheck,
    VaultFile,
    read_records,
    write_records,
)
from perpdesk.adapters.vault.sealing import Belonging, seal, unseal
from perpdesk.domain.errors import InputError, NeedsPerson, Refused

VARIABLE = "PERPDESK_VAULT"
OPERATOR = 1  # the user who runs the command line
# Simulated runs number their accounts from here on.
ACCOUNT_ID_MAX = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


def default_path(environment: Mapping[str, str] | None = None) -> Path:
    """``$PERPDESK_VAULT``, else ``perpdesk/vault.json`` in the user's data folder."""
    known = os.environ if environment is None else environment
    if known.get(VARIABLE):
        return Path(known[VARIABLE])
    chosen = known.get("XDG_DATA_HOME")
    folder = Path(chosen) if chosen else Path(known.get("HOME") or Path.home()) / ".local" / "share"
    return folder / "perpdesk" / "vault.json"


class Vault:
    """ring: asked when something is sealed or opened, once; what only lists needs no master key."""

    def __init__(self, path: Path, ring: Callable[[], KeyRing] = load_ring) -> None:
        self.path = path
        self._load_ring = ring
        self._ring: KeyRing | None = None

    @property
    def ring(self) -> KeyRing:
        """The master keys. Raises Refused without one."""
        if self._ring is None:
            self._ring = self._load_ring()
        return self._ring

    # -- reading -----------------------------------------------------------------------------------

    def entries(self) -> tuple[AccountEntry, ...]:
        """All accounts, by number. Raises Refused or NeedsPerson for a file that is not fit to be used."""
        return self._read().accounts

    def entry(self, name: str) -> AccountEntry:
        """Raises InputError if there is none of that name."""
        return _of(self._read(), name)

    def credential(self, name: str, user_id: int = OPERATOR) -> Credential:
        """The account's key. Raises InputError, Refused (no master key) or NeedsPerson (it does not open)."""
        entry = self.entry(name)
        if entry.user_id != user_id:
            raise InputError("is no account of this user", field="account")
        return self._opened(entry)

    # -- changing ----------------------------------------------------------------------------------

    def refuse_name(self, name: str) -> None:
        """Raise InputError for a name that ``add`` would refuse, before a key is asked for."""
        check_name(name)
        _refuse_name_taken(self._read(), name)

    def refuse_taken(self, name: str, credential: Credential) -> None:
        """What ``add`` would refuse, before anything is asked of the exchange."""
        check_name(name)
        self._refuse_taken(self._read(), name, credential)

    def add(
        self,
        name: str,
        exchange: str,
        credential: Credential,
        *,
        now_ms: int,
        check: LastCheck | None = None,
        exchange_url: str | None = None,
        user_id: int = OPERATOR,
    ) -> AccountEntry:
        """Keep a new account's key. Raises InputError for a name that cannot be, or is taken, and Refused for
        a key that another account has: two desks on one account would double each other's orders."""
        check_name(name)
        with self._changing() as change:
            records = change.records
            self._refuse_taken(records, name, credential)
            account_id = records.next_account_id
            if account_id >= ACCOUNT_ID_MAX:
                raise Refused("ACCOUNTS", "all account numbers have been given")
            belonging = Belonging(user_id, account_id, exchange, 1, name)
            entry = self._sealed(
                belonging,
                credential,
                created_ms=now_ms,
                now_ms=now_ms,
                check=check,
                exchange_url=exchange_url,
            )
            change.write(
                VaultFile(next_account_id=account_id + 1, accounts=(*records.accounts, entry)),
            )
        return entry

    def replace(
        self, name: str, credential: Credential, *, now_ms: int, check: LastCheck | None = None
    ) -> AccountEntry:
        """Put a new key in the place of the old one: after a crash the account has one of them."""
        with self._changing() as change:
            old = _of(change.records, name)
            others = tuple(entry for entry in change.records.accounts if entry.name != name)
            self._refuse_taken(msgspec.structs.replace(change.records, accounts=others), name, credential)
            belonging = Belonging(old.user_id, old.account_id, old.exchange, old.key_version + 1, name)
            entry = self._sealed(
                belonging,
                credential,
                created_ms=old.created_ms,
                now_ms=now_ms,
                check=check,
                exchange_url=old.exchange_url,
            )
            change.put(entry)
        return entry

    def remove(self, name: str) -> AccountEntry:
        """Forget an account's key. Its number is not given again."""
        with self._changing() as change:
            gone = _of(change.records, name)
            rest = tuple(entry for entry in change.records.accounts if entry.name != name)
            change.write(msgspec.structs.replace(change.records, accounts=rest))
        return gone

    def note_check(self, name: str, check: LastCheck, key_version: int) -> None:
        """Keep what the exchange said, unless the key has been replaced since it was asked."""
        with self._changing() as change:
            entry = _of(change.records, name)
            if entry.key_version == key_version:
                change.put(msgspec.structs.replace(entry, last_check=check))

    # -- master keys -------------------------------------------------------------------------------

    def old_seals(self) -> list[str]:
        """Names of the accounts whose envelope is not the newest master key's."""
        newest = self.ring.newest.key_id
        return [entry.name for entry in self.entries() if entry.master_key_id != newest]

    def new_master_key(self) -> str:
        """Add a master key to the ring's source and return its id. While accounts still wait for the newest
        one nothing is added: a rotation that was cut short goes on with the key that it made."""
        with self._changing() as change:
            self._ring = self._load_ring()
            newest = self._ring.newest.key_id
            if not any(entry.master_key_id != newest for entry in change.records.accounts):
                self._ring = self._ring.with_new_key()
        return self._ring.newest.key_id

    def reseal(self) -> int:
        """Seal every account anew (fresh data key, newest master key), one at a time; returns how many.

        May be cut short anywhere and run again: what is done stays, each account opens at every moment.
        """
        done = 0
        for name in self.old_seals():
            with self._changing() as change:
                found = [entry for entry in change.records.accounts if entry.name == name]
                if not found or found[0].master_key_id == self.ring.newest.key_id:
                    continue  # somebody else removed or sealed it meanwhile
                envelope = seal(self.ring.newest, found[0].belonging, self._opened(found[0]).to_bytes())
                change.put(
                    msgspec.structs.replace(
                        found[0],
                        master_key_id=envelope.key_id,
                        data_key_box=envelope.data_key_box,
                        box=envelope.box,
                    )
                )
                done += 1
        return done

    def verify(self) -> int:
        """Open every envelope as the file holds it now; returns how many. Raises as ``credential`` does."""
        entries = self.entries()
        for entry in entries:
            self._opened(entry)
        return len(entries)

    def forget_old_master_keys(self) -> list[str]:
        """Leave only the newest in the ring's source; returns the ids that are gone. Raises Refused while an
        account still needs one of them."""
        with self._changing() as change:
            self._ring = self._load_ring()
            newest = self._ring.newest.key_id
            waiting = [entry.name for entry in change.records.accounts if entry.master_key_id != newest]
            if waiting:
                raise Refused(
                    "MASTER_KEY", f"accounts {', '.join(waiting)} are sealed with an older key: rotate first"
                )
            for entry in change.records.accounts:
                self._opened(entry)
            gone = [key.key_id for key in self._ring.keys[:-1]]
            if gone:
                self._ring = self._ring.with_newest_only()
        return gone

    # -- inside ------------------------------------------------------------------------------------

    def _read(self) -> VaultFile:
        raw = read_private(self.path, "the vault")
        return VaultFile() if raw is None else read_records(raw, self.path)

    @contextmanager
    def _changing(self) -> Iterator[_Change]:
        with locked(self.path):
            yield _Change(self.path, self._read())

    def _opened(self, entry: AccountEntry) -> Credential:
        content = unseal(self.ring, entry.belonging, entry.envelope)
        try:
            return Credential.from_bytes(content)
        except (msgspec.DecodeError, KeyError, TypeError):
            raise NeedsPerson(
                f"the key of account {entry.name!r} is of another version of perpdesk"
            ) from None

    def _sealed(
        self,
        belonging: Belonging,
        credential: Credential,
        *,
        created_ms: int,
        now_ms: int,
        check: LastCheck | None,
        exchange_url: str | None,
    ) -> AccountEntry:
        envelope = seal(self.ring.newest, belonging, credential.to_bytes())
        return AccountEntry(
            user_id=belonging.user_id,
            account_id=belonging.account_id,
            name=belonging.name,
            exchange=belonging.exchange,
            key_version=belonging.key_version,
            key_hint=credential.hint(),
            created_ms=created_ms,
            changed_ms=now_ms,
            exchange_url=exchange_url,
            master_key_id=envelope.key_id,
            data_key_box=envelope.data_key_box,
            box=envelope.box,
            last_check=check,
        )

    def _refuse_taken(self, records: VaultFile, name: str, credential: Credential) -> None:
        _refuse_name_taken(records, name)
        for entry in records.accounts:
            if self._opened(entry).api_key.matches(credential.api_key):
                raise Refused(
                    "KEY_IN_USE",
                    f"account {entry.name!r} has this API key: two desks on one account would double orders",
                )


class _Change:
    """One change, made under the lock: what the file holds, and a way to put something else there."""

    def __init__(self, path: Path, records: VaultFile) -> None:
        self._path, self.records = path, records

    def put(self, entry: AccountEntry) -> None:
        """Write the file with this entry in the place of its account's old one."""
        accounts = tuple(
            entry if one.account_id == entry.account_id else one for one in self.records.accounts
        )
        self.write(msgspec.structs.replace(self.records, accounts=accounts))

    def write(self, records: VaultFile) -> None:
        """Write the file."""
        try:
            write_private(self._path, write_records(records))
        except OSError as error:
            raise Refused(
                "VAULT",
                f"{self._path} cannot be written ({error.strerror}): it is as it was before, or as asked",
            ) from None
        self.records = records


def check_name(name: str) -> None:
    """Raises InputError for what cannot be an account's name, without showing it: it may be a pasted key."""
    if not _NAME.fullmatch(name):
        raise InputError(
            "must be up to 32 letters, digits, '_', '.' or '-', beginning with a letter or digit",
            field="name",
        )


def _refuse_name_taken(records: VaultFile, name: str) -> None:
    if any(entry.name == name for entry in records.accounts):
        raise InputError(f"an account {name!r} exists: choose another name, or rotate its key", field="name")


def _of(records: VaultFile, name: str) -> AccountEntry:
    for entry in records.accounts:
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in records.accounts) or "none"
    raise InputError(f"the vault has no such account; it has: {known}", field="name")
