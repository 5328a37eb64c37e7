"""The kill ladder: what an account may still do, from everything to closing it all.

A rung is told by a person (`perpdesk kill`), and the highest of all that speak holds. No rung ever stops a
protective stop from being placed or a position from being closed.
"""

from __future__ import annotations

import hashlib
import json
from enum import IntEnum

import msgspec


class Rung(IntEnum):
    """How far down the ladder an account is. Higher is stricter: ``max`` of several rungs holds."""

    NORMAL = 0
    HALT = 1  # no order that could increase exposure is sent
    REDUCE = 2  # and resting entries are taken back
    CANCEL = 3  # and resting take-profits; stops stay until the position is flat
    FLATTEN = 4  # and positions are closed at market; stops go when flat was seen twice

    @property
    def word(self) -> str:
        """As people write it."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Rung:
        """The rung of a word. Raises KeyError for any other."""
        return cls[word.upper()]

    @property
    def may_increase(self) -> bool:
        """May an order that increases exposure be sent?"""
        return self is Rung.NORMAL

    @property
    def takes_entries_back(self) -> bool:
        """Are resting entries to be cancelled?"""
        return self >= Rung.REDUCE

    @property
    def takes_exits_back(self) -> bool:
        """Are resting exits to be cancelled (entries first, protective stops last, only when flat)?"""
        return self >= Rung.CANCEL

    @property
    def closes(self) -> bool:
        """Are positions to be closed at market?"""
        return self is Rung.FLATTEN


class ControlAction(msgspec.Struct, frozen=True, kw_only=True):
    """One word of a person about an account. ``seq`` counts up by one; ``ms``: the writer's clock."""

    account_id: int
    seq: int
    rung: str
    reason: str
    by: str
    ms: int

    @property
    def sha256(self) -> str:
        """What makes it this action and no other; also the checksum of its file."""
        parts = [self.account_id, self.seq, self.rung, self.reason, self.by, self.ms]
        text = json.dumps(parts, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()
