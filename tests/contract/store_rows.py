"""Rows to write in tests, with everything that does not matter filled in."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Any

from perpdesk.domain.books import (
    Delivery,
    FillRow,
    FillSource,
    NewIntent,
    NewPosition,
    OrderEffect,
    OrderRow,
    PositionEnd,
    StrategyVersion,
    TradingMode,
)
from perpdesk.domain.order import PositionSide, Side

ACCOUNT = 7
T0 = 1_748_044_800_123
PARAMS = '{"margin_usdt":"400"}'

_serial = count(1)


@dataclass(frozen=True)
class Rows:
    """Makes rows that refer to one parameter snapshot."""

    params_hash: str

    def position(self, **given: Any) -> NewPosition:
        """A long of v2 on BTCUSDT."""
        values: dict[str, Any] = {
            "account_id": ACCOUNT,
            "symbol": "BTCUSDT",
            "position_side": PositionSide.LONG,
            "signal_version": "v2",
            "quantity": Decimal("0.031"),
            "notional_value": Decimal("1987.8254"),
            "margin": Decimal("397.56508"),
            "leverage": 5,
            "params_hash": self.params_hash,
            "created_ms": T0,
        }
        return NewPosition(**values | given)

    def intent(self, **given: Any) -> NewIntent:
        """An entry's first attempt, with a client id of its own."""
        values: dict[str, Any] = {
            "account_id": ACCOUNT,
            "symbol": "BTCUSDT",
            "leg": "e1",
            "attempt": 1,
            "client_id": f"v2-7-{next(_serial)}-e1-1",
            "delivery": Delivery.ONCE,
            "request": {"type": "MARKET", "quantity": Decimal("0.031")},
            "params_hash": self.params_hash,
            "created_ms": T0,
        }
        return NewIntent(**values | given)

    def order(self, **given: Any) -> OrderRow:
        """A market order, accepted."""
        values: dict[str, Any] = {
            "account_id": ACCOUNT,
            "trading_mode": TradingMode.PAPER,
            "client_id": "v2-7-x-e1-1",
            "symbol": "BTCUSDT",
            "side": Side.BUY,
            "position_side": PositionSide.BOTH,
            "order_type": OrderEffect.OPEN,
            "kind": "MARKET",
            "status": "accepted",
            "orig_quantity": Decimal("0.031"),
            "order_ms": T0,
            "updated_ms": T0,
            "params_hash": self.params_hash,
        }
        return OrderRow(**values | given)


def fill(**given: Any) -> FillRow:
    """A purchase of 0.031 BTC."""
    values: dict[str, Any] = {
        "account_id": ACCOUNT,
        "symbol": "BTCUSDT",
        "trade_id": 1,
        "side": Side.BUY,
        "qty": Decimal("0.031"),
        "price": Decimal("64123.4"),
        "commission": Decimal("0.99391270"),
        "commission_asset": "USDT",
        "fill_ms": T0,
        "source": FillSource.STREAM,
        "is_maker": False,
    }
    return FillRow(**values | given)


def end(**given: Any) -> PositionEnd:
    """A close at break-even before costs."""
    values: dict[str, Any] = {
        "close_reason": "FIXED_STOP",
        "close_ms": T0 + 60_000,
        "realized_pnl": Decimal(0),
        "commission": Decimal(0),
        "funding": Decimal(0),
        "exit_price": Decimal("64123.4"),
    }
    return PositionEnd(**values | given)


async def ready(store: Any, *versions: str) -> Rows:
    """Make the versions (v2 if none is named) known to the store."""
    params_hash = await store.save_params_snapshot(PARAMS, T0)
    for name in versions or ("v2",):
        await store.save_strategy_version(
            StrategyVersion(
                name=name, scorer="v2", params={"margin_usdt": "400"}, params_hash=params_hash, created_ms=T0
            )
        )
    return Rows(params_hash)
