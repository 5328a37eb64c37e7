"""Every start is a recovery: rows and orders → books as they were (crash points CP-02 … CP-17, CP-21)."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from tests.engine.live.bench import ACCOUNT, FEE, PRICE, STOP, same_positions
from tests.engine.live.kept import Breaking, Kept, kept, listed
from tests.engine.live.scripted import UNKNOWN, short

from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.domain.books import (
    FillQuery,
    IntentState,
    NewPosition,
    PositionQuery,
    StoreFailed,
    StrategyVersion,
)
from perpdesk.domain.errors import NeedsPerson, PerpdeskError
from perpdesk.domain.order import PositionSide
from perpdesk.domain.position import PositionStatus
from perpdesk.kernel.records import SLOT_EXIT, SLOT_STOP, TAG_SIGNAL
from perpdesk.ports import Fate, Leg

SAME = (
    "lots", "cost_e8", "margin_e8", "leverage", "opened_ms", "last_fill_ms", "entry_score", "entry_score_max",
    "funding_e8",
)  # fmt: skip


async def test_positions_come_back_without_their_database(
    file: Path, empty_database: Path, tmp_path: Path
) -> None:
    """Two versions and a person on one position; every row is lost. The client ids say whose is what."""
    async with kept(file, sleeves=2) as life:
        await life.hold(8, v=0)  # over before the database is lost
        life.one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await life.carried()
        await life.one.traded("t0 xm", price=PRICE + 20)
        await life.carried()
        await life.hold(10, v=0)
        await life.hold(20, v=1)
        await life.one.foreign(4)
        await life.one.foreign(-7)
        before = life.one.books.positions["lots"][:, 0].tolist()
        assert (before, int(life.one.engine.external[0])) == ([9, 18], 0)
        lost = Path(shutil.copy(empty_database, tmp_path / "new.db"))
        async with await SqlStore.open(f"sqlite:///{lost}") as empty:
            sha = await empty.save_params_snapshot("{}", 0)
            for name in ("v0", "v1"):
                await empty.save_strategy_version(
                    StrategyVersion(name=name, scorer="test", params={}, params_hash=sha, created_ms=0)
                )
            life.store, life.sha = empty, sha
            net = life.venue.netted[0]
            entry_price = net.cost_e8 // (net.lots * net.unit_e8)
            life.venue.shown = [Leg(0, "AAAUSDT", net.lots, entry_price, PRICE, 0, True, 0, 0)]
            found = await life.again()
            assert found.positions == 2
            assert life.one.books.positions["lots"][:, 0].tolist() == before
            life.one.check_lots()
            rows = {row.signal_version: row for row in await empty.live_positions(ACCOUNT)}
            assert {name: row.quantity for name, row in rows.items()} == {
                "v0": Decimal("0.09"), "v1": Decimal("0.18"),
            }  # fmt: skip
            await life.one.react()
            await life.carried()
            stops = [order for order in life.venue.alive.values() if order.slot == SLOT_STOP]
            assert sorted((order.sleeve, order.lots) for order in stops) == [(0, 9), (1, 18)]
            assert await life.one.import_all() == 2, "only what was over before is somebody else's"
            again = await life.again()
            assert again.positions == 2
            assert life.one.books.positions["lots"][:, 0].tolist() == before


async def test_funding_of_the_past_is_in_the_margin_again(file: Path) -> None:
    """An isolated position pays from its own margin: after a restart its liquidation is where it was."""
    async with kept(file, sleeves=2) as life:
        await life.hold(10, v=0)
        await life.hold(20, v=1)
        margins = life.one.books.positions["margin_e8"][:, 0].copy()
        await life.one.funding(-3_000_000)
        before = life.one.books.positions.copy()
        assert (before["margin_e8"][:, 0] - margins).tolist() == [-1_000_000, -2_000_000]
        await life.flush()
        await life.again()
        for v in range(2):
            assert same_positions(before[v : v + 1, 0], life.one.books.positions[v : v + 1, 0], *SAME) == []
        assert int(life.one.books.account.margin_e8[0]) == int(before["margin_e8"].sum())


async def states(life: Kept) -> dict[str, str]:
    """Intents that a start would have to settle."""
    return {short(row.client_id): row.state.value for row in await life.store.pending_intents(ACCOUNT)}


@pytest.mark.parametrize("seed", range(6))
async def test_books_come_back_exactly_as_they_were(file: Path, seed: int) -> None:
    dice = random.Random(seed)
    async with kept(file, sleeves=2, symbols=2) as life:
        for step in range(14):
            one = life.one
            v, s = dice.randrange(2), dice.randrange(2)
            life.clock.advance_to(life.clock.now_ms() + dice.choice((0, 700)))
            price = dice.randrange(9_800, 10_200)
            if one.lots(v, s) == 0:
                await life.hold(dice.randrange(2, 30), price, v, s)
            elif dice.random() < 0.5:
                await one.foreign(-dice.randrange(1, 6), price, s)
            else:
                one.delivery.exit_now(v, s, TAG_SIGNAL)
                await life.carried()
                part = dice.randrange(1, one.lots(v, s) + 1)
                order = life.venue.order(f"t{v} xm", s)
                left = order.lots - sum(f.lots for f in life.venue.history if f.client_id == order.client_id)
                await one.traded(f"t{v} xm", min(part, left), price, s)
            await life.carried()
            if step % 5 == 4:
                await life.flush()
        await life.flush()
        before, rows, drift = one.books.positions.copy(), life.rows(), one.engine.drift_e8.copy()
        external, shared = one.engine.external.copy(), one.engine.was_shared.copy()
        await life.again()
        after = life.one.books.positions
        for v in range(2):
            for s in range(2):
                if before[v, s].lots:
                    assert same_positions(before[v : v + 1, s], after[v : v + 1, s], *SAME) == []
        assert after["lots"].tolist() == before["lots"].tolist()
        assert life.rows() == rows
        assert life.one.engine.external.tolist() == external.tolist()
        for s in range(2):
            if any(before["lots"][:, s]):
                assert bool(life.one.engine.was_shared[s]) == bool(shared[s])
                assert int(life.one.engine.drift_e8[s]) == int(drift[s])
        life.one.check_lots()
        assert await life.one.import_all() == 0, "every fill is known"
        life.one.check_lots()


async def test_two_versions_sum_to_the_exchange_over_a_restart(file: Path) -> None:
    """What the netting made of the first exit is given out when the second one is flat, after the restart too."""
    async with kept(file, sleeves=2) as life:
        await life.hold(3, 10_000, v=0)
        await life.hold(7, 10_301, v=1)
        life.one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await life.carried()
        await life.one.traded("t0 xm", price=10_203)
        await life.flush()
        await life.again()
        life.one.delivery.exit_now(1, 0, TAG_SIGNAL)
        await life.carried()
        await life.one.traded("t1 xm", price=10_407)
        await life.flush()
        rows = await life.store.positions(PositionQuery(account_id=ACCOUNT))
        assert [row.status for row in rows] == [PositionStatus.CLOSED] * 2
        total = sum((row.realized_pnl for row in rows), Decimal(0))
        assert total == Decimal(life.venue.netted[0].realised_e8).scaleb(-8)


async def test_a_crash_before_the_fill_was_written_imports_it_once(file: Path) -> None:
    """CP-07."""
    async with kept(file) as life:
        await life.enter()
        await life.one.traded("t0 e1")  # booked, never flushed
        found = await life.again()
        assert (found.positions, found.entries_in_doubt) == (1, 1)
        assert life.one.lots() == 0
        life.venue.prove("t0 e1-0", Fate.ENDED)
        await life.one.idle()
        assert await life.one.import_all() == 1
        await life.carried()
        assert life.one.lots() == 10
        assert [row.partition("STOP")[2] for row in life.one.alive] == [f" SELL 10 @ {STOP}"]
        await life.flush()
        assert await states(life) == {}


@pytest.mark.parametrize("down_ms", [1_000, 3_600_000])
async def test_an_entry_that_was_sent_and_died_makes_room(file: Path, down_ms: int) -> None:
    """CP-02, CP-03."""
    async with kept(file) as life:
        life.venue.will("e1", UNKNOWN)
        await life.enter()
        await life.flush()
        assert await states(life) == {"t0 e1-0": IntentState.UNKNOWN.value}
        found = await life.again(after_ms=down_ms)
        assert found.entries_in_doubt == 1
        await life.one.idle()
        assert life.venue.settling[-1][0] == "t0 e1-0"
        assert life.venue.settling[-1][1] >= life.clock.now_ms() + 5_000
        await life.enter()
        assert [row for row in life.venue.said() if "e1" in row] == ["place t0 e1-0 MARKET BUY 10"]
        life.one.slot(0).kind = 0
        life.venue.prove("t0 e1-0", Fate.ABSENT)
        await life.one.idle()
        await life.flush()
        assert await states(life) == {}
        assert await life.store.live_positions(ACCOUNT) == []


async def test_an_entry_found_alive_is_taken_back(file: Path) -> None:
    """Nobody remembers why it was wanted: it is cancelled, and what had traded is kept."""
    async with kept(file) as life:
        await life.enter()
        await life.flush()
        await life.again()
        life.venue.prove("t0 e1-0", Fate.ALIVE)
        await life.carried()
        assert life.venue.said()[-1] == "cancel t0 e1-0"
        await life.flush()
        assert await states(life) == {}
        assert await life.store.live_positions(ACCOUNT) == []


async def test_stops_that_stand_are_put_back_in_their_places(file: Path) -> None:
    async with kept(file, sleeves=2) as life:
        await life.hold(10, v=0)
        await life.hold(5, v=1)
        await life.flush()
        found = await life.again()
        assert found.orders_adopted == 2
        await life.one.react()
        await life.carried()
        assert life.venue.said() == [], "what is wanted stands"
        assert sorted(life.venue.adopted) == ["t0 xs-0", "t1 xs-0"]
        await life.one.traded("t0 xs", price=STOP)
        assert life.one.lots(0) == 0
        await life.flush()
        done = await life.store.positions(PositionQuery(account_id=ACCOUNT))
        assert [row.close_reason for row in done] == ["EXCHANGE_STOP", None]


async def test_a_missing_stop_is_placed_and_its_id_is_new(file: Path) -> None:
    """CP-08, CP-14."""
    async with kept(file) as life:
        await life.hold()
        await life.flush()
        life.venue.alive.clear()
        await life.again()
        await life.one.react()
        await life.carried()
        (row,) = life.venue.said()
        assert row.startswith("place t0 xs-")
        assert row.endswith(f"STOP SELL 10 @ {STOP}")


async def test_of_two_stops_one_is_kept(file: Path) -> None:
    """CP-09, CP-13."""
    async with kept(file) as life:
        await life.hold()
        order = life.venue.order("t0 xs")
        twin = order.client_id[:-1] + "1"
        life.venue.alive[twin] = replace(order, client_id=twin)
        await life.flush()
        await life.again()
        await life.one.react()
        await life.carried()
        (cancelled,) = life.venue.said()
        kept_one = {"cancel t0 xs-0": "t0 xs-1", "cancel t0 xs-1": "t0 xs-0"}[cancelled]
        await life.one.foreign(-4)
        await life.carried()
        placed, gone = life.venue.said()
        assert placed.endswith(f"STOP SELL 6 @ {STOP}")
        assert gone == f"cancel {kept_one}"


async def test_an_exit_that_was_decided_goes_on(file: Path) -> None:
    """CP-15, CP-16: the row says closing, and why."""
    async with kept(file) as life:
        await life.hold()
        life.venue.will("xm", UNKNOWN)
        life.one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await life.carried()
        await life.flush()
        found = await life.again()
        assert [place[:2] for place in found.leaving] == [(0, 0)]
        for v, s, tag in found.leaving:
            life.one.delivery.exit_now(v, s, tag)
        await life.carried()
        assert life.one.slot(SLOT_EXIT).lots == 10
        assert [row for row in life.venue.said() if " xm" in row][-1].endswith("MARKET SELL 10")


async def test_external_lots_come_back_and_keep_the_symbol_blocked(file: Path) -> None:
    async with kept(file) as life:
        await life.one.foreign(6)
        await life.flush()
        life.gate.blocked.clear()
        await life.again()
        life.one.outside.begin(await life.store.external_lots(ACCOUNT))
        assert int(life.one.engine.external[0]) == 6
        assert life.gate.blocked == {0: "EXTERNAL_LOTS"}
        life.one.check_lots()


async def test_a_row_of_a_version_that_is_not_run_is_a_stranger(file: Path) -> None:
    async with kept(file) as life:
        await life.store.open_position(
            NewPosition(
                account_id=ACCOUNT,
                symbol="AAAUSDT",
                position_side=PositionSide.LONG,
                signal_version="old",
                quantity=Decimal("0.1"),
                notional_value=Decimal(10),
                margin=Decimal(2),
                leverage=5,
                params_hash=life.sha,
                created_ms=0,
                position_code="abc00",
            ),
            None,
        )
        found = await life.again()
        assert (found.positions, len(found.strangers)) == (0, 1)
        assert life.one.lots() == 0


async def test_recovery_may_fail_and_be_tried_again(file: Path) -> None:
    """CP-21: a read that finds nothing out changes nothing."""
    async with kept(file) as life:
        await life.one.foreign(6)
        await life.flush()
        life.venue.fails = {"orders"}
        with pytest.raises(PerpdeskError):
            await life.again()
        life.venue.fails = set()
        await life.recovery.run(life.clock.now_ms())
        assert int(life.one.engine.external[0]) == 6
        life.one.check_lots()


@pytest.mark.parametrize("failing", ["live_positions", "pending_intents", "external_lots", "load_state"])
async def test_a_store_that_fails_at_the_start_leaves_nothing_half_built(file: Path, failing: str) -> None:
    async with kept(file) as life:
        await life.hold()
        await life.one.foreign(6)
        await life.flush()
        life.venue.listed = [listed(order) for order in life.venue.alive.values()]
        life.born()
        life.recovery.store = Breaking(life.store, **{failing: 1})  # type: ignore[assignment]
        with pytest.raises(StoreFailed):
            await life.recovery.run(life.clock.now_ms())
        one = life.one
        if one.engine.executor.codes:
            return  # the desk ends then: half-built books are not built upon
        assert not any(one.books.positions["lots"].flat)
        assert not any(one.engine.external)
        await life.recovery.run(life.clock.now_ms())
        assert (one.lots(), int(one.engine.external[0])) == (10, 6)


async def test_two_live_rows_of_one_place_need_a_person(file: Path) -> None:
    async with kept(file) as life:
        await life.hold()
        await life.flush()
        (row,) = await life.store.live_positions(ACCOUNT)
        life.born()
        life.recovery._resume(row, 0, 0, await life.store.fills(FillQuery(position_id=row.id)))
        with pytest.raises(NeedsPerson, match="two live rows"):
            life.recovery._resume(row, 0, 0, [])


async def test_what_was_paid_before_counts_in_the_row(file: Path) -> None:
    async with kept(file) as life:
        await life.hold()
        await life.one.funding(-500)
        await life.flush()
        await life.again()
        life.one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await life.carried()
        await life.one.traded("t0 xm", price=PRICE + 1)
        await life.flush()
        (row,) = await life.store.positions(PositionQuery(account_id=ACCOUNT))
        assert row.funding == Decimal("-0.000005")
        assert row.commission == Decimal(2 * FEE).scaleb(-8)
        assert row.realized_pnl == Decimal("0.1")
        assert int(life.one.slot(SLOT_STOP).kind) == 0


async def test_a_person_who_turned_the_position_round_in_one_trade(file: Path) -> None:
    """The exchange's realised amount of that trade is the version's alone, though it is split by lots."""
    async with kept(file) as life:
        await life.hold(20)
        await life.one.foreign(-28, price=PRICE + 30)
        assert (life.one.lots(), int(life.one.engine.external[0])) == (0, -8)
        await life.one.foreign(4, price=PRICE - 50)
        drift = int(life.one.engine.drift_e8[0])
        assert drift > 0
        await life.flush()
        await life.again()
        assert int(life.one.engine.drift_e8[0]) == drift
        await life.one.foreign(4, price=PRICE - 50)
        await life.flush()
        rows = await life.store.positions(PositionQuery(account_id=ACCOUNT))
        outside = await life.store.adjustments(ACCOUNT)
        made = sum(row.realized_pnl for row in rows) + sum(row.realized_pnl for row in outside)
        assert made * 10**8 == life.venue.netted[0].realised_e8


# -- closed before the whole of it was known -----------------------------------------------------------------


async def half_known(life: Kept) -> None:
    """An entry of 19 is not answered, 7 of it are told and closed; 12 more have traded and are not told."""
    life.venue.will("e1", UNKNOWN)
    await life.enter(lots=19)
    await life.one.traded("t0 e1", lots=7)
    await life.carried()
    entry = life.venue.order("t0 e1")
    life.one.happened(entry.client_id, 0, 1, 12, PRICE, FEE, None)
    life.one.delivery.exit_now(0, 0, TAG_SIGNAL)
    await life.carried()
    await life.one.traded("t0 xm")
    await life.carried()
    assert life.one.lots() == 0
    stops = [row for row in life.one.alive if " STOP SELL 7 " in row]
    assert stops, "the stop stays for what may have traded unheard"


async def rows_of(life: Kept) -> list[tuple[str, Decimal | None, str | None]]:
    await life.flush()
    found = await life.store.positions(PositionQuery(account_id=ACCOUNT))
    return [(row.status.value, row.quantity, row.close_reason) for row in found]


@pytest.mark.parametrize("dies", [False, True])
async def test_what_was_closed_before_the_whole_entry_was_known_stays_its_versions(
    file: Path, dies: bool
) -> None:
    """The guardian, or a signal, closes what is known: the rest is the same position's, and protected."""
    async with kept(file) as life:
        await half_known(life)
        assert [status for status, *_ in await rows_of(life)] == ["closing"]
        if dies:
            found = await life.again()
            assert (found.positions, found.entries_in_doubt) == (1, 1)
            await life.one.idle()
        life.venue.prove("t0 e1-0", Fate.ENDED)
        await life.one.idle()
        await life.one.import_all()
        await life.carried()
        life.one.check_lots()
        assert (life.one.lots(), int(life.one.engine.external[0])) == (12, 0)
        assert [row.partition("STOP")[2] for row in life.one.alive] == [f" SELL 12 @ {STOP}"]
        await life.flush()
        assert await states(life) == {}
        life.one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await life.carried()
        await life.one.traded("t0 xm", price=PRICE + 10)
        await life.carried()
        assert await rows_of(life) == [("closed", Decimal("0.19"), "SIGNAL")]
        assert life.one.engine.executor.codes == {}


@pytest.mark.parametrize("dies", [False, True])
async def test_a_row_that_is_flat_ends_when_the_rest_of_its_entry_is_known_to_be_nothing(
    file: Path, dies: bool
) -> None:
    async with kept(file) as life:
        life.venue.will("e1", UNKNOWN)
        await life.enter(lots=7)
        await life.one.traded("t0 e1", lots=4)
        await life.carried()
        life.one.delivery.exit_now(0, 0, TAG_SIGNAL)
        await life.carried()
        await life.one.traded("t0 xm")
        await life.carried()
        assert [status for status, *_ in await rows_of(life)] == ["closing"]
        if dies:
            await life.again()
            await life.one.idle()
        life.venue.prove("t0 e1-0", Fate.ENDED)
        await life.carried()
        assert [status for status, *_ in await rows_of(life)] == ["closing"]
        await life.one.gone("t0 e1", "EXPIRED")
        await life.carried()
        assert await rows_of(life) == [("closed", Decimal("0.04"), "SIGNAL")]
        assert await states(life) == {}
        assert life.one.engine.executor.codes == {}


async def test_a_flat_row_whose_entry_is_over_ends_at_the_next_start(file: Path) -> None:
    async with kept(file) as life:
        await half_known(life)
        await life.flush()
        await life.store.mark_intent(life.venue.order("t0 e1").client_id, IntentState.FILLED, ms=1)
        await life.again()
        assert await rows_of(life) == [("closed", Decimal("0.07"), "SIGNAL")]
