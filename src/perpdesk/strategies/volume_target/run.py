"""One user's run on one token: query the counter, compute, trade a batch of pairs, query again.

``next_run(run, event) -> (run, wanted)`` is the whole of it; ``next_run_ms`` says when a ``Passed`` will
matter. The pair itself lives in ``pair``; here only its end is heard of. What is not known is never zero:
without a reading there is no batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from perpdesk.strategies.volume_target.arithmetic import ZERO, exact
from perpdesk.strategies.volume_target.guards import Answer, Reason, Verdict, wait_ms
from perpdesk.strategies.volume_target.modes import (
    MulPointMode,
    OnDayRollover,
    OnUnconfirmed,
    TargetScope,
    unit,
)
from perpdesk.strategies.volume_target.volume import Day, batch_pairs, day_of, remaining, shown, v_star

BACKOFF_MAX_MS = 60_000


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "QUEUED"
    CHECKING = "CHECKING"
    BATCH = "BATCH"
    SETTLE = "SETTLE"
    CONFIRMING = "CONFIRMING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    DAY_ENDED = "DAY_ENDED"
    HALTED = "HALTED"
    DONE = "DONE"
    SKIPPED = "SKIPPED"  # at the target before the first pair
    DONE_UNCONFIRMED = "DONE_UNCONFIRMED"

    @property
    def is_over(self) -> bool:
        """Nothing is going on: no slot, no stream."""
        return self in _OVER


_OVER = (
    RunState.STOPPED,
    RunState.DAY_ENDED,
    RunState.HALTED,
    RunState.DONE,
    RunState.SKIPPED,
    RunState.DONE_UNCONFIRMED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTerms:
    """What a run is traded under; a reload replaces it between pairs (``Reloaded``)."""

    target: Decimal
    scope: TargetScope
    mode: MulPointMode
    m: Decimal
    amount: Decimal
    sides: int
    interval_ms: int
    retry_ms: int
    check_delay_ms: int
    max_batch_pairs: int
    max_failures: int
    confirm_attempts: int
    on_unconfirmed: OnUnconfirmed
    on_day_rollover: OnDayRollover
    soft_wait_max_ms: int
    stop_grace_ms: int

    @property
    def unit(self) -> Decimal:
        """u: what one pair adds to V."""
        return unit(self.mode, self.amount, self.m, self.sides)


@dataclass(frozen=True, slots=True)
class Others:
    """Scope all_users: the sums over the *other* listed users. ``units`` counts the active ones."""

    v_star: Decimal
    shown: Decimal
    units: Decimal


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the ledger keeps it. ``wait_until_ms``: nothing is done before (None: waiting for news)."""

    terms: RunTerms
    day: Day
    now_ms: int
    state: RunState = RunState.QUEUED
    reason: Reason = Reason.NONE
    detail: str = ""
    pairs: int = 0
    batch_left: int = 0
    failures: int = 0
    pair_live: bool = False
    wait_until_ms: int | None = None
    backoff_ms: int = 1_000
    soft_waited_ms: int = 0
    confirms: int = 0
    stopping: bool = False
    holds_slot: bool = False
    tomorrow: Decimal = ZERO  # quote that a pair across midnight has traded on the next day already


@dataclass(frozen=True, slots=True)
class SlotFree:
    """One of max_concurrent_users is free for this run."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A complete reading of the counter. ``others`` is needed in scope all_users; None: not known."""

    now_ms: int
    day: int
    displayed: Decimal
    others: Others | None = None


@dataclass(frozen=True, slots=True)
class ReadingFailed:
    """No complete reading: an error, an envelope without the list, a negative number, another day."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What ``guards.may_start_pair`` said to ``Judge``."""

    now_ms: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Counted:
    """A counted fill of ours was booked (once), on the UTC day of its venue time."""

    now_ms: int
    day: int
    quote: Decimal


@dataclass(frozen=True, slots=True)
class PairEnded:
    """The pair is FLAT or QUARANTINED, and every counted fill has been told before.

    ``failure`` is ``pair.is_failure``, ``attempted`` is false for NOT_SENT and STOPPED, and
    ``breaks_loss_limit`` is what the pair says.
    """

    now_ms: int
    quarantined: bool
    failure: bool
    attempted: bool
    breaks_loss_limit: bool


@dataclass(frozen=True, slots=True)
class StopRun:
    """No new pair; end as soon as the live one has."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Halt:
    """Something outside the pair halts this user: AUTH, a revoked key, a kill."""

    now_ms: int
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """A person lets a halted run go on."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Reloaded:
    """New terms; they act from the next pair or reading on."""

    now_ms: int
    terms: RunTerms


@dataclass(frozen=True, slots=True)
class RunRestarted:
    """The process was started anew; ``pair_live`` is what the ledger says of the user's pair."""

    now_ms: int
    pair_live: bool


@dataclass(frozen=True, slots=True)
class Passed:
    """Time has passed."""

    now_ms: int


RunEvent = (
    SlotFree
    | Reading
    | ReadingFailed
    | Judged
    | Counted
    | PairEnded
    | StopRun
    | Halt
    | Resume
    | Reloaded
    | RunRestarted
    | Passed
)


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Open the user's event stream."""


@dataclass(frozen=True, slots=True)
class ReadVolume:
    """Read the counter of this UTC day."""

    day: int


@dataclass(frozen=True, slots=True)
class Judge:
    """Look at everything of ``guards.View`` and answer with ``Judged``."""


@dataclass(frozen=True, slots=True)
class StartPair:
    """Plan and send the next pair."""


@dataclass(frozen=True, slots=True)
class StopPair:
    """Hand the stop to the live pair."""

    grace_ms: int


@dataclass(frozen=True, slots=True)
class Release:
    """The run is over: close the stream, free the slot, store the state."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Log this: COUNTER_WENT_DOWN, HALTED, …"""

    code: str


RunWanted = OpenStream | ReadVolume | Judge | StartPair | StopPair | Release | Notice


def queued(terms: RunTerms, day: Day, now_ms: int) -> Run:
    """A new run. ``day`` comes from the ledger: an earlier run's fills and readings of today count."""
    today = day if day.day == day_of(now_ms) else Day(day_of(now_ms))
    return Run(terms, today, now_ms)


def next_run_ms(run: Run) -> int | None:
    """When a Passed will matter next, None if only news can."""
    return run.wait_until_ms


def next_run(run: Run, event: RunEvent) -> tuple[Run, tuple[RunWanted, ...]]:
    """The run after the event, and what is to be done now, in this order."""
    wanted: list[RunWanted] = []
    run = replace(run, now_ms=max(run.now_ms, event.now_ms))
    if not run.state.is_over and not run.pair_live and _is_other_day(run):
        run = _day_ended(run, wanted)
    run = _take(run, event, wanted)
    return run, tuple(wanted)


def _is_other_day(run: Run) -> bool:
    return run.state is not RunState.QUEUED and day_of(run.now_ms) > run.day.day


def _take(run: Run, event: RunEvent, wanted: list[RunWanted]) -> Run:
    match event:
        case SlotFree() if run.state is RunState.QUEUED:
            wanted.append(OpenStream())
            today = day_of(run.now_ms)
            day = run.day if run.day.day == today else Day(today)
            return _check(replace(run, holds_slot=True, day=day, tomorrow=ZERO), wanted)
        case Reading():
            return _reading(run, event, wanted)
        case ReadingFailed():
            return _reading_failed(run, wanted)
        case Judged(verdict=verdict):
            return _judged(run, verdict, wanted)
        case Counted(day=day, quote=quote):
            return _counted(run, day, quote)
        case PairEnded():
            return _pair_ended(run, event, wanted)
        case StopRun():
            return _stop(run, wanted)
        case Halt(reason=reason, detail=detail) if not run.state.is_over:
            return _halt(run, reason, detail, wanted)
        case Resume() if run.state is RunState.HALTED and not run.pair_live:
            return replace(
                run,
                state=RunState.QUEUED,
                reason=Reason.NONE,
                detail="",
                failures=0,
                soft_waited_ms=0,
                stopping=False,
            )
        case Reloaded(terms=terms):
            return replace(run, terms=terms)
        case RunRestarted(pair_live=pair_live):
            return _restarted(run, pair_live, wanted)
        case Passed() if run.wait_until_ms is not None and run.now_ms >= run.wait_until_ms:
            return _waited(replace(run, wait_until_ms=None), wanted)
        case _:
            return run


def _check(run: Run, wanted: list[RunWanted], state: RunState = RunState.CHECKING) -> Run:
    wanted.append(ReadVolume(run.day.day))
    return replace(run, state=state, wait_until_ms=None)


@exact
def _counted(run: Run, day: int, quote: Decimal) -> Run:
    if day == run.day.day:
        return replace(run, day=run.day.with_fill(quote))
    return replace(run, tomorrow=run.tomorrow + quote) if day == run.day.day + 1 else run


def _wait(run: Run, ms: int) -> Run:
    return replace(run, wait_until_ms=run.now_ms + ms)


def _over(run: Run, state: RunState, reason: Reason, detail: str, wanted: list[RunWanted]) -> Run:
    if run.holds_slot:
        wanted.append(Release())
    return replace(run, state=state, reason=reason, detail=detail, wait_until_ms=None, holds_slot=False)


def _halt(run: Run, reason: Reason, detail: str, wanted: list[RunWanted]) -> Run:
    """Halt; a live pair runs to its own end first, under the slot of the run."""
    if run.pair_live:
        return replace(run, state=RunState.STOPPING, reason=reason, detail=detail, wait_until_ms=None)
    wanted.append(Notice("HALTED"))
    return _over(run, RunState.HALTED, reason, detail, wanted)


def _stop(run: Run, wanted: list[RunWanted]) -> Run:
    if run.state.is_over or (run.stopping and run.state is RunState.STOPPING):
        return run
    if run.pair_live:
        wanted.append(StopPair(run.terms.stop_grace_ms))
        # a run that is being halted stays so: the reason survives the stop
        reason = run.reason if run.state is RunState.STOPPING else Reason.STOP
        return replace(run, state=RunState.STOPPING, reason=reason, stopping=True, wait_until_ms=None)
    return _over(run, RunState.STOPPED, Reason.STOP, "", wanted)


def _day_ended(run: Run, wanted: list[RunWanted]) -> Run:
    """A new UTC day: the counter begins anew, and nothing of yesterday says how much is missing today."""
    if run.terms.on_day_rollover is OnDayRollover.STOP or run.state is RunState.STOPPING:
        return _over(run, RunState.DAY_ENDED, Reason.DAY, "", wanted)
    today = day_of(run.now_ms)
    quote = run.tomorrow if today == run.day.day + 1 else ZERO
    fresh = replace(
        run,
        day=Day(today, quote=quote),
        tomorrow=ZERO,
        batch_left=0,
        confirms=0,
        backoff_ms=1_000,
        soft_waited_ms=0,
    )
    return _check(fresh, wanted)


def _waited(run: Run, wanted: list[RunWanted]) -> Run:
    match run.state:
        case RunState.CHECKING | RunState.SETTLE:
            return _check(run, wanted)
        case RunState.CONFIRMING:
            return _check(run, wanted, RunState.CONFIRMING)
        case RunState.BATCH if not run.pair_live:
            wanted.append(Judge())
            return run
        case _:
            return run


def _restarted(run: Run, pair_live: bool, wanted: list[RunWanted]) -> Run:
    """Ask again what was asked when the process ended; nothing else has changed."""
    run = replace(run, pair_live=pair_live)
    if run.state.is_over or run.state is RunState.QUEUED:
        return run
    wanted.append(OpenStream())
    if pair_live:
        if run.stopping:
            wanted.append(StopPair(run.terms.stop_grace_ms))
        return run
    if run.state is RunState.STOPPING:
        if run.reason is Reason.STOP:
            return _over(run, RunState.STOPPED, Reason.STOP, "", wanted)
        return _halt(run, run.reason, run.detail, wanted)
    return run if run.wait_until_ms is not None else _waited(run, wanted)


# Readings.


def _reading(run: Run, event: Reading, wanted: list[RunWanted]) -> Run:
    if event.day != run.day.day or not event.displayed.is_finite() or event.displayed < 0:
        return _reading_failed(run, wanted)
    if run.pair_live:
        # it may or may not contain the pair that is on its way: of no use as a baseline
        return run
    day, went_down = run.day.with_reading(event.displayed)
    if went_down:
        wanted.append(Notice("COUNTER_WENT_DOWN"))
    run = replace(run, day=day)
    if run.state not in (RunState.CHECKING, RunState.CONFIRMING) or run.wait_until_ms is not None:
        return run
    if run.terms.scope is TargetScope.ALL_USERS and event.others is None:
        return _reading_failed(run, wanted)
    run = replace(run, backoff_ms=1_000, soft_waited_ms=0)
    counter, own = _volumes(run, event.others)
    if counter >= run.terms.target:
        state = RunState.DONE if run.pairs else RunState.SKIPPED
        return _over(run, state, Reason.TARGET_REACHED, "", wanted)
    if own >= run.terms.target:
        return _confirm(run, wanted)
    return _batch(run, own, event.others, wanted)


@exact
def _volumes(run: Run, others: Others | None) -> tuple[Decimal, Decimal]:
    """(V(D), V*) that are compared with the target: the user's own, or all users'."""
    terms = run.terms
    counter, own = shown(terms.mode, run.day, terms.m), v_star(terms.mode, run.day, terms.m)
    assert counter is not None
    assert own is not None
    if terms.scope is TargetScope.ALL_USERS and others is not None:
        return counter + others.shown, own + others.v_star
    return counter, own


def _reading_failed(run: Run, wanted: list[RunWanted]) -> Run:
    waits = (RunState.CHECKING, RunState.CONFIRMING)
    if run.state not in waits or run.wait_until_ms is not None:
        return run
    waited = run.soft_waited_ms + run.backoff_ms
    if waited > run.terms.soft_wait_max_ms:
        return _halt(run, Reason.READING_MISSING, "", wanted)
    longer = min(2 * run.backoff_ms, BACKOFF_MAX_MS)
    return replace(_wait(run, run.backoff_ms), backoff_ms=longer, soft_waited_ms=waited)


def _confirm(run: Run, wanted: list[RunWanted]) -> Run:
    """Our fills prove the target, the counter does not show it yet."""
    if run.confirms < run.terms.confirm_attempts:
        confirming = replace(run, state=RunState.CONFIRMING, confirms=run.confirms + 1)
        return _wait(confirming, run.terms.check_delay_ms)
    if run.terms.on_unconfirmed is OnUnconfirmed.STOP:
        return _over(run, RunState.DONE_UNCONFIRMED, Reason.NONE, "", wanted)
    wanted.append(Notice("REBASED"))
    return _check(replace(run, day=run.day.with_rebase(), confirms=0), wanted)


@exact
def _batch(run: Run, own: Decimal, others: Others | None, wanted: list[RunWanted]) -> Run:
    units = run.terms.unit + (ZERO if others is None else others.units)
    pairs = batch_pairs(remaining(run.terms.target, own), units, run.terms.max_batch_pairs)
    wanted.append(Judge())
    return replace(run, state=RunState.BATCH, batch_left=pairs, confirms=0, wait_until_ms=None)


# Pairs.


def _judged(run: Run, verdict: Verdict, wanted: list[RunWanted]) -> Run:
    if run.state is not RunState.BATCH or run.pair_live or run.wait_until_ms is not None:
        return run
    if verdict.answer is Answer.GO:
        wanted.append(StartPair())
        return replace(run, pair_live=True, pairs=run.pairs + 1, soft_waited_ms=0, reason=Reason.NONE)
    if verdict.answer is Answer.SOFT:
        return _soft(run, verdict, wanted)
    match verdict.reason:
        case Reason.TARGET_REACHED:
            return _settle(run)
        case Reason.STOP:
            return _over(run, RunState.STOPPED, Reason.STOP, "", wanted)
        case Reason.DAY:
            return _day_ended(run, wanted)
        case _:
            return _halt(run, verdict.reason, verdict.detail, wanted)


def _soft(run: Run, verdict: Verdict, wanted: list[RunWanted]) -> Run:
    """Wait without using up an iteration of the batch, but not for ever."""
    ms = wait_ms(verdict.reason)
    waited = run.soft_waited_ms + ms
    if waited > run.terms.soft_wait_max_ms:
        return _halt(run, verdict.reason, "waited too long", wanted)
    return replace(_wait(run, ms), soft_waited_ms=waited, reason=verdict.reason)


def _settle(run: Run) -> Run:
    settled = replace(run, state=RunState.SETTLE, batch_left=0, reason=Reason.NONE)
    return _wait(settled, run.terms.check_delay_ms)


def _pair_ended(run: Run, event: PairEnded, wanted: list[RunWanted]) -> Run:
    if not run.pair_live:
        return run
    after = run.failures + 1 if event.failure else 0
    failures = after if event.attempted else run.failures
    left = max(0, run.batch_left - 1)
    run = replace(run, pair_live=False, failures=failures, batch_left=left)
    if event.quarantined:
        return _halt(run, Reason.QUARANTINE, "", wanted)
    if event.breaks_loss_limit:
        return _halt(run, Reason.LOSS_TRADE, "", wanted)
    if run.state is RunState.STOPPING:
        if run.reason is Reason.STOP:
            return _over(run, RunState.STOPPED, Reason.STOP, "", wanted)
        return _halt(run, run.reason, run.detail, wanted)
    if failures >= run.terms.max_failures:
        return _halt(run, Reason.FAILURES, str(failures), wanted)
    if _is_other_day(run):
        return _day_ended(run, wanted)
    own = v_star(run.terms.mode, run.day, run.terms.m)
    reached = run.terms.scope is TargetScope.PER_USER and own is not None and own >= run.terms.target
    if left == 0 or reached:
        return _settle(run)
    went_well = event.attempted and not event.failure
    run = replace(run, reason=Reason.NONE)
    return _wait(run, run.terms.interval_ms if went_well else run.terms.retry_ms)
