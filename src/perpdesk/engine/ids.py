"""Client order ids that explain themselves: version, account, position, leg, attempt.

Any order found on the exchange can be attributed without the database. A position's code carries its
creation time and two characters from the run's seed, so that a restored database never reuses one.
Binance allows ``^[.A-Z:/a-z0-9_-]{1,36}$``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from perpdesk.kernel.records import SLOT_ENTRY, SLOT_EXIT, SLOT_STOP, SLOT_TRAIL

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_LEGS: Final = {SLOT_ENTRY: "e1", SLOT_STOP: "xs", SLOT_EXIT: "xm", SLOT_TRAIL: "xt"}
ID_LENGTH_MAX: Final = 36
VERSION_LENGTH_MAX: Final = 4


def base36(number: int) -> str:
    """A non-negative number in digits and small letters."""
    if number < 0:
        raise ValueError(f"base36 of a negative number: {number}")
    digits = ""
    while True:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
        if number == 0:
            return digits


def version_codes(names: Sequence[str]) -> list[str]:
    """A code of at most four characters for each version of a run, all different."""
    codes: list[str] = []
    for i, name in enumerate(names):
        code = name[:VERSION_LENGTH_MAX].rstrip("_")
        if code in codes:
            code = name[: VERSION_LENGTH_MAX - 2] + base36(i).rjust(2, "0")
        codes.append(code)
    if len(set(codes)) < len(codes):
        raise ValueError(f"the versions {', '.join(names)} have no codes of their own; rename one")
    return codes


def leg_of(slot: int) -> str:
    """e1 entry, xs stop, xm market exit, xt trailing, s<n> a strategy's own slot."""
    return _LEGS.get(slot, f"s{slot}")


@dataclass
class ClientIds:
    """Issues the ids of one account. seed: any number that differs between runs."""

    account_id: int
    seed: int
    _serial: count[int] = field(default_factory=count)

    def position_code(self, created_ms: int) -> str:
        """A code that no other position of this account has."""
        salt = (self.seed + next(self._serial)) % 1296
        return base36(created_ms) + base36(salt).rjust(2, "0")

    def order(self, version: str, position_code: str, slot: int, attempt: int) -> str:
        """The client id of one attempt at one leg."""
        client_id = f"{version}-{base36(self.account_id)}-{position_code}-{leg_of(slot)}-{base36(attempt)}"
        if len(client_id) > ID_LENGTH_MAX:
            raise ValueError(
                f"client id {client_id!r} is longer than {ID_LENGTH_MAX}; shorten the version code"
            )
        return client_id
