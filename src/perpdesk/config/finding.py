"""One thing that is valid alone and wrong together."""

from __future__ import annotations

from dataclasses import dataclass

ERROR, WARNING, INFO = "E", "W", "I"


@dataclass(frozen=True)
class Finding:
    """One thing to change, or to know. ``field`` is the key that the sentence is about."""

    code: str
    severity: str
    field: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.code} {self.severity} {self.field}: {self.sentence}"
