"""Test vector 21: versions that share one exchange position keep ledgers of their own, and the sum is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.tables import START_MS, account_record, instrument_records, sleeve_records

from perpdesk.engine.reconcile.attribute import shares
from perpdesk.kernel import ledger
from perpdesk.kernel.records import BUY, SELL
from perpdesk.kernel.replay import new_books

UNIT = 100_000_000  # one lot is one coin, prices are whole USDT
V2, V3 = 0, 1
E8 = 100_000_000


class Account:
    """Two sleeves and the exchange's netted position, fed with the same fills."""

    def __init__(self) -> None:
        instruments = instrument_records(1, unit_e8=UNIT)
        self.ours = new_books(account_record(10_000), sleeve_records(2), instruments, 4)
        self.theirs = new_books(account_record(10_000), sleeve_records(1), instruments, 4)

    def fill(self, v: int, side: int, lots: int, price: int) -> None:
        for books, row in ((self.ours, v), (self.theirs, 0)):
            ledger.settle(
                books.account[0], books.positions[row, 0], books.instruments[0], side, price, lots, 0, 0,
                START_MS,
            )  # fmt: skip

    def sleeve(self, v: int, mark: int) -> tuple[int, int]:
        """(realised, unrealised) in 1e-8 USDT."""
        return self._figures(self.ours, v, mark)

    def exchange(self, mark: int) -> tuple[int, int]:
        return self._figures(self.theirs, 0, mark)

    @staticmethod
    def _figures(books, v: int, mark: int) -> tuple[int, int]:  # type: ignore[no-untyped-def]
        position = books.positions[v, 0]
        sign = 1 if position.lots >= 0 else -1
        unrealised = int(position.lots) * mark * UNIT - sign * int(position.cost_e8)
        return int(position.realised_e8), unrealised


def test_21_each_version_has_its_own_average() -> None:
    account = Account()
    account.fill(V2, BUY, 1, 100)
    account.fill(V3, BUY, 1, 110)
    account.fill(V2, SELL, 1, 108)
    assert account.sleeve(V2, 108) == (8 * E8, 0)
    assert account.sleeve(V3, 108) == (0, -2 * E8)
    assert account.exchange(108) == (3 * E8, 3 * E8)  # it knows the average of 105 only


@pytest.mark.parametrize(
    ("sold", "rows", "taken"), [(5, (7, 3), (4, 1)), (1, (5, 5), (1, 0))], ids=["5 of 7 and 3", "a tie"]
)
def test_21_what_a_person_sells_is_taken_pro_rata(
    sold: int, rows: tuple[int, ...], taken: tuple[int, ...]
) -> None:
    assert tuple(shares(sold, rows)) == taken


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 50), st.integers(50, 200)), min_size=1, max_size=30),
    st.integers(50, 200),
)
def test_21_the_sum_is_the_exchanges(fills: list[tuple[int, int, int]], mark: int) -> None:
    """Whoever buys and sells (never more than it holds), realised and unrealised sum to the exchange's."""
    account, held = Account(), [0, 0]
    for n, (v, lots, price) in enumerate(fills):
        selling = n % 3 == 2 and held[v] > 0
        lots = min(lots, held[v]) if selling else lots
        held[v] += -lots if selling else lots
        account.fill(v, SELL if selling else BUY, lots, price)
    ours = [sum(account.sleeve(v, mark)) for v in (V2, V3)]
    assert abs(sum(ours) - sum(account.exchange(mark))) <= len(fills)
    assert sum(int(one.lots) for one in account.ours.positions[:, 0]) == sum(held)
