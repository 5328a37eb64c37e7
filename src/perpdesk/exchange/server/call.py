"""One REST call, and the table that says which function answers which path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perpdesk.exchange.core import checks
from perpdesk.exchange.core.accounts import Account
from perpdesk.exchange.core.contracts import Contract
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.core.world import World

if TYPE_CHECKING:
    from perpdesk.exchange.server.running import RunningServer

Answer = Any
Weight = int | Callable[[dict[str, str]], int]


@dataclass(slots=True)
class Call:
    """A request that has passed the gate. ``account`` is None on public endpoints."""

    server: RunningServer
    params: dict[str, str]
    now_ms: int
    account_or_none: Account | None = None
    api_key: str = ""

    @property
    def world(self) -> World:
        """The exchange."""
        return self.server.world

    @property
    def account(self) -> Account:
        """The caller's account; only on endpoints that need a key."""
        assert self.account_or_none is not None
        return self.account_or_none

    def contract(self) -> Contract | Refusal:
        """The ``symbol`` parameter."""
        return checks.contract_of(self.world, self.params)

    def contract_if_given(self) -> Contract | None | Refusal:
        """The ``symbol`` parameter where it is optional."""
        return self.contract() if self.params.get("symbol") else None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """security: NONE, KEY or SIGNED. orders: (10 s count, 1 min count), of Spot (10 s, day). pool: weight,
    data or funding. side: futures or spot, each with its own limits."""

    answer: Callable[[Call], Answer]
    security: str = "NONE"
    weight: Weight = 1
    orders: tuple[int, int] | None = None
    pool: str = "weight"
    side: str = "futures"

    def weight_of(self, params: dict[str, str]) -> int:
        """Weight of this request."""
        return self.weight if isinstance(self.weight, int) else self.weight(params)


Table = dict[tuple[str, str], Endpoint]


def by_symbol(with_symbol: int, without: int) -> Callable[[dict[str, str]], int]:
    """Weights that depend on whether a symbol is named."""
    return lambda params: with_symbol if params.get("symbol") else without
