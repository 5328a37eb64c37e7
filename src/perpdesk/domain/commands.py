"""Wishes of an operator, in the imperative: the kill ladder and the way back.

Each rung includes the ones before it. ``by`` says who asked and ``reason`` why; both go into the journal.
"""

from __future__ import annotations

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="command"):
    """A wish about one account."""

    account: str
    by: str
    reason: str = ""


class Halt(Command, frozen=True, kw_only=True):
    """No new exposure. Exits and protection go on."""


class Reduce(Command, frozen=True, kw_only=True):
    """Only orders that reduce positions."""


class CancelAll(Command, frozen=True, kw_only=True):
    """Cancel the orders that open exposure first, the protective ones stay until flat."""


class Flatten(Command, frozen=True, kw_only=True):
    """Close every position at market, then cancel what is left."""


class Resume(Command, frozen=True, kw_only=True):
    """Back to normal after a Halt or Reduce."""


AnyCommand = Halt | Reduce | CancelAll | Flatten | Resume
