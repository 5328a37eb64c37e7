"""What must hold in the books after every step, whatever happened."""

from __future__ import annotations

from fractions import Fraction

from perpdesk.kernel.records import CROSS, FAR

PPM = 1_000_000


def maintenance(instrument, cost_e8, price, lots):
    """Maintenance margin at a price, with the bracket of the entry notional."""
    i = 0
    while i < instrument.bracket_count - 1 and cost_e8 > instrument.bracket_cap_e8[i]:
        i += 1
    notional = abs(int(lots)) * int(price) * int(instrument.unit_e8)
    return Fraction(notional * int(instrument.bracket_mmr_ppm[i]), PPM) - int(instrument.bracket_cum_e8[i])


def is_liquidated_at(position, instrument, wallet_e8, price):
    """Does maintenance margin eat the margin balance at this mark price?"""
    side = 1 if position.lots > 0 else -1
    unrealised = int(position.lots) * int(price) * int(instrument.unit_e8) - side * int(position.cost_e8)
    return wallet_e8 + unrealised <= maintenance(instrument, position.cost_e8, price, position.lots)


def check_liquidation_level(position, instrument, wallet_e8):
    """The level is the first whole price, coming from profit, at which the position is liquidated."""
    level = int(position.liquidation_price)
    if position.lots > 0:
        if level > 0:
            # the last price above the exact level is the trigger: never later than the exchange
            assert is_liquidated_at(position, instrument, wallet_e8, level - 1)
            assert not is_liquidated_at(position, instrument, wallet_e8, level + 1)
        else:
            assert not is_liquidated_at(position, instrument, wallet_e8, 1)
    elif level > 1:
        assert is_liquidated_at(position, instrument, wallet_e8, level + 1)
        assert not is_liquidated_at(position, instrument, wallet_e8, level - 1)
    else:
        assert is_liquidated_at(position, instrument, wallet_e8, 1)


def check_books(books):
    """Every identity of the ledger, on the records alone."""
    account, positions = books.account[0], books.positions
    assert account.cash_e8 == account.initial_e8 + account.realised_e8 - account.fees_e8 + account.funding_e8
    for name in ("realised_e8", "fees_e8", "funding_e8", "margin_e8"):
        assert positions[name].sum() == account[name], name
    assert (positions["lots"] != 0).sum() == account.open_positions
    assert (positions["cost_e8"] >= 0).all()
    assert (positions["margin_e8"] >= 0).all()
    assert ((positions["lots"] != 0) == (positions["cost_e8"] > 0)).all()
    assert (positions["margin_e8"][positions["lots"] == 0] == 0).all()
    assert (positions["liquidation_price"][positions["lots"] == 0] == 0).all()


def check_levels(books):
    """What the walk watches agrees with the positions."""
    for v in range(books.positions.shape[0]):
        for s in range(books.positions.shape[1]):
            position, head = books.positions[v, s], books.heads[v, s]
            assert head.held == (position.lots != 0)
            level = position.liquidation_price
            assert head.liquidation_lo == (level if position.lots > 0 else -FAR)
            assert head.liquidation_hi == (level if position.lots < 0 else FAR)
            if position.lots != 0 and books.account[0].margin_mode != CROSS:
                check_liquidation_level(position, books.instruments[s], int(position.margin_e8))
