"""The figures of a running process in the control folder, written whole each second: what `status` shows,
with the database up or down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from perpdesk.domain.books import Failed, Missing
from perpdesk.ports import Clock, Folder

EVERY_MS = 1_000


class MetricsFile(msgspec.Struct, frozen=True, kw_only=True):
    """Figures as they were at ``ms`` (UTC). ``role``: live or watch; ``lines``: what a person should know."""

    account_id: int
    role: str
    pid: int
    ms: int
    started_ms: int
    figures: dict[str, Any]
    lines: list[str] = []


_DECODER = msgspec.json.Decoder(MetricsFile)


def metrics_name(account_id: int, role: str) -> str:
    """The file of an account's process."""
    return f"{account_id}.{role}.metrics.json"


def write_metrics(folder: Folder, metrics: MetricsFile) -> None:
    """Put it in the place of the old one. Raises OSError."""
    name = metrics_name(metrics.account_id, metrics.role)
    folder.replace(name, msgspec.json.encode(metrics), durable=False)


def read_metrics(folder: Folder, account_id: int, role: str) -> MetricsFile | Missing | Failed:
    """The last figures of a process. Never raises."""
    try:
        content = folder.read(metrics_name(account_id, role))
    except OSError as error:
        return Failed(reason=str(error))
    if content is None:
        return Missing()
    try:
        return _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Failed(reason=f"the metrics file is garbled: {error}")


async def write_for_ever(folder: Folder, clock: Clock, look: Callable[[], MetricsFile]) -> None:
    """Write each second until cancelled. A disk that does not take it costs figures, nothing else."""
    while True:
        began_ms = clock.now_ms()
        with suppress(OSError):  # the next second tries again, and status shows the age
            write_metrics(folder, look())
        await clock.sleep_until(began_ms + EVERY_MS)
