"""Who may call, and when (reference §3)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from tests.conformance.wire import BTC, Wire, limit, running

from perpdesk.exchange.core.accounts import Keys
from perpdesk.exchange.server.security import signed_text, verifies

HMAC = Keys(0, "k", "HMAC", "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9")
SPOT = Keys(0, "k", "HMAC", "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j")
SPOT_ORDER = (
    "side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
)
VECTORS = [
    (
        HMAC,
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943",
        "",
        "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
    ),
    (
        HMAC,
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC",
        "quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943",
        "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4",
    ),
    (
        SPOT,
        f"symbol=LTCBTC&{SPOT_ORDER}",
        "",
        "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
    ),
    (
        SPOT,
        f"symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&{SPOT_ORDER}",
        "",
        "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
    ),
    (
        SPOT,
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC",
        "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
        "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77",
    ),
]


@pytest.mark.parametrize(("keys", "query", "body", "signature"), VECTORS)
def test_published_vectors(keys: Keys, query: str, body: str, signature: str) -> None:
    """SIG-1 SIG-2 SIG-3 SIG-4 SIG-5: the published signatures verify in both cases of hex; a changed byte does not."""
    text = signed_text(
        query + ("" if body else f"&signature={signature}"),
        body + (f"&signature={signature}" if body else ""),
    )
    assert verifies(keys, text, signature)
    assert verifies(keys, text, signature.upper())
    assert not verifies(keys, text.replace("BUY", "SELL"), signature)
    assert not verifies(keys, text, "0" + signature[1:] if signature[0] != "0" else "1" + signature[1:])


async def test_a_wrong_signature_is_refused(wire: Wire) -> None:
    """SIG-1: a tampered request is -1022, a missing parameter -1102, a strange key 401."""
    query = f"timestamp={wire.server.now_ms()}"
    reply = await wire.raw("GET", "/fapi/v3/account", f"{query}&recvWindow=4000&signature={wire.sign(query)}")
    assert (reply.status, reply.body) == (
        400,
        {"code": -1022, "msg": "Signature for this request is not valid."},
    )
    reply = await wire.raw("GET", "/fapi/v3/account", query)
    assert reply.body["msg"] == "Mandatory parameter 'signature' was not sent, was empty/null, or malformed."
    reply = await wire.raw("GET", "/fapi/v3/account", "signature=aa")
    assert reply.body["code"] == -1102
    reply = await wire.raw("GET", "/fapi/v3/account", query, key="")
    assert (reply.status, reply.body["code"]) == (401, -2014)
    reply = await wire.raw("GET", "/fapi/v3/account", query, key="a" * 64)
    assert (reply.status, reply.body["code"]) == (401, -2015)


@pytest.mark.parametrize(("mode", "status"), [("lenient", 200), ("strict", 400)])
async def test_signatures_over_decoded_text(mode: str, status: int) -> None:
    """SIG-6: signed before encoding: accepted by the lenient server, refused by the strict one."""
    async with running(signature_mode=mode) as wire:
        plain = f"newClientOrderId=a:b/c.d_e-f&symbol={BTC}&side=BUY&type=LIMIT&timeInForce=GTC&price=49000"
        plain += f"&quantity=0.01&timestamp={wire.server.now_ms()}"
        sent = plain.replace("a:b/c", quote("a:b/c", safe=""))
        reply = await wire.raw("POST", "/fapi/v1/order", "", f"{sent}&signature={wire.sign(plain)}")
        assert reply.status == status, reply.body
        if status == 200:
            assert reply.body["clientOrderId"] == "a:b/c.d_e-f"
            assert wire.server.gate.variants["unquote"] == 1
        else:
            assert reply.body["code"] == -1022


async def test_rsa_and_ed25519_keys() -> None:
    """SIG-7: both public key kinds sign REST requests, base64 and percent-encoded."""
    keys = {"r" * 64: rsa.generate_private_key(65537, 2048), "e" * 64: ed25519.Ed25519PrivateKey.generate()}
    public = [
        (
            name,
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
        )
        for name, key in keys.items()
    ]
    async with running(public_keys=public) as wire:
        for name, key in keys.items():
            query = f"timestamp={wire.server.now_ms()}"
            if isinstance(key, rsa.RSAPrivateKey):
                raw = key.sign(query.encode(), padding.PKCS1v15(), hashes.SHA256())
            else:
                raw = key.sign(query.encode())
            signature = quote(base64.b64encode(raw).decode(), safe="")
            reply = await wire.raw("GET", "/fapi/v3/account", f"{query}&signature={signature}", key=name)
            assert reply.status == 200, reply.body
            reply = await wire.raw(
                "GET", "/fapi/v3/account", f"{query}&recvWindow=1&signature={signature}", key=name
            )
            assert reply.body["code"] == -1022


@pytest.mark.parametrize(
    ("offset_ms", "text"),
    [
        (999, None),
        (1000, "Timestamp for this request was 1000ms ahead of the server's time."),
        (-5000, None),
        (-5001, "Timestamp for this request is outside of the recvWindow."),
    ],
)
async def test_time_window(wire: Wire, offset_ms: int, text: str | None) -> None:
    """TIM-1 TIM-2 TIM-3 TIM-4: the window's four edges."""
    reply = await wire.call("GET", "/fapi/v3/account", timestamp=wire.server.now_ms() + offset_ms)
    assert (reply.status == 200) == (text is None), reply.body
    if text is not None:
        assert reply.body == {"code": -1021, "msg": text}


async def test_query_wins_over_body(wire: Wire) -> None:
    """PAR-1: a name in query and body has the query's value."""
    query = f"symbol={BTC}&side=BUY&type=LIMIT&timeInForce=GTC&price=49000&quantity=0.01"
    body = f"side=SELL&timestamp={wire.server.now_ms()}"
    reply = await wire.raw("POST", "/fapi/v1/order", query, f"{body}&signature={wire.sign(query + body)}")
    assert (reply.status, reply.body["side"]) == (200, "BUY")


@pytest.mark.parametrize("split", [0, 4, 99])
async def test_parameters_in_query_or_form(wire: Wire, split: int) -> None:
    """PAR-2: query, form and mixed give the same order."""
    pairs = [f"{k}={v}" for k, v in limit("BUY", 49000, "0.01").items()] + [
        f"timestamp={wire.server.now_ms()}"
    ]
    query, body = "&".join(pairs[:split]), "&".join(pairs[split:])
    signature = f"&signature={wire.sign(query + body)}"
    if body:
        reply = await wire.raw("POST", "/fapi/v1/order", query, body + signature)
    else:
        reply = await wire.raw("POST", "/fapi/v1/order", query + signature)
    assert reply.status == 200, reply.body
    assert (reply.body["price"], reply.body["origQty"]) == ("49000.0", "0.010")


async def test_hmac_over_the_wire(wire: Wire) -> None:
    """SIG-1: upper-case hex is the same signature."""
    query = f"timestamp={wire.server.now_ms()}"
    signature = hmac.new(wire.keys.secret.encode(), query.encode(), hashlib.sha256).hexdigest().upper()
    assert (await wire.raw("GET", "/fapi/v3/account", f"{query}&signature={signature}")).status == 200
