"""Cache entries that are written in the background: the bars are wanted now, their entry by the next read.

One thread writes. It is no daemon, so a process that ends right after a read still finishes it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

_LOG = logging.getLogger(__name__)

# Bars that wait are held besides the tape: beyond this much, entries are written before the read goes on.
BACKLOG_BYTES_MAX = 512 << 20

_lock = threading.Lock()
_running: threading.Thread | None = None


class Backlog:
    """The entries that one read leaves to be written. Without ``start`` nothing is."""

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], None]] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def has_room(self) -> bool:
        return self._size < BACKLOG_BYTES_MAX

    def add(self, size: int, job: Callable[[], None]) -> None:
        """Remember a job that holds ``size`` bytes and may raise OSError."""
        self._jobs.append(job)
        self._size += size

    def start(self) -> None:
        """Let the thread do the jobs in their order."""
        global _running
        if not self._jobs:
            return
        with _lock:
            if _running is not None:
                _running.join()
            _running = threading.Thread(target=self._run, name="perpdesk-cache", daemon=False)
            _running.start()

    def _run(self) -> None:
        try:
            while self._jobs:
                # taken out first, so that its bars are freed when it is done
                self._jobs.popleft()()
        except OSError as error:
            self._jobs.clear()
            _LOG.warning("warning: %s", cannot_keep(error))


def wait() -> None:
    """Return when nothing is being written any more."""
    thread = _running
    if thread is not None:
        thread.join()


def cannot_keep(error: OSError) -> str:
    """What a failed write means and what to do about it."""
    return f"converted bars cannot be kept: {error}; set PERPDESK_CACHE_DIR to a folder with room"
