"""Every reason not to buy, as the live desk meets it: one poll, one symbol for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.oi.stage import BEST, Stage, play, theatre

from perpdesk.exchange.faults import Fault
from perpdesk.kernel.records import BUY, MARKET, SLOT_ENTRY, VERDICT_NAMES
from perpdesk.ports import NewOrder
from perpdesk.simulation.database import Files, files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kept() -> Iterator[Files]:
    with files() as made:
        yield made


@dataclass(frozen=True)
class Case:
    """In one poll open interest goes up by ``share`` and the price by ``rise``, after it had risen ``before``."""

    code: str
    share: float = 1.04
    rise: float = 0.02
    before: float = 0.0
    ratios: Sequence[str] | None = BEST


WEAK = ("1.0", "0.5", "1.0", "1.6")
CASES = {
    "ADAUSDT": Case("OI_OVEREXTENDED", share=1.25),
    "AVAXUSDT": Case("PRICE_OVEREXTENDED", rise=0.16),
    "BNBUSDT": Case("OI_PRICE_DIVERGENCE", share=1.09, rise=0.006),
    "BTCUSDT": Case("DIRECTION_NEUTRAL", rise=0.003),
    "DOGEUSDT": Case("DIRECTION_NOT_ALLOWED", rise=-0.01),
    "ETHUSDT": Case("SENTIMENT_UNAVAILABLE", ratios=None),
    "LINKUSDT": Case("TOP_TRADERS_OPPOSED", ratios=("0.9", "1.4", "3.5", "1.0")),
    "LTCUSDT": Case("PRICE_OI_MISALIGNED", share=1.12),
    "SOLUSDT": Case("SCORE_FLOOR", share=1.10, rise=0.105, ratios=WEAK),
    "XRPUSDT": Case("SIGNAL_SCORE_TOO_LOW", rise=0.006, ratios=WEAK),
}
PRICES = {
    "ADAUSDT": "0.8", "AVAXUSDT": "25", "BNBUSDT": "650", "BTCUSDT": "50000", "DOGEUSDT": "0.2",
    "ETHUSDT": "2500", "LINKUSDT": "15", "LTCUSDT": "90", "SOLUSDT": "150", "XRPUSDT": "2",
}  # fmt: skip
ACCOUNT = "account: {balance_usdt: 10000, leverage: 6, margin_mode: isolated}\n"


def moved(one: Stage, symbol: str, share: float) -> str:
    """A price so much away from the symbol's own, on its tick."""
    contract = one.server.contract(symbol)
    last = one.server.world.markets[contract.index].last
    return contract.price_text(int(last * (1 + share)) // contract.tick * contract.tick)


async def acted(one: Stage, cases: dict[str, Case]) -> None:
    """Two quiet polls, what was before, then the one poll."""
    await one.start()
    await one.minute(1_000)
    for symbol, case in cases.items():
        if case.before:
            one.price(symbol, moved(one, symbol, case.before))
    await one.minute(1_000)
    for _ in range(5):
        await one.minute(1_000)
    for symbol, case in cases.items():
        one.interest_is(symbol, 1e5 * case.share, case.ratios)
        one.price(symbol, moved(one, symbol, case.rise))
    await one.minute(2_000)


def test_every_hard_rejection_is_met_by_the_desk_and_written_down(kept: Files, tmp_path: Path) -> None:
    async def story(one: Stage) -> None:
        await acted(one, CASES)
        assert {symbol: one.code(symbol) for symbol in CASES} == {s: c.code for s, c in CASES.items()}
        told = one.file.read("SELECT symbol, reject_code FROM oi_anomaly_records")
        assert {symbol: code for symbol, code in map(tuple, told)} == {s: c.code for s, c in CASES.items()}
        assert not any(one.held(symbol) for symbol in CASES)

    with theatre(kept, tmp_path, ACCOUNT + "oi: {initial_balance_usdt: 1000}", PRICES) as one:
        play(one, story)


LATER = {
    "CONFIDENCE_TOO_LOW": (Case(""), "min_confidence: 0.99"),
    "STRENGTH_TOO_LOW": (
        Case("", share=1.16, rise=0.115, ratios=WEAK),
        "min_score: 4, min_confidence: 0, bonus_step: 0, chase_penalty: 0, chase_reject_above: 0.5",
    ),
    "CHASE_LIMIT": (Case("", before=0.075), "chase_penalty: 0"),
}


@pytest.mark.parametrize("code", LATER)
def test_rejections_that_need_other_settings(kept: Files, tmp_path: Path, code: str) -> None:
    case, options = LATER[code]

    async def story(one: Stage) -> None:
        await acted(one, {"ETHUSDT": case})
        assert one.code("ETHUSDT") == code
        assert one.held("ETHUSDT") == 0

    config = ACCOUNT + f"oi: {{initial_balance_usdt: 1000, {options}}}"
    with theatre(kept, tmp_path, config, {"BTCUSDT": "50000", "ETHUSDT": "2500"}) as one:
        play(one, story)


def test_a_poll_without_enough_symbols_opens_nothing(kept: Files, tmp_path: Path) -> None:
    async def story(one: Stage) -> None:
        one.interest_is("BTCUSDT", None)
        await acted(one, {"ETHUSDT": Case("")})
        assert one.code("ETHUSDT") == "POLL_DEGRADED"
        assert one.held("ETHUSDT") == 0

    with theatre(kept, tmp_path) as one:
        play(one, story)


def test_a_short_history_is_no_window(kept: Files, tmp_path: Path) -> None:
    async def story(one: Stage) -> None:
        one.history = one.history[:30]
        await acted(one, {"ETHUSDT": Case("")})
        assert one.code("ETHUSDT") == "CHASE_WINDOW_INCOMPLETE"
        assert one.held("ETHUSDT") == 0

    with theatre(kept, tmp_path) as one:
        play(one, story)


def test_without_mark_prices_nothing_is_scored(kept: Files, tmp_path: Path) -> None:
    """The radar's list of marks fails for one poll: snapshots without marks, no entry."""

    async def story(one: Stage) -> None:
        await one.start()
        await one.minute(1_000)
        await one.minute(1_000)
        one.server.faults.add(Fault(kind="garble", form="html", route="GET /fapi/v1/premiumIndex", count=-1))
        one.interest_is("ETHUSDT", 1.04e5)
        one.price("ETHUSDT", "2550")
        await one.minute(2_000)
        assert one.held("ETHUSDT") == 0
        rows = one.file.read("SELECT DISTINCT reject_code FROM oi_anomaly_records WHERE symbol = 'ETHUSDT'")
        assert [tuple(row) for row in rows] == [("PRICE_MISSING",)]

    with theatre(kept, tmp_path) as one:
        play(one, story)


def test_old_ratios_are_none(kept: Files, tmp_path: Path) -> None:
    """The exchange's newest ratios are of eleven minutes ago."""

    async def story(one: Stage) -> None:
        await one.start()
        one.interest_is("ETHUSDT", 1e5)
        for _ in range(16):
            await one.minute(1_000)
        told = one.server.options.open_interest["ETHUSDT"]
        kept_ratios = {name: dict(rows) for name, rows in told.ratios.items()}
        one.interest_is("ETHUSDT", 1.04e5)
        told.ratios.clear()
        told.ratios.update(kept_ratios)
        one.price("ETHUSDT", "2550")
        await one.minute(2_000)
        assert one.code("ETHUSDT") == "SENTIMENT_UNAVAILABLE"
        assert one.held("ETHUSDT") == 0

    with theatre(kept, tmp_path) as one:
        play(one, story)


def test_an_entry_is_looked_at_again_before_the_wire(kept: Files, tmp_path: Path) -> None:
    """The mark has gone on, or time has: the decision does not hold any more."""

    async def story(one: Stage) -> None:
        await one.start()
        await one.minute(1_000)
        one.price("ETHUSDT", "2660")
        await one.minute(1_000)
        for _ in range(5):
            await one.minute(1_000)
        one.server.faults.add(
            Fault(kind="reply", http=400, code=-2019, msg="no margin", route="POST /fapi/v1/order")
        )
        one.interest_is("ETHUSDT", 1.04e5)
        one.price("ETHUSDT", "2690")  # 7.6 % above the low of two hours
        await one.minute(1_500)
        assert one.code("ETHUSDT") == "PASSED"
        entry = NewOrder("x", 1, 0, SLOT_ENTRY, MARKET, BUY, 0, 100, False, 0, 0, 6)
        gate = one.desk.gate
        assert gate.foresee(entry) is None
        one.price("ETHUSDT", "2705")  # 8.2 %
        await one.passes(1_500)
        assert gate.foresee(entry) == "CHASE_LIMIT"
        one.price("ETHUSDT", "2660")  # back by more than one percent
        await one.passes(1_500)
        assert gate.foresee(entry) == "PRICE_MOVED"
        one.price("ETHUSDT", "2690")
        await one.passes(15_000)
        assert gate.foresee(entry) == "SIGNAL_STALE"

    with theatre(kept, tmp_path) as one:
        play(one, story)


def test_no_entry_without_room_for_its_conditional_orders(kept: Files, tmp_path: Path) -> None:
    async def story(one: Stage) -> None:
        await one.start()
        for n in range(185):
            params = {
                "symbol": "SOLUSDT", "side": "BUY", "type": "STOP_MARKET", "triggerPrice": f"{200 + n}",
                "quantity": "1", "clientAlgoId": f"mine{n}",
            }  # fmt: skip
            one.person("stop", params=params)
        await one.minute(1_000)
        await one.minute(1_000)
        one.interest_is("ETHUSDT", 1.04e5)
        one.price("ETHUSDT", "2550")
        await one.minute(2_000)
        assert one.code("ETHUSDT") == "PASSED"
        assert one.held("ETHUSDT") == 0
        assert one.desk.gate.refused["ALGO_SLOTS"] >= 1

    with theatre(kept, tmp_path) as one:
        play(one, story)


def verdict(one: Stage, symbol: str) -> str:
    s = one.universe.symbols.index(symbol)
    return VERDICT_NAMES[int(one.books.heads[0, s].verdict)]


def test_five_positions_and_the_best_first(kept: Files, tmp_path: Path) -> None:
    """Six break out in one poll; the one with the least score is left."""
    chosen = ("BNBUSDT", "BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
    cases = {symbol: Case("") for symbol in chosen} | {
        "BTCUSDT": Case("", ratios=("1.3", "1.15", "1.6", "1.3"))
    }

    async def story(one: Stage) -> None:
        await acted(one, cases)
        assert {one.code(symbol) for symbol in chosen} == {"PASSED"}
        assert [symbol for symbol in chosen if one.held(symbol) == 0] == ["BTCUSDT"]
        assert verdict(one, "BTCUSDT") == "MAX_POSITIONS"

    config = ACCOUNT + "oi: {initial_balance_usdt: 1000}"
    with theatre(kept, tmp_path, config, {symbol: PRICES[symbol] for symbol in chosen}) as one:
        play(one, story)


def test_the_worst_case_limit_counts_what_is_open_and_pending(kept: Files, tmp_path: Path) -> None:
    """Each position can lose 548 USDT with its costs: within 1200 there is room for two."""

    async def story(one: Stage) -> None:
        await acted(one, {symbol: Case("") for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT")})
        held = [symbol for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT") if one.held(symbol)]
        assert held == ["BTCUSDT", "ETHUSDT"]
        assert verdict(one, "SOLUSDT") == "WORST_CASE"

    config = ACCOUNT + "risk: {worst_case_fraction: 0.12}\noi: {initial_balance_usdt: 8000}"
    with theatre(kept, tmp_path, config) as one:
        play(one, story)
