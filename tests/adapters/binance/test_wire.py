"""HTTP as strict as an order needs it: whole answers or none, and every request once."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.adapters.binance.wire import Answered, Connection, Wire, WireFailed

SIZE_MAX = 10_000


class Loopless:
    """A transport that only remembers."""

    def __init__(self) -> None:
        self.is_closed = False

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True

    abort = close


def answer_to(raw: bytes, cuts: list[int], *, then_close: bool = False) -> tuple[Answered | str, Connection]:
    """What a connection makes of these bytes, arriving in pieces cut at these places."""

    async def run() -> tuple[Answered | str, Connection]:
        connection = Connection(SIZE_MAX)
        connection._transport = Loopless()  # type: ignore[assignment]  # as asyncio would give it
        connection.is_open = True
        waiter = connection.ask(b"request")
        places = sorted({min(cut, len(raw)) for cut in cuts} | {0, len(raw)})
        for start, end in zip(places, places[1:], strict=False):
            if not waiter.done():
                connection.data_received(raw[start:end])
        if then_close:
            connection.connection_lost(None)
        if not waiter.done():
            return "nothing yet", connection
        error = waiter.exception()
        return (str(error) if error is not None else waiter.result()), connection

    return asyncio.run(run())


PLAIN = b'HTTP/1.1 200 OK\r\nX-MBX-USED-WEIGHT-1M: 7\r\nContent-Length: 11\r\n\r\n{"a":"b\r\n"}'
CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n6;x=y\r\n"b\r\n"}\r\n0\r\n\r\n'
AFTER_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN
TO_CLOSE = b'HTTP/1.0 200 OK\r\n\r\n{"a":"b\r\n"}'


@given(st.sampled_from([PLAIN, CHUNKED, AFTER_INTERIM]), st.lists(st.integers(0, 120), max_size=12))
def test_an_answer_is_the_same_however_it_arrives(raw: bytes, cuts: list[int]) -> None:
    answer, connection = answer_to(raw, cuts)
    assert isinstance(answer, Answered)
    assert (answer.status, answer.body) == (200, b'{"a":"b\r\n"}')
    assert connection.is_open


@given(st.sampled_from([PLAIN, CHUNKED, AFTER_INTERIM]), st.data())
def test_a_cut_answer_is_never_delivered(raw: bytes, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(raw) - 1))
    assert answer_to(raw[:end], [])[0] == "nothing yet"
    answer, connection = answer_to(raw[:end], [], then_close=True)
    assert isinstance(answer, str)
    assert not connection.is_open


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_are_an_answer_or_a_failure(raw: bytes, cuts: list[int]) -> None:
    answer_to(raw, cuts, then_close=True)
    answer_to(b"HTTP/1.1 200 OK\r\n" + raw, cuts, then_close=True)
    answer_to(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + raw, cuts, then_close=True)


def test_an_answer_that_ends_with_the_connection() -> None:
    answer, connection = answer_to(TO_CLOSE, [], then_close=True)
    assert isinstance(answer, Answered)
    assert answer.body == b'{"a":"b\r\n"}'
    assert not connection.is_open


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: line\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3fff\r\n" + b"x" * 16_383,
        b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_001,
    ],
)
def test_odd_framing_is_a_failure(raw: bytes) -> None:
    answer, connection = answer_to(raw, [])
    assert isinstance(answer, str)
    assert answer != "nothing yet"
    assert not connection.is_open


@pytest.mark.parametrize(
    "raw", [PLAIN + b"more", PLAIN.replace(b"X-MBX", b"Connection: close\r\nX-MBX")], ids=["more", "close"]
)
def test_a_connection_that_says_too_much_or_good_bye_is_not_used_again(raw: bytes) -> None:
    answer, connection = answer_to(raw, [])
    assert isinstance(answer, Answered)
    assert not connection.is_open


# -- over a real socket ---------------------------------------------------------------------------

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(
    behave: Peer, *, tls: ssl.SSLContext | None = None, timeout_ms: int = 20_000
) -> AsyncIterator[tuple[Wire, list[int]]]:
    """A wire to a server that behaves so on each connection, and how many connections there were."""
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        try:
            await behave(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side has gone, as some tests want it
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    wire = Wire(f"http://127.0.0.1:{port}", timeout_ms=timeout_ms, size_max=SIZE_MAX)
    try:
        yield wire, connections
    finally:
        wire.close()
        server.close()
        await server.wait_closed()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulator")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(encoded + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path, trusted: bool) -> None:
    """NET-11: there is no way to switch verification off."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    async with peer(polite, tls=server_side) as (plain, _):
        own = ssl.create_default_context(cafile=str(certificate)) if trusted else None
        wire = Wire(f"https://127.0.0.1:{plain._port}", timeout_ms=20_000, size_max=SIZE_MAX, tls=own)
        if trusted:
            assert (await wire.request("GET", "/x")).status == 200
        else:
            with pytest.raises(WireFailed, match="SSLCertVerificationError"):
                await wire.request("GET", "/x")
        wire.close()
        await asyncio.sleep(0.01)


async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PLAIN)


async def test_a_connection_is_used_again_and_not_by_two_at_once() -> None:
    async with peer(polite) as (wire, connections):
        for _ in range(3):
            assert (await wire.request("GET", "/x")).status == 200
        assert len(connections) == 1
        await asyncio.gather(*(wire.request("GET", "/x") for _ in range(5)))
        assert len(connections) == 5


async def test_a_request_without_an_answer_is_given_up_with_its_connection() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with peer(silent, timeout_ms=100) as (wire, connections):
        for _ in range(2):
            with pytest.raises(WireFailed, match="in time"):
                await wire.request("POST", "/x", body=b"a=1")
        assert len(connections) == 2


async def test_a_cancelled_request_takes_its_connection_with_it() -> None:
    """A late answer must not be read as the answer to somebody else's request."""
    asked = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()

    async with peer(late) as (wire, connections):
        task = asyncio.create_task(wire.request("GET", "/secret"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not wire._resting


async def test_a_peer_that_closes_between_requests_costs_nothing() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PLAIN)

    async with peer(once) as (wire, connections):
        for _ in range(3):
            assert (await wire.request("GET", "/x")).status == 200
            await asyncio.sleep(0.02)
        assert len(connections) == 3
