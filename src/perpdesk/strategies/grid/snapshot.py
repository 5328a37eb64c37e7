"""Canonical JSON and its hash: what makes a zone, a signal and a run traceable to what they were made of.

Keys sorted, no blanks, UTF-8, integers bare, decimals as text without exponent or trailing zeros. A float
has more than one spelling, so it is refused; write it with ``decimal_text``.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any


def fraction_text(value: int, scale: int) -> str:
    """value / 10^scale as plain decimal text: ``fraction_text(800, 3)`` is ``0.8``.

    For the parameter block of a grid, whose fractions are integers here (params.py): the grid section of
    the config, once it exists, writes its snapshot with it.
    """
    digits = f"{abs(value):0{scale + 1}d}"
    whole, part = (digits[:-scale], digits[-scale:].rstrip("0")) if scale else (digits, "")
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{part}" if part else f"{sign}{whole}"


def decimal_text(value: float, places: int = 9) -> str:
    """A computed float as decimal text, rounded to ``places``."""
    text = f"{value:.{places}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _refuse_floats(value: Any, path: str) -> None:
    if isinstance(value, float):
        raise ValueError(f"{path}: a float has no canonical text; store {decimal_text(value)!r}")
    if isinstance(value, dict):
        for key, part in value.items():
            _refuse_floats(part, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for place, part in enumerate(value):
            _refuse_floats(part, f"{path}[{place}]")


def canonical_json(value: Any) -> str:
    """One text per value. Raises ValueError where a float is inside, naming its place."""
    _refuse_floats(value, "snapshot")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def snapshot_hash(value: Any) -> str:
    """sha256 (64 hex digits) of the canonical JSON of a value."""
    return text_hash(canonical_json(value))


def text_hash(text: str) -> str:
    """sha256 (64 hex digits) of a stored text."""
    return sha256(text.encode("utf-8")).hexdigest()


def read_snapshot(text: str, expected_hash: str) -> Any:
    """The value of a stored snapshot.

    Raises ValueError if the text was edited after it was stored.
    """
    found = text_hash(text)
    if found != expected_hash:
        raise ValueError(
            f"the stored snapshot has sha256 {found}, not {expected_hash}: it was changed afterwards"
        )
    return json.loads(text)
