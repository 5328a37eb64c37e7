"""What happened, line by line, folded into one digest: the same seed gives the same digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from perpdesk.simulation.loop import Loop


class Trace:
    """Everything that the exchange or the database could see. tell: also pass each line on (for reading)."""

    def __init__(self, loop: Loop, tell: Callable[[str], None] | None = None) -> None:
        self._loop = loop
        self._digest = hashlib.sha256()
        self._tell = tell
        self.lines = 0
        self.ear: Callable[[str, str, bytes], None] | None = None  # hears every line

    def say(self, kind: str, text: str, more: bytes = b"") -> None:
        """One line: the time, what kind of thing, what. more: bytes that count but are not shown whole."""
        line = f"{self._loop.now_us} {kind} {text} "
        self.lines += 1
        self._digest.update(line.encode())
        self._digest.update(more)
        if self.ear is not None:
            self.ear(kind, text, more)
        self._digest.update(b"\n")
        if self._tell is not None:
            shown = more[:4000].decode("utf-8", "replace")
            self._tell(f"{self._loop.elapsed_ms / 1000:10.3f} {kind:<8} {text} {shown}")

    @property
    def digest(self) -> str:
        """sha256 of all lines so far."""
        return self._digest.hexdigest()
