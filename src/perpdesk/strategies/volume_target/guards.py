"""May a pair start? The first line that fails decides, and says whether to wait (SOFT) or to halt (HARD).

Everything that is judged is an argument. What is not known is None, and None never lets a pair start.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from perpdesk.strategies.volume_target.arithmetic import exact
from perpdesk.strategies.volume_target.losses import loss_allows

LEASE_SPARE_MS = 500
KEY_CHECK_MAX_MS = 3_600_000
# After a volatile window the price must have been calm for this long.
CALM_MS = 10_000
SOFT_WAIT_MS = 1_000
BALANCE_WAIT_MS = 60_000


class Answer(StrEnum):
    """GO, wait and ask again, or halt."""

    GO = "GO"
    SOFT = "SOFT"
    HARD = "HARD"


class Reason(StrEnum):
    """Why not."""

    NONE = ""
    HALTED = "HALTED"
    STOP = "STOP"
    QUARANTINE = "QUARANTINE"
    DAY = "DAY"
    FAILURES = "FAILURES"
    LOSS_DAY = "LOSS_DAY"
    LOSS_TRADE = "LOSS_TRADE"
    INSTRUMENT = "INSTRUMENT"
    FILTER = "FILTER"
    KEY = "KEY"
    TARGET_REACHED = "TARGET_REACHED"
    LEASE = "LEASE"
    LATE_FILL = "LATE_FILL"
    READING_MISSING = "READING_MISSING"
    PRICE_STALE = "PRICE_STALE"
    VOLATILITY = "VOLATILITY"
    SPREAD = "SPREAD"
    BALANCE = "BALANCE"
    SELF_TRADE_WAIT = "SELF_TRADE_WAIT"
    RATE = "RATE"
    STREAM_DOWN = "STREAM_DOWN"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer and its reason; ``detail`` names the filter or the account state."""

    answer: Answer
    reason: Reason = Reason.NONE
    detail: str = ""


GO = Verdict(Answer.GO)


def price_is_fresh(received_age_ms: int | None, event_age_ms: int | None, max_age_ms: int) -> bool:
    """Are both ages known and at most ``max_age_ms``?"""
    ages = (received_age_ms, event_age_ms)
    return all(age is not None and age <= max_age_ms for age in ages)


@exact
def volatility(lowest: Decimal, highest: Decimal) -> Decimal | None:
    """(highest − lowest) / lowest of the window; None where the window has no price above zero."""
    return (highest - lowest) / lowest if lowest > 0 else None


@exact
def is_calm(window: tuple[Decimal, Decimal] | None, limit: Decimal) -> bool:
    """Is the (lowest, highest) of a *covered* window within the limit? Equality passes, None does not."""
    if window is None or window[0] <= 0:
        return False
    # without the quotient, so that equality stays equality
    return window[1] - window[0] <= limit * window[0]


def volatility_allows(
    window: tuple[Decimal, Decimal] | None, limit: Decimal, blocked_ms: int | None, now_ms: int
) -> tuple[bool, int | None]:
    """(may a pair start, when the window was last above the limit): it must have been calm for 10 s since."""
    if not is_calm(window, limit):
        return False, now_ms
    if blocked_ms is not None and now_ms - blocked_ms < CALM_MS:
        return False, blocked_ms
    return True, None


@exact
def spread_allows(bid: Decimal | None, ask: Decimal | None, limit: Decimal) -> bool:
    """Is there a book, not crossed, whose spread over its middle is at most ``limit``?"""
    if bid is None or ask is None or bid <= 0 or bid >= ask:
        return False
    return (ask - bid) * 2 <= limit * (ask + bid)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that decides whether a user may start a pair. None: not known.

    ``account_state``: RUN or a rung of the kill ladder; None (unreadable) counts as HALT. ``same_day``: the
    day key is the run's. ``filter_code``: why the plan was refused (``prices.plan_pair``), None if it was
    not or there is no price. ``key_checked_ms_ago``: age of the last permission check that said yes.
    ``missing``: what is left to the target (of all users in scope all_users), None without a reading.
    ``claim_ok``: the all_users claim was granted (true in scope per_user). ``self_trade_clear``: the
    registry of live prices lets both prices in.
    """

    account_state: str | None
    stopped: bool
    quarantined: bool
    late_fill: bool
    same_day: bool
    failures: int
    max_failures: int
    day_loss: Decimal | None
    day_loss_all: Decimal | None
    max_loss_per_trade: Decimal
    max_loss_per_day: Decimal
    max_loss_per_day_all: Decimal
    instrument_ok: bool
    filter_code: str | None
    key_checked_ms_ago: int | None
    missing: Decimal | None
    claim_ok: bool
    lease_left_ms: int | None
    recv_window_ms: int
    price_fresh: bool
    calm: bool
    spread_ok: bool
    free_usdt: Decimal | None
    needed_usdt: Decimal | None
    self_trade_clear: bool
    rate_ok: bool
    stream_ok: bool


def may_start_pair(view: View) -> Verdict:
    """GO, or the first line that fails."""
    for reason, failed, detail in _hard(view):
        if failed:
            return Verdict(Answer.HARD, reason, detail)
    for reason, failed in _soft(view):
        if failed:
            return Verdict(Answer.SOFT, reason)
    return GO


def _hard(view: View) -> tuple[tuple[Reason, bool, str], ...]:
    key_age = view.key_checked_ms_ago
    return (
        (Reason.HALTED, view.account_state != "RUN", view.account_state or "unreadable"),
        (Reason.STOP, view.stopped, ""),
        (Reason.QUARANTINE, view.quarantined, ""),
        (Reason.DAY, not view.same_day, ""),
        (Reason.FAILURES, view.failures >= view.max_failures, str(view.failures)),
        (Reason.LOSS_DAY, not _loss_allows(view), ""),
        (Reason.INSTRUMENT, not view.instrument_ok, ""),
        (Reason.FILTER, view.filter_code is not None, view.filter_code or ""),
        (Reason.KEY, key_age is None or key_age > KEY_CHECK_MAX_MS, ""),
        (Reason.TARGET_REACHED, view.missing is not None and view.missing <= 0, ""),
    )


def _loss_allows(view: View) -> bool:
    """An unknown loss allows nothing."""
    if view.day_loss is None or view.day_loss_all is None:
        return False
    return loss_allows(view.day_loss, view.max_loss_per_trade, view.max_loss_per_day) and loss_allows(
        view.day_loss_all, view.max_loss_per_trade, view.max_loss_per_day_all
    )


def _soft(view: View) -> tuple[tuple[Reason, bool], ...]:
    lease = view.lease_left_ms
    short = view.free_usdt is None or view.needed_usdt is None or view.free_usdt < view.needed_usdt
    return (
        (Reason.LEASE, lease is None or lease < view.recv_window_ms + LEASE_SPARE_MS),
        (Reason.LATE_FILL, view.late_fill),
        (Reason.READING_MISSING, view.missing is None or not view.claim_ok),
        (Reason.PRICE_STALE, not view.price_fresh),
        (Reason.VOLATILITY, not view.calm),
        (Reason.SPREAD, not view.spread_ok),
        (Reason.BALANCE, short),
        (Reason.SELF_TRADE_WAIT, not view.self_trade_clear),
        (Reason.RATE, not view.rate_ok),
        (Reason.STREAM_DOWN, not view.stream_ok),
    )


def wait_ms(reason: Reason) -> int:
    """How long a SOFT reason waits before it is asked again."""
    return BALANCE_WAIT_MS if reason is Reason.BALANCE else SOFT_WAIT_MS
