"""What is wrong with a volume configuration: all of it at once, each with place, value and allowed range."""

from __future__ import annotations

from dataclasses import dataclass

from perpdesk.config.tree import Source, printable
from perpdesk.domain.errors import ConfigError

_SHOWN = 60


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong (or, as a warning, only strange). ``path`` is the key's place in the file."""

    code: str
    path: str
    message: str
    source: Source
    value: str | None = None
    allowed: str | None = None

    def __str__(self) -> str:
        text = f"{self.source}: {self.path or 'file'}: {self.message}"
        if self.value is not None:
            text += f", was {self.value}"
        if self.allowed is not None:
            text += f", allowed is {self.allowed}"
        return f"{text} [{self.code}]"


class VolumeConfigError(ConfigError):
    """The volume configuration cannot be used. Correct what ``problems`` name; nothing was changed."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        first = problems[0]
        super().__init__(
            first.message, field=first.path or None, file=first.source.place, row=first.source.line
        )

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    @property
    def codes(self) -> list[str]:
        """The codes, in order."""
        return [problem.code for problem in self.problems]


def shown(text: str) -> str:
    """A value as it was written: cut, and without anything that a terminal could obey."""
    return printable(text[:_SHOWN]) + ("…" if len(text) > _SHOWN else "")
