"""YAML text as a tree of leaves that keep their exact text and the place where they were written.

Nothing becomes a float here, and nothing is guessed: a leaf says what kind of value YAML took it for
(number, bool, text, null, other) and ``decode`` compares that with what the key may hold.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from perpdesk.config.rules import FORM
from perpdesk.domain.errors import ConfigError

TEXT_MAX = 1 << 20
_KINDS = {"int": "number", "float": "number", "bool": "bool", "null": "null", "str": "text"}
_TAG_PREFIX = "tag:yaml.org,2002:"
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class Layer(Enum):
    """Who set a value; a later layer wins."""

    DEFAULT = "default"
    FILE = "file"
    DATABASE = "database"
    ENVIRONMENT = "environment"
    OPTION = "option"


@dataclass(frozen=True)
class Source:
    """Where a value was written: ``place`` is a file, a variable or an option, ``line`` counts from 1."""

    layer: Layer
    place: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        if self.place is None:
            return self.layer.value
        return self.place if self.line is None else f"{self.place}:{self.line}"


@dataclass(frozen=True)
class Leaf:
    """One scalar. kind: number, bool, text, null or other (a date, say)."""

    kind: str
    text: str
    source: Source


@dataclass(frozen=True)
class Branch:
    """One mapping."""

    children: dict[str, Tree]
    source: Source


@dataclass(frozen=True)
class Mapped(Branch):
    """A mapping that is one value: a higher layer replaces all of it."""


@dataclass(frozen=True)
class Listed:
    """One list."""

    items: tuple[Tree, ...]
    source: Source


Tree = Leaf | Branch | Listed


def problem(message: str, field: str | None, source: Source, code: str = FORM) -> ConfigError:
    """The error for a field, with the place that set it."""
    return ConfigError(message, field=field or None, file=source.place, row=source.line, rule=code)


def printable(text: str) -> str:
    """The text with everything that a terminal could obey written as an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def below(path: str, key: str) -> str:
    """The path of a key inside a path. A key that is no plain word is shown quoted and cut."""
    shown = key if _PLAIN_KEY.fullmatch(key) else ascii(key[:40])
    return f"{path}.{shown}" if path else shown


def parse(text: str, source: Source, field: str = "") -> Tree | None:
    """The tree of one YAML document, None if it is empty or null.

    Raises ConfigError (E00) with the line for what is no YAML, for duplicate keys, keys that are not text,
    anchors, aliases and a second document. ``source`` is the place; a file's lines are added to it.
    """
    if len(text) > TEXT_MAX:
        raise problem(f"must be shorter than {TEXT_MAX} characters", field, source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # refused below, like every anchor
            node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        where = source if mark is None else _at(source, mark.line)
        raise problem(f"is not valid YAML: {printable(what)}", field, where) from error
    except YAMLError as error:
        first = str(error).splitlines()[0]
        raise problem(f"is not valid YAML: {printable(first)}", field, source) from error
    except RecursionError as error:
        raise problem("is nested too deeply", field, source) from error
    tree = None if node is None else _tree(node, source, field)
    return None if isinstance(tree, Leaf) and tree.kind == "null" else tree


def _at(source: Source, line_from_0: int) -> Source:
    """The source with its line: only files have lines."""
    return Source(Layer.FILE, source.place, line_from_0 + 1) if source.layer is Layer.FILE else source


def _tree(node: Node, source: Source, path: str) -> Tree:
    here = _at(source, node.start_mark.line)
    if node.anchor is not None:
        raise problem("must not use anchors and aliases (&, *): write the value out", path, here)
    tag = str(node.tag).removeprefix(_TAG_PREFIX)
    if isinstance(node, ScalarNode):
        return Leaf(_KINDS.get(tag, "other"), node.value, here)
    if isinstance(node, SequenceNode) and tag == "seq":
        items = (_tree(item, source, f"{path}[{i}]") for i, item in enumerate(node.value))
        return Listed(tuple(items), here)
    if isinstance(node, MappingNode) and tag == "map":
        return Branch(_children(node.value, source, path), here)
    raise problem(f"must be a plain value, list or mapping, was tagged {ascii(tag[:40])}", path, here)


def _children(pairs: list[tuple[Any, Any]], source: Source, path: str) -> dict[str, Tree]:
    children: dict[str, Tree] = {}
    lines: dict[str, int] = {}
    for key, value in pairs:
        here = _at(source, key.start_mark.line)
        if not isinstance(key, ScalarNode) or str(key.tag) != f"{_TAG_PREFIX}str":
            shown = ascii(key.value[:40]) if isinstance(key, ScalarNode) else "a list or mapping"
            raise problem(f"keys must be words, was {shown}", path, here)
        field = below(path, key.value)
        if key.value in children:
            first = "" if here.line is None else f" (first on line {lines[key.value]})"
            raise problem(f"duplicate key: it stands there twice{first}, keep one", field, here)
        lines[key.value] = key.start_mark.line + 1
        children[key.value] = _tree(value, source, field)
    return children
