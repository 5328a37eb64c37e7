"""What the vault's file holds: JSON, one record an account, everything secret in an envelope."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.vault.sealing import Belonging, Envelope
from perpdesk.domain.errors import NeedsPerson
from perpdesk.domain.secret import Secret

FORMAT = 1
_SHOWN = 4  # letters of an API key that may be shown


@dataclass(frozen=True, slots=True)
class Credential:
    """An API key with what signs for it. secret: the exchange's text, or a PEM key (password: its own).

    any_ip: the operator has taken a key without IP list for this account (reliability §7.2), on purpose.
    """

    api_key: Secret
    secret: Secret
    password: Secret | None = None
    any_ip: bool = False

    def hint(self) -> str:
        """So much of the API key as may be shown."""
        return self.api_key.reveal()[:_SHOWN]

    def signing(self) -> Credentials:
        """What the exchange's client signs with. Raises KeyFileError if it cannot sign."""
        return Credentials(self.api_key, self.secret, self.password)

    def to_bytes(self) -> bytes:
        """For the envelope alone."""
        return msgspec.json.encode(
            {
                "api_key": self.api_key.reveal(),
                "secret": self.secret.reveal(),
                "password": None if self.password is None else self.password.reveal(),
                "any_ip": self.any_ip,
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Credential:
        """What ``to_bytes`` wrote."""
        said: dict[str, Any] = msgspec.json.decode(raw)
        password = said["password"]
        hidden = None if password is None else Secret(password)
        return cls(Secret(said["api_key"]), Secret(said["secret"]), hidden, said["any_ip"])


class LastCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the exchange said of the key's rights. verdict: ok, refused. For people: every start asks anew."""

    at_ms: int
    verdict: str
    sentences: tuple[str, ...] = ()


class AccountEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An account as it stands in the file. Nothing of it is secret without a master key."""

    user_id: int
    account_id: int
    name: str
    exchange: str
    key_version: int
    key_hint: str
    created_ms: int
    changed_ms: int
    exchange_url: str | None = None  # where a simulated exchange was; live hosts are in the code
    master_key_id: str
    data_key_box: bytes
    box: bytes
    last_check: LastCheck | None = None

    @property
    def vault_ref(self) -> str:
        """How the database refers to the account's key."""
        return f"vault:{self.account_id}"

    @property
    def belonging(self) -> Belonging:
        """What its envelope is bound to."""
        return Belonging(self.user_id, self.account_id, self.exchange, self.key_version, self.name)

    @property
    def envelope(self) -> Envelope:
        """Its sealed credential."""
        return Envelope(self.master_key_id, self.data_key_box, self.box)


class VaultFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file. An account's number is never given twice: the books of a removed one keep theirs."""

    format: int = FORMAT
    next_account_id: int = 1
    accounts: tuple[AccountEntry, ...] = ()


def read_records(raw: bytes, path: Path) -> VaultFile:
    """Raises NeedsPerson for a file that is not whole: nothing is guessed, nothing is overwritten."""
    try:
        found = msgspec.json.decode(raw, type=VaultFile)
    except msgspec.DecodeError as error:
        raise NeedsPerson(f"the vault {path} cannot be read ({error}): restore it from a copy") from None
    numbers = [entry.account_id for entry in found.accounts]
    names = [entry.name for entry in found.accounts]
    if found.format != FORMAT:
        raise NeedsPerson(
            f"the vault {path} has format {found.format}, this version knows {FORMAT}: use a newer one"
        )
    if len(set(numbers)) < len(numbers) or len(set(names)) < len(names):
        raise NeedsPerson(f"the vault {path} names an account twice: restore it from a copy")
    if numbers and max(numbers) >= found.next_account_id:
        raise NeedsPerson(f"the vault {path} would give an account number twice: restore it from a copy")
    return found


def write_records(records: VaultFile) -> bytes:
    """The file's bytes: one account a line, for people who compare copies."""
    return msgspec.json.format(msgspec.json.encode(records), indent=1) + b"\n"
