"""A stream over many sockets: silence, closes, renewal with overlap, back-off, bad frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.adapters.binance.scripted import START, FakeNet, pass_time, settle

from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.binance.line import OVERLAP_MS, Line
from perpdesk.adapters.clocks import VirtualClock

LIFE_MS = 600_000


class Heard:
    """What a line told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.gaps: list[int] = []

    def frame(self, raw: bytes) -> None:
        if raw == b"garbage":
            raise ExchangeUnreachable("unreadable")
        self.messages.append(raw)


@asynccontextmanager
async def running(
    net: FakeNet, clock: VirtualClock, *, only_messages_count: bool = False
) -> AsyncIterator[tuple[Line, Heard]]:
    heard = Heard()

    async def url() -> str:
        return f"ws://x/{len(net.sockets)}"

    line = Line(
        "test",
        clock=clock,
        dial=net.dial,
        url=url,
        on_frame=heard.frame,
        on_gap=heard.gaps.append,
        stale_ms=20_000,
        ping_ms=5_000,
        life_ms=LIFE_MS,
        only_messages_count=only_messages_count,
    )
    task = asyncio.create_task(line.run())
    await settle()
    yield line, heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert all(socket.is_closed for socket in net.sockets)


async def test_pongs_keep_a_quiet_line_alive() -> None:
    net, clock = FakeNet(), VirtualClock(START)
    async with running(net, clock) as (line, heard):
        await pass_time(clock, 120_000)
        assert len(net.sockets) == 1
        assert line.state.is_open
        assert heard.gaps == [0]


async def test_a_silent_socket_is_replaced_and_the_gap_is_told() -> None:
    net, clock = FakeNet(), VirtualClock(START)
    net.pongs = False
    async with running(net, clock) as (line, heard):
        net.last.say(b"one")
        await settle()
        await pass_time(clock, 20_000)
        assert line.state.stale == 1
        assert len(net.sockets) == 2
        assert net.sockets[0].is_closed
        assert heard.gaps == [0, START]
        net.last.say(b"two")
        await settle()
        assert heard.messages == [b"one", b"two"]


async def test_where_messages_must_flow_pongs_are_no_excuse() -> None:
    net, clock = FakeNet(), VirtualClock(START)
    async with running(net, clock, only_messages_count=True) as (line, _):
        await pass_time(clock, 20_000)
        assert (line.state.stale, len(net.sockets)) == (1, 2)


async def test_a_closed_socket_is_replaced_at_once() -> None:
    net, clock = FakeNet(), VirtualClock(START)
    async with running(net, clock) as (_, heard):
        net.last.say(None)
        await settle()
        assert len(net.sockets) == 2
        assert len(heard.gaps) == 2


async def test_back_off_doubles_and_starts_again_after_success() -> None:
    net, clock = FakeNet(), VirtualClock(START)
    net.refuse = 4
    async with running(net, clock) as (line, _):
        tried = []
        for _ in range(100):
            before = net.refuse
            await pass_time(clock, 50, step_ms=50)
            if net.refuse != before or (net.sockets and len(tried) < 4):
                tried.append(clock.now_ms() - START)
            if net.sockets:
                break
        assert tried == [250, 750, 1_750, 3_750]
        assert line.state.is_open
        net.refuse = 1
        net.last.say(None)
        await settle()
        await pass_time(clock, 250, step_ms=50)
        assert len(net.sockets) == 2


async def test_sockets_that_are_closed_as_soon_as_they_open_are_not_a_storm() -> None:
    net, clock = FakeNet(), VirtualClock(START)
    async with running(net, clock):
        for _ in range(600):
            if not net.last.is_closed:
                net.last.say(None)
            await pass_time(clock, 100, step_ms=100)
        assert 5 <= len(net.sockets) <= 12  # a minute of it


async def test_a_line_is_renewed_before_its_life_ends_and_both_sockets_deliver() -> None:
    net, clock = FakeNet(), VirtualClock(START)
    async with running(net, clock) as (line, heard):
        await pass_time(clock, LIFE_MS, step_ms=5_000)
        assert line.state.renewals == 1
        old, new = net.sockets
        assert not old.is_closed
        old.say(b"last words")
        new.say(b"first words")
        await settle()
        assert set(heard.messages) == {b"last words", b"first words"}
        await pass_time(clock, OVERLAP_MS)
        assert old.is_closed
        assert not new.is_closed
        assert line.state.stale == 0


async def test_while_a_new_socket_cannot_be_had_the_old_one_goes_on() -> None:
    net, clock = FakeNet(), VirtualClock(START)
    async with running(net, clock) as (line, heard):
        net.refuse = 3
        line.renew()
        await pass_time(clock, 600, step_ms=50)
        net.last.say(b"still here")
        await settle()
        assert heard.messages == [b"still here"]
        await pass_time(clock, 5_000)
        assert len(net.sockets) == 2


async def test_a_bad_frame_is_counted_and_skipped() -> None:
    net, clock = FakeNet(), VirtualClock(START)
    async with running(net, clock) as (line, heard):
        net.last.say(b"garbage")
        net.last.say(b"fine")
        await settle()
        assert heard.messages == [b"fine"]
        assert line.state.bad_frames == 1
        assert len(net.sockets) == 1
