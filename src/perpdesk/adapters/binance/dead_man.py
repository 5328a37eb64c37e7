"""The exchange's dead-man switch (countdownCancelAll): off unless asked for, and then with open eyes.

It cancels the ordinary orders of a symbol when we fall silent. It closes no position, and on a venue where
it also took the stops it would leave positions naked: so it is refused where nobody has tested that stops
survive it (reliability R9).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.rest import Rest
from perpdesk.domain.errors import ConfigError, PerpdeskError
from perpdesk.ports import Clock

LOG = logging.getLogger(__name__)
COUNTDOWN_MS, BEAT_MS = 120_000, 30_000


async def arm(rest: Rest, symbol: str, countdown_ms: int) -> int:
    """Start the countdown of a symbol anew (0: stop it). Returns what the exchange took.

    Raises ExchangeUnreachable, ExchangeRefused: then the last countdown that was accepted goes on.
    """
    params = (("symbol", symbol), ("countdownTime", countdown_ms))
    answer: p.Countdown = await rest.ask(to.COUNTDOWN, params, Lane.PROTECT)
    return int(answer.countdown_time)


class DeadManSwitch:
    """``run`` until cancelled: every symbol's countdown is started anew at each beat.

    stops_survive: it was tested on this venue that conditional orders outlive the countdown. Raises
    ConfigError without that, and for a beat that a lost answer could turn into a cancellation.
    """

    def __init__(
        self,
        rest: Rest,
        clock: Clock,
        symbols: Sequence[str],
        *,
        stops_survive: bool,
        countdown_ms: int = COUNTDOWN_MS,
        beat_ms: int = BEAT_MS,
    ) -> None:
        if not stops_survive:
            raise ConfigError(
                "the dead-man switch stays off: it is not known that stops survive it on this venue",
                field="dead_man_switch",
            )
        if not 0 < beat_ms * 2 <= countdown_ms:
            raise ConfigError("countdown must be at least two beats", field="dead_man_switch")
        self._rest, self._clock, self._symbols = rest, clock, tuple(symbols)
        self._countdown_ms, self._beat_ms = countdown_ms, beat_ms
        self.armed_ms: dict[str, int] = {}  # our time of the last countdown that was accepted

    async def run(self) -> None:
        """Beat. A beat that fails is told and tried again at the next one."""
        while True:
            for symbol in self._symbols:
                try:
                    await arm(self._rest, symbol, self._countdown_ms)
                    self.armed_ms[symbol] = self._clock.now_ms()
                except PerpdeskError as error:
                    LOG.error("the dead-man switch of %s was not wound up: %s", symbol, error)
            await self._clock.sleep_until(self._clock.now_ms() + self._beat_ms)

    async def stop(self) -> None:
        """Stop all countdowns: an orderly end keeps its orders. Raises what the exchange says."""
        for symbol in list(self.armed_ms):
            await arm(self._rest, symbol, 0)
            del self.armed_ms[symbol]
