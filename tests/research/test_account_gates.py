"""Each rule of the account refuses alone, and the first one is the reason."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.app.markets import configured

from perpdesk.app import sleeves_of
from perpdesk.domain.books import Failed, Missing, PositionRow, TradingControl
from perpdesk.domain.order import PositionSide
from perpdesk.domain.position import PositionStatus
from perpdesk.domain.signal_books import ScoreSignal, SymbolRating
from perpdesk.research.account_gates import Standing, gates, said_then

D, MINUTE_MS = Decimal, 60_000
AT_MS = 1_748_044_800_000
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
LOADED = configured("risk.max_total_notional_usdt=5000")
(V2,) = sleeves_of(LOADED, ["score_v2"])


def rated(level: int) -> SymbolRating:
    return SymbolRating(
        symbol="BTCUSDT", rating_level=level, margin_multiplier=D(1), score_bonus=D(0), updated_ms=AT_MS,
        reason="8 hard stops",
    )  # fmt: skip


def row(**changes: Any) -> PositionRow:
    known: dict[str, Any] = {
        "id": 1, "account_id": 1, "symbol": "BTCUSDT", "position_side": LONG, "signal_version": "v2",
        "quantity": D("0.004"), "notional_value": D(400), "margin": D(80), "leverage": 5, "params_hash": "0" * 64,
        "created_ms": AT_MS - 60 * MINUTE_MS, "open_ms": AT_MS - 60 * MINUTE_MS, "status": PositionStatus.OPEN,
        "updated_ms": AT_MS, "realized_pnl": D(0), "commission": D(0), "funding": D(0), "net_pnl": D(0),
        "exit_price": None, "close_ms": None, "close_reason": None, "exit_hits": None, "stop_algo_id": None,
        "suspect_since_ms": None,
    }  # fmt: skip
    return msgspec.convert({**known, **changes}, PositionRow, strict=False)


def closed(minutes: int, **changes: Any) -> PositionRow:
    return row(
        status=PositionStatus.CLOSED, close_ms=AT_MS - minutes * MINUTE_MS, close_reason="TIMEOUT", **changes
    )


def by_person(minutes: int) -> PositionRow:
    return msgspec.structs.replace(closed(minutes), close_reason="MANUAL")


def switched(on: bool) -> TradingControl:
    return TradingControl(
        account_id=1, trading_type="usdt_futures", trading_enabled=on, updated_by="ann", updated_ms=AT_MS,
        created_ms=AT_MS,
    )  # fmt: skip


CLEAN = Standing(
    account_id=1, switch=switched(True), positions=(), rating=rated(0), rated=True, beats_fresh=True,
    tripped=False, owner="score", external=False, signals=(),
)  # fmt: skip


def refused(one: Standing) -> list[str]:
    return [gate.code for gate in gates(one, LOADED, V2, "BTCUSDT", LONG, AT_MS) if gate.refuses]


def test_nothing_refuses_a_clean_account() -> None:
    assert refused(CLEAN) == []
    assert refused(replace(CLEAN, positions=(row(signal_version="v3"),))) == []


REFUSALS = [
    ({"switch": switched(False)}, "TRADING_DISABLED"),
    ({"switch": Missing()}, "TRADING_DISABLED"),
    ({"switch": Failed(reason="no answer")}, "TRADING_DISABLED"),
    ({"beats_fresh": False}, "GUARDIAN_STALE"),
    ({"rating": rated(3)}, "RATING_BANNED"),
    ({"rating": None}, "RATING_UNKNOWN"),
    ({"positions": (row(),)}, "POSITION_EXISTS"),
    ({"positions": (row(status=PositionStatus.CLOSING),)}, "POSITION_EXISTS"),
    ({"positions": (row(signal_version="v3", position_side=SHORT),)}, "OPPOSITE_SIDE"),
    ({"owner": "oi_breakout"}, "SYMBOL_TAKEN"),
    ({"external": True}, "EXTERNAL_LOTS"),
    ({"positions": (closed(14),)}, "COOLDOWN"),
    ({"positions": (by_person(59),)}, "COOLDOWN"),
    (
        {"positions": tuple(row(id=n, symbol=f"S{n}USDT", notional_value=D(1)) for n in range(20))},
        "MAX_POSITIONS",
    ),
    ({"positions": (row(symbol="ETHUSDT", notional_value=D(3001)),)}, "EXPOSURE_LIMIT"),
    ({"tripped": True}, "DAILY_LOSS"),
]


@pytest.mark.parametrize(
    ("changes", "code"), REFUSALS, ids=[f"{n} {code}" for n, (_, code) in enumerate(REFUSALS)]
)
def test_each_rule_refuses_alone(changes: dict[str, Any], code: str) -> None:
    assert refused(replace(CLEAN, **changes)) == [code]


@pytest.mark.parametrize(
    "one", [closed(15), by_person(60), closed(14, position_side=SHORT), closed(14, signal_version="v3")]
)
def test_what_does_not_cool_down(one: PositionRow) -> None:
    assert refused(replace(CLEAN, positions=(one,))) == []


def signal(reason: str | None) -> ScoreSignal:
    return ScoreSignal(
        account_id=1, version="v2", symbol="BTCUSDT", side=LONG, bar_open_ms=0, score=D(63), other_score=None,
        components=None, act="NONE" if reason else "OPEN", reason=reason, attempted=not reason,
        params_hash="0" * 64, created_ms=AT_MS,
    )  # fmt: skip


def test_of_a_simulated_run_only_its_word_is_known() -> None:
    simulated = replace(CLEAN, rated=False, beats_fresh=None, rating=None)
    (unknown,) = (one for one in gates(simulated, LOADED, V2, "BTCUSDT", LONG, AT_MS) if one.refuses is None)
    assert unknown.code == "RATING_BANNED"
    assert refused(replace(simulated, signals=(signal("COOLDOWN"),))) == []
    assert refused(replace(simulated, signals=(signal("RATING_BANNED"),))) == ["RATING_BANNED"]
    said = said_then(replace(simulated, signals=(signal(None),)), "v2", LONG, AT_MS)
    assert said == "LONG opened (score 63.00)"
    assert said_then(replace(simulated, signals=(signal(None),)), "v2", SHORT, AT_MS) is None


def test_the_moment_counts_not_what_came_later() -> None:
    later = row(created_ms=AT_MS, open_ms=AT_MS + 1)
    assert refused(replace(CLEAN, positions=(later,))) == []
    assert refused(replace(CLEAN, positions=(closed(-5),))) == ["POSITION_EXISTS"]
