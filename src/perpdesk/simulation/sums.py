"""What the books of all versions sum to: quantity, realised, fees and funding as on the exchange, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from perpdesk.exchange.core.accounts import Account
from perpdesk.exchange.core.world import World
from perpdesk.simulation.database import DatabaseFile

_E8 = Decimal(100_000_000)
_ZERO = Decimal(0)


def differences(world: World, account: Account, file: DatabaseFile, before_ms: int) -> Iterator[str]:
    """What differs, in words. before_ms: later lines of the statement need not be known yet.

    Fees and funding: the rows', and what is nobody's. Realised: where the symbol is flat now, because the
    exchange's average price is that of the netted position.
    """
    for contract in world.contracts:
        symbol = contract.symbol
        fills = [row for row in account.fills if row["contract"] == contract.index]
        if not fills:
            continue
        fees = Decimal(sum(row["fee_e8"] for row in fills)) / _E8
        found = _sum(file, "commission", "futures_positions", symbol)
        found += _sum(file, "commission", "fills", symbol, "AND position_id IS NULL")
        if found != fees:
            yield f"{symbol}: the exchange took {fees} in fees, the books say {found}"
        told = Decimal(sum(row["realised_e8"] for row in fills)) / _E8
        kept = _sum(file, "realized_pnl_venue", "fills", symbol)
        if kept != told:
            yield f"{symbol}: the exchange realised {told}, the fills say {kept}"
        made = _sum(file, "realized_pnl", "futures_positions", symbol)
        made += _sum(file, "realized_pnl", "position_adjustments", symbol)
        if not account.held(contract.index) and made != told:
            yield f"{symbol}: the exchange realised {told}, the rows say {made}"
        lines = [
            row for row in account.income if (row["incomeType"], row["symbol"]) == ("FUNDING_FEE", symbol)
        ]
        if all(row["time"] < before_ms for row in lines):
            paid = Decimal(sum(row["amount_e8"] for row in lines)) / _E8
            booked = _sum(file, "funding", "futures_positions", symbol)
            booked += _sum(file, "funding", "position_adjustments", symbol)
            if booked != paid:
                yield f"{symbol}: the exchange booked {paid} of funding, the rows say {booked}"


def _sum(file: DatabaseFile, column: str, table: str, symbol: str, more: str = "") -> Decimal:
    rows = file.read(f"SELECT {column} FROM {table} WHERE symbol = ? {more}", symbol)
    return sum((Decimal(row[column]) for row in rows if row[column] is not None), _ZERO)
