"""Client order ids that explain themselves: version, account, position, leg, attempt.

Any order found on the exchange can be attributed without the database. A position's code carries its
creation time and two characters from the run's seed, so that a restored database never reuses one.
Binance allows ``^[.A-Z:/a-z0-9_-]{1,36}$``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from perpdesk.kernel.records import SLOT_ENTRY, SLOT_EXIT, SLOT_STOP, SLOT_TRAIL

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_LEGS: Final = {SLOT_ENTRY: "e1", SLOT_STOP: "xs", SLOT_EXIT: "xm", SLOT_TRAIL: "xt"}
ID_LENGTH_MAX: Final = 36
# The guardian signs its own orders: the disaster stop, a close, the canary.
GUARDIAN: Final = "grd"
LEG_DISASTER: Final = "dz"
LEG_CANARY: Final = "cn"
LEG_FLATTEN: Final = "fl"
GUARDIAN_LEGS: Final = (LEG_DISASTER, LEG_CANARY, LEG_FLATTEN)
# An entry in batches has a leg for each.
ENTRY_LEGS: Final = ("e1", "e2", "e3")
_SLOTS: Final = {leg: slot for slot, leg in _LEGS.items()} | dict.fromkeys(ENTRY_LEGS, SLOT_ENTRY)
_OWN_LEG: Final = re.compile("s[1-9][0-9]*")
_BASE36: Final = re.compile("[0-9a-z]+")
_VERSION: Final = re.compile("[.A-Za-z0-9_]{1,4}")
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


@dataclass(frozen=True, slots=True)
class Named:
    """What a client id of ours says. slot: None for the guardian's own legs (disaster stop, canary)."""

    version: str
    account_id: int
    position_code: str
    leg: str
    attempt: int

    @property
    def slot(self) -> int | None:
        if _OWN_LEG.fullmatch(self.leg):
            return int(self.leg[1:])
        return _SLOTS.get(self.leg)

    @property
    def is_entry(self) -> bool:
        return self.leg in ENTRY_LEGS


def parse(client_id: str) -> Named | None:
    """Read a client id of ours; None for anybody else's."""
    parts = client_id.split("-")
    if len(parts) != 5 or not _VERSION.fullmatch(parts[0]):
        return None
    version, account, code, leg, attempt = parts
    if leg not in _SLOTS and leg not in GUARDIAN_LEGS and not _OWN_LEG.fullmatch(leg):
        return None
    if not (_BASE36.fullmatch(account) and _BASE36.fullmatch(code) and _BASE36.fullmatch(attempt)):
        return None
    return Named(version, int(account, 36), code, leg, int(attempt, 36))


def leg_in(client_id: str) -> str:
    """The leg that one of our client ids names. Raises ValueError for anybody else's."""
    named = parse(client_id)
    if named is None:
        raise ValueError(f"{client_id!r} is not one of ours")
    return named.leg


def attempt_in(client_id: str) -> int:
    """The attempt that one of our client ids counts. Raises ValueError for anybody else's."""
    named = parse(client_id)
    if named is None:
        raise ValueError(f"{client_id!r} is not one of ours")
    return named.attempt


def created_ms_of(position_code: str) -> int:
    """When a position code was made."""
    return int(position_code[:-2], 36)


def leg_of(slot: int, batch: int = 0) -> str:
    """e1 e2 e3 entry (by batch), xs stop, xm market exit, xt trailing, s<n> a strategy's own slot."""
    return ENTRY_LEGS[batch] if slot == SLOT_ENTRY else _LEGS.get(slot, f"s{slot}")


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

    def disaster(self, position_code: str, attempt: int) -> str:
        """The client id of the stop that stands behind all sleeves of a symbol and side."""
        return self._id(GUARDIAN, position_code, LEG_DISASTER, attempt)

    def guardian(self, leg: str, code: str, attempt: int = 0) -> str:
        """The client id of another order of the guardian's (``GUARDIAN_LEGS``)."""
        return self._id(GUARDIAN, code, leg, attempt)

    def order(self, version: str, position_code: str, slot: int, attempt: int, batch: int = 0) -> str:
        """The client id of one attempt at one leg; batch: which part of an entry in batches, from 0."""
        return self._id(version, position_code, leg_of(slot, batch), attempt)

    def _id(self, version: str, position_code: str, leg: str, attempt: int) -> str:
        client_id = f"{version}-{base36(self.account_id)}-{position_code}-{leg}-{base36(attempt)}"
        if len(client_id) > ID_LENGTH_MAX:
            raise ValueError(
                f"client id {client_id!r} is longer than {ID_LENGTH_MAX}; shorten the version code"
            )
        return client_id
