"""Who calls, and is it really them: API keys, three kinds of signature, the time window (reference §3)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import Mapping
from urllib.parse import unquote, unquote_plus

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from perpdesk.domain.errors import InputError
from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.accounts import Keys
from perpdesk.exchange.core.numbers import integer
from perpdesk.exchange.core.refusals import Refusal

NO_KEY = Refusal(-2014, "API-key format invalid.", 401)
REJECTED_KEY = Refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)
BAD_SIGNATURE = Refusal(-1022, "Signature for this request is not valid.")
TOO_OLD = Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
TOO_EARLY = Refusal(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
_SIGNATURE = re.compile(r"(^|&)signature=[^&]*")
_AHEAD_MS, _WINDOW_MS = 1_000, 5_000
_KEY = re.compile(r"[A-Za-z0-9]{8,128}")


def make_key(account: int) -> Keys:
    """A fresh HMAC key: 64 characters each, like the real ones."""
    return Keys(account, secrets.token_hex(32), "HMAC", secrets.token_hex(32))


def public_key(account: int, api_key: str, pem: bytes) -> Keys:
    """A key that signs with RSA or Ed25519. Raises InputError for any other."""
    try:
        loaded = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        loaded = None
    if isinstance(loaded, rsa.RSAPublicKey):
        return Keys(account, api_key, "RSA", "", loaded)
    if isinstance(loaded, ed25519.Ed25519PublicKey):
        return Keys(account, api_key, "ED25519", "", loaded)
    raise InputError("must be an RSA or Ed25519 public key in PEM", field="--public-key")


def signed_text(query: str, body: str) -> str:
    """What the signature is about: query and body without it, nothing between them."""
    return _SIGNATURE.sub("", query).removeprefix("&") + _SIGNATURE.sub("", body).removeprefix("&")


class Gate:
    """The keys of a server and how strictly it reads signatures. ``variants`` counts which text verified."""

    def __init__(self, strict: bool, check_window: bool) -> None:
        self.keys: dict[str, Keys] = {}
        self.strict = strict
        self.check_window = check_window
        self.variants: Counter[str] = Counter()

    def add(self, keys: Keys) -> None:
        """Register a key."""
        self.keys[keys.api_key] = keys

    def key(self, api_key: str | None) -> Keys | Refusal:
        """The owner of a key."""
        if not api_key or not _KEY.fullmatch(api_key):
            return NO_KEY
        return self.keys.get(api_key) or REJECTED_KEY

    def signature(
        self, keys: Keys, params: Mapping[str, str], text: str, *, raw_only: bool = False
    ) -> Refusal | None:
        """Does the signature belong to this text? raw_only: to exactly what was sent, whatever the mode."""
        for name in ("timestamp", "signature"):
            if not params.get(name):
                return no.mandatory(name)
        given = params["signature"]
        for name, variant in [("raw", text)] if raw_only else self._variants(text):
            if verifies(keys, variant, given):
                self.variants[name] += 1
                return None
        return BAD_SIGNATURE

    def _variants(self, text: str) -> list[tuple[str, str]]:
        if self.strict:
            return [("raw", text)]
        return [("raw", text), ("unquote", unquote(text)), ("unquote_plus", unquote_plus(text))]

    def window(self, params: Mapping[str, str], now_ms: int) -> Refusal | None:
        """Not too old, not from the future."""
        timestamp = integer(params.get("timestamp", ""))
        if timestamp is None:
            return no.mandatory("timestamp")
        window = integer(params.get("recvWindow", "") or str(_WINDOW_MS))
        if window is None or window < 0:
            return no.mandatory("recvWindow")
        if not self.check_window:
            return None
        if timestamp >= now_ms + _AHEAD_MS:
            return TOO_EARLY
        if now_ms - timestamp > window:
            return TOO_OLD
        return None


def verifies(keys: Keys, text: str, signature: str) -> bool:
    """By the kind of the registered key, never by the look of the signature."""
    if keys.kind == "HMAC":
        wanted = hmac.new(keys.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(wanted.encode(), signature.lower().encode())
    try:
        # a "+" that was not percent-encoded arrives as a blank
        raw = base64.b64decode(signature.replace(" ", "+"), validate=True)
        if keys.kind == "RSA":
            keys.verifier.verify(raw, text.encode(), padding.PKCS1v15(), hashes.SHA256())
        else:
            keys.verifier.verify(raw, text.encode())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
