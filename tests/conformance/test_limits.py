"""Request weights and order counts (reference §4)."""

from __future__ import annotations

from tests.conformance.wire import BTC, Wire, limit, running


async def test_weight_limit_then_ban(wire: Wire) -> None:
    """LIM-1 LIM-2 LIM-3: weights add up, 429 at the 2401st, 418 for who goes on, and the ban ends."""
    seen = []
    for _ in range(120):
        reply = await wire.get("/fapi/v1/depth", symbol=BTC, limit=1000)
        seen.append(int(reply.headers["X-MBX-USED-WEIGHT-1M"]))
    assert seen == [20 * (i + 1) for i in range(120)]
    reply = await wire.get("/fapi/v1/ping")
    assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (429, -1003, "60")
    assert reply.body["msg"].startswith("Too many requests; current limit is 2400 requests per minute.")
    while reply.status == 429:
        reply = await wire.get("/fapi/v1/ping")
    until = wire.server.now_ms() + 120_000
    assert (reply.status, reply.headers["Retry-After"]) == (418, "120")
    assert reply.body["msg"].startswith(f"Way too many requests; IP banned until {until}.")
    wire.server.skip_time(119_999)
    assert (await wire.get("/fapi/v1/ping")).status == 418
    wire.server.skip_time(1)
    assert (await wire.get("/fapi/v1/ping")).status == 200


async def test_order_count() -> None:
    """LIM-4: the 301st order of ten seconds is -1015; the headers count orders."""
    async with running(weight_limit=100_000) as wire:
        for i in range(300):
            reply = await wire.call("POST", "/fapi/v1/order", **limit("BUY", 49000, "0.00"))
            assert reply.body["code"] == -4003
            assert reply.headers["X-MBX-ORDER-COUNT-10S"] == str(i + 1)
        reply = await wire.call("POST", "/fapi/v1/order", **limit("BUY", 49000, "0.01"))
        assert (reply.status, reply.body["code"]) == (429, -1015)
        assert reply.body["msg"] == "Too many new orders; current limit is 300 orders per TEN_SECONDS."
        wire.server.skip_time(10_000)
        assert (await wire.call("POST", "/fapi/v1/order", **limit("BUY", 49000, "0.01"))).status == 200


async def test_separate_pools(wire: Wire) -> None:
    """LIM-5: statistics and funding have pools of their own, per five minutes."""
    for path, count, params in (
        ("/futures/data/openInterestHist", 1000, {"symbol": BTC, "period": "5m"}),
        ("/fapi/v1/fundingRate", 500, {}),
    ):
        for _ in range(count):
            assert (await wire.get(path, **params)).status == 200
        reply = await wire.get(path, **params)
        assert (reply.status, reply.body["code"]) == (429, -1003)
        assert reply.headers["X-MBX-USED-WEIGHT-1M"] == "0"
