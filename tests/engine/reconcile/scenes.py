"""Legs, fills, orders and books for tests, with what does not matter filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from perpdesk.domain.order import PositionSide
from perpdesk.engine.reconcile.compare import Holding, LivePosition, LocalBooks, MirrorOrder
from perpdesk.kernel.records import LIMIT, STOP
from perpdesk.ports import AccountSettings, Leg, OpenOrder, VenueFill

BOTH = PositionSide.BOTH
ACCOUNT = 7
CODE = "abc00"
NOW_MS = 1_763_640_000_000


def leg(
    lots: int, symbol: int = 0, *, updated_ms: int = 0, side: PositionSide = BOTH, name: str = "BTCUSDT"
) -> Leg:
    return Leg(symbol, name, lots, 500_000, 500_000, 0, False, 0, updated_ms, side)


def fill(
    trade_id: int,
    lots: int,
    *,
    symbol: int = 0,
    client_id: str = "web_1",
    ms: int = NOW_MS - 5_000,
    order_id: int = 0,
    fee_e8: int = 0,
    realised_e8: int = 0,
    side: PositionSide = BOTH,
) -> VenueFill:
    """lots > 0: bought."""
    return VenueFill(
        symbol, trade_id, order_id or trade_id, client_id, 1 if lots > 0 else -1, 500_000, abs(lots), False,
        fee_e8, realised_e8, ms, side,
    )  # fmt: skip


def own_id(
    leg_name: str, *, version: str = "s2", code: str = CODE, attempt: int = 0, account: int = ACCOUNT
) -> str:
    return f"{version}-{account}-{code}-{leg_name}-{attempt}"


def order(
    client_id: str,
    *,
    symbol: int = 0,
    side: int = -1,
    lots: int = 10,
    kind: int = STOP,
    age_ms: int = 60_000,
    close_position: bool = False,
    reduce_only: bool = True,
) -> OpenOrder:
    return OpenOrder(
        client_id, symbol, kind, side, 490_000, 0 if close_position else lots, reduce_only, 0, 0,
        close_position, kind != LIMIT, "NEW", NOW_MS - age_ms,
    )  # fmt: skip


def books(
    sleeves: Sequence[int] = (),
    external: int = 0,
    *,
    known: Iterable[int] = (),
    newest_ms: int = 0,
    newest_id: int = 0,
    orders: Mapping[str, MirrorOrder] | None = None,
    positions: Mapping[str, LivePosition] | None = None,
    settings: AccountSettings | None = None,
    more: Sequence[Holding] = (),
) -> LocalBooks:
    """Books of one symbol; ``more`` has other places."""
    booked = set(known)
    holdings = [*more]
    if sleeves or external or newest_ms:
        holdings.insert(0, Holding(0, tuple(sleeves), external, BOTH, newest_ms, newest_id))
    return LocalBooks(
        holdings=holdings,
        knows=lambda symbol, trade_id: symbol == 0 and trade_id in booked,
        orders=orders or {},
        positions=positions or {},
        versions={"s2", "s3"},
        settings=settings,
    )
