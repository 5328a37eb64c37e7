"""The merged tree as structs. The first thing that does not fit is a ConfigError; nothing is half done."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from perpdesk.config.rules import FORM, Items, Keyed, Name, Number, Word
from perpdesk.config.schema import LATER
from perpdesk.config.tree import Branch, Layer, Leaf, Listed, Source, Tree, below, problem
from perpdesk.domain import units
from perpdesk.domain.errors import ConfigError, InputError

_SHOWN = 60
_PERCENT = re.compile(r"([+-]?[0-9]{1,9}(?:\.[0-9]{1,9})?)\s*%", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?\.?(nan|inf|infinity)", re.IGNORECASE)

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


@dataclass
class Sources:
    """Who set each value, by its path (``score.versions[0].leverage``)."""

    of: dict[str, Source] = field(default_factory=dict)

    def error(self, message: str, path: str, code: str) -> ConfigError:
        """The error for a value that has been read, with the place that set it."""
        return problem(message, path, self.of.get(path, Source(Layer.DEFAULT)), code)


def decode(kind: type[_Struct], tree: Tree, sources: Sources, path: str = "") -> _Struct:
    """The tree as a struct of this kind; ``sources`` learns who set each value.

    Raises ConfigError with the path, the place and the rule's code.
    """
    if not isinstance(tree, Branch):
        raise problem(f"must be a mapping of keys to values, was {_shown(tree)}", path, tree.source)
    fields = {part.name: part for part in msgspec.structs.fields(kind)}
    tag_field = kind.__struct_config__.tag_field
    for key, value in tree.children.items():
        if key not in fields and key != tag_field:
            raise _unknown(key, value, path, list(fields))
    values = {}
    for name, part in fields.items():
        here = below(path, name)
        if name in tree.children:
            values[name] = _value(part.type, tree.children[name], here, sources)
        elif part.required:
            raise problem(f"is missing: {_expects(part.type)}", here, tree.source)
        else:
            factory = part.default_factory
            values[name] = part.default if factory is msgspec.NODEFAULT else factory()
            sources.of[here] = Source(Layer.DEFAULT)
    return kind(**values)


def _unknown(key: str, value: Tree, path: str, known: list[str]) -> ConfigError:
    noun = "key" if path else "section"
    if key in LATER.get(path, ()):
        message = f"this {noun} is not available yet: remove it"
    else:
        near = get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        message = f"unknown {noun}: {hint}"
    return problem(message, below(path, key), value.source)


def tagged_kinds(kind: Any) -> dict[str, type[msgspec.Struct]]:
    """The structs of a union that a word in one of their keys tells apart, by that word; else nothing."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    if not all(isinstance(one, type) and issubclass(one, msgspec.Struct) for one in kinds):
        return {}
    return {str(one.__struct_config__.tag): one for one in kinds}


def _kind_of(kinds: dict[str, type[msgspec.Struct]], tree: Tree, path: str, sources: Sources) -> Any:
    """Which of the structs is meant: ``scorer: v3`` means the one that is tagged so."""
    first = next(iter(kinds.values()))
    if not isinstance(tree, Branch):
        return first  # decode says what is wrong
    key = str(first.__struct_config__.tag_field)
    here = below(path, key)
    rule = Word("E02", tuple(kinds))
    if key not in tree.children:
        raise problem(f"is missing: must be {rule.expects}", here, tree.source)
    leaf = tree.children[key]
    sources.of[here] = leaf.source
    if not isinstance(leaf, Leaf):
        raise problem(f"must be {rule.expects}, was {_shown(leaf)}", here, leaf.source)
    return kinds[_text(rule, Annotated[str, rule], leaf, here)]


def split_annotation(kind: Any) -> tuple[Any, Any, bool]:
    """(bare type, rule or None, may it be null?) of an annotation."""
    nullable = False
    if get_origin(kind) in (Union, UnionType):
        parts = [part for part in get_args(kind) if part is not NoneType]
        nullable, kind = len(parts) < len(get_args(kind)), parts[0]
    if get_origin(kind) is Annotated:
        bare, rule, *_ = get_args(kind)
        return bare, rule, nullable
    return kind, None, nullable


def _expects(kind: Any) -> str:
    bare, rule, nullable = split_annotation(kind)
    text = getattr(rule, "expects", None) or ("true or false" if bare is bool else "a value")
    return f"must be {text}" + (", or null" if nullable else "")


def _value(kind: Any, tree: Tree, path: str, sources: Sources) -> object:
    kinds = tagged_kinds(kind)
    if kinds:
        return decode(_kind_of(kinds, tree, path, sources), tree, sources, path)
    bare, rule, nullable = split_annotation(kind)
    if get_origin(bare) is tuple:
        return _list(get_args(bare)[0], rule, tree, path, sources)
    if get_origin(bare) is dict:
        return _mapping(get_args(bare)[1], rule, tree, path, sources)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return decode(bare, tree, sources, path)
    sources.of[path] = tree.source
    if not isinstance(tree, Leaf):
        raise problem(f"{_expects(kind)}, was {_shown(tree)}", path, tree.source)
    if nullable and tree.kind == "null":
        return None
    if bare is bool:
        if tree.kind != "bool" or tree.text.lower() not in ("true", "false"):
            raise problem(f"{_expects(kind)}, was {_shown(tree)}", path, tree.source)
        return tree.text.lower() == "true"
    if isinstance(rule, Number):
        return _number(rule, bare, kind, tree, path)
    return _text(rule, kind, tree, path)


def _list(kind: Any, rule: Any, tree: Tree, path: str, sources: Sources) -> tuple[object, ...]:
    if not isinstance(tree, Listed):
        raise problem(f"must be a list, was {_shown(tree)}", path, tree.source)
    if isinstance(rule, Items) and len(tree.items) > rule.at_most:
        message = f"must have at most {rule.at_most} entries, has {len(tree.items)}"
        raise problem(message, path, tree.source, rule.code)
    sources.of[path] = tree.source
    return tuple(_value(kind, item, f"{path}[{i}]", sources) for i, item in enumerate(tree.items))


def _mapping(kind: Any, rule: Keyed, tree: Tree, path: str, sources: Sources) -> dict[str, object]:
    if not isinstance(tree, Branch):
        raise problem(f"must be a mapping, was {_shown(tree)}", path, tree.source)
    if not 1 <= len(tree.children) <= rule.at_most:
        message = f"must have 1 to {rule.at_most} entries, has {len(tree.children)}"
        raise problem(message, path, tree.source, rule.code)
    sources.of[path] = tree.source
    found = {}
    for key, value in tree.children.items():
        here = below(path, key)
        if rule.pattern.fullmatch(key) is None:
            raise problem(f"the key must be {rule.expects}", here, value.source, rule.code)
        found[key] = _value(kind, value, here, sources)
    return found


def _number(rule: Number, bare: type, kind: Any, leaf: Leaf, path: str) -> Decimal | int | None:
    if rule.none_word is not None and leaf.kind == "text" and leaf.text == rule.none_word:
        return None
    if leaf.kind != "number":
        raise problem(f"{_expects(kind)}, was {_shown(leaf)}{_advice(leaf)}", path, leaf.source)
    if _NOT_FINITE.fullmatch(leaf.text):
        raise problem(f"{_expects(kind)}, and finite, was {leaf.text}", path, leaf.source)
    try:
        value = units.decimal_of(leaf.text, path)
    except InputError as error:
        raise problem(f"{_expects(kind)}, was {_shown(leaf)}", path, leaf.source) from error
    if not rule.allows(value):
        raise problem(f"{_expects(kind)}, was {_cut(leaf.text)}", path, leaf.source, rule.code)
    try:
        scaled = units.to_units(value, rule.places, path)
    except InputError as error:
        message = f"{_expects(kind)}, with at most {rule.places} decimal places, was {_cut(leaf.text)}"
        raise problem(message, path, leaf.source, FORM) from error
    if bare is int:
        return scaled
    return canonical(units.from_units(scaled, rule.places))


def _text(rule: Any, kind: Any, leaf: Leaf, path: str) -> str:
    if leaf.kind != "text":
        raise problem(f"{_expects(kind)}, as text, was {_shown(leaf)}", path, leaf.source)
    if isinstance(rule, Word) and leaf.text not in rule.words:
        if leaf.text in rule.later:
            message = f"{leaf.text} is not available yet: use {rule.expects}"
            raise problem(message, path, leaf.source, rule.code)
        raise problem(f"{_expects(kind)}, was {_shown(leaf)}", path, leaf.source, rule.code)
    if isinstance(rule, Name) and rule.pattern.fullmatch(leaf.text) is None:
        raise problem(f"{_expects(kind)}, was {_shown(leaf)}", path, leaf.source, rule.code)
    return leaf.text


def canonical(value: Decimal) -> Decimal:
    """The one way to write a number: no exponent, no zeros at the end, no negative zero."""
    if value == 0:
        return Decimal(0)
    digits = units.digits_of(value)
    return units.from_units(units.to_units(value, digits), digits)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _shown(tree: Tree) -> str:
    """What was found, in words: enough to find it in the file, never raw control characters."""
    if isinstance(tree, Listed):
        return "a list"
    if isinstance(tree, Branch):
        return "a mapping"
    if tree.kind == "null":
        return "empty (null)"
    text = ascii(tree.text) if tree.kind == "text" else ascii(tree.text)[1:-1]
    return f"the text {_cut(text)}" if tree.kind == "text" else _cut(text)


def _advice(leaf: Leaf) -> str:
    """How to write the number that somebody wrote as text."""
    if leaf.kind != "text":
        return ""
    percent = _PERCENT.fullmatch(leaf.text.strip())
    if percent is not None:
        return f": write {units.plain(canonical(Decimal(percent[1]).scaleb(-2)))}"
    if any(character.isdigit() and not character.isascii() for character in leaf.text):
        return ": write it with the digits 0 to 9"
    try:
        units.decimal_of(leaf.text)
    except InputError:
        return ""
    return ": write it without quotes"
