"""A client: wallet, positions per symbol and side, settings, orders and history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from perpdesk.exchange.core.orders import Conditional, Order
from perpdesk.kernel.records import account_dt, position_dt, zeros

LEVERAGE_DEFAULT = 20


class Position:
    """A kernel position record with plain numbers to read. ``margin_e8`` is the isolated wallet."""

    __slots__ = ("_views", "contract", "fees_open_e8", "record", "side", "updated_ms")

    def __init__(self, contract: int, side: str) -> None:
        array = zeros(1, position_dt)
        self.contract = contract
        self.side = side
        self.record: Any = array[0]
        self.updated_ms = 0
        self.fees_open_e8 = 0  # commission paid on the lots held: moves the break-even price
        self._views = {name: array[name] for name in ("lots", "cost_e8", "margin_e8", "realised_e8")}

    @property
    def lots(self) -> int:
        """Signed."""
        return int(self._views["lots"][0])

    @property
    def cost_e8(self) -> int:
        """Entry notional of the lots held."""
        return int(self._views["cost_e8"][0])

    @property
    def margin_e8(self) -> int:
        """Isolated wallet (in cross margin: unused)."""
        return int(self._views["margin_e8"][0])

    @margin_e8.setter
    def margin_e8(self, value: int) -> None:
        self._views["margin_e8"][0] = value

    @property
    def realised_e8(self) -> int:
        """Price profit since the account began."""
        return int(self._views["realised_e8"][0])


@dataclass(slots=True)
class SymbolSettings:
    """Leverage and margin mode of one symbol."""

    leverage: int = LEVERAGE_DEFAULT
    isolated: bool = False
    updated_ms: int = 0


class Account:
    """One sub-account with one wallet in USDT, and BNB for its commissions."""

    def __init__(self, index: int, balance_e8: int, now_ms: int) -> None:
        array = zeros(1, account_dt)
        self.index = index
        self.record: Any = array[0]
        self._cash = array["cash_e8"]
        self._views = {name: array[name] for name in ("realised_e8", "fees_e8", "funding_e8", "initial_e8")}
        self.record.initial_e8 = balance_e8
        self.record.cash_e8 = balance_e8
        self.hedge = False
        self.multi_assets = False
        self.bnb_e8 = 0  # what it holds of BNB, for commission at a discount
        self.fee_burn = False
        self.liquidating = False
        self.margin_called = False
        self.updated_ms = now_ms
        self.positions: dict[tuple[int, str], Position] = {}
        self.settings: dict[int, SymbolSettings] = {}
        self.orders: dict[int, Order] = {}
        self.open_orders: dict[int, Order] = {}
        self.open_client_ids: dict[str, Order] = {}
        self.by_client_id: dict[tuple[int, str], Order] = {}
        self.algos: dict[int, Conditional] = {}
        self.open_algos: dict[int, Conditional] = {}
        self.algo_by_client_id: dict[str, Conditional] = {}
        self.fills: list[dict[str, Any]] = []
        self.income: list[dict[str, Any]] = []
        self.forced: list[Order] = []
        self.margin_changes: list[dict[str, Any]] = []
        self.countdowns: dict[int, tuple[int, int]] = {}
        self.timer_ms = 0  # nothing of it is due before

    @property
    def cash_e8(self) -> int:
        """The wallet balance."""
        return int(self._cash[0])

    def total_e8(self, name: str) -> int:
        """``realised``, ``fees``, ``funding`` or ``initial`` since the account began."""
        return int(self._views[f"{name}_e8"][0])

    def deposit(self, amount_e8: int) -> None:
        """Move money in (negative: out)."""
        self.record.initial_e8 += amount_e8
        self.record.cash_e8 += amount_e8

    def remind(self, ms: int) -> None:
        """Something is due at this time."""
        self.timer_ms = min(self.timer_ms, ms)

    def of(self, contract: int) -> SymbolSettings:
        """The symbol's settings, made on first use."""
        found = self.settings.get(contract)
        if found is None:
            found = self.settings[contract] = SymbolSettings()
        return found

    def position(self, contract: int, side: str) -> Position:
        """The position of a symbol and side, made on first use."""
        found = self.positions.get((contract, side))
        if found is None:
            found = self.positions[contract, side] = Position(contract, side)
        return found

    def held(self, contract: int | None = None) -> list[Position]:
        """Positions that are not flat."""
        return [
            position
            for (where, _), position in self.positions.items()
            if (contract is None or where == contract) and position.lots != 0
        ]


@dataclass(slots=True)
class Keys:
    """An API key of an account: ``kind`` HMAC, RSA or ED25519; ``secret`` is what the client signs with."""

    account: int
    api_key: str
    kind: str
    secret: str
    verifier: Any = None
    permissions: frozenset[str] = field(default_factory=lambda: frozenset({"TRADE"}))
