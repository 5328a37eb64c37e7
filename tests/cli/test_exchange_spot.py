"""The Spot options of ``perpdesk exchange``."""

from __future__ import annotations

import pytest

from perpdesk.cli.exchange import _alpha_walk, _spot_balances
from perpdesk.domain.errors import InputError


def test_balances_by_asset() -> None:
    assert _spot_balances(None) == {"USDT": "10000"}
    assert _spot_balances(["usdt=5", "BTC=0.1"]) == {"USDT": "5", "BTC": "0.1"}


@pytest.mark.parametrize("text", ["USDT", "=5", "USDT=many", "USDT=-1", "USDT=0.000000001"])
def test_bad_balances_name_the_option(text: str) -> None:
    with pytest.raises(InputError) as caught:
        _spot_balances([text])
    assert caught.value.field == "--spot-balance"


@pytest.mark.parametrize("swing", [-1, 100_001])
def test_a_walk_has_bounds(swing: int) -> None:
    assert _alpha_walk(300) == 300
    with pytest.raises(InputError):
        _alpha_walk(swing)
