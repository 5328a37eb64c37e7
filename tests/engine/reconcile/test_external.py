"""The external ledger's rows."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.domain.account_books import AdjustmentKind, ExternalLots
from perpdesk.domain.order import PositionSide
from perpdesk.engine.reconcile.attribute import EXTERNAL, Cause, attribute
from perpdesk.engine.reconcile.external import acknowledged, adjustments, changed, source_key

D = Decimal


def book(row: ExternalLots | None, change: str, price: str | None, ms: int = 1) -> ExternalLots:
    return changed(
        row,
        account_id=7,
        symbol="BTCUSDT",
        position_side=PositionSide.BOTH,
        change=D(change),
        price=None if price is None else D(price),
        ms=ms,
        client_id=f"web_{ms}",
    )


def test_lots_average_close_and_turn() -> None:
    row = book(None, "0.004", "50000", 1)
    assert (row.qty, row.avg_price, row.first_seen_ms, row.client_id) == (D("0.004"), D(50000), 1, "web_1")
    row = book(row, "0.004", "52000", 2)
    assert (row.qty, row.avg_price, row.first_seen_ms) == (D("0.008"), D(51000), 1)
    row = book(row, "-0.002", "60000", 3)
    assert (row.qty, row.avg_price, row.client_id) == (D("0.006"), D(51000), "web_2")
    row = book(row, "-0.010", "40000", 4)
    assert (row.qty, row.avg_price, row.first_seen_ms) == (D("-0.004"), D(40000), 4)
    row = book(row, "0.004", "41000", 5)
    assert (row.qty, row.avg_price) == (D(0), None)
    assert not row.stops_entries


def test_an_unknown_price_makes_the_average_unknown_until_it_is_flat() -> None:
    row = book(book(None, "0.004", None), "0.004", "50000")
    assert row.avg_price is None
    assert book(row, "-0.001", "50000").avg_price is None
    assert book(book(row, "-0.008", "1"), "0.001", "50000").avg_price == 50000


def test_more_or_the_other_side_has_to_be_acknowledged_again() -> None:
    row = book(None, "0.004", "50000")
    assert row.stops_entries
    row = acknowledged(row, "alice", 9)
    assert not row.stops_entries
    assert not book(row, "-0.001", "50000").stops_entries
    assert book(row, "0.001", "50000").stops_entries
    assert book(row, "-0.005", "50000").stops_entries
    assert book(row, "-0.004", "50000").acknowledged_ms is None


def test_averages_fit_their_column() -> None:
    row = book(book(None, "0.001", "50000"), "0.002", "50001")
    assert row.avg_price == D("50000.666666666667")


@given(st.lists(st.tuples(st.integers(-9, 9).filter(bool), st.integers(1, 99)), max_size=12))
def test_quantities_add_up_and_the_average_lies_between_the_prices(steps: list[tuple[int, int]]) -> None:
    row = None
    for ms, (change, price) in enumerate(steps):
        row = book(row, str(change), str(price), ms)
    if row is None:
        return
    assert row.qty == sum(change for change, _ in steps)
    assert (row.avg_price is None) == (row.qty == 0)
    if row.avg_price is not None:
        prices = [price for _, price in steps]
        assert min(prices) <= row.avg_price <= max(prices)


@pytest.mark.parametrize(
    ("cause", "kinds"),
    [
        (Cause.FOREIGN, ["from_external", "manual_close", "manual_partial", "to_external"]),
        (Cause.LIQUIDATION, ["liquidation"] * 3),
        (Cause.ADL, ["adl"] * 3),
        (Cause.SETTLEMENT, ["settlement"] * 3),
        (Cause.DISASTER_STOP, ["pro_rata"] * 3),
    ],
)
def test_every_part_of_a_fill_is_one_row_with_a_key_of_its_own(cause: Cause, kinds: list[str]) -> None:
    held, external = [6, 4], 2
    size = 9 if cause is not Cause.FOREIGN else 13
    parts = attribute(-1, size, 90, held, external)
    if cause is Cause.FOREIGN:
        assert [(part.owner, part.lots) for part in parts] == [(EXTERNAL, 2), (0, 6), (1, 4), (EXTERNAL, 1)]
        kinds = ["from_external", "manual_close", "manual_close", "to_external"]
    rows = adjustments(
        parts,
        account_id=7,
        symbol="BTCUSDT",
        position_side=PositionSide.BOTH,
        cause=cause,
        trade_id=123,
        side=-1,
        price=D(50000),
        lot_step=D("0.001"),
        ms=5,
        held=held,
        position_ids=[41, 42],
        realised_e8=[0] * len(parts),
    )
    assert [row.kind.value for row in rows] == kinds
    assert len({row.source_key for row in rows}) == len(rows)
    assert sum(row.qty for row in rows) == D(-size) / 1000
    assert sum(row.commission for row in rows) == D("0.0000009")
    assert rows[0].source_key == "trade:BTCUSDT:123:external"
    assert rows[1].source_key == source_key("BTCUSDT", 123, 41)
    assert [row.position_id for row in rows[:3]] == [None, 41, 42]


def test_a_part_of_a_position_is_a_partial_close() -> None:
    parts = attribute(-1, 4, 0, [6, 4], 0)
    rows = adjustments(
        parts, account_id=7, symbol="B", position_side=PositionSide.BOTH, cause=Cause.FOREIGN, trade_id=1,
        side=-1, price=D(1), lot_step=D(1), ms=1, held=[6, 4], position_ids=[1, 2], realised_e8=[0, 0],
    )  # fmt: skip
    assert {row.kind for row in rows} == {AdjustmentKind.MANUAL_PARTIAL}
