"""The exchange's time, estimated from round trips: the only time that a signature may carry.

offset = server − middle of the round trip, and its error is at most half of the round trip. The estimate
is the sample with the smallest error among the last few; ``now()`` itself stays in adapters/clocks.py.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from perpdesk.ports import Clock

SAMPLES = 8
# A larger difference between our clock and the exchange's is told to the operator.
ALARM_MS = 250
# A sample that is less exact is none.
ERROR_MAX_MS = 2_500


@dataclass(frozen=True, slots=True)
class Sample:
    """One round trip of GET /fapi/v1/time."""

    offset_ms: int
    error_ms: int


class ServerClock:
    """Our clock, corrected to the exchange's. Before the first sample it is our clock with unknown error."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)
        self.best: Sample | None = None

    @property
    def error_ms(self) -> int:
        """How far the estimate may be off; 1000 before the first sample."""
        return 1000 if self.best is None else self.best.error_ms

    @property
    def is_alarming(self) -> bool:
        """Is our own clock so far off that a person should know?"""
        return self.best is not None and abs(self.best.offset_ms) - self.best.error_ms > ALARM_MS

    def observe(self, sent_ms: int, server_ms: int, received_ms: int) -> bool:
        """Take one round trip: our times of sending and receiving, and the exchange's in between.

        A trip during which our clock was set back, or that took so long that its error is of the size of a
        request's window, says nothing: False, and it is dropped.
        """
        half = (received_ms - sent_ms + 1) // 2
        if received_ms < sent_ms or half > ERROR_MAX_MS:
            return False
        self._samples.append(Sample(server_ms - sent_ms - (received_ms - sent_ms) // 2, half + 1))
        self.best = min(self._samples, key=lambda sample: sample.error_ms)
        return True

    def forget(self) -> None:
        """Drop all samples: the exchange refused our time, so they are wrong."""
        self._samples.clear()

    def now_ms(self) -> int:
        """The exchange's time, UTC ms."""
        return self._clock.now_ms() + (0 if self.best is None else self.best.offset_ms)

    def local_ms(self, server_ms: int) -> int:
        """When our clock shows what the exchange calls ``server_ms``."""
        return server_ms - (0 if self.best is None else self.best.offset_ms)
