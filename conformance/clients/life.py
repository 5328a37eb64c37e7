"""What every stranger client's script needs: where the server is, what the world does to it, and its report.

Only the standard library: these scripts run in the clients' own environments. A life has the parts named in
``PARTS``; every check belongs to one, and the run fails where a client's life has no check of a part.
"""

from __future__ import annotations

import json
import os
import traceback
import urllib.request
from collections.abc import Iterable
from decimal import Decimal

REST = os.environ["PERPDESK_REST"]
WS = os.environ["PERPDESK_WS"]
SYMBOL, BASE = "BTCUSDT", "BTC"
PARTS = (
    "market data", "settings", "limit", "cancel", "market", "partial fill", "stop", "trailing", "hedge",
    "funding", "liquidation", "history", "user stream", "books",
)  # fmt: skip
HOUR_MS = 3_600_000


def control(do: str, **arguments: object) -> dict:
    """Tell the exchange what the market or a person does."""
    body = json.dumps({"do": do, **arguments}).encode()
    request = urllib.request.Request(f"{REST}/control", data=body, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def new_account(balance: str = "10000") -> dict:
    """A fresh account with its key."""
    return control("account", balance=balance)


def ledger(account: int) -> dict:
    """The server's own figures."""
    return control("ledger", account=account)


def money(amount_e8: int) -> Decimal:
    """1e-8 units as a number."""
    return Decimal(amount_e8).scaleb(-8)


def price(text: str, walk: bool = False) -> None:
    """Move the market."""
    control("tick", symbol=SYMBOL, price=text, walk=walk)


def thin_book() -> None:
    """A book in which a buy of 0.01 at 50000.1 finds 0.004."""
    control("book", symbol=SYMBOL, levels={"50000.1": "0.004", "50000": "0.004", "51000": "1"})


def full_book() -> None:
    """The usual book."""
    control("book", symbol=SYMBOL, levels=None)


def funding_hour() -> None:
    """An hour passes, funding of 0.01 % is settled, and the server's clock shows what it showed before."""
    control("funding", symbol=SYMBOL, rate="0.0001", hours=1)
    control("skip_time", ms=HOUR_MS)
    control("clock", ms=-HOUR_MS)
    control("funding", symbol=SYMBOL, rate="0", hours=8)


class Report:
    """One line of JSON per check on stdout; ``close`` gives the exit code."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.part = "market data"
        self.failed = 0

    def check(self, name: str, truth: object, why: object = "") -> None:
        """Say whether it held."""
        self.failed += not truth
        line = {
            "client": self.client,
            "part": self.part,
            "check": name,
            "ok": bool(truth),
            "why": "" if truth else str(why)[:500],
        }
        print(json.dumps(line), flush=True)

    def equal(self, name: str, seen: object, expected: object) -> None:
        """The client's view against the ledger, as numbers."""
        self.check(name, Decimal(str(seen)) == Decimal(str(expected)), f"{seen} is not {expected}")

    def holds(self, name: str, account: int, *expected: tuple[str, str]) -> None:
        """The ledger's positions of the symbol: (side, quantity)."""
        rows = ledger(account)["positions"]
        found = {(row["side"], Decimal(row["qty"])) for row in rows}
        self.check(name, found == {(side, Decimal(qty)) for side, qty in expected}, rows)

    def books(
        self,
        account: int,
        *,
        wallet: object,
        positions: Iterable[tuple[str, object]],
        fills: Iterable[tuple[object, object, object, object]],
    ) -> None:
        """Its wallet, positions (side, signed quantity) and fills (id, price, quantity, commission)."""
        books = ledger(account)
        self.equal("wallet", wallet, money(books["wallet_e8"]))
        held = {(row["side"], Decimal(row["qty"])) for row in books["positions"]}
        seen = {(side, Decimal(str(qty))) for side, qty in positions}
        self.check("positions", seen == held, (seen, held))
        told = {_numbers(row["id"], row["price"], row["qty"], row["commission"]) for row in books["fills"]}
        mine = [_numbers(*row) for row in fills]
        self.check("fills", set(mine) == told and len(mine) == len(told), (len(mine), len(told)))
        missing = control("fired")["unknown_paths"]
        self.check("every endpoint was there", not missing, missing)

    def crashed(self, error: BaseException) -> None:
        """An exception of the client that nobody asked for."""
        last = "".join(traceback.format_exception(error)[-3:])
        self.check("no client exception", False, last)

    def close(self) -> int:
        """0: all held."""
        return 1 if self.failed else 0


def _numbers(*values: object) -> tuple[Decimal, ...]:
    return tuple(Decimal(str(value)) for value in values)
