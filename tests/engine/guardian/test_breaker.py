"""The day's loss, whoever caused it, and what it forbids."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.domain.account_books import BreakerDay, NewBreakerDay
from perpdesk.domain.books import Failed, Missing, StoreFailed
from perpdesk.domain.errors import InputError, Refused
from perpdesk.domain.units import money_of
from perpdesk.engine.guardian.breaker import (
    Booking,
    Breaker,
    LossLimits,
    booking_of_income,
    day_name,
    day_of,
    entry_risk_e8,
    position_risk_e8,
)
from perpdesk.kernel.records import DAY_MS
from perpdesk.ports import Income

E8 = 100_000_000
DAY = 20_000
T0 = DAY * DAY_MS
NOON = T0 + DAY_MS // 2
# A base of 100: the day ends at −20, the worst case at −50.
LIMITS = LossLimits(daily_loss_ppm=200_000, worst_case_ppm=500_000)


def breaker(now_ms: int = NOON, *, unrealised: int = 0, equity: int = 100) -> Breaker:
    one = Breaker(1, LIMITS)
    one.marked(now_ms, unrealised * E8, equity * E8)
    return one


def booking(amount: float, key: str = "", ms: int = NOON, transfer: bool = False) -> Booking:
    return Booking(key or f"fill:{ms}:{amount}", ms, round(amount * E8), transfer)


class BooksInMemory:
    """Rows as the store keeps them: the first base stays, a trip is written once, a reset needs a trip."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str, str], BreakerDay] = {}
        self.journal: list[str] = []
        self.is_down = False

    def _row(self, *key: object) -> BreakerDay:
        if self.is_down:
            raise StoreFailed("down")
        return self.rows[key]  # type: ignore[index]

    async def breaker_day(self, account_id: int, strategy: str, day: str) -> BreakerDay | Missing | Failed:
        if self.is_down:
            return Failed(reason="down")
        return self.rows.get((account_id, strategy, day)) or Missing()

    async def start_breaker_day(self, day: NewBreakerDay) -> BreakerDay:
        if self.is_down:
            raise StoreFailed("down")
        key = (day.account_id, day.strategy, day.day)
        fields = {name: getattr(day, name) for name in NewBreakerDay.__struct_fields__}
        return self.rows.setdefault(key, BreakerDay(**fields, updated_ms=day.created_ms))

    async def update_breaker_day(self, *key: object, realised: Decimal, transfers: Decimal) -> None:
        self._change(key, realised=realised, transfers=transfers)

    async def trip_breaker(self, *key: object, pnl: Decimal, reason: str) -> bool:
        if self._row(*key[:3]).is_tripped:
            return False
        self._change(key, tripped_ms=key[3], trip_pnl=pnl, trip_reason=reason)
        self.journal.append("tripped")
        return True

    async def reset_breaker(self, *key: object, by: str, reason: str) -> bool:
        if not self._row(*key[:3]).is_tripped:
            return False
        none = {"tripped_ms": None, "trip_pnl": None, "trip_reason": None}
        self._change(key, **none, reset_ms=key[3], reset_by=by, reset_reason=reason)
        self.journal.append("reset")
        return True

    def _change(self, key: tuple[object, ...], **changes: object) -> None:
        row = self._row(*key[:3])
        fields = {name: getattr(row, name) for name in BreakerDay.__struct_fields__}
        self.rows[key[:3]] = BreakerDay(**{**fields, **changes, "updated_ms": key[3]})  # type: ignore[index,arg-type]


# ---- what counts -----------------------------------------------------------------------------------


def test_trips_at_the_limit_and_not_before() -> None:
    one = breaker()
    one.booked(booking(-19.99999999))
    assert one.why_not_open() is None
    one.booked(booking(-0.00000001))
    assert (one.is_tripped, one.why_not_open()) == (True, "DAILY_LOSS")


def test_unrealised_counts_from_the_start_of_the_day() -> None:
    one = breaker()
    one.marked(NOON + 1, -20 * E8, None)
    assert one.is_tripped


def test_a_closing_that_the_exchange_made_counts() -> None:
    """Planted bug: a breaker that hears only its own exits misses liquidations and closes by hand."""
    one = breaker()
    one.booked(booking(-12, "fill:BTCUSDT:7"))  # a human, in the app
    one.booked(booking_of_income(Income("8", "REALIZED_PNL", "XRPUSDT", "USDT", -5 * E8, 8, NOON)))
    one.booked(booking_of_income(Income("9", "INSURANCE_CLEAR", "XRPUSDT", "USDT", -3 * E8, None, NOON)))
    assert one.pnl_e8 == -20 * E8
    assert one.is_tripped


def test_a_fact_heard_twice_counts_once() -> None:
    one = breaker()
    for _ in range(3):
        one.booked(booking(-15, "fill:BTCUSDT:7"))
    assert one.pnl_e8 == -15 * E8


@pytest.mark.parametrize(
    "kind",
    ["TRANSFER", "INTERNAL_TRANSFER", "CROSS_COLLATERAL_TRANSFER", "COIN_SWAP_WITHDRAW", "WELCOME_BONUS"],
)
def test_a_transfer_is_neither_loss_nor_gain(kind: str) -> None:
    """Planted bug: a withdrawal that trips (HUM-08), or a deposit that hides a loss."""
    one = breaker()
    one.booked(booking_of_income(Income("1", kind, "", "USDT", -90 * E8, None, NOON)))
    assert (one.pnl_e8, one.is_tripped, one.transfers_e8) == (0, False, -90 * E8)
    one.booked(booking_of_income(Income("2", kind, "", "USDT", 500 * E8, None, NOON)))
    one.booked(booking(-20))
    assert one.is_tripped


def test_an_unknown_kind_of_income_counts() -> None:
    one = breaker()
    one.booked(booking_of_income(Income("1", "SOME_NEW_FEE", "", "USDT", -20 * E8, None, NOON)))
    assert one.is_tripped


def test_fees_and_funding_count() -> None:
    one = breaker()
    for amount, key in ((-18, "fill"), (-1.5, "fee"), (-0.5, "funding")):
        one.booked(booking(amount, key))
    assert one.is_tripped


def test_a_loss_that_is_open_at_the_first_look_counts_and_a_profit_does_not() -> None:
    """Nobody was there at midnight: the bracket is min(0, U)."""
    assert breaker(unrealised=-20).pnl_e8 == -20 * E8
    assert breaker(unrealised=-20).is_tripped
    assert breaker(unrealised=30).pnl_e8 == 0


# ---- empty answers ---------------------------------------------------------------------------------


def test_without_equity_nothing_is_opened() -> None:
    one = Breaker(1, LIMITS)
    assert one.why_not_open() == "BREAKER_UNKNOWN"
    one.marked(NOON, 0, 0)  # an empty account answer
    assert one.why_not_open() == "BREAKER_UNKNOWN"
    one.marked(NOON, 0, None)
    assert one.why_not_open() == "BREAKER_UNKNOWN"
    one.marked(NOON, 0, 100 * E8)
    assert one.why_not_open() is None


def test_a_zero_answer_neither_trips_nor_resets() -> None:
    one = breaker()
    one.marked(NOON + 1, 0, 0)
    assert not one.is_tripped
    one.booked(booking(-20))
    one.marked(NOON + 2, 0, 0)
    assert (one.is_tripped, one.base_e8) == (True, 100 * E8)


# ---- the day ---------------------------------------------------------------------------------------


def test_the_next_day_starts_from_what_is_held_then() -> None:
    one = breaker()
    one.marked(NOON, -5 * E8, 95 * E8)
    one.booked(booking(-15))
    assert one.is_tripped
    one.marked(T0 + DAY_MS, -6 * E8, 79 * E8)
    assert (one.is_tripped, one.pnl_e8, one.base_e8) == (False, 0, 79 * E8)
    one.marked(T0 + DAY_MS + 1, -10 * E8, None)
    assert one.pnl_e8 == -4 * E8


def test_a_clock_that_goes_back_over_midnight_resets_nothing() -> None:
    """CLK-03: the day is monotone."""
    one = breaker(T0 + 1_000)
    one.booked(booking(-20, ms=T0 + 2_000))
    one.marked(T0 - 5_000, 0, 100 * E8)
    one.booked(booking(1, ms=T0 - 4_000))
    one.marked(T0 + 3_000, 0, 100 * E8)
    assert one.is_tripped
    assert one.day == DAY


def test_a_fill_of_the_new_day_begins_it() -> None:
    one = breaker(unrealised=0)
    one.marked(NOON, -3 * E8, None)
    one.booked(booking(-4, ms=T0 + DAY_MS))
    assert (one.day, one.realised_e8) == (DAY + 1, -4 * E8)
    one.marked(T0 + DAY_MS + 1, 0, None)
    assert one.pnl_e8 == -1 * E8  # of the 4, 3 were lost yesterday


def test_a_wild_stamp_does_not_skip_days() -> None:
    one = breaker()
    one.booked(booking(-20, ms=T0 + 40 * DAY_MS))
    assert (one.day, one.is_tripped) == (DAY, True)


def test_a_late_fill_of_yesterday_counts_once_and_today() -> None:
    """It was still open, with its loss, when the day was measured: closing it changes nothing."""
    one = breaker()
    one.marked(T0 + DAY_MS - 1, -15 * E8, None)
    one.marked(T0 + DAY_MS, -15 * E8, 85 * E8)
    late = booking(-15, "late", T0 + DAY_MS - 10)
    one.booked(late)
    one.marked(T0 + DAY_MS + 1, 0, None)
    one.booked(late)
    assert one.pnl_e8 == 0


# ---- worst case ------------------------------------------------------------------------------------


def test_the_worst_case_of_all_that_is_open_pending_and_new() -> None:
    one = breaker()
    one.booked(booking(-10))
    assert one.why_not_open(40 * E8) is None  # exactly −50
    assert one.why_not_open(40 * E8 + 1) == "WORST_CASE"


def test_the_base_of_the_worst_case_may_be_fixed() -> None:
    one = Breaker(1, LossLimits(200_000, 500_000, base_e8=50 * E8))
    one.marked(NOON, 0, 1_000 * E8)
    one.booked(booking(-10))
    assert one.is_tripped


def test_without_a_daily_limit_the_worst_case_still_holds() -> None:
    one = Breaker(1, LossLimits(0, 500_000))
    one.marked(NOON, 0, 100 * E8)
    one.booked(booking(-60))
    assert not one.is_tripped
    assert one.why_not_open() == "WORST_CASE"


def test_risk_of_a_position() -> None:
    assert position_risk_e8(10, 100, 88, 1_000) == 10 * 12 * 1_000 + 1_500
    assert position_risk_e8(-10, 100, 112, 1_000) == 10 * 12 * 1_000 + 1_500
    assert position_risk_e8(10, 100, 0, 1_000) == 1_000_000  # nothing behind it
    assert position_risk_e8(10, 100, 105, 1_000) == 1_500  # secured: only the exit costs
    assert entry_risk_e8(10, 100, 30_000, 1_000) == 31_500


# ---- rows, restarts, people ------------------------------------------------------------------------


async def test_a_trip_survives_a_restart_even_where_the_facts_look_better() -> None:
    """Planted bug: a trip that lives in memory only."""
    books, one = BooksInMemory(), breaker()
    one.marked(NOON + 1, -20 * E8, None)
    await one.save(books)
    assert books.journal == ["tripped"]
    again = Breaker(1, LIMITS)
    await again.load(books, NOON + 60_000, [])
    again.marked(NOON + 60_001, 0, 100 * E8)  # the price came back
    assert again.why_not_open() == "DAILY_LOSS"


async def test_a_crash_between_the_trip_and_its_row_trips_again() -> None:
    """CP-19: from the facts."""
    books, one = BooksInMemory(), breaker()
    await one.save(books)
    one.booked(booking(-20))  # and the process dies here
    again = Breaker(1, LIMITS)
    await again.load(books, NOON + 60_000, [booking(-20)])
    assert again.is_tripped


async def test_a_restart_counts_the_ledger_of_today_only() -> None:
    books, one = BooksInMemory(), breaker()
    await one.save(books)
    again = Breaker(1, LIMITS)
    facts = [
        booking(-3, "a", T0 - 1),
        booking(-4, "b", T0),
        booking(-4, "b", T0),
        booking(9, "c", NOON, True),
    ]
    await again.load(books, NOON, facts)
    assert (again.realised_e8, again.transfers_e8, again.base_e8) == (-4 * E8, 9 * E8, 100 * E8)
    again.booked(booking(-4, "b", T0))  # and the stream tells it once more
    assert again.realised_e8 == -4 * E8


async def test_the_trip_refuses_before_its_row_is_written() -> None:
    books, one = BooksInMemory(), breaker()
    books.is_down = True
    one.booked(booking(-20))
    assert one.why_not_open() == "DAILY_LOSS"
    with pytest.raises(StoreFailed):
        await one.save(books)
    assert not one.is_saved
    books.is_down = False
    await one.save(books)
    assert books.rows[1, "*", day_name(DAY)].trip_pnl == Decimal(-20)


async def test_an_unreadable_row_starts_nothing() -> None:
    books = BooksInMemory()
    books.is_down = True
    with pytest.raises(StoreFailed):
        await Breaker(1, LIMITS).load(books, NOON, [])


async def test_only_a_person_with_a_reason_resets_it() -> None:
    one = breaker()
    with pytest.raises(Refused):
        one.reset(NOON, by="ann", reason="why not")
    one.booked(booking(-21))
    for by, reason in (("", "x"), ("ann", "  ")):
        with pytest.raises(InputError):
            one.reset(NOON, by=by, reason=reason)
    one.reset(NOON + 1, by="ann", reason="looked at it")
    assert one.why_not_open() is None
    one.booked(booking(-19.9, "more"))
    assert not one.is_tripped
    one.booked(booking(-0.1, "the last"))
    assert one.is_tripped  # a whole limit below −21
    books = BooksInMemory()
    await one.save(books)
    assert books.journal == ["tripped", "reset", "tripped"]  # though nothing was written in between
    assert books.rows[1, "*", day_name(DAY)].reset_by == "ann"


async def test_trip_reset_and_trip_again_are_all_journalled() -> None:
    books, one = BooksInMemory(), breaker()
    one.booked(booking(-20))
    await one.save(books)
    one.reset(NOON + 1, by="ann", reason="looked at it")
    await one.save(books)
    assert books.rows[1, "*", day_name(DAY)].reset_reason == "looked at it"
    one.booked(booking(-20, "again", NOON + 2))
    await one.save(books)
    assert books.journal == ["tripped", "reset", "tripped"]
    restarted = Breaker(1, LIMITS)
    await restarted.load(books, NOON + 3, [booking(-20), booking(-20, "again", NOON + 2)])
    assert restarted.is_tripped


async def test_a_reset_survives_a_restart() -> None:
    books, one = BooksInMemory(), breaker()
    one.booked(booking(-20))
    await one.save(books)
    one.reset(NOON + 1, by="ann", reason="looked at it")
    await one.save(books)
    again = Breaker(1, LIMITS)
    await again.load(books, NOON + 2, [booking(-20)])
    again.marked(NOON + 3, 0, 80 * E8)
    assert again.why_not_open() is None


async def test_a_reset_by_another_process_is_seen() -> None:
    books, one = BooksInMemory(), breaker()
    one.booked(booking(-20))
    await one.save(books)
    assert not await one.look(books)
    await books.reset_breaker(1, "*", day_name(DAY), NOON + 5, by="ann", reason="looked at it")
    assert await one.look(books)
    assert one.why_not_open() is None
    assert one.reset_by == "ann"
    await one.save(books)
    assert books.journal == ["tripped", "reset"]


async def test_one_breaker_per_strategy() -> None:
    books = BooksInMemory()
    for strategy in ("*", "grid"):
        one = Breaker(1, LIMITS, strategy)
        one.marked(NOON, 0, 100 * E8)
        await one.save(books)
    assert sorted(key[1] for key in books.rows) == ["*", "grid"]


facts_of_a_day = st.lists(
    st.tuples(
        st.integers(0, DAY_MS - 1), st.integers(-15, 10), st.sampled_from(["fill", "fill", "transfer"])
    ),
    max_size=12,
)


@given(facts_of_a_day, st.data())
def test_pnl_is_the_sum_of_the_facts_in_any_order_and_over_restarts(
    facts: list[tuple[int, int, str]], data: st.DataObject
) -> None:
    told = [
        booking(amount, f"k{i}", T0 + ms, kind == "transfer") for i, (ms, amount, kind) in enumerate(facts)
    ]
    expected = sum(one.amount_e8 for one in told if not one.is_transfer)
    one = breaker(T0)
    for fact in data.draw(st.permutations(told)):
        one.booked(fact)
    assert one.pnl_e8 == expected
    cut = data.draw(st.integers(0, len(told)))
    again = Breaker(1, LIMITS)
    again.restore(one.row(), T0 + DAY_MS - 1, told[:cut])
    for fact in told:
        again.booked(fact)
    again.marked(T0 + DAY_MS - 1, 0, None)
    assert again.pnl_e8 == expected
    assert again.is_tripped >= one.is_tripped


@given(st.lists(st.tuples(st.integers(0, 3 * DAY_MS), st.integers(-30, 30)), min_size=1, max_size=20))
def test_the_day_never_goes_back_and_a_trip_lasts_it_out(told: list[tuple[int, int]]) -> None:
    one, days, tripped_on = breaker(T0), [DAY], None
    for ms, unrealised in told:
        one.marked(T0 + ms, unrealised * E8, 100 * E8)
        assert one.day is not None
        assert one.day >= days[-1]
        if tripped_on == one.day:
            assert one.is_tripped
        tripped_on = one.day if one.is_tripped else None
        days.append(one.day)
    assert days[-1] == max(day_of(T0 + ms) for ms, _ in [(0, 0), *told])


def test_row_of_nothing() -> None:
    with pytest.raises(Refused):
        Breaker(1, LIMITS).row()
    assert breaker().row().base_equity == money_of(100 * E8)
    with pytest.raises(InputError):
        Breaker(1, LIMITS).restore(breaker().row(), NOON + DAY_MS, [])
