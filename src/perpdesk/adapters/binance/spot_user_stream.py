"""A Spot account's own events, over the WebSocket API: ``userDataStream.subscribe.signature``.

(The listen keys of ``/api/v3/userDataStream`` ended in February 2026.) A socket counts as open only when the
exchange has confirmed the subscription: an account that nobody listens to looks just like a quiet one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from perpdesk.adapters.binance.errors import ExchangeUnreachable
from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.binance.line import Line
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.signing import text_of
from perpdesk.adapters.binance.sockets import Dial, Socket
from perpdesk.adapters.binance.spot_events import SpotKnown, event_of, pushed
from perpdesk.adapters.binance.stream_events import Stranger
from perpdesk.domain.errors import Refused
from perpdesk.domain.redaction import quoted
from perpdesk.ports import Clock

LOG = logging.getLogger(__name__)
_LIVE_SOCKET = "wss://ws-api.binance.com/ws-api/v3"
# A user stream may be quiet for hours; pongs are its signs of life.
STALE_MS, PING_MS, CONFIRM_MS = 45_000, 15_000, 10_000
_TEXT_MAX = 200
_TERMINATED = "eventStreamTerminated"
_encode = msgspec.json.Encoder().encode


def socket_of(hosts: Hosts) -> str:
    """Spot's WebSocket API."""
    return _LIVE_SOCKET if hosts.is_live else f"{hosts.streams}/ws-api/v3"


class SpotUserStream:
    """``run`` until cancelled. on_event: each event, perhaps twice; on_gap: a subscription begins, with our
    time of the last sign of life before it (0 the first time): what was missed must be read over REST."""

    def __init__(
        self,
        *,
        rest: Rest,
        clock: Clock,
        dial: Dial,
        on_event: Callable[[SpotKnown | Stranger], None],
        on_gap: Callable[[int], None],
    ) -> None:
        self._rest, self._clock, self._on_event = rest, clock, on_event
        self._number = 0
        # before the new socket: the confirmation on it is a sign of life too, and would hide the gap
        self._seen_ms = 0
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self.line = Line(
            "Spot user stream",
            clock=clock,
            dial=dial,
            url=self._url,
            greet=self._greet,
            on_frame=self._frame,
            on_gap=lambda _: on_gap(self._seen_ms),
            stale_ms=STALE_MS,
            ping_ms=PING_MS,
        )

    async def run(self) -> None:
        """Keep the subscription."""
        await self.line.run()

    async def _url(self) -> str:
        self._seen_ms = self.line.state.seen_ms
        return socket_of(self._rest.hosts)

    async def _greet(self, socket: Socket) -> None:
        """Subscribe, and wait until the exchange says so."""
        self._number += 1
        request_id = f"subscribe-{self._number}"
        try:
            stamped, _ = self._rest.stamped(())
        except Refused as error:
            raise ExchangeUnreachable(f"Spot user stream: {error}") from error
        credentials = self._rest.credentials
        params = {name: value for name, value in [("apiKey", credentials.api_key), *stamped]}
        text = "&".join(f"{name}={text_of(params[name])}" for name in sorted(params))
        params["signature"] = credentials.sign(text.encode())
        message = {"id": request_id, "method": "userDataStream.subscribe.signature", "params": params}
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = confirmed
        patience = asyncio.ensure_future(self._clock.sleep_until(self._clock.now_ms() + CONFIRM_MS))
        try:
            await socket.send(_encode(message).decode())
            await asyncio.wait({confirmed, patience}, return_when=asyncio.FIRST_COMPLETED)
            if not confirmed.done():
                raise ExchangeUnreachable("Spot user stream: the subscription was not confirmed in time")
            confirmed.result()
        finally:
            patience.cancel()
            confirmed.cancel()
            del self._waiting[request_id]

    def _frame(self, raw: bytes) -> None:
        message = pushed(raw)
        if isinstance(message.event, msgspec.Raw):
            event = event_of(bytes(message.event))
            if isinstance(event, Stranger) and event.name == _TERMINATED:
                self.line.renew()
            self._on_event(event)
            return
        waiting = self._waiting.get(str(message.id))
        if waiting is None or waiting.done():
            LOG.warning("Spot user stream: %s", quoted(raw.decode("utf-8", "replace"), _TEXT_MAX))
            return
        if message.status == 200:
            waiting.set_result(None)
        else:
            said = bytes(message.error) if isinstance(message.error, msgspec.Raw) else raw
            text = quoted(said.decode("utf-8", "replace"), _TEXT_MAX)
            waiting.set_exception(ExchangeUnreachable(f"Spot user stream was refused: {text}"))
