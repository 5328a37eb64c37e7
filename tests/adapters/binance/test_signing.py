"""Signatures against the documentation's own vectors, and what is signed against what is sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
from decimal import Decimal
from urllib.parse import parse_qsl, unquote

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.adapters.binance.errors import KeyFileError
from perpdesk.adapters.binance.signing import Credentials, query, signed_query

FUTURES = Credentials("key", "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9")
SPOT = Credentials("key", "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j")
SPOT_REST = "side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"


@pytest.mark.parametrize(
    ("credentials", "text", "signature"),
    [
        (
            FUTURES,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000"
            "&timestamp=1591702613943",
            "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        ),
        (
            FUTURES,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC"
            "quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943",
            "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4",
        ),
        (
            SPOT,
            f"symbol=LTCBTC&{SPOT_REST}",
            "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
        ),
        (
            SPOT,
            f"symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&{SPOT_REST}",
            "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
        ),
        (
            SPOT,
            f"symbol=LTCBTC&{SPOT_REST}".replace("GTC&quantity", "GTCquantity"),
            "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77",
        ),
    ],
    ids=["SIG-1", "SIG-2", "SIG-3", "SIG-4", "SIG-5"],
)
def test_the_documented_vectors(credentials: Credentials, text: str, signature: str) -> None:
    assert credentials.sign(text.encode()) == signature


def test_percent_encoding_comes_before_signing() -> None:
    params = [("symbol", "１２３４５６"), *parse_qsl(SPOT_REST)]
    sent = signed_query(params, SPOT)
    assert sent.startswith("symbol=%EF%BC%91%EF%BC%92")
    assert sent.endswith("&signature=e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3")


@given(
    st.lists(st.tuples(st.from_regex(r"[a-zA-Z]{1,12}", fullmatch=True), st.text(max_size=40)), max_size=8)
)
def test_what_is_signed_is_what_is_sent(params: list[tuple[str, str]]) -> None:
    """Any text survives the way, the signature is over the very bytes before it, and it is the last."""
    sent = signed_query(params, FUTURES)
    text, _, signature = sent.rpartition("&signature=")
    secret = b"2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
    assert hmac.new(secret, text.encode("ascii"), hashlib.sha256).hexdigest() == signature
    assert parse_qsl(text, keep_blank_values=True) == params


def test_values_are_written_as_the_exchange_reads_them() -> None:
    params = [("a", True), ("b", False), ("c", Decimal("1E-8")), ("d", 10**15), ("e", "x y/z")]
    assert query(params) == "a=true&b=false&c=0.00000001&d=1000000000000000&e=x%20y%2Fz"


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def test_rsa_and_ed25519_verify_and_are_encoded() -> None:
    ed = ed25519.Ed25519PrivateKey.generate()
    sent = signed_query([("a", 1)], Credentials("k", pem(ed)))
    text, _, signature = sent.rpartition("&signature=")
    assert not set(signature) & set("+/=")
    ed.public_key().verify(base64.b64decode(unquote(signature)), text.encode())

    private = rsa.generate_private_key(65537, 2048)
    sent = signed_query([("a", 1)], Credentials("k", pem(private)))
    text, _, signature = sent.rpartition("&signature=")
    private.public_key().verify(
        base64.b64decode(unquote(signature)), text.encode(), padding.PKCS1v15(), hashes.SHA256()
    )


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "  ",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        pem(ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=["empty", "blank", "broken", "another curve"],
)
def test_a_secret_that_cannot_sign_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        Credentials("key", secret)
    assert "AAAA" not in str(caught.value)


def test_the_secret_is_in_no_repr() -> None:
    credentials = Credentials("abcdefgh", "topsecret")
    assert "topsecret" not in repr(credentials) + repr(vars(type(credentials)))
    assert "defgh" not in repr(credentials)
