"""Rules broken on purpose, one at a time: at least one test of this engine must notice each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import tests.engine.live.test_outside as outside
import tests.engine.live.test_protection as protection
import tests.engine.live.test_records as records
import tests.engine.live.test_recovery as recovery
import tests.engine.test_delivery as delivery
import tests.engine.test_live_engine as engine

from perpdesk.engine import close_ladder
from perpdesk.engine import delivery as delivering
from perpdesk.engine import live_engine as booking
from perpdesk.engine.delivery import Delivery
from perpdesk.engine.executor import Executor
from perpdesk.engine.guardian import naked
from perpdesk.engine.guardian.naked import NakedMeter
from perpdesk.engine.guardian.throttle import FightLimit
from perpdesk.engine.live.outside import OutsideBooks
from perpdesk.engine.live.protection import Protection
from perpdesk.engine.live.recovery import Recovery
from perpdesk.engine.live_engine import LiveEngine
from perpdesk.engine.reconcile.attribute import EXTERNAL, Part, attribute
from perpdesk.engine.recording.writer import Writer
from perpdesk.kernel.records import NONE, SLOT_EXIT
from perpdesk.ports import Answer, Fate, Outcome

Found = Callable[..., Awaitable[None]]
Plant = Callable[[pytest.MonkeyPatch], None]


def sets(owner: Any, name: str, value: Any) -> Plant:
    return lambda patch: patch.setattr(owner, name, value)


def answers(value: Any) -> Callable[..., Any]:
    return lambda *args, **options: value


def later(value: Any) -> Callable[..., Awaitable[Any]]:
    async def answer(*args: Any, **options: Any) -> Any:
        return value

    return answer


def any_error_means_failed(patch: pytest.MonkeyPatch) -> None:
    good = Delivery._answered

    async def bad(self, order, tag, opening, answer):
        if answer.outcome is Outcome.UNKNOWN:
            answer = Answer(Outcome.REFUSED, answer.reason)
        return await good(self, order, tag, opening, answer)

    patch.setattr(Delivery, "_answered", bad)


def an_ended_entry_is_dead(patch: pytest.MonkeyPatch) -> None:
    good = Delivery._settled

    async def bad(self, order, fate, opening):
        return await good(self, order, Fate.ABSENT if fate is Fate.ENDED else fate, opening)

    patch.setattr(Delivery, "_settled", bad)


def the_old_one_goes_first(patch: pytest.MonkeyPatch) -> None:
    good = Delivery._tend

    def bad(self, place):
        self._leave(place)
        self._spawn(self._take_back(place, self._line(place)))
        return good(self, place)

    patch.setattr(Delivery, "_may_go", answers(True))
    patch.setattr(Delivery, "_tend", bad)


def exits_do_not_wait(patch: pytest.MonkeyPatch) -> None:
    good = Delivery._tend

    def bad(self, place):
        if place[2] == SLOT_EXIT and self.books.slots[place].kind != NONE:
            self._spawn(self._send_aside(place, 0))
            return []
        return good(self, place)

    patch.setattr(Delivery, "_tend", bad)


def a_refusal_is_the_end(patch: pytest.MonkeyPatch) -> None:
    async def bad(self, order, tag, line, answer):
        line.wait_until_ms = 1 << 60
        return []

    patch.setattr(Delivery, "_protection_refused", bad)


def a_cancel_without_an_answer_worked(patch: pytest.MonkeyPatch) -> None:
    good = Delivery._take_back

    async def bad(self, place, line):
        again = await good(self, place, line)
        line.leaving.clear()
        return again

    patch.setattr(Delivery, "_take_back", bad)


def everybody_pays_alike(patch: pytest.MonkeyPatch) -> None:
    def bad(side, lots, fee_e8, sleeves, external):
        parts = attribute(side, lots, fee_e8, [*sleeves, external], 0)
        last = len(sleeves)
        return [Part(EXTERNAL if one.owner == last else one.owner, one.lots, one.fee_e8) for one in parts]

    patch.setattr(booking, "attribute", bad)


def external_lots_add_up(patch: pytest.MonkeyPatch) -> None:
    good = Recovery._external

    async def bad(self):
        before = self.engine.external.copy()
        await good(self)
        self.engine.external += before

    patch.setattr(Recovery, "_external", bad)


def attempts_begin_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Delivery, "begin_attempts", answers(None))


PLANTS: list[tuple[str, Plant, Found, tuple[Any, ...]]] = [
    ("an entry without an answer counts as failed", any_error_means_failed,
     delivery.test_a_lost_answer_and_a_living_order, ()),
    ("a name is forgotten while its entry may fill", sets(Delivery, "end_position", Executor.end_position),
     delivery.test_a_wish_that_went_stale_in_doubt_keeps_its_name, ()),
    ("an entry is sent before its intent is durable", sets(Delivery, "_is_written", later(True)),
     delivery.test_without_a_durable_intent_nothing_is_sent, ()),
    ("an ended entry is taken for dead unseen", an_ended_entry_is_dead,
     delivery.test_a_lost_answer_of_an_order_that_ended_with_a_fill, ()),
    ("the old stop goes before the new one", the_old_one_goes_first,
     delivery.test_a_new_stop_stands_before_the_old_one_goes, ()),
    ("a stop in doubt is waited for", sets(delivering, "DOUBTS_MAX", 1),
     delivery.test_a_stop_without_an_answer_gets_others_beside_it_but_three_at_most, ()),
    ("stops in doubt without end", sets(delivering, "DOUBTS_MAX", 99),
     delivery.test_a_stop_without_an_answer_gets_others_beside_it_but_three_at_most, ()),
    ("a refused stop is given up", a_refusal_is_the_end, delivery.test_refusals_back_off_and_never_give_up, ()),
    ("no exit where the stop is too late", sets(delivering, "WOULD_TRIGGER", 0),
     delivery.test_a_stop_that_would_trigger_at_once_closes_at_market, ()),
    ("no limit where the market is refused", sets(close_ladder, "OUTSIDE_BAND", 0),
     delivery.test_an_exit_outside_the_band_goes_as_a_limit_at_its_edge, ()),
    ("two exits at a time", exits_do_not_wait, delivery.test_exits_go_one_at_a_time_and_the_stop_stays, ()),
    ("a triggered stop is replaced", sets(Delivery, "triggered", answers(False)),
     delivery.test_a_triggered_stop_is_left_to_finish, ()),
    ("a lost stop is not missed", sets(LiveEngine, "_order_gone", later(None)),
     delivery.test_a_stop_that_somebody_took_away_is_put_back, ("CANCELED",)),
    ("a fight without end", sets(FightLimit, "may", answers(True)),
     delivery.test_a_fight_over_a_stop_ends_with_the_position, ()),
    ("a cancel without an answer counts as done", a_cancel_without_an_answer_worked,
     delivery.test_when_flat_every_order_of_the_position_goes_until_it_is_seen_gone, ()),
    ("a fill is booked as often as it is told", sets(LiveEngine, "_is_new", answers(True)),
     engine.test_a_foreign_fill_is_booked_once, ()),
    ("a person's sale is everybody's", everybody_pays_alike,
     engine.test_what_a_person_sells_is_taken_from_his_own_lots_first, ()),
    ("what netting made is given to nobody", sets(LiveEngine, "_settle_drift", answers(0)),
     engine.test_the_last_unit_of_the_exchanges_rounding_is_booked, ()),
    ("a restart forgets what netting made", sets(Recovery, "_drift", later(None)),
     recovery.test_two_versions_sum_to_the_exchange_over_a_restart, ("file",)),
    ("a second try adds external lots again", external_lots_add_up,
     recovery.test_recovery_may_fail_and_be_tried_again, ("file",)),
    ("ids are used again after a restart", attempts_begin_again,
     recovery.test_a_missing_stop_is_placed_and_its_id_is_new, ("file",)),
    ("a pending entry is forgotten", sets(Recovery, "_settle_later", answers(0)),
     recovery.test_a_crash_before_the_fill_was_written_imports_it_once, ("file",)),
    ("an open stop is not adopted", sets(Recovery, "_adopt", answers(0)),
     recovery.test_stops_that_stand_are_put_back_in_their_places, ("file",)),
    ("a lost answer of a commit counts as a failure", sets(Writer, "_is_written", later(False)),
     records.test_batches_survive_failures_once_and_in_order, ("file", ["after"])),
    ("the breaker does not see what people lose", sets(OutsideBooks, "booking", answers(None)),
     outside.test_a_loss_beyond_the_limit_trips_and_stays_tripped_over_a_restart, ("file",)),
    ("flat in our books is flat", sets(Protection, "_is_flat", answers(True)),
     protection.test_it_goes_only_when_books_and_exchange_are_flat, ()),
    ("a naked position is tolerated for a minute", sets(naked, "CLOSE_MS", 60_000),
     protection.test_a_naked_position_is_closed_before_twenty_seconds, ()),
    ("an outage counts as naked time", sets(NakedMeter, "reach", answers(None)),
     protection.test_time_without_a_connection_does_not_count, ()),
    ("the rung below flatten takes stops", sets(Protection, "_is_extra_exit", answers(True)),
     protection.test_cancel_takes_take_profits_back_and_leaves_the_stops, ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("plant", "notices", "given"), [one[1:] for one in PLANTS], ids=[one[0] for one in PLANTS]
)
async def test_a_broken_rule_is_noticed(
    plant: Plant, notices: Found, given: tuple[Any, ...], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    # an id that was used before is refused by the test's venue: nothing is said where one line is unpacked
    noticed = (AssertionError, ValueError) if plant is attempts_begin_again else AssertionError
    with pytest.raises(noticed):
        await notices(*[file if one == "file" else one for one in given])
