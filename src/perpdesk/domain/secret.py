"""A value that nothing prints: keys, secrets, passwords.

Whoever needs the value calls ``reveal()``, and only there it becomes text. The living secrets are known
here so that ``redaction`` can find their values wherever they slipped out all the same.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Never
from weakref import WeakSet

HIDDEN = "***"
_living: WeakSet[Secret] = WeakSet()


class Secret:
    """Text that shows as ``***`` in ``repr``, ``str`` and formats, and that refuses pickle and JSON.

    A copy is the same object. Two secrets are compared with ``matches``, in constant time.
    """

    __slots__ = ("__weakref__", "_reveal")
    _reveal: Callable[[], str]

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError("a secret must be text")
        # In a closure: what walks over attributes finds a function, not the value.
        object.__setattr__(self, "_reveal", lambda: value)
        _living.add(self)

    def reveal(self) -> str:
        """The value. Never put it into a message, a log, a path or an address."""
        return self._reveal()

    def matches(self, other: Secret | str) -> bool:
        """Is it the same value? Takes as long for every other value of the same length."""
        text = other.reveal() if isinstance(other, Secret) else other
        return hmac.compare_digest(self.reveal().encode(), text.encode())

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, how: str) -> str:
        return HIDDEN

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a secret does not change")

    def _refuse(self, *_: object) -> Never:
        raise TypeError("a secret is not written: reveal() it where it is used")

    __getstate__ = __reduce__ = __reduce_ex__ = __iter__ = __bytes__ = __len__ = __getitem__ = _refuse
    __contains__ = __add__ = __radd__ = __mod__ = _refuse


def living() -> list[Secret]:
    """All secrets that are in use in this process."""
    return list(_living)
