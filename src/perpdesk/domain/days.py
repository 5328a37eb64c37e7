"""UTC days by name: ``20260524``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_day(ms: int) -> str:
    """The UTC day of a time."""
    return (EPOCH + timedelta(milliseconds=ms)).strftime("%Y%m%d")
