"""Whose lots are whose, from the exchange's own fills and client ids: never from the desk's books.

A rule of its own, on purpose not the desk's code: an order of ours moves its own position code; whatever else
trades takes from external lots first and then from ours pro rata.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from perpdesk.engine import ids
from perpdesk.engine.ids import Named
from perpdesk.exchange.core.accounts import Account

Code = tuple[str, str]  # version, position code


@dataclass
class Holding:
    """One contract of the account. codes: signed lots of each position code that holds any."""

    codes: dict[Code, int] = field(default_factory=dict)
    external: int = 0
    is_mixed: bool = False  # somebody else traded it since it was last flat: codes are shares, not facts

    @property
    def ours(self) -> int:
        """Signed lots of the desk."""
        return sum(self.codes.values())


@dataclass(frozen=True, slots=True)
class Seen:
    """A fill and whose it was. before: the contract's net lots before it. named: None for anybody else's."""

    row: dict[str, Any]
    client_id: str
    named: Named | None
    signed: int
    before: int
    over: int  # lots of an exit beyond what its code held


class Attribution:
    """Reads the fills of one account, once each."""

    def __init__(self) -> None:
        self.holdings: dict[int, Holding] = {}
        self.entered: dict[Code, int] = {}
        self._read = 0

    def of(self, contract: int) -> Holding:
        """The holding of a contract, made on first use."""
        found = self.holdings.get(contract)
        if found is None:
            found = self.holdings[contract] = Holding()
        return found

    def new_fills(self, account: Account) -> Iterator[Seen]:
        """Take the fills that have not been read yet, one by one."""
        while self._read < len(account.fills):
            row = account.fills[self._read]
            self._read += 1
            yield self._take(account, row)

    def _take(self, account: Account, row: dict[str, Any]) -> Seen:
        client_id = client_id_of(account, row["orderId"])
        named = ids.parse(client_id)
        holding = self.of(row["contract"])
        before = holding.ours + holding.external
        signed = row["lots"] if row["side"] == "BUY" else -row["lots"]
        over = 0
        if named is None or named.version == ids.GUARDIAN:
            self._foreign(holding, signed)
        else:
            over = self._ours(holding, (named.version, named.position_code), signed, named.is_entry)
        if holding.ours + holding.external == 0 and not holding.codes:
            holding.is_mixed = False
        return Seen(row, client_id, named, signed, before, over)

    def _ours(self, holding: Holding, code: Code, signed: int, is_entry: bool) -> int:
        held = holding.codes.get(code, 0)
        over = 0
        if is_entry:
            self.entered[code] = self.entered.get(code, 0) + abs(signed)
            holding.codes[code] = held + signed
        else:
            taken = _toward_zero(held, signed)
            holding.codes[code] = held + taken
            over = abs(signed - taken)
        if holding.codes[code] == 0:
            del holding.codes[code]
        if over:  # it took lots of others
            self._foreign(holding, signed - taken)
        return over

    def _foreign(self, holding: Holding, signed: int) -> None:
        holding.is_mixed = True
        taken = _toward_zero(holding.external, signed)
        holding.external += taken
        signed -= taken
        owners = [code for code, lots in holding.codes.items() if lots * signed < 0]
        total = sum(abs(holding.codes[code]) for code in owners)
        ours = min(abs(signed), total)
        left = ours
        for i, code in enumerate(owners):
            lots = abs(holding.codes[code])
            part = min(left, lots, -(-ours * lots // total)) if i < len(owners) - 1 else min(left, lots)
            left -= part
            holding.codes[code] += part if signed > 0 else -part
            if holding.codes[code] == 0:
                del holding.codes[code]
        done = ours - left
        holding.external += signed - (done if signed > 0 else -done)


def client_id_of(account: Account, order_id: int) -> str:
    """The client id that the order was placed with; of a triggered one, its conditional order's."""
    order = account.orders[order_id]
    if order.algo and order.algo in account.algos:
        return account.algos[order.algo].client_id
    return order.client_id


def _toward_zero(held: int, signed: int) -> int:
    """The part of a fill that only reduces what is held."""
    if held * signed >= 0:
        return 0
    return signed if abs(signed) <= abs(held) else -held
