"""Two brakes on repetition: the same execution too often, and a fight with a human over a stop.

The first (RTS 6, article 15) switches a strategy off until a person switches it on again. The second
(HUM-05) puts a lost stop back at most three times in ten minutes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from perpdesk.domain.errors import InputError, Refused
from perpdesk.kernel.records import SLOT_OWN

REPEATS_MAX = 10
REPEATS_WINDOW_MS = 60_000
FIGHTS_MAX = 3
FIGHTS_WINDOW_MS = 600_000
REPEATED_EXECUTION = "REPEATED_EXECUTION"
# The states of an account under which switched-off strategies, and people's words about them, are kept.
STATE, RELEASES = "throttle", "throttle_release"


def repeats_of(slots: int) -> int:
    """How often a minute a strategy with so many slots may execute on one symbol and side: ten times, and
    each slot of its own (a level of a grid) filled and placed again once."""
    return REPEATS_MAX + 2 * max(0, slots - SLOT_OWN)


def _dropped(times: deque[int], before_ms: int) -> deque[int]:
    while times and times[0] <= before_ms:
        times.popleft()
    return times


@dataclass(frozen=True, slots=True)
class Release:
    """A person's word that a strategy may go on. ms: when it was said."""

    ms: int
    by: str
    reason: str


def releases_of(state: Any) -> dict[str, Release]:
    """People's words as they are kept; what cannot be read releases nothing."""
    if not isinstance(state, dict):
        return {}
    return {
        name: Release(row["ms"], row["by"], row["reason"])
        for name, row in state.items()
        if isinstance(row, dict) and isinstance(row.get("ms"), int) and row.get("by") and row.get("reason")
    }


def _is_released(release: Release | None, since_ms: int) -> bool:
    return release is not None and release.ms >= since_ms


@dataclass
class RepeatThrottle:
    """Counts automated executions of one strategy, symbol and side.

    The one that would exceed the strategy's limit (``limits``, else ``repeats_max``) within ``window_ms`` is
    refused and switches its strategy off.
    """

    repeats_max: int = REPEATS_MAX
    window_ms: int = REPEATS_WINDOW_MS
    limits: Mapping[str, int] = field(default_factory=dict)
    disabled: dict[str, int] = field(default_factory=dict)  # strategy → since (UTC ms)
    _sent: dict[tuple[str, int, int], deque[int]] = field(default_factory=dict)

    def why(self, strategy: str, symbol: int, side: int, now_ms: int) -> str | None:
        """None if one more may be sent, else REPEATED_EXECUTION (and the strategy is off from now on)."""
        if strategy in self.disabled:
            return REPEATED_EXECUTION
        times = self._sent.get((strategy, symbol, side))
        most = self.limits.get(strategy, self.repeats_max)
        if times is None or len(_dropped(times, now_ms - self.window_ms)) < most:
            return None
        self.disabled[strategy] = now_ms
        return REPEATED_EXECUTION

    def sent(self, strategy: str, symbol: int, side: int, now_ms: int) -> None:
        """One was sent."""
        times = self._sent.setdefault((strategy, symbol, side), deque())
        _dropped(times, now_ms - self.window_ms)
        times.append(now_ms)

    def enable(self, strategy: str, *, by: str, reason: str) -> None:
        """A person switches a strategy on again. Raises InputError without a name and a reason, Refused if
        it is not off."""
        for name, value in (("by", by), ("reason", reason)):
            if not value.strip():
                raise InputError("say who switches the strategy on again, and why", field=name)
        if strategy not in self.disabled:
            raise Refused(
                "NOT_DISABLED", f"{strategy} is not switched off by the repeated-execution throttle"
            )
        del self.disabled[strategy]
        for place in [place for place in self._sent if place[0] == strategy]:
            del self._sent[place]

    def heed(self, releases: Mapping[str, Release]) -> list[str]:
        """Switch on what people have released since it was switched off. Answers which strategies."""
        named = [name for name, since in self.disabled.items() if _is_released(releases.get(name), since)]
        for name in named:
            self.enable(name, by=releases[name].by, reason=releases[name].reason)
        return named

    def to_state(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        return {"disabled": dict(self.disabled)}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Take over what was kept. Raises InputError if it cannot be read: nothing is switched on by that."""
        rows = (state or {}).get("disabled", {})
        if not isinstance(rows, dict) or not all(
            isinstance(k, str) and isinstance(v, int) for k, v in rows.items()
        ):
            raise InputError("must be an object of strategies and times", field="throttle.disabled")
        self.disabled = {**rows, **self.disabled}


@dataclass
class FightLimit:
    """How often something that a person took away may be put back: ≤ times_max within window_ms."""

    times_max: int = FIGHTS_MAX
    window_ms: int = FIGHTS_WINDOW_MS
    _times: dict[Hashable, deque[int]] = field(default_factory=dict)

    def may(self, key: Hashable, now_ms: int) -> bool:
        """May it be put back once more? True counts as done; False: close or halt, by policy."""
        times = _dropped(self._times.setdefault(key, deque()), now_ms - self.window_ms)
        if len(times) >= self.times_max:
            return False
        times.append(now_ms)
        return True

    def forget(self, key: Hashable) -> None:
        """The position is flat: the next one starts afresh."""
        self._times.pop(key, None)
