"""Positions that a lost database forgot: claimed by the client ids of their fills."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.engine.reconcile.scenes import ACCOUNT, NOW_MS, fill, own_id

from perpdesk.engine.reconcile.adopt import Adoption, adoption
from perpdesk.engine.reconcile.entry_time import Found, OlderThanWindow, PriceMismatch
from perpdesk.ports import VenueFill

SINCE_MS = NOW_MS - 7 * 86_400_000
V2, V3 = own_id("e1"), own_id("e1", version="s3", code="def00")


def rows(*given: tuple[int, str]) -> list[VenueFill]:
    return [
        fill(k, lots, client_id=client_id, ms=NOW_MS + k, fee_e8=10)
        for k, (lots, client_id) in enumerate(given, 1)
    ]


def adopt(lots: int, fills: list[VenueFill], entry_price: int | None = None) -> Adoption:
    return adoption(lots, fills, SINCE_MS, account_id=ACCOUNT, versions={"s2", "s3"}, entry_price=entry_price)


def held(found: Adoption) -> dict[str, int]:
    return {claim.version: claim.lots for claim in found.claims}


def test_two_versions_get_back_what_is_theirs() -> None:
    found = adopt(9, rows((10, V2), (5, V3), (-6, "web_1")))
    assert (held(found), found.external) == ({"s2": 6, "s3": 3}, 0)
    assert found.claims[0].position_code == "abc00"
    assert found.claims[1].opened_ms == NOW_MS + 2
    assert [(part.lots, part.fee_e8) for part in found.claims[0].parts] == [(10, 10), (4, 7)]


def test_a_persons_position_is_nobodys() -> None:
    found = adopt(7, rows((7, "web_1")))
    assert (found.claims, found.external) == ((), 7)


def test_our_exits_and_the_exchanges_closes_count() -> None:
    found = adopt(4, rows((10, V2), (-4, own_id("s4")), (2, "web_1"), (-4, "adl_autoclose")))
    assert (held(found), found.external) == ({"s2": 4}, 0)
    found = adopt(5, rows((10, V2), (-10, own_id("dz", version="grd")), (5, V3)))
    assert held(found) == {"s3": 5}


def test_a_flip_opens_with_what_is_beyond_it() -> None:
    found = adopt(6, rows((-4, "web_1"), (10, V2)))
    assert held(found) == {"s2": 6}
    assert [(part.lots, part.fee_e8) for part in found.claims[0].parts] == [(6, 6)]


def test_what_is_older_or_of_another_price_is_external() -> None:
    found = adopt(12, rows((10, V2)))
    assert (found.claims, found.external) == ((), 12)
    assert isinstance(found.opening, OlderThanWindow)
    found = adopt(10, rows((10, V2)), entry_price=600_000)
    assert (found.claims, found.external) == ((), 10)
    assert isinstance(found.opening, PriceMismatch)
    assert isinstance(adopt(10, rows((10, V2)), entry_price=500_000).opening, Found)


def test_other_accounts_and_versions_are_strangers() -> None:
    for client_id in (own_id("e1", account=8), own_id("e1", version="s9")):
        assert adopt(10, rows((10, client_id))).external == 10


moves = st.lists(
    st.tuples(
        st.integers(-9, 9).filter(bool),
        st.sampled_from([V2, V3, own_id("xm"), "web_1", "autoclose-1", own_id("dz", version="grd")]),
    ),
    min_size=1,
    max_size=12,
)


@given(moves)
def test_claims_and_the_rest_are_the_position(given_rows: list[tuple[int, str]]) -> None:
    lots = sum(size for size, _ in given_rows)
    if lots == 0:
        return
    found = adopt(lots, rows(*given_rows))
    assert sum(claim.lots for claim in found.claims) + found.external == lots
    for claim in found.claims:
        assert sum(part.fill.side * part.lots for part in claim.parts) == claim.lots
