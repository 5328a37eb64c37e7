"""Listen keys: one active key per account, sixty minutes, extended by POST and PUT (reference §12)."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 64


@dataclass(slots=True)
class ListenKeys:
    """``owners``: account of every living key."""

    life_ms: int
    owners: dict[str, int] = field(default_factory=dict)
    active: dict[int, str] = field(default_factory=dict)
    until_ms: dict[str, int] = field(default_factory=dict)

    def start(self, account: int, now_ms: int) -> str:
        """The account's key, new or the same, with a full life."""
        key = self.active.get(account)
        if key is None:
            key = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
            self.active[account] = key
            self.owners[key] = account
        self.until_ms[key] = now_ms + self.life_ms
        return key

    def extend(self, account: int, now_ms: int) -> str | None:
        """Its full life again; None: there is no key."""
        key = self.active.get(account)
        if key is not None:
            self.until_ms[key] = now_ms + self.life_ms
        return key

    def stop(self, account: int) -> bool:
        """Forget the account's key."""
        key = self.active.pop(account, None)
        if key is None:
            return False
        del self.owners[key], self.until_ms[key]
        return True

    def expired(self, now_ms: int) -> list[tuple[str, int]]:
        """Take out what has ended: (key, account)."""
        ended = [(key, self.owners[key]) for key, until in self.until_ms.items() if until <= now_ms]
        for _, account in ended:
            self.stop(account)
        return ended
