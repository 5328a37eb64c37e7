"""Envelopes: each credential under a data key of its own, each data key under a master key.

AES-256-GCM both times. What an envelope belongs to (user, account, exchange, version) is authenticated with
it, so one that was moved to another row, user or exchange does not open.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from perpdesk.adapters.vault.master_key import KEY_BYTES, KeyRing, MasterKey
from perpdesk.domain.errors import NeedsPerson

_NONCE_BYTES = 12
_CREDENTIAL, _DATA_KEY = b"perpdesk vault 1: credential", b"perpdesk vault 1: data key"


@dataclass(frozen=True, slots=True)
class Belonging:
    """What a credential belongs to. key_version counts the credentials that the account has had."""

    user_id: int
    account_id: int
    exchange: str
    key_version: int
    name: str

    def bound(self, purpose: bytes, key_id: str = "") -> bytes:
        """All of it as one text in which no part can run into its neighbour."""
        parts = [self.user_id, self.account_id, self.exchange, self.key_version, self.name, key_id]
        encoded = [purpose, *(str(part).encode() for part in parts)]
        return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A sealed credential. key_id: the master key. Each box is a nonce and what follows it."""

    key_id: str
    data_key_box: bytes
    box: bytes


def seal(master: MasterKey, belonging: Belonging, content: bytes) -> Envelope:
    """Seal under a fresh data key."""
    data_key = AESGCM.generate_key(KEY_BYTES * 8)
    box = _seal(data_key, content, belonging.bound(_CREDENTIAL))
    wrapped = _seal(master.key_bytes(), data_key, belonging.bound(_DATA_KEY, master.key_id))
    return Envelope(master.key_id, wrapped, box)


def unseal(ring: KeyRing, belonging: Belonging, envelope: Envelope) -> bytes:
    """The content. Raises Refused if the ring has not the master key, NeedsPerson if the envelope was
    changed, belongs to another account, or was sealed with another key of the same id."""
    master = ring.by_id(envelope.key_id)
    try:
        data_key = _open(
            master.key_bytes(), envelope.data_key_box, belonging.bound(_DATA_KEY, envelope.key_id)
        )
        return _open(data_key, envelope.box, belonging.bound(_CREDENTIAL))
    except (InvalidTag, ValueError):
        raise NeedsPerson(
            f"the key of account {belonging.name!r} does not open with master key {envelope.key_id!r}: the "
            "vault was changed by something else, or this is another key of that name. Restore the vault "
            "from a copy, or remove the account and add it again"
        ) from None


def _seal(key: bytes, content: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, bound)


def _open(key: bytes, box: bytes, bound: bytes) -> bytes:
    return AESGCM(key).decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], bound)
