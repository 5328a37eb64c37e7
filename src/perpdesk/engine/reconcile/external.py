"""The external ledger: lots on the exchange that no sleeve owns, as rows and their changes. Pure.

Quantities are signed Decimals (> 0 is bought). While lots are there and nobody acknowledged them, their
symbol takes no entries; more of them, or the other side, has to be acknowledged again.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from perpdesk.domain import units
from perpdesk.domain.account_books import Adjustment, AdjustmentKind, ExternalLots
from perpdesk.domain.order import PositionSide
from perpdesk.engine.reconcile.attribute import EXTERNAL, Cause, Part

PRICE_PLACES = 12

_KINDS = {
    Cause.LIQUIDATION: AdjustmentKind.LIQUIDATION,
    Cause.ADL: AdjustmentKind.ADL,
    Cause.SETTLEMENT: AdjustmentKind.SETTLEMENT,
    Cause.DISASTER_STOP: AdjustmentKind.PRO_RATA,
}


def changed(
    row: ExternalLots | None,
    *,
    account_id: int,
    symbol: str,
    position_side: PositionSide,
    change: Decimal,
    price: Decimal | None,
    ms: int,
    client_id: str | None = None,
) -> ExternalLots:
    """The row after ``change`` (signed) at ``price`` (None: not known, and then neither is the average).

    The same side averages, the other side leaves the average, a flip starts again at ``price``.
    """
    if row is None:
        row = ExternalLots(
            account_id=account_id,
            symbol=symbol,
            position_side=position_side,
            qty=Decimal(0),
            first_seen_ms=ms,
            updated_ms=ms,
        )
    qty = row.qty + change
    grows = change != 0 and (row.qty * change >= 0 or abs(change) > abs(row.qty))
    return msgspec.structs.replace(
        row,
        qty=qty,
        avg_price=_average(row, change, price, qty),
        updated_ms=ms,
        first_seen_ms=ms if row.qty == 0 or row.qty * qty < 0 else row.first_seen_ms,
        client_id=client_id if grows else row.client_id,
        acknowledged_ms=None if grows or qty == 0 else row.acknowledged_ms,
        acknowledged_by=None if grows or qty == 0 else row.acknowledged_by,
    )


def acknowledged(row: ExternalLots, by: str, ms: int) -> ExternalLots:
    """The row after a person has looked at it: its symbol takes entries again."""
    return msgspec.structs.replace(row, acknowledged_ms=ms, acknowledged_by=by)


def kind_of(cause: Cause, part: Part, held: int) -> AdjustmentKind:
    """What a part of a fill is called in the books. held: the owner's signed lots before it."""
    if part.owner == EXTERNAL and not cause.is_forced:
        return AdjustmentKind.TO_EXTERNAL if part.opens else AdjustmentKind.FROM_EXTERNAL
    if part.opens:
        return AdjustmentKind.TO_EXTERNAL
    if cause.is_forced:
        return _KINDS[cause]
    return AdjustmentKind.MANUAL_CLOSE if part.lots == abs(held) else AdjustmentKind.MANUAL_PARTIAL


def source_key(symbol: str, trade_id: int, position_id: int | None) -> str:
    """Names a part of a fill once per account: hearing of it again changes nothing."""
    owner = "external" if position_id is None else str(position_id)
    return f"trade:{symbol}:{trade_id}:{owner}"


def adjustments(
    parts: Sequence[Part],
    *,
    account_id: int,
    symbol: str,
    position_side: PositionSide,
    cause: Cause,
    trade_id: int,
    side: int,
    price: Decimal,
    lot_step: Decimal,
    ms: int,
    held: Sequence[int],
    position_ids: Sequence[int | None],
    realised_e8: Sequence[int],
) -> list[Adjustment]:
    """One row per part. held, position_ids: by sleeve, before the fill; realised_e8: by part.

    Two parts of the external ledger (what it gave and what it took) have keys of their own.
    """
    rows: list[Adjustment] = []
    for part, realised in zip(parts, realised_e8, strict=True):
        own = part.owner != EXTERNAL
        position_id = position_ids[part.owner] if own else None
        key = source_key(symbol, trade_id, position_id) + (":opens" if part.opens else "")
        rows.append(
            Adjustment(
                account_id=account_id,
                symbol=symbol,
                position_side=position_side,
                kind=kind_of(cause, part, held[part.owner] if own else 0),
                qty=side * units.qty_of(part.lots, lot_step),
                source_key=key,
                ms=ms,
                position_id=position_id,
                price=price,
                realized_pnl=units.money_of(realised),
                commission=units.money_of(part.fee_e8),
            )
        )
    return rows


def _average(row: ExternalLots, change: Decimal, price: Decimal | None, qty: Decimal) -> Decimal | None:
    if qty == 0:
        return None
    if row.qty == 0 or row.qty * qty < 0:
        return price
    if row.qty * change <= 0:
        return row.avg_price
    if price is None or row.avg_price is None:
        return None
    return units.half_away((row.avg_price * row.qty + price * change) / qty, PRICE_PLACES)
