"""The disaster stops against a venue that refuses, forgets and is fought over."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.guardian.cases import DISASTER, STRANGER, disaster, leg

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.engine.guardian.disaster import Act, DisasterRule
from perpdesk.engine.guardian.disaster_stops import DisasterStops
from perpdesk.engine.ids import ClientIds
from perpdesk.kernel.records import STOP
from perpdesk.ports import Answer, Leg, OpenOrder, Outcome

YES = Answer(Outcome.ACCEPTED)


@dataclass
class OneStopVenue:
    """Takes one closePosition stop per direction, as the exchange does."""

    stands: dict[str, OpenOrder] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    async def cancel(self, symbol: int, client_id: str) -> Answer:
        self.log.append(f"cancel {client_id}")
        return YES if self.stands.pop(client_id, None) else Answer(Outcome.REFUSED, code=-2011)

    async def close_position_stop(self, symbol: int, client_id: str, side: int, price: int) -> Answer:
        self.log.append(f"place {side} {price}")
        if any(one.side == side and one.symbol == symbol for one in self.stands.values()):
            return Answer(Outcome.REFUSED, code=-4130)
        answer = self.answers.pop(0) if self.answers else YES
        if answer.outcome is not Outcome.REFUSED and answer.reason != "lost":
            self.stands[client_id] = OpenOrder(
                client_id, symbol, STOP, side, price, 0, True, 0, 0, True, True, "NEW", 0
            )
        return answer


def desk(venue: OneStopVenue) -> tuple[DisasterStops, VirtualClock]:
    clock = VirtualClock(1_700_000_000_000)
    rule = DisasterRule(100_000, 800_000)
    return DisasterStops(venue, ClientIds(1, 5), clock, rule, [1]), clock  # type: ignore[arg-type]


ACTIONS = ("tend", "tend", "tend", "human", "foreign", "flip", "close", "unknown", "lost", "refuse")


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.booleans()), max_size=30))
async def test_whatever_happened_the_right_one_stands_in_the_end(actions: list[tuple[str, bool]]) -> None:
    """Refusals, lost answers, lists that lag, people who take it away, reverses: afterwards one good stop per
    leg, none without a leg, and a stranger's order untouched."""
    venue = OneStopVenue()
    guard, clock = desk(venue)
    held, strangers = 7, set()

    def legs() -> list[Leg]:
        return [leg(held, entry=1000, liq=1000 - 195 * (1 if held > 0 else -1))] if held else []

    async def tend(lags: bool = False) -> None:
        shown = [] if lags else list(venue.stands.values())
        await guard.tend(legs(), shown, {}, absent=[] if held else [0])

    for what, flag in actions:
        clock.advance_to(clock.now_ms() + 700_000)  # no fight: they are far apart
        if what == "tend":
            await tend(flag)
        elif what == "human" and venue.stands:
            name = min(venue.stands)
            if name not in strangers:
                del venue.stands[name]
        elif what == "foreign" and held and not venue.stands:
            strangers.add(STRANGER)
            venue.stands[STRANGER] = disaster(
                "sell" if held > 0 else "buy", 1000 - (90 if held > 0 else -90), STRANGER
            )
        elif what in ("flip", "close"):
            held = 0 if what == "close" else (-7 if flag else 7)
        elif what == "unknown":
            venue.answers.append(Answer(Outcome.UNKNOWN))
        elif what == "lost":
            venue.answers.append(Answer(Outcome.UNKNOWN, "lost"))
        elif what == "refuse":
            venue.answers.append(Answer(Outcome.REFUSED, code=-1008))
    for _ in range(len(venue.answers) + 3):
        clock.advance_to(clock.now_ms() + 700_000)
        await tend()
    sign = 1 if held > 0 else -1
    right = [one for one in venue.stands.values() if held and one.side == -sign]
    assert len(right) == (held != 0)
    assert {one.client_id for one in venue.stands.values()} - {one.client_id for one in right} <= strangers
    assert f"cancel {STRANGER}" not in venue.log
    for one in right:
        assert sign * (1000 - one.price) > 0
        assert sign * (one.price - (1000 - 195 * sign)) > 0


LONG = leg(7, entry=1000, liq=805)
STOPS = {(0, 1): (960,)}


async def test_placed_once() -> None:
    venue = OneStopVenue()
    stops, _ = desk(venue)
    (done,) = await stops.tend([LONG], [], STOPS)
    assert (done.step.act, done.answer, done.must_close) == (Act.PLACE, YES, False)
    assert await stops.tend([LONG], list(venue.stands.values()), STOPS) == []
    assert venue.log == ["place -1 900"]


async def test_moved_by_cancel_then_place() -> None:
    venue = OneStopVenue({DISASTER: disaster("sell", 850)})
    stops, _ = desk(venue)
    await stops.tend([LONG], list(venue.stands.values()), STOPS)
    assert venue.log == [f"cancel {DISASTER}", "place -1 900"]


async def test_exists_already_is_adopted_with_the_next_audit() -> None:
    venue = OneStopVenue({DISASTER: disaster("sell", 900)})
    stops, _ = desk(venue)
    (done,) = await stops.tend([LONG], [], STOPS)  # a list that lags
    assert done.answer == Answer(Outcome.REFUSED, code=-4130)
    assert not done.must_close
    assert await stops.tend([LONG], list(venue.stands.values()), STOPS) == []
    assert len(venue.stands) == 1


async def test_an_unknown_answer_never_doubles_it() -> None:
    venue = OneStopVenue(answers=[Answer(Outcome.UNKNOWN)])
    stops, _ = desk(venue)
    for _ in range(3):
        await stops.tend([LONG], [], STOPS)
    assert len(venue.stands) == 1
    assert await stops.tend([LONG], list(venue.stands.values()), STOPS) == []


async def test_a_price_that_is_past_it_means_close() -> None:
    venue = OneStopVenue(answers=[Answer(Outcome.REFUSED, code=-2021)])
    stops, _ = desk(venue)
    (done,) = await stops.tend([LONG], [], STOPS)
    assert done.must_close


async def test_put_back_three_times_in_ten_minutes_and_then_no_more() -> None:
    venue = OneStopVenue()
    stops, clock = desk(venue)
    await stops.tend([LONG], [], STOPS)
    fights = 0
    for _ in range(5):
        await stops.tend([LONG], list(venue.stands.values()), STOPS)
        venue.stands.clear()  # a person takes it away
        clock.advance_to(clock.now_ms() + 30_000)
        fights += any(done.is_fight for done in await stops.tend([LONG], [], STOPS))
    assert venue.log.count("place -1 900") == 1 + 3
    assert fights == 2


async def test_a_new_position_is_no_fight() -> None:
    venue = OneStopVenue()
    stops, clock = desk(venue)
    for _ in range(6):
        await stops.tend([LONG], [], STOPS)
        await stops.tend([LONG], list(venue.stands.values()), STOPS)
        await stops.tend([], list(venue.stands.values()), {}, absent=(0,))
        clock.advance_to(clock.now_ms() + 1_000)
    assert venue.log.count("place -1 900") == 6
    assert len({line for line in venue.log if line.startswith("cancel")}) == 6  # a fresh id each time
    assert venue.stands == {}
