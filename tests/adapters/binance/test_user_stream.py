"""The listen key's life: kept, refused, changed, expired with and without a word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.adapters.binance.scripted import START, FakeNet, Say, Scripted, Sent, scripted, settle, until

from perpdesk.adapters.binance import stream_events as ev
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.limits import Governor
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.server_clock import ServerClock
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.binance.user_stream import KEEP_AGAIN_MS, KEEP_MS, UserStream
from perpdesk.adapters.clocks import VirtualClock

PATH = "/fapi/v1/listenKey"


class Keys:
    """The server's side: the key that is alive, and whether a PUT is obeyed."""

    def __init__(self, server: Scripted) -> None:
        self.alive = "key0"
        server.on("POST", PATH, lambda sent: Say({"listenKey": self.alive}))
        server.on("PUT", PATH, self.keep)
        self.refuse: Say | None = None

    def keep(self, sent: Sent) -> Say:
        return self.refuse or Say({"listenKey": self.alive})


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Scripted, Keys, FakeNet, VirtualClock, UserStream, list[object]]]:
    async with scripted() as server:
        clock, net = VirtualClock(START), FakeNet()
        own = ServerClock(clock)
        rest = Rest(
            hosts=simulated(server.url), clock=clock, server=own, governor=Governor(clock, own),
            credentials=Credentials("apikey", "secret"),
        )  # fmt: skip
        keys, events = Keys(server), []
        stream = UserStream(
            rest=rest, clock=clock, dial=net.dial, on_event=events.append, on_gap=lambda _: None
        )
        task = asyncio.create_task(stream.run())
        await until(lambda: net.sockets)
        yield server, keys, net, clock, stream, events
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await rest.close()


async def kept(server: Scripted, count: int, stream: UserStream, clock: VirtualClock) -> None:
    await until(lambda: len(server.of(PATH, "PUT")) == count and stream.kept_ms == clock.now_ms())


async def minutes_pass(clock: VirtualClock, ms: int) -> None:
    """In steps that let pings and pongs through."""
    end_ms = clock.now_ms() + ms
    while clock.now_ms() < end_ms:
        clock.advance_to(min(end_ms, clock.now_ms() + 15_000))
        await settle(5)


async def test_the_key_is_in_the_address_and_events_come_through() -> None:
    async with running() as (_, _, net, _, _, events):
        assert net.last.url.endswith("/private/ws?listenKey=key0")
        net.last.say({"e": "ACCOUNT_CONFIG_UPDATE", "E": 1, "T": 1, "ac": {"s": "BTCUSDT", "l": 25}})
        net.last.say({"e": "SOMETHING_NEW", "x": 1})
        await settle()
        assert isinstance(events[0], ev.AccountConfigUpdate)
        assert isinstance(events[1], ev.Stranger)


async def test_the_key_is_kept_and_the_socket_stays() -> None:
    async with running() as (server, _, net, clock, stream, _):
        for count in (1, 2, 3):
            await minutes_pass(clock, KEEP_MS)
            await kept(server, count, stream, clock)
        assert len(net.sockets) == 1


async def test_a_key_that_the_exchange_does_not_know_is_replaced_with_its_socket() -> None:
    async with running() as (server, keys, net, clock, _, _):
        keys.alive, keys.refuse = "key1", Say({"code": -1125, "msg": "This listenKey does not exist."}, 400)
        await minutes_pass(clock, KEEP_MS)
        await until(lambda: len(net.sockets) == 2)
        assert net.last.url.endswith("listenKey=key1")


async def test_a_keep_that_names_another_key_means_a_new_socket() -> None:
    async with running() as (server, keys, net, clock, _, _):
        keys.alive = "key1"
        await minutes_pass(clock, KEEP_MS)
        await until(lambda: len(net.sockets) == 2)
        assert net.last.url.endswith("listenKey=key1")


async def test_an_expiry_event_means_a_new_key_at_once() -> None:
    async with running() as (_, keys, net, _, stream, events):
        keys.alive = "key1"
        net.last.say({"e": "listenKeyExpired", "E": "1736996475556", "listenKey": "key0"})
        await until(lambda: len(net.sockets) == 2)
        assert net.last.url.endswith("listenKey=key1")
        assert events == []
        # the old socket may say it again; it is about a key that is not ours any more
        net.sockets[0].say({"e": "listenKeyExpired", "E": 1736996475556, "listenKey": "key0"})
        await settle()
        assert len(net.sockets) == 2
        assert stream.line.state.renewals == 1


async def test_a_keep_that_gets_no_answer_is_repeated_soon() -> None:
    async with running() as (server, keys, net, clock, _, _):
        keys.refuse = Say(drop=True)
        await minutes_pass(clock, KEEP_MS)
        await until(lambda: len(server.of(PATH, "PUT")) >= 1)
        keys.refuse = None
        before, failed_ms = len(server.of(PATH, "PUT")), clock.now_ms()

        async def time_passes() -> None:
            await minutes_pass(clock, 1_000)

        await until(lambda: len(server.of(PATH, "PUT")) > before, time_passes)
        assert clock.now_ms() - failed_ms >= KEEP_AGAIN_MS
        assert len(net.sockets) == 1
