"""Modes of the account: position mode and margin types, read, checked, and set where that is possible.

No order goes out under a mode that the run was not made for: what cannot be set is the operator's to change.
"""

from __future__ import annotations

from typing import Literal

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.errors import ExchangeRefused, ExchangeUnreachable
from perpdesk.adapters.binance.limits import Lane
from perpdesk.adapters.binance.rest import Rest
from perpdesk.domain.errors import ConfigError

MarginType = Literal["ISOLATED", "CROSSED"]
_IS_SET_ALREADY = (-4046, -4059)
_HINDRANCE = {
    -4047: "cancel the open orders of {symbol} first",
    -4048: "close the position on {symbol} first",
    -4067: "cancel all open orders first",
    -4068: "close all positions first",
    -4168: "switch multi-assets mode off first",
}


async def is_hedged(rest: Rest) -> bool:
    """Does the account hold LONG and SHORT apart? Raises ExchangeUnreachable, ExchangeRefused."""
    mode: p.PositionMode = await rest.ask(to.POSITION_MODE, ())
    return mode.dual_side_position


async def require_position_mode(rest: Rest, hedge: bool) -> None:
    """Make sure of one-way (False) or hedge mode (True), switching it if the exchange lets us.

    Raises ConfigError, saying what stands in the way, and what the two reads raise.
    """
    if await is_hedged(rest) is hedge:
        return
    wanted = "hedge" if hedge else "one-way"
    await _set(rest, to.POSITION_MODE_SET, (("dualSidePosition", hedge),), f"position mode {wanted}", "")
    if await is_hedged(rest) is not hedge:
        raise ExchangeUnreachable(f"position mode {wanted} was accepted, and the account does not show it")


async def margin_types(rest: Rest) -> dict[str, str]:
    """The margin type of every symbol, ISOLATED or CROSSED."""
    rows: list[p.SymbolConfig] = await rest.ask(to.SYMBOL_CONFIG, ())
    return {row.symbol: row.margin_type.upper() for row in rows}


async def require_margin_type(rest: Rest, symbol: str, wanted: MarginType) -> None:
    """Make sure that a symbol has this margin type, switching it if the exchange lets us.

    Raises ConfigError, saying what stands in the way, and what the reads raise.
    """
    if await _margin_type(rest, symbol) == wanted:
        return
    params = (("symbol", symbol), ("marginType", wanted))
    await _set(rest, to.MARGIN_TYPE, params, f"margin type {wanted} of {symbol}", symbol)
    if await _margin_type(rest, symbol) != wanted:
        raise ExchangeUnreachable(f"{wanted} was accepted for {symbol}, and its setting does not show it")


async def _margin_type(rest: Rest, symbol: str) -> str | None:
    rows: list[p.SymbolConfig] = await rest.ask(to.SYMBOL_CONFIG, (("symbol", symbol),))
    return next((row.margin_type.upper() for row in rows if row.symbol == symbol), None)


async def _set(
    rest: Rest, endpoint: to.Endpoint, params: tuple[tuple[str, str | bool], ...], what: str, symbol: str
) -> None:
    try:
        await rest.ask(endpoint, params, Lane.ENTRY)
    except ExchangeRefused as error:
        if error.code in _IS_SET_ALREADY:
            return
        hindrance = _HINDRANCE.get(error.code or 0, "").format(symbol=symbol)
        raise ConfigError(
            f"{what} cannot be set ({error.code}: {error.text})" + (f": {hindrance}" if hindrance else ""),
            field="account",
        ) from error
