"""What every stranger client's script needs: where the server is, what the world does to it, and its report.

Only the standard library: these scripts run in the clients' own environments.
"""

from __future__ import annotations

import json
import os
import traceback
import urllib.request
from decimal import Decimal

REST = os.environ["PERPDESK_REST"]
WS = os.environ["PERPDESK_WS"]
SYMBOL, BASE = "BTCUSDT", "BTC"


def control(do: str, **arguments: object) -> dict:
    """Tell the exchange what the market or a person does."""
    body = json.dumps({"do": do, **arguments}).encode()
    request = urllib.request.Request(f"{REST}/control", data=body, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
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


class Report:
    """One line of JSON per check on stdout; ``close`` gives the exit code."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.failed = 0

    def check(self, name: str, truth: bool, why: object = "") -> None:
        """Say whether it held."""
        self.failed += not truth
        line = {
            "client": self.client,
            "check": name,
            "ok": bool(truth),
            "why": "" if truth else str(why)[:500],
        }
        print(json.dumps(line), flush=True)

    def equal(self, name: str, seen: object, expected: object) -> None:
        """The client's view against the ledger, as numbers."""
        self.check(name, Decimal(str(seen)) == Decimal(str(expected)), f"{seen} is not {expected}")

    def crashed(self, error: BaseException) -> None:
        """An exception of the client that nobody asked for."""
        last = "".join(traceback.format_exception(error)[-3:])
        self.check("no client exception", False, last)

    def close(self) -> int:
        """0: all held."""
        return 1 if self.failed else 0
