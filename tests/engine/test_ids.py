"""Client ids: any order found on the exchange can be attributed without the database."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.app.markets import DAY, SCORE_WARMUP, configured, synthetic

from perpdesk.app import desk, run_desk
from perpdesk.domain.books import SIMULATED_ACCOUNTS
from perpdesk.engine.ids import ID_LENGTH_MAX, ClientIds, base36, leg_of
from perpdesk.kernel.records import SLOT_ENTRY, SLOT_EXIT, SLOT_OWN, SLOT_STOP, SLOT_TRAIL

# What Binance takes as newClientOrderId.
ALLOWED = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
YEAR_2100_MS = 4_102_444_800_000


def test_an_id_reads_from_left_to_right() -> None:
    ids = ClientIds(account_id=1, seed=0)
    code = ids.position_code(1_748_044_800_000)
    assert code == base36(1_748_044_800_000) + "00"
    assert ids.order("v2", code, SLOT_ENTRY, 0) == f"v2-1-{code}-e1-0"
    assert ids.order("v2", code, SLOT_STOP, 35) == f"v2-1-{code}-xs-z"
    assert ids.order("sma", code, SLOT_EXIT, 36) == f"sma-1-{code}-xm-10"
    assert ids.order("sma", code, SLOT_TRAIL, 1) == f"sma-1-{code}-xt-1"
    assert leg_of(SLOT_OWN + 3) == "s7"


@given(
    version=st.from_regex(r"[a-z][a-z0-9_]{0,3}", fullmatch=True),
    account=st.integers(1, SIMULATED_ACCOUNTS + 36**4),
    seed=st.integers(0, 10**12),
    ms=st.integers(0, YEAR_2100_MS),
    slot=st.integers(0, 60),
    attempt=st.integers(0, 36**5),
)
def test_every_id_is_allowed_and_says_whose_it_is(
    version: str, account: int, seed: int, ms: int, slot: int, attempt: int
) -> None:
    ids = ClientIds(account, seed)
    code = ids.position_code(ms)
    client_id = ids.order(version, code, slot, attempt)
    assert ALLOWED.fullmatch(client_id)
    assert client_id.split("-") == [version, base36(account), code, leg_of(slot), base36(attempt)]
    assert int(code[:-2] or "0", 36) == ms
    assert int(base36(attempt), 36) == attempt


def test_positions_of_one_millisecond_have_codes_of_their_own() -> None:
    ids = ClientIds(account_id=1, seed=1290)
    assert len({ids.position_code(1_748_044_800_000) for _ in range(1296)}) == 1296


def test_another_run_does_not_reuse_a_code() -> None:
    """A restored database that starts again at the same minute: the run's seed differs."""
    first, second = ClientIds(1, seed=4), ClientIds(1, seed=5)
    assert first.position_code(1_748_044_800_000) != second.position_code(1_748_044_800_000)


def test_an_id_that_is_too_long_is_refused() -> None:
    ids = ClientIds(account_id=1, seed=0)
    with pytest.raises(ValueError, match="longer than 36"):
        ids.order("a_long_version_name", ids.position_code(YEAR_2100_MS), SLOT_ENTRY, 36**4)
    with pytest.raises(ValueError, match="negative"):
        base36(-1)


def ids_of_a_run(*strategies: str, settings: tuple[str, ...] = ()) -> list[tuple[int, int, str]]:
    """(sleeve, slot, client id) of every order that a run sent."""
    one = desk(configured(*settings), strategies, synthetic(DAY, warmup=SCORE_WARMUP), account_id=1_000_007)
    sent: list[tuple[int, int, str]] = []
    place = one.venue.place

    async def noting(order):  # type: ignore[no-untyped-def]
        sent.append((order.sleeve, order.slot, order.client_id))
        return await place(order)

    one.venue.place = noting  # type: ignore[method-assign]
    run_desk(one)
    return sent


def test_every_id_of_a_run_is_unique_and_attributable() -> None:
    sent = ids_of_a_run("sma_cross", "score_v2", settings=("score.versions.v2.params.min_score_to_trade=50",))
    ids = [client_id for _, _, client_id in sent]
    assert len(ids) > 50
    assert len(set(ids)) == len(ids)
    assert all(ALLOWED.fullmatch(client_id) and len(client_id) <= ID_LENGTH_MAX for client_id in ids)
    assert {(sleeve, client_id.split("-")[0]) for sleeve, _, client_id in sent} == {(0, "sma"), (1, "v2")}
    assert {(slot, client_id.split("-")[3]) for _, slot, client_id in sent} == {
        (SLOT_ENTRY, "e1"),
        (SLOT_STOP, "xs"),
        (SLOT_EXIT, "xm"),
        (SLOT_TRAIL, "xt"),
    }


def test_two_versions_with_like_names_are_told_apart() -> None:
    versions = (
        "score.versions=[{name: v2_calm, scorer: v2, params: {min_score_to_trade: 60}}, "
        "{name: v2_cheap, scorer: v2, params: {min_score_to_trade: 35}}]"
    )
    sent = ids_of_a_run("score_v2_calm", "score_v2_cheap", settings=(versions,))
    codes = {sleeve: client_id.split("-")[0] for sleeve, _, client_id in sent}
    assert sorted(codes) == [0, 1]
    assert codes[0] != codes[1]
