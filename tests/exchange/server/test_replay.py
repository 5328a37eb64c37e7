"""A tape as the market: paced, as fast as possible, or step by step; and the encrypted port."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.conformance.wire import Wire, kinds, running

from perpdesk.exchange.server.sources import path_of
from perpdesk.kernel.records import MINUTE_MS, funding_dt, zeros
from perpdesk.market.synthetic import synthetic_tape

SYMBOL = "AAAUSDT"


async def control(wire: Wire, **arguments: Any) -> Any:
    async with wire.session.post(wire.server.rest_url + "/control", json=arguments) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


@pytest.mark.parametrize(
    ("bar", "path"),
    [
        ((100, 110, 95, 105), (100, 95, 110, 105)),
        ((100, 105, 90, 95), (100, 105, 90, 95)),
        ((100, 110, 90, 100), (100, 90, 110, 100)),
        ((100, 110, 90, 99), (100, 110, 90, 99)),
    ],
)
def test_path_of_a_bar(bar: tuple[int, int, int, int], path: tuple[int, ...]) -> None:
    """The nearer extreme first; on a tie a bar that does not fall goes low first."""
    assert path_of(*bar) == path


async def test_lockstep() -> None:
    """The market stands still until the client says step; a stop fills at its level on the way."""
    tape = synthetic_tape(5, 1, 300)
    async with running(tape=tape, lockstep=True, control=True, recv_window_mode="skip") as wire:
        await asyncio.sleep(0.05)
        assert wire.server.now_ms() == tape.start_ms
        assert (await control(wire, do="step"))["now_ms"] == tape.start_ms + MINUTE_MS
        last = wire.server.world.markets[0].last
        contract = wire.server.contract(SYMBOL)
        low = int(np.asarray(tape.bars["low"])[1:, 0].min())
        trigger = (last + low) // 2 // contract.tick * contract.tick
        assert low < trigger < last
        where = {"symbol": SYMBOL, "quantity": contract.qty_text(contract.lots_min * 20)}
        await wire.market("BUY", where["quantity"], symbol=SYMBOL)
        async with wire.user_stream() as stream:
            await wire.algo(
                "SELL", "STOP_MARKET", **where, triggerPrice=contract.price_text(trigger), reduceOnly="true"
            )
            answer = await control(wire, do="step", count=100)
            assert answer["played"] == 100
            while not (answer := await control(wire, do="step", count=50))["over"]:
                assert answer["played"] == 50
            events = await stream.settled()
        assert "ALGO_UPDATE/FINISHED" in kinds(events)
        fill = next(e["o"] for e in events if e["e"] == "ORDER_TRADE_UPDATE" and e["o"]["x"] == "TRADE")
        assert fill["L"] == contract.price_text(trigger)
        bars = np.asarray(tape.bars["low"])[:, 0]
        minute = (fill["T"] - tape.start_ms) // MINUTE_MS
        assert bars[minute] <= trigger
        assert (bars[1:minute] > trigger).all()


async def test_as_fast_as_possible() -> None:
    """--speed max plays to the end, and every minute is served as recorded."""
    tape = synthetic_tape(6, 2, 120)
    async with running(tape=tape, speed=0.0, recv_window_mode="skip") as wire:
        replay = wire.server.replay
        assert replay is not None
        while not replay.is_over:
            await wire.get("/fapi/v1/ping")
        rows = (await wire.get("/fapi/v1/klines", symbol=SYMBOL, interval="1m", limit=500)).body
        contract = wire.server.contract(SYMBOL)
        assert [row[4] for row in rows] == [contract.price_text(int(p)) for p in tape.bars["close"][:, 0]]
        assert (await wire.get("/fapi/v1/time")).body == {"serverTime": tape.end_ms}


async def test_recorded_funding_rates() -> None:
    """A rate of the file is charged at its time."""
    tape = synthetic_tape(7, 1, 20)
    rates = zeros(1, funding_dt)
    rates[0].ms, rates[0].rate_e8 = tape.start_ms + 10 * MINUTE_MS, 100_000
    options = {"tape": tape, "lockstep": True, "control": True, "recv_window_mode": "skip", "funding": rates}
    async with running(**options) as wire:
        contract = wire.server.contract(SYMBOL)
        await wire.market("BUY", contract.qty_text(contract.lots_min * 20), symbol=SYMBOL)
        await control(wire, do="step", count=9)
        assert await wire.ok("GET", "/fapi/v1/income", incomeType="FUNDING_FEE") == []
        await control(wire, do="step", count=2)
        rows = await wire.ok("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")
        assert [row["time"] for row in rows] == [tape.start_ms + 10 * MINUTE_MS]
        assert float(rows[0]["income"]) < 0


async def test_tls(tmp_path: Path) -> None:
    """https with a certificate of its own; user names in the URL are ignored."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sim")])
    now = datetime.now(UTC)
    certificate = (
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
    pem = tmp_path / "sim.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    trusting = ssl.create_default_context(cafile=str(pem))
    async with running(tls=context) as wire, aiohttp.ClientSession() as session:
        assert wire.server.rest_url.startswith("https://")
        url = wire.server.rest_url.replace("https://", "https://demo-fapi@") + "/fapi/v1/ping"
        async with session.get(url, ssl=trusting) as answer:
            assert (answer.status, await answer.json()) == (200, {})
