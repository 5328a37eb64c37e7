"""Test vector 24, and what the significance figure must do."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from perpdesk.research.compare import HOUR_MS, Trade, figures, paired, sign_flip_p

D = Decimal


def trades(*rows, symbol="BTCUSDT", first_id=1):
    """(gross, fee, funding) in the order of closing, an hour apart."""
    made = []
    for k, (gross, fee, funding) in enumerate(rows):
        gross, fee, funding = D(str(gross)), D(str(fee)), D(str(funding))
        made.append(
            Trade(
                id=first_id + k,
                symbol=symbol,
                gross=gross,
                commission=fee,
                funding=funding,
                net=gross - fee + funding,
                open_ms=k * HOUR_MS,
                close_ms=k * HOUR_MS + 30 * 60_000,
            )
        )
    return made


V2 = trades((10, 0.4, 0), (-4, 0.4, -0.1), (3, 0.4, 0.05), (-6, 0.4, 0))
V3 = trades((2, 0.4, 0), (1, 0.4, 0), (-2.5, 0.4, 0), first_id=10)


def test_24_v2():
    found = figures(V2)
    assert (found.net, found.expectancy, found.fee_share) == (D("1.35"), D("0.3375"), D("0.1231"))
    assert (found.profit_factor, found.max_drawdown) == (D("1.1239"), D("8.25"))
    assert (found.win_rate, found.net_win_rate) == (D("0.5"), D("0.5"))
    assert (found.holding_minutes, found.average) == (30, D("0.75"))


def test_24_v3():
    found = figures(V3)
    assert (found.net, found.expectancy, found.fee_share) == (D("-0.70"), D("-0.2333"), D("0.4"))
    assert (found.profit_factor, found.net_win_rate) == (D("0.7586"), D("0.6667"))


def test_nothing_to_divide_by_is_no_figure():
    found = figures([])
    assert (found.trades, found.net, found.max_drawdown) == (0, 0, 0)
    assert {found.win_rate, found.expectancy, found.fee_share, found.profit_factor} == {None}
    assert figures(trades((1, 0, 0))).profit_factor is None


def test_drawdown_follows_the_order_of_closing_not_of_the_rows():
    assert figures(reversed(V2)).max_drawdown == D("8.25")


def test_pairs_are_hours_of_entry():
    found = paired(V2, V3)
    assert (found.hours, found.shared, found.same_bars) == (4, 3, 3)
    assert found.difference == D("2.05")
    other = paired(V2, trades((2, 0.4, 0), symbol="ETHUSDT"))
    assert (other.shared, other.same_bars) == (1, 0)
    assert paired([], []).p_value is None


def test_the_p_value_by_hand():
    # of eight signs only +++ and --- reach 6
    assert sign_flip_p([1, 2, 3]) == 0.25
    assert sign_flip_p([0, 0]) == 1
    assert sign_flip_p([5]) == 1


@pytest.mark.parametrize("n", [14, 40])
def test_a_clear_difference_is_significant_and_noise_is_not(n):
    noise = np.random.default_rng(1).normal(size=n)
    assert sign_flip_p(noise - noise.mean()) > 0.9
    assert sign_flip_p(noise + 3) < 0.001
    assert sign_flip_p(noise) == sign_flip_p(-noise)
