"""The exchange command with a certificate and signed keys: our client and a stranger over https and wss."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.clocks import SystemClock
from perpdesk.cli.main import run_command
from perpdesk.exchange.core.contracts import universe_of
from perpdesk.kernel.records import BUY, MARKET
from perpdesk.market.instruments import bundled
from perpdesk.ports import NewOrder, Outcome, Traded

PROGRAM = [sys.executable, "-c", "from perpdesk.cli import main; main()", "exchange"]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, in two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sim")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "sim.crt", folder / "sim.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(private_pem(key))
    return files


def private_pem(key: Any) -> bytes:
    found: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return found


def public_file(folder: Path, name: str, key: Any) -> Path:
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return path


@contextmanager
def exchange(*arguments: object, lines: int) -> Iterator[list[dict[str, Any]]]:
    """A running command and what it printed."""
    process = subprocess.Popen([*PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield [json.loads(process.stdout.readline()) for _ in range(lines)]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


class Stranger:
    """A client with nothing but the standard library."""

    def __init__(self, ready: dict[str, Any], keys: dict[str, Any], trust: ssl.SSLContext) -> None:
        self.ready, self.keys, self.trust = ready, keys, trust

    def call(self, method: str, path: str, **params: object) -> Any:
        query = urlencode(params | {"timestamp": int(time.time() * 1000)})
        query += (
            "&signature=" + hmac.new(self.keys["secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
        )
        request = urllib.request.Request(f"{self.ready['rest_url']}{path}?{query}", method=method)
        request.add_header("X-MBX-APIKEY", self.keys["api_key"])
        with urllib.request.urlopen(request, context=self.trust) as answer:
            return json.loads(answer.read())

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[dict[str, Any]]]:
        """A WebSocket by hand: handshake over TLS, then unmasked text frames."""
        address = urlsplit(self.ready["ws_url"])
        assert address.hostname is not None
        plain = socket.create_connection((address.hostname, address.port), timeout=20)
        with self.trust.wrap_socket(plain, server_hostname=address.hostname) as wire:
            key = base64.b64encode(b"0123456789abcdef").decode()
            wire.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            reader = wire.makefile("rb")
            assert b"101" in reader.readline()
            while reader.readline().strip():
                pass
            yield _frames(reader)


def _frames(reader: Any) -> Iterator[dict[str, Any]]:
    while True:
        _, length = reader.read(2)
        if length == 126:
            length = int.from_bytes(reader.read(2), "big")
        yield json.loads(reader.read(length))


async def our_client(url: str, trust: ssl.SSLContext, api_key: str, key: Any) -> list[Traded]:
    """Our venue buys a little over https and hears of it over wss."""
    universe = universe_of([bundled()["BTCUSDT"]])
    gateway = Gateway(simulated(url), SystemClock(), trust)
    venue = gateway.venue(universe, Credentials(api_key, private_pem(key).decode()), "main")
    await venue.start()
    try:
        placed = await venue.place(NewOrder("first", 0, 0, 0, MARKET, BUY, 0, 10, False, 0, 0, 20))
        assert placed.outcome is Outcome.ACCEPTED
        async for message in venue.messages():
            if isinstance(message, Traded):
                return [message]
    finally:
        await venue.close()
    return []


async def test_our_client_and_a_stranger_over_tls(tmp_path: Path) -> None:
    """Ed25519 and RSA keys of ours, an HMAC key of a stranger; all on one encrypted port."""
    cert, key = certificate(tmp_path)
    signers: dict[str, Any] = {
        "ED25519": ed25519.Ed25519PrivateKey.generate(),
        "RSA": rsa.generate_private_key(65_537, 2_048),
    }
    files = [public_file(tmp_path, kind, signer) for kind, signer in signers.items()]
    arguments = ["--tls-cert", cert, "--tls-key", key, "--accounts", 3]
    arguments += ["--public-key", f"1={files[0]}", "--public-key", f"2={files[1]}"]
    trust = ssl.create_default_context(cafile=str(cert))
    with exchange(*arguments, lines=6) as (ready, first, _, _, *signed):
        assert ready["rest_url"].startswith("https://127.0.0.1:")
        assert ready["ws_url"].startswith("wss://127.0.0.1:")
        assert [(row["account"], row["key_type"]) for row in signed] == [(1, "ED25519"), (2, "RSA")]
        for row in signed:
            fills = await our_client(ready["rest_url"], trust, row["api_key"], signers[row["key_type"]])
            assert [(fill.client_id, fill.lots) for fill in fills] == [("first", 10)]
        stranger = Stranger(ready, first, trust)
        listen_key = stranger.call("POST", "/fapi/v1/listenKey")["listenKey"]
        with stranger.stream(f"/private/ws?listenKey={listen_key}") as events:
            order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
            assert stranger.call("POST", "/fapi/v1/order", **order)["status"] == "NEW"
            kinds = [next(events)["e"] for _ in range(4)]
        assert kinds == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--public-key", "0"], "--public-key: must be ACCOUNT=FILE, was '0'"),
        (["--public-key", "x=file"], "--public-key: must be ACCOUNT=FILE"),
        (["--public-key", "0=missing.pem"], "--public-key: cannot be read"),
        (["--public-key", "0={text}"], "--public-key: must be an RSA or Ed25519 public key in PEM"),
        (["--public-key", "7={key}"], "--public-key: there is no account 7: they are 0 to 1"),
        (["--tls-key", "{key}"], "--tls-key: needs --tls-cert"),
        (["--tls-cert", "{text}"], "--tls-cert: cannot be used"),
        (["--fills", "bars"], "--fills: must be book or kernel"),
        (["--fills", "kernel"], "--fills: kernel needs a tape and --lockstep"),
        (["--fills", "kernel", "--synthetic", "1"], "--fills: kernel needs a tape and --lockstep"),
        (["--slippage-ppm", "-1"], "--slippage-ppm: must be 0 to 1000000"),
        (["--volume-share-ppm", "2000000"], "--volume-share-ppm: must be 0 to 1000000"),
        (["--insurance", "-5"], "--insurance: must not be negative"),
        (["--insurance", "much"], "--insurance: must be a plain decimal number"),
    ],
)
def test_bad_options_are_sentences(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = tmp_path / "no.pem"
    text.write_text("no key")
    key = public_file(tmp_path, "ec", ed25519.Ed25519PrivateKey.generate())
    told = [one.format(text=text, key=key) for one in arguments]
    assert run_command(["exchange", *told]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
