"""What a key for Spot may do, and what it may not."""

from __future__ import annotations

import pytest

from perpdesk.adapters.binance.key_rights import judge_spot
from perpdesk.adapters.binance.payloads import KeyRights

NOW_MS = 1_763_640_000_000
GOOD = {
    "ip_restrict": True,
    "enable_withdrawals": False,
    "enable_internal_transfer": False,
    "permits_universal_transfer": False,
    "enable_futures": False,
    "enable_margin": False,
    "enable_spot_and_margin_trading": True,
}


def rights(**changes: object) -> KeyRights:
    return KeyRights(**(GOOD | changes))  # type: ignore[arg-type]


def test_a_key_that_trades_spot_and_nothing_else_is_taken() -> None:
    assert judge_spot(rights(), NOW_MS).problems == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"enable_withdrawals": True}, "withdraw"),
        ({"enable_internal_transfer": True}, "transfer to other users"),
        ({"permits_universal_transfer": True}, "transfer between accounts"),
        ({"enable_futures": True}, "trade futures"),
        ({"enable_margin": True}, "borrow on margin"),
        ({"enable_vanilla_options": True}, "trade options"),
        ({"enable_portfolio_margin_trading": True}, "portfolio margin"),
        ({"enable_spot_and_margin_trading": False}, "may not trade Spot"),
        ({"ip_restrict": False}, "any address"),
        ({"trading_authority_expiration_time": NOW_MS - 1}, "has run out"),
    ],
)
def test_what_a_spot_key_may_not_be(change: dict[str, object], said: str) -> None:
    [problem] = judge_spot(rights(**change), NOW_MS).problems
    assert said in problem


def test_the_list_of_addresses_is_waived_by_a_persons_word_alone() -> None:
    report = judge_spot(rights(ip_restrict=False), NOW_MS, needs_ip_list=False)
    assert report.problems == ()
    assert "any address" in report.warnings[0]
