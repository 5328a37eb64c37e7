"""Everything that leaves a process as text, and a search for canaries in it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from urllib.parse import quote

EXCERPT = 60


def forms(value: str) -> set[bytes]:
    """How a value may stand in text: as it is, percent-encoded, escaped, in base64."""
    raw = value.encode()
    return {
        raw,
        quote(value, safe="").encode(),
        json.dumps(value)[1:-1].encode(),
        repr(value)[1:-1].encode(),
        base64.b64encode(raw).rstrip(b"="),
    }


class Sinks(logging.Handler):
    """A log handler without any redaction, and a place for other texts."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[tuple[str, bytes]] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s %(pathname)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append((f"log of {record.name}", self.format(record).encode("utf-8", "replace")))

    def text(self, where: str, text: str | bytes) -> None:
        """Something that was said."""
        self.texts.append((where, text if isinstance(text, bytes) else text.encode("utf-8", "replace")))

    def error(self, where: str, error: BaseException) -> None:
        """All that can be printed of an error: with its causes and what it was raised while handling."""
        self.text(f"{where}: str", str(error))
        self.text(f"{where}: repr", repr(error))
        self.text(f"{where}: traceback", "".join(traceback.format_exception(error)))
        self.text(f"{where}: arguments", repr(error.args) + repr(vars(error)))

    def leaks(self, canaries: Iterable[str]) -> list[str]:
        """Where a canary stands, with what is around it."""
        found = []
        for canary in canaries:
            for form in forms(canary):
                for where, text in self.texts:
                    at = text.find(form)
                    if at >= 0:
                        around = (
                            text[max(0, at - EXCERPT) : at] + b"<CANARY>" + text[at + len(form) :][:EXCERPT]
                        )
                        found.append(f"{where}: {around!r}")
        return found


def echo(head: str, body: str) -> str:
    """What a proxy's error page repeats of a request."""
    return f"cannot forward {head} {body}"


@asynccontextmanager
async def echoing_exchange(answer: Callable[[str, str], tuple[int, str]]) -> AsyncIterator[str]:
    """A server on loopback that answers with what it was sent. answer: (head, body) → (status, body).
    Yields its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (
                        int(line.split(":")[1])
                        for line in head.split("\r\n")
                        if line.lower().startswith("content-length")
                    ),
                    0,
                )
                body = (await reader.readexactly(length)).decode()
                if " /fapi/v1/time " in head:
                    status, said = 200, '{"serverTime": 1750000000000}'
                else:
                    status, said = answer(head, body)
                raw = said.encode()
                lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(raw)}", "X-Perpdesk-Simulated: 1"]
                writer.write("\r\n".join([*lines, "", ""]).encode() + raw)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
