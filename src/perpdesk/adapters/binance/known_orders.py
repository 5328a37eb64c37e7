"""What this process has placed, by client id and by the exchange's id: how a report finds its slot."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from perpdesk.ports import NewOrder

# Orders that have ended are remembered for late reports; the oldest are forgotten beyond this many.
ENDED_MAX = 5_000
_FINAL = frozenset({"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED", "FINISHED"})


@dataclass(slots=True)
class Known:
    """One order. lots_left: not filled by any report so far. is_waiting: conditional and not triggered."""

    order: NewOrder
    is_conditional: bool
    lots_left: int
    order_id: int | None = None
    is_waiting: bool = False
    was_triggered: bool = False
    is_canceling: bool = False
    has_ended: bool = False


class KnownOrders:
    """All orders of one account that are open, or ended not long ago."""

    def __init__(self) -> None:
        self._by_id: dict[str, Known] = {}
        self._by_order_id: dict[int, str] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    def add(self, order: NewOrder, *, is_conditional: bool) -> Known:
        """Before it is sent: a report may come before the answer."""
        known = Known(order, is_conditional, order.lots, is_waiting=is_conditional)
        self._by_id[order.client_id] = known
        return known

    def forget(self, client_id: str) -> None:
        """It was proven not to exist."""
        known = self._by_id.pop(client_id, None)
        if known is not None and known.order_id is not None:
            self._by_order_id.pop(known.order_id, None)

    def get(self, client_id: str) -> Known | None:
        """The order with this client id, None if it is not ours (or from before this process)."""
        return self._by_id.get(client_id)

    def by_order_id(self, order_id: int) -> Known | None:
        """The order that the exchange numbers so."""
        client_id = self._by_order_id.get(order_id)
        return None if client_id is None else self._by_id.get(client_id)

    def number(self, known: Known, order_id: int) -> None:
        """The exchange's number of an order, or of the order that a conditional one became."""
        known.order_id = order_id
        self._by_order_id[order_id] = known.order.client_id

    def end(self, known: Known) -> None:
        """Nothing more is expected of it."""
        known.has_ended, known.is_waiting = True, False
        self._ended[known.order.client_id] = None
        while len(self._ended) > ENDED_MAX:
            self.forget(self._ended.popitem(last=False)[0])

    def open(self) -> list[Known]:
        """Those that may still act."""
        return [known for known in self._by_id.values() if not known.has_ended]


def is_final(status: str) -> bool:
    """Is this the last status of an order? A word that is new to us is not."""
    return status in _FINAL
