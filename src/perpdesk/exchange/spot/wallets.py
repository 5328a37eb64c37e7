"""Free and locked assets of one account. Neither is ever negative."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perpdesk.domain.errors import InternalError

if TYPE_CHECKING:
    from perpdesk.exchange.spot.orders import Fill, Order, OrderList


@dataclass(slots=True)
class Account:
    """One client. managed: belongs to a group of accounts that must never trade with each other."""

    index: int
    managed: bool = False
    free: dict[str, int] = field(default_factory=dict)
    locked: dict[str, int] = field(default_factory=dict)
    deposited: dict[str, int] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    open: dict[int, Order] = field(default_factory=dict)
    client_ids: dict[str, Order] = field(default_factory=dict)  # of open orders
    last_by_client_id: dict[str, Order] = field(default_factory=dict)
    lists: dict[int, OrderList] = field(default_factory=dict)
    open_lists: dict[int, OrderList] = field(default_factory=dict)
    last_list_by_client_id: dict[str, OrderList] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    touched: dict[str, None] = field(default_factory=dict)  # assets changed since the last position event
    updated_ms: int = 0

    def deposit(self, asset: str, amount_e8: int) -> None:
        """Money in; negative: out. Raises InternalError if more is taken than is free."""
        self.add(asset, amount_e8)
        self.deposited[asset] = self.deposited.get(asset, 0) + amount_e8

    def add(self, asset: str, amount_e8: int) -> None:
        """Change what is free."""
        left = self.free.get(asset, 0) + amount_e8
        if left < 0:
            raise InternalError(f"account {self.index}: {asset} would be {left}e-8")
        self.free[asset] = left
        self.touched[asset] = None

    def lock(self, asset: str, amount_e8: int) -> None:
        """Free becomes locked; negative: locked becomes free."""
        self.add(asset, -amount_e8)
        self.add_locked(asset, amount_e8)

    def add_locked(self, asset: str, amount_e8: int) -> None:
        """Change what is locked: negative when an order pays, positive when a list receives."""
        left = self.locked.get(asset, 0) + amount_e8
        if left < 0:
            raise InternalError(f"account {self.index}: locked {asset} would be {left}e-8")
        self.locked[asset] = left
        self.touched[asset] = None

    def has(self, asset: str, amount_e8: int) -> bool:
        """Is so much free?"""
        return self.free.get(asset, 0) >= amount_e8

    def trim(self, kept: int) -> None:
        """Forget the oldest closed orders, lists and executions beyond so many."""
        for order_id in [one for one in self.orders if one not in self.open][:-kept]:
            order = self.orders.pop(order_id)
            if self.last_by_client_id.get(order.client_id) is order:
                del self.last_by_client_id[order.client_id]
        for list_id in [one for one in self.lists if one not in self.open_lists][:-kept]:
            one = self.lists.pop(list_id)
            if self.last_list_by_client_id.get(one.client_id) is one:
                del self.last_list_by_client_id[one.client_id]
        del self.fills[: -2 * kept]
