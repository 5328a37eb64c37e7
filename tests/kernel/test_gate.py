"""Risk: every verdict has a row, candidates are taken by score, each with the reservations of the former."""

from __future__ import annotations

from itertools import permutations

import pytest
from tests.kernel.tables import (
    MONEY,
    START_MS,
    account_record,
    desk,
    guard_record,
    instrument_records,
    rows,
    script_params,
    sleeve_records,
)

from perpdesk.kernel import gate, ledger
from perpdesk.kernel.book import put_market, put_trigger
from perpdesk.kernel.records import (
    APPROVED,
    BIG4_VETO,
    BUY,
    DAY_MS,
    FAR,
    MARKET,
    MINUTE_MS,
    NONE,
    REGIME_UNKNOWN,
    SELL,
    SLOT_ENTRY,
    SLOT_STOP,
    STOP,
    TAG_ENTRY,
    TAG_MANUAL,
    TAG_TIMEOUT,
    VERDICT_NAMES,
)
from perpdesk.kernel.replay import new_books

PRICE = 1000
UNIT = 1000  # one lot at this price is worth 1e6 (0.01)


class Room:
    """Books of V sleeves and N symbols at one price, with candidates to judge."""

    def __init__(
        self, *, sleeves=1, symbols=3, cash=10_000, families=None, sleeve=None, instrument=None, **account
    ):
        self.books = new_books(
            account_record(cash, day_start_e8=cash * MONEY, **account),
            sleeve_records(sleeves, families=families, **(sleeve or {})),
            instrument_records(symbols, unit_e8=UNIT, **(instrument or {})),
            4,
        )
        self.books.heads["last"] = PRICE

    def candidate(
        self,
        s=0,
        v=0,
        *,
        side=BUY,
        score=1.0,
        score_max=1.0,
        notional=100,
        leverage=5,
        stop_ppm=40_000,
        timeout_ms=0,
        margin_cut_ppm=0,
        cand_veto=0,
        plan=0,
        batch=0,
    ):
        head = self.books.heads[v, s]
        head.margin_cut_ppm, head.cand_veto, head.cand_plan = margin_cut_ppm, cand_veto, plan
        head.cand_batch = batch
        head.cand_side, head.cand_score, head.cand_score_max = side, score, score_max
        head.cand_notional_e8, head.cand_leverage = int(notional * MONEY), leverage
        head.cand_stop_ppm, head.cand_timeout_ms = stop_ppm, timeout_ms
        return self

    def hold(self, lots, price=PRICE, *, s=0, v=0, leverage=5, stop=0):
        books = self.books
        position = books.positions[v, s]
        position.leverage = leverage
        ledger.settle(
            books.account[0], position, books.instruments[s], 1 if lots > 0 else -1, price, abs(lots), 0, 0, 1
        )
        if stop:
            put_trigger(books.slots[v, s, SLOT_STOP], STOP, -1 if lots > 0 else 1, stop, abs(lots), 0)
        return self

    def pend(self, lots, *, s=0, v=0, leverage=5, stop_ppm=40_000):
        position = self.books.positions[v, s]
        position.leverage, position.entry_stop_ppm = leverage, stop_ppm
        put_market(self.books.slots[v, s, SLOT_ENTRY], BUY, lots, 0, TAG_ENTRY)
        return self

    def judge(self, now_ms=START_MS):
        books = self.books
        self.approved = gate.judge_step(
            books.account[0],
            books.sleeves,
            books.instruments,
            books.positions,
            books.slots,
            books.heads,
            now_ms,
        )
        return self

    def verdict(self, s=0, v=0):
        return VERDICT_NAMES[self.books.heads[v, s].verdict]


def judged(room, **candidate):
    return room.candidate(**candidate).judge().verdict()


# --- one row for every verdict
def closed(closed_ms, side, cooldown_ms=900_000, tag=TAG_TIMEOUT):
    room = Room(sleeve={"cooldown_ms": cooldown_ms, "cooldown_manual_ms": 3_600_000})
    position = room.books.positions[0, 0]
    position.closed_ms, position.closed_side, position.closed_tag = closed_ms, side, tag
    return room


VERDICTS = [
    ("APPROVED", lambda: Room(), {}),
    ("GATE_SHUT", lambda: Room(gate_shut=1), {}),
    ("TRADING_DISABLED", lambda: Room(trading_enabled=0), {}),
    ("POSITION_EXISTS", lambda: Room().hold(1), {}),
    ("POSITION_EXISTS", lambda: Room().pend(1), {}),
    ("SYMBOL_TAKEN", lambda: Room(sleeves=2, families=[1, 2]).hold(1, v=1), {}),
    ("SYMBOL_TAKEN", lambda: Room(sleeves=2, families=[1, 2]).pend(1, v=1), {}),
    ("APPROVED", lambda: Room(sleeves=2, families=[1, 1]).hold(1, v=1), {}),
    ("APPROVED", lambda: Room(sleeves=2, families=[1, 2]).hold(1, v=1, s=1), {}),
    ("OPPOSITE_SIDE", lambda: Room(sleeves=2).hold(-1, v=1), {}),
    ("OPPOSITE_SIDE", lambda: Room(sleeves=2).pend(1, v=1), {"side": SELL}),
    ("APPROVED", lambda: Room(sleeves=2).hold(-1, v=1), {"side": SELL}),
    ("APPROVED", lambda: Room(sleeves=2).hold(-1, v=1, s=1), {}),
    ("COOLDOWN", lambda: closed(START_MS - 899_999, BUY), {}),
    ("APPROVED", lambda: closed(START_MS - 900_000, BUY), {}),
    ("APPROVED", lambda: closed(START_MS - 1, BUY), {"side": SELL}),
    ("COOLDOWN", lambda: closed(START_MS - 3_599_999, BUY, tag=TAG_MANUAL), {}),
    ("APPROVED", lambda: closed(START_MS - 3_600_000, BUY, tag=TAG_MANUAL), {}),
    ("COOLDOWN", lambda: closed(START_MS - 3_600_000, BUY, 3_600_001, tag=TAG_MANUAL), {}),
    ("MAX_POSITIONS", lambda: Room(sleeve={"positions_max": 1}).hold(1, s=1), {}),
    ("MAX_POSITIONS", lambda: Room(sleeve={"positions_max": 1}).pend(1, s=1), {}),
    ("MAX_POSITIONS", lambda: Room(sleeve={"positions_max": 0}), {}),
    ("APPROVED", lambda: Room(sleeve={"positions_max": 2}).hold(1, s=1), {}),
    ("APPROVED", lambda: Room(sleeves=2, sleeve={"positions_max": 1}).hold(1, s=1, v=1), {}),
    ("MAX_POSITIONS", lambda: Room(sleeves=2, positions_max=1).hold(1, s=1, v=1), {}),
    ("APPROVED", lambda: Room(sleeves=2, positions_max=2).hold(1, s=1, v=1), {}),
    # 150 in all: 50 held (a short counts as much) or pending and 100 wanted
    ("APPROVED", lambda: Room(exposure_max_e8=150 * MONEY).hold(5000, s=1), {}),
    ("EXPOSURE_LIMIT", lambda: Room(exposure_max_e8=150 * MONEY - 1).hold(5000, s=1), {}),
    ("EXPOSURE_LIMIT", lambda: Room(exposure_max_e8=150 * MONEY - 1).hold(-5000, s=1), {}),
    ("EXPOSURE_LIMIT", lambda: Room(exposure_max_e8=150 * MONEY - 1).pend(5000, s=1), {}),
    ("DAILY_LOSS", lambda: Room(tripped=1), {}),
    # what a rating takes: a quarter is left of 100, nothing at all is a ban
    ("APPROVED", lambda: Room(instrument={"lots_max": 2_500}), {"margin_cut_ppm": 750_000}),
    ("QTY_ABOVE_MAX", lambda: Room(instrument={"lots_max": 2_499}), {"margin_cut_ppm": 750_000}),
    ("RATING_BANNED", lambda: Room(), {"margin_cut_ppm": 1_000_000}),
    ("BIG4_VETO", lambda: Room(), {"cand_veto": BIG4_VETO}),
    ("REGIME_UNKNOWN", lambda: Room(), {"cand_veto": REGIME_UNKNOWN}),
    ("COOLDOWN", lambda: closed(START_MS - 1, BUY), {"cand_veto": BIG4_VETO}),
    # the worst case of 100 with a 4 % stop and 0.05 % fees twice is 4.1
    ("APPROVED", lambda: Room(worst_case_ppm=410, worst_case_base_e8=10_000 * MONEY), {}),
    ("WORST_CASE", lambda: Room(worst_case_ppm=409, worst_case_base_e8=10_000 * MONEY), {}),
    ("QTY_ZERO", lambda: Room(), {"notional": 0.009}),
    ("QTY_BELOW_MIN", lambda: Room(instrument={"lots_min": 10_001}), {}),
    ("APPROVED", lambda: Room(instrument={"lots_min": 10_000}), {}),
    ("QTY_ABOVE_MAX", lambda: Room(instrument={"lots_max": 9_999}), {}),
    ("QTY_ABOVE_MAX", lambda: Room(instrument={"market_lots_max": 9_999}), {}),
    ("APPROVED", lambda: Room(instrument={"lots_max": 10_000, "market_lots_max": 10_000}), {}),
    ("MIN_NOTIONAL", lambda: Room(instrument={"notional_min_e8": 100 * MONEY + 1}), {}),
    ("APPROVED", lambda: Room(instrument={"notional_min_e8": 100 * MONEY}), {}),
    ("LEVERAGE_BRACKET", lambda: Room(instrument={"brackets": ((100 * MONEY - 1, 125, 5_000, 0),)}), {}),
    ("APPROVED", lambda: Room(instrument={"brackets": ((100 * MONEY, 5, 5_000, 0),)}), {}),
    ("LEVERAGE_BRACKET", lambda: Room(instrument={"brackets": ((100 * MONEY, 4, 5_000, 0),)}), {}),
    # 10×: liquidation 9.5 % away (0.5 % maintenance), four fifths of it are 7.6 %
    ("APPROVED", lambda: Room(), {"leverage": 10, "stop_ppm": 75_999}),
    ("STOP_BEYOND_LIQUIDATION", lambda: Room(), {"leverage": 10, "stop_ppm": 76_000}),
    ("STOP_BEYOND_LIQUIDATION", lambda: Room(), {"leverage": 125, "stop_ppm": 4_000}),
    # 20 of margin and 0.05 of fees
    ("APPROVED", lambda: Room(cash=100, slippage_ppm=0), {"notional": 498, "leverage": 5}),
    ("INSUFFICIENT_BALANCE", lambda: Room(cash=100, slippage_ppm=0), {"notional": 499, "leverage": 5}),
    ("INSUFFICIENT_BALANCE", lambda: Room(cash=100, slippage_ppm=10_000), {"notional": 498, "leverage": 5}),
    ("INSUFFICIENT_BALANCE", lambda: Room(cash=100).hold(25_000, s=1), {"notional": 260}),
    ("APPROVED", lambda: Room(cash=100).hold(25_000, s=1), {"notional": 240}),
    ("INSUFFICIENT_BALANCE", lambda: Room(cash=100).pend(25_000, s=1), {"notional": 260}),
    (
        "INSUFFICIENT_BALANCE",
        lambda: Room(cash=100).hold(25_000, 1040, s=1),
        {"notional": 240},
    ),  # a loss of 10
    (
        "INSUFFICIENT_BALANCE",
        lambda: Room(cash=100).hold(25_000, 960, s=1),
        {"notional": 300},
    ),  # no credit for gains
]


@pytest.mark.parametrize(
    ("expected", "room", "candidate"), VERDICTS, ids=[f"{i}-{row[0]}" for i, row in enumerate(VERDICTS)]
)
def test_verdicts(expected, room, candidate):
    assert judged(room(), **candidate) == expected


def test_every_verdict_has_a_row():
    assert {row[0] for row in VERDICTS} == set(VERDICT_NAMES) - {"NONE"}


ORDER = [
    # each room fails its own rule and all later ones
    ("GATE_SHUT", {"gate_shut": 1, "trading_enabled": 0, "tripped": 1}),
    ("TRADING_DISABLED", {"trading_enabled": 0, "tripped": 1, "exposure_max_e8": 1}),
    ("EXPOSURE_LIMIT", {"tripped": 1, "exposure_max_e8": 1, "worst_case_ppm": 1}),
    ("DAILY_LOSS", {"tripped": 1, "worst_case_ppm": 1}),
    ("WORST_CASE", {"worst_case_ppm": 1}),
]


@pytest.mark.parametrize(("expected", "account"), ORDER, ids=[row[0] for row in ORDER])
def test_the_first_rule_that_fails_is_the_reason(expected, account):
    room = Room(cash=1, instrument={"lots_min": 10**8, "lots_max": 1}, **account)
    assert judged(room) == expected


def test_the_first_rule_about_the_symbol_is_the_reason():
    room = Room(sleeves=2, families=[1, 2], sleeve={"positions_max": 0, "cooldown_ms": 10}, tripped=1)
    room.hold(1, v=1)
    room.books.positions["closed_ms"], room.books.positions["closed_side"] = START_MS, BUY
    assert judged(room) == "SYMBOL_TAKEN"
    room.hold(1)
    assert judged(room) == "POSITION_EXISTS"
    alone = Room(sleeve={"positions_max": 0, "cooldown_ms": 10}, tripped=1)
    alone.books.positions["closed_ms"], alone.books.positions["closed_side"] = START_MS, BUY
    assert judged(alone) == "COOLDOWN"


# --- what an approval and a refusal write
def test_an_approval_becomes_an_entry():
    room = (
        Room()
        .candidate(side=SELL, score=70.0, score_max=100.0, leverage=7, stop_ppm=30_000, timeout_ms=99)
        .judge()
    )
    head, position, entry = (
        room.books.heads[0, 0],
        room.books.positions[0, 0],
        room.books.slots[0, 0, SLOT_ENTRY],
    )
    assert (room.verdict(), head.verdict, head.verdict_ms, head.verdict_side) == (
        "APPROVED",
        APPROVED,
        START_MS,
        SELL,
    )
    assert (head.approved_ms, head.next_ms, head.lo, head.cand_side) == (START_MS, START_MS + 1, FAR, 0)
    assert (entry.kind, entry.side, entry.lots, entry.reduce_only, entry.tag) == (
        MARKET,
        SELL,
        10_000,
        0,
        TAG_ENTRY,
    )
    assert (position.leverage, position.entry_stop_ppm, position.entry_timeout_ms) == (7, 30_000, 99)
    assert (position.entry_score, position.entry_score_max) == (70.0, 100.0)
    assert room.approved == 1
    assert room.books.account[0].verdicts[APPROVED] == 1


def test_a_refusal_leaves_no_order():
    room = Room(gate_shut=1).candidate().judge()
    head = room.books.heads[0, 0]
    assert (head.verdict_ms, head.verdict_side, head.cand_side, head.approved_ms) == (START_MS, BUY, 0, 0)
    assert room.books.slots[0, 0, SLOT_ENTRY].kind == NONE
    assert room.books.positions[0, 0].leverage == 0
    assert (room.approved, room.books.account[0].verdicts[VERDICT_NAMES.index("GATE_SHUT")]) == (0, 1)


def test_quantity_is_rounded_down():
    room = Room().candidate(notional=0.0299).judge()
    assert room.books.slots[0, 0, SLOT_ENTRY].lots == 2


# --- the order of candidates
def winners(scores, *, positions_max=1, sleeves=1):
    """Which (sleeve, symbol) get in; scores: {(v, s): (score, score_max)}."""
    found = set()
    for order in permutations(scores):
        room = Room(sleeves=sleeves, symbols=3, positions_max=positions_max)
        for v, s in order:
            room.candidate(s, v, score=scores[v, s][0], score_max=scores[v, s][1])
        room.judge()
        found.add(tuple((v, s) for v, s in sorted(scores) if room.verdict(s, v) == "APPROVED"))
    (answer,) = found  # never in order of arrival
    return answer


@pytest.mark.parametrize(
    ("scores", "positions_max", "sleeves", "expected"),
    [
        ({(0, 0): (60, 100), (0, 1): (80, 100), (0, 2): (70, 100)}, 1, 1, ((0, 1),)),
        ({(0, 0): (60, 100), (0, 1): (80, 100), (0, 2): (70, 100)}, 2, 1, ((0, 1), (0, 2))),
        ({(0, 0): (70, 100), (0, 1): (70, 100), (0, 2): (70, 100)}, 2, 1, ((0, 0), (0, 1))),
        ({(0, 0): (60, 100), (1, 1): (30, 42)}, 1, 2, ((1, 1),)),  # 60 % against 71 %
        ({(0, 0): (70, 100), (1, 0): (70, 100)}, 1, 2, ((0, 0),)),
        ({(0, 1): (70, 100), (1, 0): (70, 100)}, 1, 2, ((1, 0),)),  # universe before sleeve
    ],
)
def test_candidates_are_taken_by_score_then_universe_then_sleeve(scores, positions_max, sleeves, expected):
    assert winners(scores, positions_max=positions_max, sleeves=sleeves) == expected


def test_each_candidate_is_judged_with_the_reservations_of_the_former():
    room = Room(cash=100, symbols=3)
    for s, score in enumerate((0.7, 0.9, 0.8)):
        room.candidate(s, score=score, notional=200)  # 40 of margin each
    room.judge()
    assert [room.verdict(s) for s in range(3)] == ["INSUFFICIENT_BALANCE", "APPROVED", "APPROVED"]


def test_the_exposure_of_the_former_counts():
    room = Room(exposure_max_e8=250 * MONEY)
    for s in range(3):
        room.candidate(s)
    room.judge()
    assert [room.verdict(s) for s in range(3)] == ["APPROVED", "APPROVED", "EXPOSURE_LIMIT"]


def test_a_big_first_leaves_room_for_a_small_second():
    room = Room(exposure_max_e8=250 * MONEY)
    room.candidate(0, notional=200, score=0.9).candidate(1, notional=100, score=0.8).candidate(
        2, notional=50, score=0.7
    )
    room.judge()
    assert [room.verdict(s) for s in range(3)] == ["APPROVED", "EXPOSURE_LIMIT", "APPROVED"]


# --- the worst case
@pytest.mark.parametrize(
    ("room", "risk"),
    [
        # new: 100 × (4 % + 2 × 0.05 %) = 4.1, in hundredths
        (lambda limit: Room(**limit), 410),
        # open, 50 at the mark with its stop 40 below: 2.0 + 0.05 % of 50
        (lambda limit: Room(**limit).hold(5000, s=1, stop=960), 410 + 200 + 2.5),
        # the stop in profit: only the costs
        (lambda limit: Room(**limit).hold(5000, s=1, stop=1010), 410 + 2.5),
        (lambda limit: Room(**limit).hold(-5000, s=1, stop=1040), 410 + 200 + 2.5),
        # no stop seen: everything
        (lambda limit: Room(**limit).hold(5000, s=1), 410 + 5000),
        # on its way: as a new one
        (lambda limit: Room(**limit).pend(5000, s=1), 410 + 205),
        # today's loss
        (lambda limit: Room(**limit).hold(5000, 1020, s=1, stop=960), 410 + 100 + 200 + 2.5),
    ],
)
def test_the_worst_case_is_todays_result_minus_open_pending_and_new_risk(room, risk):
    """Refused as soon as the sum is below −limit; exactly at the limit it is allowed."""
    base = 10_000 * MONEY
    at = round(risk * MONEY / 100)
    assert judged(room({"worst_case_ppm": 1_000_000, "worst_case_base_e8": at}), s=0) == "APPROVED"
    assert judged(room({"worst_case_ppm": 1_000_000, "worst_case_base_e8": at - 1}), s=0) == "WORST_CASE"
    assert judged(room({"worst_case_ppm": 0, "worst_case_base_e8": base}), s=0) == "APPROVED"


# --- the breaker in a run
def test_the_breaker_stops_entries_until_the_next_utc_day_and_never_an_exit():
    """1,000 of cash, 5 % a day. A long of 1,000 loses 60 at once; the next candidates wait for midnight."""
    run = desk(
        last=PRICE,
        cash=1_000,
        daily_loss_ppm=50_000,
        params=script_params(notional_e8=1_000 * MONEY, leverage=5, stop_ppm=80_000),
        guard=guard_record(stop_ppm=80_000),
        instruments=instrument_records(unit_e8=UNIT, taker_ppm=0, maker_ppm=0),
        plan={0: 1, 3: 1, 4: 1, 5: 1},
    )
    run.at_ms = START_MS + DAY_MS - 5 * MINUTE_MS  # five minutes before midnight
    run.play("1000 1000 1000 1000\n1000 1000 940 940")
    assert run.account.tripped == 1
    run.play("940 940 900 900")
    assert run.fills()[-1].split(" ", 1)[1] == "+40s stop SELL 100000 @ 920 taker"
    run.play("900 900 900 900")
    assert (VERDICT_NAMES[run.head().verdict], run.position().lots) == ("DAILY_LOSS", 0)
    assert run.account.day_end_ms == START_MS + DAY_MS
    run.play("900 900 900 900")  # this step is midnight: a new day
    assert (VERDICT_NAMES[run.head().verdict], run.account.tripped) == ("APPROVED", 0)
    assert run.account.day_start_e8 == 920 * MONEY
    assert run.head().verdict_ms == START_MS + DAY_MS
    assert run.account.verdicts.sum() == 3


def test_candidates_of_one_step_enter_at_the_next_open():
    run = desk(symbols=2, last=PRICE, plan={1: 1}, params=script_params(notional_e8=10_000_000))
    run.play(
        "1000 1000 1000 1000\n1000 1010 1000 1010\n1011 1012 1010 1011",
        "1000 1000 1000 1000\n1000 1001 999 1000\n1001 1002 1000 1001",
    )
    assert run.fills() == rows("2 +0s entry BUY 9 @ 1011 taker\n2 +0s s1 entry BUY 10 @ 1001 taker")


def test_with_the_gate_shut_nothing_is_ever_opened():
    run = desk(last=PRICE, plan={t: 1 for t in range(5)}, gate_shut=1)
    run.play("1000 1001 999 1000\n" * 6)
    assert run.fills() == []
    assert run.account.verdicts[VERDICT_NAMES.index("GATE_SHUT")] == 5
