"""What a reader has to say about data that it accepted: warnings (with a place) and notes (with a count)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from perpdesk.kernel.records import MINUTE_MS


def utc_text(ms: int) -> str:
    """UTC milliseconds as people write them: ``2020-03-04 09:21Z``."""
    return f"{datetime.fromtimestamp(ms / 1000, tz=UTC):%Y-%m-%d %H:%MZ}"


@dataclass(frozen=True)
class DataWarning:
    """Something about one place of the data that a person should know. ``row`` counts from 1, without the
    header; ``from_ms`` is inclusive and ``to_ms`` exclusive where the warning is about a span of time."""

    rule: str
    message: str
    symbol: str | None = None
    file: str | None = None
    row: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def __str__(self) -> str:
        place = ", ".join(
            part
            for part in (self.file, None if self.row is None else f"row {self.row}", self.symbol)
            if part is not None
        )
        return f"{place}: {self.message} [{self.rule}]" if place else f"{self.message} [{self.rule}]"


@dataclass(frozen=True)
class DataNote:
    """A count of bars that are data, not errors, yet worth a line in the report."""

    rule: str
    symbol: str
    count: int

    def __str__(self) -> str:
        return f"{self.symbol}: {self.count} bars {self.rule}"


def gap_warning(symbol: str, file: str, row: int, from_ms: int, to_ms: int) -> DataWarning:
    """No bars from ``from_ms`` (inclusive) until ``row`` of ``file``, which opens at ``to_ms``."""
    minutes = (to_ms - from_ms) // MINUTE_MS
    return DataWarning(
        rule="gap",
        message=f"{minutes} minutes missing before this row, {utc_text(from_ms)} to {utc_text(to_ms)}",
        symbol=symbol,
        file=file,
        row=row,
        from_ms=from_ms,
        to_ms=to_ms,
    )
