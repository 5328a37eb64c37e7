"""Layers laid over each other: defaults < file < environment < options.

A mapping merges key by key; a list or value replaces what was there. A key of a higher layer is addressed
by its path: ``score.cooldown_s``, ``score.versions[0].leverage`` or, by name, ``score.versions.v2.leverage``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import reduce

import msgspec

from perpdesk.config.schema import Config
from perpdesk.config.tree import Branch, Layer, Leaf, Listed, Mapped, Source, Tree, below, parse, problem
from perpdesk.domain.units import plain

ENVIRONMENT_PREFIX = "PERPDESK__"
# Beside the general form: how many symbols the radar polls, a number or max.
SYMBOLS_VARIABLE = "OI_MAX_MONITORED_SYMBOLS"
_KEY = re.compile(r"[a-z][a-z0-9_]{0,59}", re.ASCII)
_INDEX = re.compile(r"\[(\d{1,4})\]", re.ASCII)


def tree_of(value: object, source: Source) -> Tree:
    """A config or a part of it as a tree, every leaf from ``source``."""
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.asdict(value)
        config = value.__struct_config__
        if config.tag_field is not None:
            fields = {config.tag_field: config.tag, **fields}
        return Branch({name: tree_of(part, source) for name, part in fields.items()}, source)
    if isinstance(value, dict):
        return Mapped({name: tree_of(part, source) for name, part in value.items()}, source)
    if isinstance(value, tuple):
        return Listed(tuple(tree_of(item, source) for item in value), source)
    if value is None:
        return Leaf("null", "null", source)
    if isinstance(value, bool):
        return Leaf("bool", str(value).lower(), source)
    if isinstance(value, int):
        return Leaf("number", str(value), source)
    if isinstance(value, Decimal):
        return Leaf("number", plain(value), source)
    return Leaf("text", str(value), source)


def defaults() -> Tree:
    """The lowest layer: the defaults of the schema."""
    return tree_of(Config(), Source(Layer.DEFAULT))


def merge(base: Tree, over: Tree) -> Tree:
    """``over`` laid on ``base``."""
    if isinstance(base, Mapped) and isinstance(over, Branch):
        return Mapped(over.children, over.source)
    if isinstance(base, Branch) and isinstance(over, Branch):
        children = dict(base.children)
        for key, value in over.children.items():
            children[key] = merge(children[key], value) if key in children else value
        return Branch(children, over.source)
    return over


def merge_file(base: Tree, over: Tree) -> Tree:
    """``merge`` for a whole file. A section whose keys are all commented out (null) changes nothing."""
    if isinstance(over, Branch) and isinstance(base, Branch):
        kept = {
            key: value
            for key, value in over.children.items()
            if not (isinstance(value, Leaf) and value.kind == "null" and key in base.children)
        }
        over = replace(over, children=kept)
    return merge(base, over)


def _place(tree: Listed, key: str, field: str, source: Source) -> int:
    """Which entry of a list a key means: its number from 0, or the ``name`` of the entry."""
    if key.isdecimal() and int(key) < len(tree.items):
        return int(key)
    names = []
    for i, item in enumerate(tree.items):
        name = item.children.get("name") if isinstance(item, Branch) else None
        if isinstance(name, Leaf):
            names.append(name.text)
            if name.text == key:
                return i
    known = f"it has {len(tree.items)} entries, counted from 0"
    if names:
        known += f", named {', '.join(names)}"
    raise problem(f"has no entry {ascii(key[:40])}: {known}", field, source)


def _put(tree: Tree, keys: list[str], value: Tree, path: str, source: Source) -> Tree:
    if not keys:
        return merge(tree, value)
    key, *rest = keys
    if isinstance(tree, Listed):
        i = _place(tree, key, path, source)
        item = _put(tree.items[i], rest, value, f"{path}[{i}]", source)
        return replace(tree, items=(*tree.items[:i], item, *tree.items[i + 1 :]))
    if isinstance(tree, Branch):
        under = tree.children.get(key, Branch({}, source))
        return replace(
            tree, children={**tree.children, key: _put(under, rest, value, below(path, key), source)}
        )
    raise problem("is a value and has no keys below it", path, source)


def put(tree: Tree, path: str, text: str, source: Source) -> Tree:
    """The tree with the value at ``path`` replaced by ``text`` (read as YAML)."""
    keys = _INDEX.sub(r".\1", path).split(".")
    if not all(keys):
        raise problem(f"must name a key such as score.cooldown_s, was {ascii(path[:80])}", None, source)
    value = parse(text, source, reduce(below, keys, ""))
    return _put(tree, keys, Leaf("null", "", source) if value is None else value, "", source)


def put_rows(tree: Tree, rows: Iterable[tuple[str, str]]) -> Tree:
    """Rows (key, JSON) of ``oi_monitoring_config`` laid on the section ``oi``."""
    for key, text in rows:
        source = Source(Layer.DATABASE, f"oi_monitoring_config {ascii(key[:60])[1:-1]}")
        if not _KEY.fullmatch(key):
            raise problem("must be a key of the section oi, such as thresholds", None, source)
        tree = put(tree, f"oi.{key}", text, source)
    return tree


def put_environment(tree: Tree, environment: Mapping[str, str]) -> Tree:
    """Every variable PERPDESK__SECTION__KEY laid on the tree, in the order of their names."""
    if SYMBOLS_VARIABLE in environment:
        source = Source(Layer.ENVIRONMENT, f"environment {SYMBOLS_VARIABLE}")
        tree = put(tree, "oi.max_monitored_symbols", environment[SYMBOLS_VARIABLE], source)
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX):
            path = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            tree = put(tree, path, environment[name], Source(Layer.ENVIRONMENT, f"environment {name}"))
    return tree


def put_options(tree: Tree, options: Iterable[str]) -> Tree:
    """Every ``section.key=value`` laid on the tree; of two for the same key the later wins."""
    for option in options:
        path, equals, text = option.partition("=")
        source = Source(Layer.OPTION, f"option {ascii(path[:80])[1:-1]}")
        if not equals:
            raise problem(f"must read section.key=value, was {ascii(option[:80])}", None, source)
        tree = put(tree, path.strip(), text, source)
    return tree
