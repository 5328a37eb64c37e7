"""A user's run: readings, batches, waits, halts. What is not known never starts a pair."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies.volume_target.build import D, run_terms

from perpdesk.strategies.volume_target.guards import GO, Answer, Reason, Verdict
from perpdesk.strategies.volume_target.modes import (
    MulPointMode,
    OnDayRollover,
    OnUnconfirmed,
    TargetScope,
    convert,
)
from perpdesk.strategies.volume_target.run import (
    Counted,
    Halt,
    Judge,
    Judged,
    Notice,
    OpenStream,
    Others,
    PairEnded,
    Passed,
    Reading,
    ReadingFailed,
    ReadVolume,
    Release,
    Reloaded,
    Resume,
    Run,
    RunEvent,
    RunRestarted,
    RunState,
    RunTerms,
    RunWanted,
    SlotFree,
    StartPair,
    StopPair,
    StopRun,
    next_run,
    next_run_ms,
    queued,
)
from perpdesk.strategies.volume_target.volume import DAY_MS, Day

S = RunState


def after(run: Run, *events: RunEvent) -> tuple[Run, list[RunWanted]]:
    wanted: list[RunWanted] = []
    for event in events:
        run, more = next_run(run, event)
        wanted.extend(more)
    return run, wanted


def checking(**changes: object) -> Run:
    return after(queued(run_terms(**changes), Day(0), 0), SlotFree(0))[0]


def trading(**changes: object) -> Run:
    """In its batch, the first pair live."""
    return after(checking(**changes), Reading(1, 0, D(0)), Judged(2, GO))[0]


def flat(now: int, **changes: bool) -> PairEnded:
    told = {"quarantined": False, "failure": False, "attempted": True, "breaks_loss_limit": False}
    return PairEnded(now, **{**told, **changes})


def test_a_slot_opens_the_stream_and_asks_the_counter() -> None:
    run, wanted = after(queued(run_terms(), Day(0), 0), SlotFree(0))
    assert (run.state, wanted) == (S.CHECKING, [OpenStream(), ReadVolume(0)])


def test_at_the_target_no_order_is_sent() -> None:
    run, wanted = after(checking(), Reading(1, 0, D(100)))
    assert (run.state, wanted) == (S.SKIPPED, [Release()])
    assert after(run, Judged(2, GO), Passed(3), SlotFree(4))[1] == []


def test_a_batch_is_as_many_pairs_as_are_missing() -> None:
    run, wanted = after(checking(), Reading(1, 0, D(20)))
    assert (run.state, run.batch_left, wanted) == (S.BATCH, 3, [Judge()])
    assert after(checking(max_batch_pairs=2), Reading(1, 0, D(20)))[0].batch_left == 2


def test_an_error_is_not_zero() -> None:
    run, wanted = after(checking(), ReadingFailed(1))
    assert (run.state, wanted, next_run_ms(run)) == (S.CHECKING, [], 1_001)
    waits, now = [], 1
    for _ in range(8):
        run, wanted = after(run, Passed(next_run_ms(run) or 0))
        assert wanted == [ReadVolume(0)]
        now = run.now_ms
        run, _ = after(run, ReadingFailed(now))
        waits.append((next_run_ms(run) or 0) - now)
    assert waits == [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]


def test_errors_without_end_halt() -> None:
    run = checking()
    for _ in range(100):
        run, wanted = after(run, ReadingFailed(run.now_ms))
        if run.state is S.HALTED:
            break
        run, _ = after(run, Passed(next_run_ms(run) or 0))
    assert (run.state, run.reason, run.pairs) == (S.HALTED, Reason.READING_MISSING, 0)
    assert wanted == [Notice("HALTED"), Release()]


@pytest.mark.parametrize("reading", [Reading(1, 1, D(5)), Reading(1, 0, D(-1)), Reading(1, 0, D("NaN"))])
def test_a_reading_that_cannot_be_is_an_error(reading: Reading) -> None:
    run, wanted = after(checking(), reading)
    assert (run.state, run.day.best, wanted) == (S.CHECKING, None, [])


def test_pairs_follow_each_other_after_the_interval_and_failures_later() -> None:
    run, wanted = after(trading(), Counted(5, 0, D(30)), flat(10))
    assert (next_run_ms(run), run.batch_left, wanted) == (1_010, 3, [])
    run, wanted = after(run, Passed(1_010))
    assert wanted == [Judge()]
    run, wanted = after(run, Judged(1_011, GO))
    assert wanted == [StartPair()]
    run, wanted = after(run, flat(1_020, failure=True))
    assert (next_run_ms(run), run.batch_left, run.failures) == (6_020, 2, 1)


def test_only_one_pair_at_a_time() -> None:
    run = trading()
    assert after(run, Judged(3, GO), Passed(4), Reading(5, 0, D(0)), Judged(6, GO))[1] == []
    done, _ = after(run, flat(10))
    # told twice
    assert after(done, flat(11))[0] == after(done, Passed(11))[0]


def test_a_reading_while_a_pair_is_on_its_way_is_no_baseline() -> None:
    run, _ = after(trading(), Reading(3, 0, D(30)), Counted(4, 0, D(30)))
    assert (run.day.best, run.day.baseline, run.day.quote) == (0, 0, 30)


def test_consecutive_failures_halt_and_a_success_forgets_them() -> None:
    run = trading(target=D(10_000), max_failures=2)
    for failure, left in ((True, 1), (False, 0), (True, 1)):
        run, _ = after(run, flat(run.now_ms, failure=failure))
        assert run.failures == left
        run, wanted = after(run, Passed(next_run_ms(run) or 0), Judged(run.now_ms, GO))
        assert StartPair() in wanted
    # what was not tried is neither
    run, _ = after(run, flat(run.now_ms, attempted=False))
    assert run.failures == 1
    run, _ = after(run, Passed(next_run_ms(run) or 0), Judged(run.now_ms, GO), flat(run.now_ms, failure=True))
    assert (run.state, run.reason) == (S.HALTED, Reason.FAILURES)
    resumed, _ = after(run, Resume(run.now_ms))
    assert (resumed.state, resumed.failures) == (S.QUEUED, 0)


def test_soft_reasons_wait_without_using_up_the_batch_and_not_for_ever() -> None:
    run, _ = after(checking(), Reading(1, 0, D(0)))
    soft = Verdict(Answer.SOFT, Reason.VOLATILITY)
    waiting, _ = after(run, Judged(2, soft))
    assert (waiting.state, waiting.batch_left, next_run_ms(waiting)) == (S.BATCH, 4, 1_002)
    assert next_run_ms(after(run, Judged(2, Verdict(Answer.SOFT, Reason.BALANCE)))[0]) == 60_002
    for _ in range(601):
        run, _ = after(run, Judged(run.now_ms, soft))
        run, _ = after(run, Passed(next_run_ms(run) or run.now_ms))
    assert (run.state, run.reason) == (S.HALTED, Reason.VOLATILITY)


@pytest.mark.parametrize(
    "reason", [Reason.HALTED, Reason.QUARANTINE, Reason.LOSS_DAY, Reason.FILTER, Reason.KEY]
)
def test_hard_reasons_halt(reason: Reason) -> None:
    run, _ = after(checking(), Reading(1, 0, D(0)), Judged(2, Verdict(Answer.HARD, reason, "why")))
    assert (run.state, run.reason, run.detail) == (S.HALTED, reason, "why")
    assert after(run, Passed(10**9), Reading(10**9, 11, D(0)), Judged(10**9, GO))[1] == []


def test_the_last_pair_settles_then_the_counter_is_asked_again() -> None:
    run, _ = after(trading(target=D(30)), Counted(3, 0, D(30)), flat(10))
    assert (run.state, next_run_ms(run)) == (S.SETTLE, 60_010)
    run, wanted = after(run, Passed(60_010))
    assert (run.state, wanted) == (S.CHECKING, [ReadVolume(0)])
    done, wanted = after(run, Reading(60_011, 0, D(30)))
    assert (done.state, wanted) == (S.DONE, [Release()])


def lagging(**changes: object) -> Run:
    run, _ = after(trading(target=D(30), **changes), Counted(3, 0, D(30)), flat(10), Passed(60_010))
    return run


def test_a_counter_that_lags_is_waited_for_and_not_traded_after() -> None:
    run, wanted = lagging(), []
    for attempt in range(1, 6):
        run, wanted = after(run, Reading(run.now_ms, 0, D(0)))
        assert (run.state, run.confirms, wanted) == (S.CONFIRMING, attempt, [])
        run, wanted = after(run, Passed(next_run_ms(run) or 0))
        assert wanted == [ReadVolume(0)]
    confirmed, _ = after(run, Reading(run.now_ms, 0, D(30)))
    assert confirmed.state is S.DONE
    run, wanted = after(run, Reading(run.now_ms, 0, D(0)))
    assert (run.state, run.pairs, wanted) == (S.DONE_UNCONFIRMED, 1, [Release()])


def test_rebase_trades_again_because_somebody_said_so() -> None:
    run = lagging(confirm_attempts=0, on_unconfirmed=OnUnconfirmed.REBASE)
    run, wanted = after(run, Reading(run.now_ms, 0, D(0)))
    assert (run.state, wanted) == (S.CHECKING, [Notice("REBASED"), ReadVolume(0)])
    run, wanted = after(run, Reading(run.now_ms, 0, D(0)))
    assert (run.state, run.batch_left) == (S.BATCH, 1)


def test_a_falling_counter_is_noticed_and_not_used() -> None:
    run, _ = after(checking(), ReadingFailed(0))
    run, _ = after(run, Reading(1, 0, D(70)))
    run, wanted = after(run, Passed(next_run_ms(run) or 0), Reading(2_000, 0, D(0)))
    assert Notice("COUNTER_WENT_DOWN") in wanted
    assert (run.state, run.batch_left) == (S.BATCH, 1)


def test_stopping() -> None:
    idle, wanted = after(checking(), StopRun(1))
    assert (idle.state, wanted) == (S.STOPPED, [Release()])
    run, wanted = after(trading(), StopRun(5), StopRun(6))
    assert (run.state, wanted) == (S.STOPPING, [StopPair(5_000)])
    run, wanted = after(run, flat(7))
    assert (run.state, wanted) == (S.STOPPED, [Release()])
    assert after(queued(run_terms(), Day(0), 0), StopRun(1))[1] == []


def test_a_halt_survives_a_stop_and_a_stop_a_halt() -> None:
    for events in ((Halt(5, Reason.KEY), StopRun(6)), (StopRun(5), Halt(6, Reason.KEY))):
        run, _ = after(trading(), *events, flat(7))
        assert (run.state, run.reason) == (S.HALTED, Reason.KEY)


def test_a_bad_pair_halts_the_run() -> None:
    run, _ = after(trading(), flat(5, quarantined=True))
    assert (run.state, run.reason) == (S.HALTED, Reason.QUARANTINE)
    run, _ = after(trading(), StopRun(4), flat(5, breaks_loss_limit=True))
    assert (run.state, run.reason) == (S.HALTED, Reason.LOSS_TRADE)


def test_midnight_ends_the_run_after_its_pair() -> None:
    run, wanted = after(trading(), Counted(DAY_MS + 1, 0, D(15)), Counted(DAY_MS + 1, 1, D(15)))
    assert (run.state, run.day.quote, wanted) == (S.BATCH, 15, [])
    run, wanted = after(run, flat(DAY_MS + 2))
    assert (run.state, wanted) == (S.DAY_ENDED, [Release()])
    waiting, wanted = after(checking(), Passed(DAY_MS))
    assert waiting.state is S.DAY_ENDED


def test_midnight_restarts_from_nothing_where_that_was_chosen() -> None:
    run = trading(on_day_rollover=OnDayRollover.RESTART)
    run, _ = after(run, Counted(3, 0, D(30)))
    run, wanted = after(run, flat(DAY_MS + 2))
    assert (run.state, run.day, wanted) == (S.CHECKING, Day(1), [ReadVolume(1)])


def test_fills_of_the_new_day_are_not_forgotten_at_a_restart() -> None:
    """A pair across midnight: what it bought after it counts for the new day."""
    run = trading(on_day_rollover=OnDayRollover.RESTART)
    run, _ = after(run, Counted(DAY_MS + 1, 1, D(15)), flat(DAY_MS + 2))
    assert (run.day.day, run.day.quote) == (1, 15)


def test_all_users_need_every_reading() -> None:
    scope = {"scope": TargetScope.ALL_USERS, "target": D(16384)}
    run, wanted = after(checking(**scope), Reading(1, 0, D(0)))
    assert (run.state, wanted) == (S.CHECKING, [])
    others = Others(v_star=D(0), shown=D(0), units=D(70))
    assert after(checking(**scope), Reading(1, 0, D(0), others))[0].batch_left == 164
    reached = Others(v_star=D(16384), shown=D(16384), units=D(70))
    assert after(checking(**scope), Reading(1, 0, D(0), reached))[0].state is S.SKIPPED


def test_a_reload_acts_from_the_next_reading_on() -> None:
    run, _ = after(checking(), Reloaded(1, run_terms(target=D(1000))), Reading(2, 0, D(0)))
    assert run.batch_left == 34


def test_a_restart_asks_again() -> None:
    assert after(checking(), RunRestarted(5, False))[1] == [OpenStream(), ReadVolume(0)]
    run, _ = after(checking(), Reading(1, 0, D(0)))
    assert after(run, RunRestarted(5, False))[1] == [OpenStream(), Judge()]
    assert after(trading(), RunRestarted(5, True))[1] == [OpenStream()]
    stopping, _ = after(trading(), StopRun(4))
    assert after(stopping, RunRestarted(5, True))[1] == [OpenStream(), StopPair(5_000)]
    assert after(stopping, RunRestarted(5, False))[0].state is S.STOPPED


# The whole loop against a counter that lags, sticks and errs.


@dataclass
class Counter:
    """A venue's counter: real volume × m, seen late, sometimes not at all, sometimes lower than before."""

    m: Decimal
    choices: list[int]
    real: Decimal = D(0)
    before: Decimal = D(0)
    history: list[tuple[int, Decimal]] = field(default_factory=list)

    def choose(self, options: int) -> int:
        return self.choices.pop(0) % options if self.choices else 0

    def reading(self, now: int) -> RunEvent:
        lag = 30_000
        match self.choose(4):
            case 1:
                return ReadingFailed(now)
            case 2:
                lag = 200_000
            case 3:
                return Reading(now, 0, D(0))
        seen = [volume for ms, volume in self.history if ms <= now - lag]
        return Reading(now, 0, (self.before + (seen[-1] if seen else D(0))) * self.m)


@settings(max_examples=150)
@given(
    st.lists(st.integers(0, 11), max_size=60),
    st.sampled_from([MulPointMode.REAL, MulPointMode.CREDITED]),
    st.sampled_from(["1", "4", "2.5", "3"]),
    st.integers(1, 700),
    st.integers(0, 300),
)
def test_never_more_than_one_pair_too_much(
    choices: list[int], mode: MulPointMode, m: str, target: int, before: int
) -> None:
    terms: RunTerms = run_terms(target=D(target), mode=mode, m=D(m))
    counter = Counter(D(m), choices, before=D(before))
    run = queued(terms, Day(0), 0)
    events: list[RunEvent] = [SlotFree(0)]
    for _ in range(2_000):
        if run.state.is_over:
            break
        event = events.pop(0) if events else Passed(next_run_ms(run) or run.now_ms)
        run, wanted = next_run(run, event)
        for wish in wanted:
            match wish:
                case ReadVolume():
                    events.append(counter.reading(run.now_ms))
                case Judge():
                    soft = Verdict(Answer.SOFT, Reason.PRICE_STALE)
                    events.append(Judged(run.now_ms, soft if counter.choose(5) == 1 else GO))
                case StartPair():
                    events.extend(_pair(run, counter))
    assert run.state in (S.DONE, S.SKIPPED, S.DONE_UNCONFIRMED, S.HALTED)
    # whatever the counter said later: the reading before the first fill and our own fills bound it
    baseline = convert(mode, run.day.baseline, D(m))
    worth = D(1) if mode is MulPointMode.REAL else D(m)
    if counter.history:
        assert counter.real * worth < D(target) - baseline + terms.unit
        assert baseline in (D(0), counter.before * worth)
    if run.state is S.DONE:
        assert (counter.before + counter.real) * worth >= D(target)


def _pair(run: Run, counter: Counter) -> list[RunEvent]:
    now = run.now_ms + 100
    outcome = counter.choose(4)
    if outcome == 1:
        return [flat(now, failure=True)]
    quote = D("12.5") if outcome == 2 else D(30)
    counter.real += quote
    counter.history.append((now, counter.real))
    return [Counted(now, 0, quote), flat(now)]
