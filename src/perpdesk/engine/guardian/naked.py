"""How much has stood without a stop, for how long, and when that becomes intolerable.

The clock of a naked stretch counts only time in which the account could reach the venue; what was excluded
is kept with its cause, never dropped. Times are UTC ms of one clock, money is 1e-8 quote units.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from enum import Enum

# An uncovered position is tried again from here on, and closed at the market from there on: it is to be
# closed by 20 s, with a refusal or a lost answer on the way.
REPEAT_MS = 3_000
CLOSE_MS = 15_000
# Fill-to-stop times kept for the quantiles; the largest of all is kept besides.
TIMES_KEPT = 4_096
CAUSE_UNKNOWN = "UNREACHABLE"


class Escalation(Enum):
    """What the age of a naked stretch demands."""

    WAIT = "wait"
    REPEAT = "repeat"
    CLOSE = "close"


def escalation(age_ms: int) -> Escalation:
    """At so many counted ms without cover. Exactly 3 s repeats, exactly 15 s closes."""
    if age_ms >= CLOSE_MS:
        return Escalation.CLOSE
    return Escalation.REPEAT if age_ms >= REPEAT_MS else Escalation.WAIT


def quantile(values: Sequence[int], share: float) -> int:
    """The nearest-rank quantile; 0 of nothing."""
    if not values:
        return 0
    ordered = sorted(values)
    rank = max(1, -int(-share * len(ordered) // 1))
    return ordered[min(rank, len(ordered)) - 1]


@dataclass(frozen=True, slots=True)
class NakedReport:
    """Since the start. exposure_e8_ms: uncovered notional × ms. excluded_ms: by cause."""

    naked_ms: int
    exposure_e8_ms: int
    longest_ms: int
    now_naked: int
    stops: int
    stop_ms_p50: int
    stop_ms_p99: int
    stop_ms_max: int
    excluded_ms: dict[str, int]


@dataclass(slots=True)
class _Stretch:
    began: int  # of the counted clock
    notional_e8: int
    repeated: int = -REPEAT_MS


@dataclass
class NakedMeter:
    """Tell it what is uncovered and whether the venue can be reached; ask it what to do.

    Keys are whatever tells positions apart: (symbol, direction) for cover, position codes for fills.
    """

    repeat_ms: int = REPEAT_MS
    _now_ms: int | None = None
    _counted_ms: int = 0  # the clock that stands still while the venue is out of reach
    _cause: str = ""
    _naked: dict[Hashable, _Stretch] = field(default_factory=dict)
    _awaiting: dict[Hashable, int] = field(default_factory=dict)
    _times: deque[int] = field(default_factory=lambda: deque(maxlen=TIMES_KEPT))
    _stops: int = 0
    _stop_max_ms: int = 0
    _naked_ms: int = 0
    _exposure_e8_ms: int = 0
    _longest_ms: int = 0
    _excluded_ms: dict[str, int] = field(default_factory=dict)

    def reach(self, is_reachable: bool, now_ms: int, cause: str = CAUSE_UNKNOWN) -> None:
        """From now on the venue can (not) be reached; cause: why not, in a word (OUTAGE, BAN)."""
        self._advance(now_ms)
        self._cause = "" if is_reachable else cause or CAUSE_UNKNOWN

    def observe(self, key: Hashable, uncovered_e8: int, now_ms: int, *, since_ms: int | None = None) -> None:
        """So much notional of a position is uncovered from now on; 0: it is covered, or flat.

        since_ms: it was so before anybody looked (a start finds an old position): counted from then.
        """
        self._advance(now_ms)
        if uncovered_e8 <= 0:
            self._naked.pop(key, None)
            return
        stretch = self._naked.get(key)
        if stretch is not None:
            stretch.notional_e8 = uncovered_e8
            return
        before_ms = max(0, now_ms - since_ms) if since_ms is not None else 0
        self._naked[key] = _Stretch(self._counted_ms - before_ms, uncovered_e8)
        self._naked_ms += before_ms
        self._exposure_e8_ms += before_ms * uncovered_e8
        self._longest_ms = max(self._longest_ms, before_ms)

    def observed(self, keys: set[Hashable], now_ms: int) -> None:
        """An audit is complete: whatever it did not name is covered or flat."""
        for key in [key for key in self._naked if key not in keys]:
            self.observe(key, 0, now_ms)

    def filled(self, code: Hashable, now_ms: int) -> None:
        """A position took its first fill, or more lots: its stop is due."""
        self._advance(now_ms)
        self._awaiting.setdefault(code, self._counted_ms)

    def acknowledged(self, code: Hashable, now_ms: int) -> int | None:
        """A stop over all of its lots was seen live. Returns the ms it took, None if none was due."""
        self._advance(now_ms)
        began = self._awaiting.pop(code, None)
        if began is None:
            return None
        took_ms = self._counted_ms - began
        self._times.append(took_ms)
        self._stops += 1
        self._stop_max_ms = max(self._stop_max_ms, took_ms)
        return took_ms

    def flat(self, code: Hashable, now_ms: int) -> None:
        """The position closed before its stop was seen: nothing is due any more."""
        self._advance(now_ms)
        self._awaiting.pop(code, None)

    def age_ms(self, key: Hashable, now_ms: int) -> int:
        """Counted ms that a position has been uncovered; 0 if it is covered."""
        self._advance(now_ms)
        stretch = self._naked.get(key)
        return 0 if stretch is None else self._counted_ms - stretch.began

    def due(self, now_ms: int) -> dict[Hashable, Escalation]:
        """What must be done now: REPEAT at most every repeat_ms for each position, CLOSE each time asked."""
        self._advance(now_ms)
        found: dict[Hashable, Escalation] = {}
        for key, stretch in self._naked.items():
            age_ms = self._counted_ms - stretch.began
            what = escalation(age_ms)
            if what is Escalation.CLOSE:
                found[key] = what
            elif what is Escalation.REPEAT and age_ms - stretch.repeated >= self.repeat_ms:
                stretch.repeated = age_ms
                found[key] = what
        return found

    def report(self, now_ms: int) -> NakedReport:
        """The figures so far."""
        self._advance(now_ms)
        times = list(self._times)
        return NakedReport(
            naked_ms=self._naked_ms,
            exposure_e8_ms=self._exposure_e8_ms,
            longest_ms=self._longest_ms,
            now_naked=len(self._naked),
            stops=self._stops,
            stop_ms_p50=quantile(times, 0.5),
            stop_ms_p99=quantile(times, 0.99),
            stop_ms_max=self._stop_max_ms,
            excluded_ms=dict(self._excluded_ms),
        )

    def _advance(self, now_ms: int) -> None:
        """Charge the time since the last call to what was naked. A clock that steps back charges none."""
        passed_ms = 0 if self._now_ms is None else max(0, now_ms - self._now_ms)
        self._now_ms = now_ms
        if passed_ms == 0:
            return
        if self._cause:
            if self._naked or self._awaiting:
                self._excluded_ms[self._cause] = self._excluded_ms.get(self._cause, 0) + passed_ms
            return
        self._counted_ms += passed_ms
        for stretch in self._naked.values():
            self._naked_ms += passed_ms
            self._exposure_e8_ms += passed_ms * stretch.notional_e8
            self._longest_ms = max(self._longest_ms, self._counted_ms - stretch.began)


def figures(report: NakedReport) -> dict[str, float]:
    """The report as gauges: seconds, and uncovered notional × time in quote units × seconds."""
    found: dict[str, float] = {
        "naked_seconds": report.naked_ms / 1_000,
        "naked_longest_seconds": report.longest_ms / 1_000,
        "naked_exposure_quote_seconds": report.exposure_e8_ms / 1e11,
        "naked_positions": report.now_naked,
        "stops_acknowledged": report.stops,
        "fill_to_stop_p50_ms": report.stop_ms_p50,
        "fill_to_stop_p99_ms": report.stop_ms_p99,
        "fill_to_stop_max_ms": report.stop_ms_max,
    }
    for cause, ms in report.excluded_ms.items():
        found[f"naked_excluded_{cause.lower()}_seconds"] = ms / 1_000
    return found
