"""Runs, parameters, the switch, kept states, and sums over what was earned."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import pytest
from tests.contract.store_databases import Database
from tests.contract.store_rows import ACCOUNT, T0, end, ready

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import (
    SIMULATED_ACCOUNTS,
    WHOLE_STRATEGY,
    Failed,
    Missing,
    NewRun,
    RunMode,
    StateRow,
    StepRefused,
    TradingControl,
)
from perpdesk.domain.errors import InputError
from perpdesk.domain.position import PositionStatus


async def test_parameters_are_kept_to_the_letter(store: SqlStore) -> None:
    text = '{"b": 1.0, "a": ["é", 1e-7, "0.030"]}\n' + " " * 100_000
    sha256 = await store.save_params_snapshot(text, T0)
    assert sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert await store.save_params_snapshot(text, T0 + 1) == sha256
    assert await store.params_snapshot(sha256) == text
    assert await store.params_snapshot("0" * 64) is None
    with pytest.raises(InputError, match="is not JSON"):
        await store.save_params_snapshot("{", T0)


async def test_a_run_ends_once(store: SqlStore) -> None:
    rows = await ready(store)
    new = NewRun(
        mode=RunMode.PAPER,
        strategies=["score_v2", "sma_cross"],
        params_hash=rows.params_hash,
        started_ms=T0,
        build_hash="abc",
    )
    first = await store.start_run(new)
    second = await store.start_run(new)
    assert first.account_id == SIMULATED_ACCOUNTS + first.id
    assert first.account_id != second.account_id
    live = await store.start_run(NewRun(**_fields(new) | {"account_id": ACCOUNT, "mode": RunMode.LIVE}))
    assert live.account_id == ACCOUNT
    await store.finish_run(first.id, T0 + 9, {"net_pnl": Decimal("-1.50"), "fills": 3})
    with pytest.raises(StepRefused):
        await store.finish_run(first.id, T0 + 10, {})
    with pytest.raises(StepRefused):
        await store.finish_run(live.id + 1, T0 + 10, {})
    found = await store.runs()
    assert [run.id for run in found] == [live.id, second.id, first.id]
    assert (found[2].ended_ms, found[2].summary) == (T0 + 9, {"net_pnl": "-1.50", "fills": 3})
    assert (found[1].ended_ms, found[1].summary, found[1].strategies) == (
        None,
        None,
        ["score_v2", "sma_cross"],
    )
    assert [run.id for run in await store.runs(1)] == [live.id]


def _fields(run: NewRun) -> dict[str, object]:
    return {field: getattr(run, field) for field in run.__struct_fields__}


async def test_the_switch_has_three_answers(store: SqlStore, database: Database) -> None:
    assert await store.trading_control(ACCOUNT) == Missing()
    await store.set_trading_control(ACCOUNT, True, "run:paper", T0)
    await store.set_trading_control(ACCOUNT, False, "operator", T0 + 5)
    assert await store.trading_control(ACCOUNT) == TradingControl(
        account_id=ACCOUNT,
        trading_type="usdt_futures",
        trading_enabled=False,
        updated_by="operator",
        updated_ms=T0 + 5,
        created_ms=T0,
    )
    assert await store.trading_control(ACCOUNT, "coin_futures") == Missing()
    database.execute("ALTER TABLE trading_control RENAME TO away")
    try:
        answer = await store.trading_control(ACCOUNT)
        assert isinstance(answer, Failed)
        assert "trading_control" in answer.reason
    finally:
        database.execute("ALTER TABLE away RENAME TO trading_control")


async def test_the_switch_is_off_where_nobody_turned_it(store: SqlStore, database: Database) -> None:
    database.execute(
        "INSERT INTO trading_control (account_id, trading_type, updated_by, updated_at, created_at) "
        "VALUES (7, 'usdt_futures', 'by hand', '2025-05-24 00:00:00.001', '2025-05-24 00:00:00.001')"
    )
    found = await store.trading_control(7)
    assert isinstance(found, TradingControl)
    assert found.trading_enabled is False
    assert found.updated_ms == 1_748_044_800_001


@pytest.mark.parametrize(
    "kept",
    [{"a": [1, 2.5, None]}, [], b"", b"\x00\xff" * 200_000],
    ids=["object", "list", "no bytes", "bytes"],
)
async def test_states_come_back_as_they_were(store: SqlStore, kept: object) -> None:
    rows = await ready(store)

    def state(symbol: str, value: object, ms: int) -> StateRow:
        return StateRow(
            account_id=ACCOUNT,
            strategy="v2",
            symbol=symbol,
            state=value,
            params_hash=rows.params_hash,
            updated_ms=ms,
        )

    await store.save_state(state("BTCUSDT", b"old" if not isinstance(kept, bytes) else {"old": 1}, T0))
    await store.save_state(state("BTCUSDT", kept, T0 + 1))
    await store.save_state(state(WHOLE_STRATEGY, {"regime": "BULL"}, T0))
    assert await store.load_state(ACCOUNT, "v2", "BTCUSDT") == state("BTCUSDT", kept, T0 + 1)
    assert await store.load_state(ACCOUNT, "v2", WHOLE_STRATEGY) == state(
        WHOLE_STRATEGY, {"regime": "BULL"}, T0
    )
    assert await store.load_state(ACCOUNT, "v2", "ETHUSDT") is None
    assert await store.load_state(ACCOUNT, "V2", "BTCUSDT") is None


DAY = 86_400_000
MIDNIGHT = 1_748_044_800_000

# version, gross, commission, funding, close day, how: the spec's vector 24, and rows that do not count.
FINISHED = [
    ("v2", "10", "0.4", "0", 0, PositionStatus.CLOSED),
    ("v2", "-4", "0.4", "-0.1", 0, PositionStatus.LIQUIDATED),
    ("v2", "3", "0.4", "0.05", 1, PositionStatus.CLOSED),
    ("v2", "-6", "0.4", "0", 1, PositionStatus.CLOSED),
    ("v3", "2", "0.4", "0", 0, PositionStatus.CLOSED),
    ("v3", "1", "0.4", "0", 0, PositionStatus.CLOSED),
    ("v3", "-2.5", "0.4", "0", 1, PositionStatus.CLOSED),
]


async def _finish_all(store: SqlStore) -> None:
    rows = await ready(store, "v2", "v3")
    for number, (version, gross, paid, funding, day, status) in enumerate(FINISHED):
        position = rows.position(symbol=f"S{number}", signal_version=version)
        position_id = await store.open_position(position, rows.intent())
        close_ms = MIDNIGHT + day * DAY + number
        await store.update_position(position_id, T0, open_ms=close_ms - 1_000)
        money = {"realized_pnl": Decimal(gross), "commission": Decimal(paid), "funding": Decimal(funding)}
        await store.close_position(position_id, T0, end(close_ms=close_ms, status=status, **money))
    aborted = await store.open_position(rows.position(symbol="ABORTED"), rows.intent())
    await store.close_position(
        aborted, T0, end(close_reason="ENTRY_ABORTED", close_ms=MIDNIGHT, exit_price=None)
    )
    await store.open_position(rows.position(symbol="LIVE"), rows.intent())


async def test_totals_by_version_are_exact(store: SqlStore) -> None:
    await _finish_all(store)
    v2, v3 = await store.version_totals(ACCOUNT)
    assert (v2.signal_version, v2.day, v2.trades, v2.wins, v2.liquidated) == ("v2", None, 4, 2, 1)
    assert (v2.realized_pnl, v2.commission, v2.funding, v2.net_pnl) == (
        Decimal(3),
        Decimal("1.6"),
        Decimal("-0.05"),
        Decimal("1.35"),
    )
    assert v2.holding_ms == 4_000
    assert (v3.trades, v3.wins, v3.net_wins, v3.net_pnl) == (3, 2, 2, Decimal("-0.70"))
    assert await store.version_totals(ACCOUNT + 1) == []


async def test_totals_by_day_follow_the_utc_day_of_closing(store: SqlStore) -> None:
    await _finish_all(store)
    found = await store.version_totals(by_day=True)
    assert [(row.signal_version, row.day, row.trades, row.net_pnl) for row in found] == [
        ("v2", "2025-05-24", 2, Decimal("5.1")),
        ("v2", "2025-05-25", 2, Decimal("-3.75")),
        ("v3", "2025-05-24", 2, Decimal("2.2")),
        ("v3", "2025-05-25", 1, Decimal("-2.9")),
    ]
    first_day = await store.version_totals(from_ms=MIDNIGHT, until_ms=MIDNIGHT + DAY, by_day=True)
    assert [(row.signal_version, row.trades) for row in first_day] == [("v2", 2), ("v3", 2)]
