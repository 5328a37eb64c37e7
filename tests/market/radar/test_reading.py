"""Redis → SQL → exchange. Redis is real where it can be started: it is flushed, and killed, in the middle of a poll."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.market.radar.exchanges import Exchange, minutes, settled, terms

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.redis_cache import RedisCache
from perpdesk.domain.errors import InputError
from perpdesk.market.radar.radar import Radar
from perpdesk.market.radar.reading import LIST_AGE_MS, RATIOS_AGE_MS, Kept, ReadThrough


@dataclass
class Memory:
    """A cache of a test."""

    kept: dict[str, bytes] = field(default_factory=dict)

    async def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def put(self, key: str, value: bytes, ttl_ms: int) -> None:
        self.kept[key] = value


class Books:
    """A database without rows."""

    def __init__(self, *rows: Any) -> None:
        self.rows = list(rows)

    async def oi_anomalies(self, from_ms: Any = None, until_ms: Any = None, symbol: Any = None) -> list[Any]:
        return [one for one in self.rows if one.symbol == symbol and from_ms <= one.poll_ms < until_ms]


async def test_what_one_process_asked_another_reads() -> None:
    cache, first, second = Memory(), Exchange("AAAUSDT"), Exchange("AAAUSDT")
    for market in (first, second):
        through = ReadThrough(market, cache)
        assert [one.symbol for one in await through.contracts()] == ["AAAUSDT"]
        assert (await through.ratios("AAAUSDT", 0)).taker == Decimal("1.15")
        assert await through.funding_hours() == {}
    assert first.asked == ["contracts", "ratios AAAUSDT"]
    assert second.asked == []


async def test_a_hundred_readers_are_one_question() -> None:
    market = Exchange("AAAUSDT")
    through = ReadThrough(market, Memory())
    found = await asyncio.gather(*(through.ratios("AAAUSDT", 0) for _ in range(100)))
    assert market.asked == ["ratios AAAUSDT"]
    assert len({one.taker for one in found}) == 1


@pytest.mark.parametrize(("key", "age_ms"), [("contracts", LIST_AGE_MS), ("ratios:AAAUSDT", RATIOS_AGE_MS)])
async def test_what_is_too_old_of_another_key_or_garbled_is_missing(key: str, age_ms: int) -> None:
    cache, market = Memory(), Exchange("AAAUSDT")
    through = ReadThrough(market, cache)

    async def read() -> None:
        await (through.contracts() if key == "contracts" else through.ratios("AAAUSDT", 0))

    await read()
    good = msgspec.json.decode(cache.kept[key], type=Kept)
    for bad in (
        msgspec.json.encode(Kept(key, good.as_of_ms - age_ms, good.data)),
        msgspec.json.encode(Kept("somebody else's", good.as_of_ms, good.data)),
        msgspec.json.encode(Kept(key, good.as_of_ms + 60_000, good.data)),
        msgspec.json.encode(Kept(key, good.as_of_ms, "nonsense")),
        b"\xff\x00 not json",
    ):
        market.asked.clear()
        cache.kept[key] = bad
        await read()
        assert len(market.asked) == 1, bad
    market.asked.clear()
    await read()
    assert market.asked == []


async def test_an_error_of_the_exchange_is_an_error_and_is_not_kept() -> None:
    cache, market = Memory(), Exchange("AAAUSDT")
    market.ratio_texts["AAAUSDT"] = InputError("no answer", field="x")  # type: ignore[assignment]
    through = ReadThrough(market, cache)
    with pytest.raises(InputError):
        await through.ratios("AAAUSDT", 0)
    assert cache.kept == {}


# -- a real Redis ------------------------------------------------------------------------------------------


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    url: str


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    """A Redis of this test alone, on a socket in its folder."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("PERPDESK_REQUIRE_SERVICES"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    socket = tmp_path / "r.sock"
    process = subprocess.Popen(
        [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL, cwd=tmp_path,
    )  # fmt: skip
    try:
        for _ in range(200):
            if socket.exists():
                break
            process.poll()
            asyncio.run(asyncio.sleep(0.05))
        yield Server(process, f"unix://{socket}")
    finally:
        process.kill()
        process.wait()


NAMES = tuple(f"S{n:02d}USDT" for n in range(40))


async def broken_in_the_middle(redis: Server, what: str) -> tuple[Exchange, Radar, RedisCache]:
    """Forty symbols break out in one poll; when half of their ratios were asked for, Redis is flushed or killed."""
    market = Exchange(*NAMES)
    cache = RedisCache(redis.url, SystemClock())
    through = ReadThrough(market, cache, Books())
    radar = Radar(through, terms())
    await radar.start()
    await settled()
    await minutes(radar, market, 70)
    ask, asked = market.ratios, 0

    async def ratios(symbol: str, deadline_ms: int) -> Any:
        nonlocal asked
        asked += 1
        if asked == len(NAMES) // 2:
            if what == "kill":
                redis.process.kill()
                redis.process.wait()
            else:
                await cache._redis.flushall()
        return await ask(symbol, deadline_ms)

    market.ratios = ratios  # type: ignore[method-assign]
    for symbol in NAMES:
        market.amounts[symbol], market.prices[symbol] = 1040.0, 102.0
    market.asked.clear()
    for seen in await minutes(radar, market, 3):
        assert seen.poll.valid == len(NAMES)
    await radar.close()
    await cache.close()
    return market, radar, cache


@pytest.mark.services
@pytest.mark.parametrize("what", ["flush", "kill"])
async def test_redis_goes_in_the_middle_of_a_poll(redis: Server, what: str) -> None:
    market, radar, cache = await broken_in_the_middle(redis, what)
    assert radar.figures.polls == 73
    assert radar.figures.skipped == 0
    assert radar.figures.refusals == {"PASSED": len(NAMES)}, "sentiment was known to all"
    asked = [one for one in market.asked if one.startswith("ratios")]
    assert len(asked) == len(NAMES), "no storm: each was asked once"
    assert (cache.failures > 0) == (what == "kill")


@pytest.mark.services
async def test_a_second_process_reads_what_redis_keeps(redis: Server) -> None:
    for number in range(2):
        market, cache = Exchange("AAAUSDT"), RedisCache(redis.url, SystemClock())
        assert (await ReadThrough(market, cache).ratios("AAAUSDT", 0)).crowd == Decimal("1.3")
        assert len(market.asked) == 1 - number
        await cache.close()


async def test_without_redis_everything_works(tmp_path: Path) -> None:
    cache = RedisCache(f"unix://{tmp_path}/nobody.sock", SystemClock())
    market = Exchange("AAAUSDT")
    assert (await ReadThrough(market, cache).ratios("AAAUSDT", 0)).crowd == Decimal("1.3")
    assert cache.failures == 1, "then it is left alone for a while"
    await cache.close()


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="Redis URL"):
        RedisCache("http://somewhere", SystemClock())
