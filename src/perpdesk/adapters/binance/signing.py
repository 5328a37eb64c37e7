"""Signing requests: percent-encode first, sign exactly the text that is sent, signature last.

HMAC-SHA256 (hex), RSA (PKCS#1 v1.5 over SHA-256, base64) and Ed25519 (base64), chosen by the secret: a PEM
private key or the text that Binance showed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol
from urllib.parse import quote

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from perpdesk.adapters.binance.errors import KeyFileError
from perpdesk.domain import units
from perpdesk.domain.secret import Secret

Param = str | int | bool | Decimal
# What stands in a query as it is. One look at the joined values is cheaper than quoting each.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*", re.ASCII)


class Signer(Protocol):
    """Turns the text that will be sent into a signature, not yet percent-encoded."""

    def sign(self, text: bytes) -> str: ...


class HmacSigner:
    """The secret that Binance shows once when a key is made."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, text: bytes) -> str:
        return hmac.digest(self._secret, text, hashlib.sha256).hex()


class RsaSigner:
    """An RSA private key whose public half was registered."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key

    def sign(self, text: bytes) -> str:
        return base64.b64encode(self._key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()


class Ed25519Signer:
    """An Ed25519 private key whose public half was registered."""

    def __init__(self, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, text: bytes) -> str:
        return base64.b64encode(self._key.sign(text)).decode()


class Credentials:
    """The key of one account. Its secret is in no repr, no message and no attribute."""

    __slots__ = ("_api_key", "_secret", "_signer")

    def __init__(
        self, api_key: str | Secret, secret: str | Secret, password: bytes | Secret | None = None
    ) -> None:
        """secret: Binance's text, or a PEM private key (``password`` if it is encrypted).

        Raises KeyFileError, never showing the secret, if it is empty or of another kind.
        """
        # Kept as secrets, so that redaction knows their values as long as they are in use.
        self._api_key = api_key if isinstance(api_key, Secret) else Secret(api_key)
        self._secret = secret if isinstance(secret, Secret) else Secret(secret)
        api_key, secret = self._api_key.reveal(), self._secret.reveal()
        password = password.reveal().encode() if isinstance(password, Secret) else password
        if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise KeyFileError("must be the key as Binance shows it", field="api_key")
        self._signer = _signer(secret, password)

    @property
    def api_key(self) -> str:
        """What the header names. Not for messages."""
        return self._api_key.reveal()

    def sign(self, text: bytes) -> str:
        """The signature of this text, not yet percent-encoded."""
        return self._signer.sign(text)

    @property
    def can_log_on(self) -> bool:
        """May this kind of key open a session on the WebSocket API? (Ed25519 only.)"""
        return isinstance(self._signer, Ed25519Signer)

    def __repr__(self) -> str:
        return f"Credentials({self.api_key[:4]}…)"


def _signer(secret: str, password: bytes | None) -> Signer:
    if not secret.strip():
        raise KeyFileError("is empty", field="secret")
    if not secret.lstrip().startswith("-----BEGIN"):
        return HmacSigner(secret.strip().encode())
    try:
        key = serialization.load_pem_private_key(secret.strip().encode(), password)
    except (ValueError, TypeError, binascii.Error):
        raise KeyFileError("cannot be read as a PEM private key", field="secret") from None
    if isinstance(key, rsa.RSAPrivateKey):
        return RsaSigner(key)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return Ed25519Signer(key)
    raise KeyFileError("must be an RSA or Ed25519 key", field="secret")


def text_of(value: Param) -> str:
    """A parameter as Binance writes it: true/false, plain decimals without exponent."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return units.plain(value)
    return str(value)


def query(params: Iterable[tuple[str, Param]]) -> str:
    """``name=value&…`` in the given order, every value percent-encoded as UTF-8. Names are plain ASCII."""
    pairs = [(name, text_of(value)) for name, value in params]
    if _PLAIN.fullmatch("".join([value for _, value in pairs])) is not None:
        return "&".join([f"{name}={value}" for name, value in pairs])
    return "&".join([f"{name}={quote(value, safe='')}" for name, value in pairs])


def signed_query(params: Iterable[tuple[str, Param]], credentials: Credentials) -> str:
    """The query with its signature at the end: exactly what goes on the wire."""
    text = query(params)
    signature = credentials.sign(text.encode("ascii"))
    if _PLAIN.fullmatch(signature) is None:
        signature = quote(signature, safe="")
    return f"{text}&signature={signature}"
