"""What one key may hold, written beside the key in ``schema`` and applied by ``decode``.

A rule carries the code of its error. Bounds are exact decimals, so 0.5 means 0.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from perpdesk.domain.units import plain

# What is wrong with the form of a value rather than with its size.
FORM = "E00"


@dataclass(frozen=True)
class Number:
    """A decimal or whole number within bounds. ``none_word`` is a word that means null ('max')."""

    code: str
    noun: str
    at_least: Decimal | None = None
    above: Decimal | None = None
    at_most: Decimal | None = None
    below: Decimal | None = None
    places: int = 8
    multiple_of: int = 1
    none_word: str | None = None

    @property
    def expects(self) -> str:
        """The rule as a sentence part: ``a fraction with 0 < x < 0.5 (0.03 is 3 %)``."""
        low = "" if self.above is None else f"{plain(self.above)} < "
        low = low if self.at_least is None else f"{plain(self.at_least)} <= "
        high = "" if self.below is None else f" < {plain(self.below)}"
        high = high if self.at_most is None else f" <= {plain(self.at_most)}"
        text = f"{self.noun} with {low}x{high}"
        if self.multiple_of > 1:
            text += f" in steps of {self.multiple_of}"
        if "fraction" in self.noun:
            text += " (0.03 is 3 %)"
        return text if self.none_word is None else f"{text}, or {self.none_word}"

    def allows(self, value: Decimal) -> bool:
        """Is the value within the bounds and on the step?"""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
            and (self.multiple_of == 1 or value % self.multiple_of == 0)
        )


@dataclass(frozen=True)
class Word:
    """One of a few words. ``later`` names words that are planned and not available yet."""

    code: str
    words: tuple[str, ...]
    later: tuple[str, ...] = ()

    @property
    def expects(self) -> str:
        return " or ".join(self.words)


@dataclass(frozen=True)
class Name:
    """A text of a fixed form."""

    code: str
    pattern: re.Pattern[str]
    expects: str


@dataclass(frozen=True)
class Items:
    """How many entries a list may have."""

    code: str
    at_most: int


@dataclass(frozen=True)
class Keyed:
    """A mapping with keys of a fixed form, replaced as a whole by a higher layer."""

    code: str
    pattern: re.Pattern[str]
    expects: str
    at_most: int


def _bound(value: str | int | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def fraction(
    code: str,
    *,
    at_least: str | int | None = None,
    above: str | int | None = None,
    at_most: str | int | None = None,
    below: str | int | None = None,
    noun: str = "a fraction",
) -> Number:
    """A share or price move: at most six decimal places, because the kernel counts parts per million."""
    return Number(code, noun, _bound(at_least), _bound(above), _bound(at_most), _bound(below), places=6)


def money(
    code: str, *, at_most: str | int, above: str | int | None = None, at_least: str | int | None = None
) -> Number:
    """An amount in USDT. The upper bound keeps every sum of the kernel's books below 2^62."""
    return Number(code, "an amount in USDT", _bound(at_least), _bound(above), _bound(at_most))


def whole(code: str, noun: str, at_least: int, at_most: int, *, multiple_of: int = 1) -> Number:
    """A whole number."""
    return Number(code, noun, Decimal(at_least), None, Decimal(at_most), places=0, multiple_of=multiple_of)
