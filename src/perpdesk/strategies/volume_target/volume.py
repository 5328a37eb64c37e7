"""How much is left to trade, in how many pairs, and what to show of it.

A reading of the counter may lag, stand still or go down. V* is therefore the larger of what the counter
shows and what it showed before our first fill of the day plus what our own fills prove.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from perpdesk.strategies.volume_target.arithmetic import ONE, ZERO, ceil_div, exact
from perpdesk.strategies.volume_target.modes import MulPointMode, convert, local_volume

DAY_MS = 86_400_000
# Pairs that an ETA is made from: the newest of them, and how many there must be.
ETA_PAIRS = 20
ETA_PAIRS_MIN = 3


def day_of(ms: int) -> int:
    """The UTC day (days since 1970-01-01) of a venue time: the day key of the counter."""
    return ms // DAY_MS


@dataclass(frozen=True, slots=True)
class Day:
    """What is known of one (user, token, UTC day), over all runs of that day.

    ``best``: the highest complete reading, None before the first. ``baseline``: the best reading before our
    own first fill of the day, zero without one. ``quote``: quote of our own counted fills. ``rebased``: the
    part of it that an operator's ``on_unconfirmed: rebase`` has written off.
    """

    day: int
    best: Decimal | None = None
    baseline: Decimal = ZERO
    quote: Decimal = ZERO
    rebased: Decimal = ZERO

    def with_reading(self, displayed: Decimal) -> tuple[Day, bool]:
        """The day after a complete reading, and whether the counter went down (then it is not used)."""
        if self.best is not None and displayed < self.best:
            return self, True
        baseline = self.baseline if self.quote else displayed
        return replace(self, best=displayed, baseline=baseline), False

    @exact
    def with_fill(self, quote: Decimal) -> Day:
        """The day after a counted fill of ours."""
        return replace(self, quote=self.quote + quote)

    def with_rebase(self) -> Day:
        """The day after the fills that the counter never showed were written off."""
        return replace(self, baseline=self.best or ZERO, rebased=self.quote)


def shown(mode: MulPointMode, day: Day, m: Decimal) -> Decimal | None:
    """V(D) of the best reading; None without a reading, which is not zero."""
    return None if day.best is None else convert(mode, day.best, m)


@exact
def v_star(mode: MulPointMode, day: Day, m: Decimal) -> Decimal | None:
    """V*: the volume that counts; None without a reading of the day, which is not zero."""
    counter = shown(mode, day, m)
    if counter is None:
        return None
    own = convert(mode, day.baseline, m) + local_volume(mode, day.quote - day.rebased, m)
    return max(counter, own)


@exact
def remaining(target: Decimal, volume: Decimal) -> Decimal:
    """What is missing to the target; zero means reached (equality reaches it)."""
    return max(ZERO, target - volume)


def loop_count(missing: Decimal, unit: Decimal) -> int:
    """Pairs that cover what is missing: at least one while anything is missing, none when nothing is."""
    return max(1, ceil_div(missing, unit)) if missing > 0 else 0


def batch_pairs(missing: Decimal, unit: Decimal, max_batch_pairs: int) -> int:
    """Pairs of one batch. For all_users ``unit`` is the sum of the active users' units."""
    return min(loop_count(missing, unit), max_batch_pairs)


@dataclass(frozen=True, slots=True)
class Claims:
    """What all_users pairs on their way may still add, so that several users do not buy the same rest.

    ``volumes``: V* of every listed user, None where there is no reading. ``open``: claimed units by user.
    """

    target: Decimal
    volumes: Mapping[int, Decimal | None]
    open: Mapping[int, Decimal]

    def total(self) -> Decimal | None:
        """V* of all users; None if any of them has no reading."""
        return total_of(list(self.volumes.values()))

    @exact
    def claim(self, user: int, unit: Decimal) -> tuple[Claims, bool]:
        """May this user start a pair? Then its unit is claimed. A user holds one claim at a time."""
        total = self.total()
        if total is None or user in self.open or total + sum(self.open.values()) >= self.target:
            return self, False
        return replace(self, open={**self.open, user: unit}), True

    def settle(self, user: int, volume: Decimal | None) -> Claims:
        """The user's pair has ended: its claim becomes the volume that is now known."""
        rest = {key: claim for key, claim in self.open.items() if key != user}
        return replace(self, open=rest, volumes={**self.volumes, user: volume})


@exact
def total_of(volumes: Sequence[Decimal | None]) -> Decimal | None:
    """The sum, None if any part of it is not known."""
    known = [volume for volume in volumes if volume is not None]
    return sum(known, ZERO) if len(known) == len(volumes) else None


@exact
def progress(done: Decimal, target: Decimal) -> str:
    """``"7.53%"``: the share done, rounded down to two places, at most ``"100.00%"``."""
    hundredths = int(min(done, target) * 10_000 // target)
    return f"{hundredths // 100}.{hundredths % 100:02d}%"


@exact
def progress_per_user(volumes: Sequence[Decimal], target: Decimal) -> str:
    """Progress where every user has the target for itself: what one has too much helps no other."""
    return progress(sum((min(volume, target) for volume in volumes), ZERO), target * len(volumes))


@exact
def cost_bp(cost: Decimal, real_volume: Decimal) -> Decimal | None:
    """Cost in basis points of the real volume; None before anything was traded."""
    return 10_000 * cost / real_volume if real_volume > 0 else None


@exact
def mean_pair_seconds(durations_ms: Sequence[int]) -> Decimal | None:
    """Mean of the newest pairs (interval included); None before there are three."""
    newest = durations_ms[-ETA_PAIRS:]
    return Decimal(sum(newest)) / (1000 * len(newest)) if len(newest) >= ETA_PAIRS_MIN else None


@exact
def eta_seconds(pairs_left: int, mean_seconds: Decimal | None) -> int | None:
    """Seconds until one user is done, rounded up; None if too few pairs were traded to tell."""
    return None if mean_seconds is None else ceil_div(pairs_left * mean_seconds, ONE)


@exact
def eta_all_users(missing: Decimal, rates: Sequence[tuple[Decimal, Decimal | None]]) -> int | None:
    """Seconds until all users together are done; ``rates``: (unit, mean seconds of a pair) by user."""
    per_second = [unit / mean for unit, mean in rates if mean is not None]
    if len(per_second) < len(rates) or not per_second:
        return None
    return ceil_div(missing / sum(per_second), ONE)
