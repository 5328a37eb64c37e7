"""One leaf of a volume configuration as a value, or a problem."""

from __future__ import annotations

import re
from decimal import Decimal

from perpdesk.config.decode import canonical
from perpdesk.config.tree import Branch, Leaf, Listed, Source, Tree
from perpdesk.config.volume_keys import (
    PLACES,
    USERS_MAX,
    BoolKind,
    Kind,
    NumberKind,
    TextKind,
    UsersKind,
    Value,
    WordKind,
)
from perpdesk.config.volume_problems import Problem, shown
from perpdesk.domain import units
from perpdesk.domain.errors import InputError

EXPONENT_MAX = 15
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)$", re.ASCII)


def described(tree: Tree) -> str:
    """What stands there, in words."""
    if isinstance(tree, Listed):
        return "a list"
    if isinstance(tree, Branch):
        return "a mapping"
    if tree.kind == "null":
        return "empty (null)"
    return f"the text {shown(tree.text)!r}" if tree.kind == "text" else shown(tree.text)


def value_of(kind: Kind, tree: Tree, path: str, problems: list[Problem]) -> Value:
    """The value, or None with a problem added."""
    if isinstance(kind, UsersKind):
        return _users(kind, tree, path, problems)
    if isinstance(kind, NumberKind):
        return _number(kind, tree, path, problems)
    if isinstance(kind, BoolKind):
        if isinstance(tree, Leaf) and tree.kind == "bool" and tree.text.lower() in ("true", "false"):
            return tree.text.lower() == "true"
        _wrong("BAD_VALUE", "must be true or false", kind, tree, path, problems)
        return None
    if not isinstance(tree, Leaf) or tree.kind != "text":
        _wrong("BAD_VALUE", "must be a text", kind, tree, path, problems)
        return None
    if isinstance(kind, WordKind):
        if tree.text in [word.value for word in kind.words]:
            return kind.words(tree.text)
        _wrong("OUT_OF_RANGE", "is not one of the words", kind, tree, path, problems)
        return None
    return _text(kind, tree, path, problems)


def _text(kind: TextKind, leaf: Leaf, path: str, problems: list[Problem]) -> Value:
    if kind.pattern.fullmatch(leaf.text) is None:
        _wrong("OUT_OF_RANGE", "has not the right form", kind, leaf, path, problems)
        return None
    return leaf.text


def _wrong(code: str, message: str, kind: Kind, tree: Tree, path: str, problems: list[Problem]) -> None:
    problems.append(Problem(code, path, message, tree.source, described(tree), kind.allowed))


def _number(kind: NumberKind, tree: Tree, path: str, problems: list[Problem]) -> Decimal | int | None:
    if not isinstance(tree, Leaf) or tree.kind != "number":
        hint = " without quotes" if isinstance(tree, Leaf) and tree.kind == "text" else ""
        _wrong("BAD_NUMBER", f"must be a number{hint}", kind, tree, path, problems)
        return None
    exponent = _EXPONENT.search(tree.text)
    if exponent is not None and abs(int(exponent[1])) > EXPONENT_MAX:
        message = f"must have an exponent of at most {EXPONENT_MAX}"
        _wrong("BAD_NUMBER", message, kind, tree, path, problems)
        return None
    try:
        value = units.decimal_of(tree.text, path)
    except InputError:
        _wrong("BAD_NUMBER", "must be a plain decimal number", kind, tree, path, problems)
        return None
    if not kind.allows(value):
        _wrong("OUT_OF_RANGE", "is out of range", kind, tree, path, problems)
        return None
    try:
        scaled = units.to_units(value, 0 if kind.whole else PLACES, path)
    except InputError:
        places = "be a whole number" if kind.whole else f"have at most {PLACES} decimal places"
        _wrong("BAD_NUMBER", f"must {places}", kind, tree, path, problems)
        return None
    return scaled if kind.whole else canonical(units.from_units(scaled, PLACES))


def user_of(tree: Tree, path: str, problems: list[Problem]) -> int | None:
    """A user id, or None with a problem added."""
    kind = NumberKind(Decimal(1), Decimal(10**15), whole=True)
    found = _number(kind, tree, path, problems)
    return found if isinstance(found, int) else None


def _users(kind: UsersKind, tree: Tree, path: str, problems: list[Problem]) -> tuple[int, ...] | None:
    if not isinstance(tree, Listed):
        _wrong("BAD_VALUE", "must be a list of user ids", kind, tree, path, problems)
        return None
    if not 1 <= len(tree.items) <= USERS_MAX:
        problems.append(
            Problem(
                "OUT_OF_RANGE", path, "has a wrong length", tree.source, str(len(tree.items)), kind.allowed
            )
        )
        return None
    found: list[int] = []
    for i, item in enumerate(tree.items):
        user = user_of(item, f"{path}[{i}]", problems)
        if user in found:
            problems.append(_twice(f"{path}[{i}]", item.source, str(user)))
        elif user is not None:
            found.append(user)
    return tuple(found) if len(found) == len(tree.items) else None


def _twice(path: str, source: Source, value: str) -> Problem:
    return Problem("DUPLICATE_KEY", path, "this user stands there twice", source, value)
