"""The YAML text of a volume configuration as a tree; everything that is wrong with its form is collected."""

from __future__ import annotations

import warnings
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from perpdesk.config.tree import TEXT_MAX, Branch, Layer, Leaf, Listed, Source, Tree, below, printable
from perpdesk.config.volume_problems import Problem, shown

DEPTH_MAX = 16
_KINDS = {"int": "number", "float": "number", "bool": "bool", "null": "null", "str": "text"}
_TAG_PREFIX = "tag:yaml.org,2002:"


def read_tree(text: str, file: str, problems: list[Problem]) -> Tree | None:
    """The tree, or None with at least one problem added (or if the file is empty)."""
    place = Source(Layer.FILE, file)
    if len(text) > TEXT_MAX or len(text.encode("utf-8", "surrogatepass")) > TEXT_MAX:
        problems.append(Problem("YAML_UNSAFE", "", f"must not be larger than {TEXT_MAX} bytes", place))
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            unsafe = _unsafe(text, place)
            if unsafe is not None:
                problems.append(unsafe)
                return None
            node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        where = place if mark is None else _at(place, mark.line)
        problems.append(Problem("YAML_INVALID", "", f"is not valid YAML: {printable(what)}", where))
        return None
    except YAMLError as error:
        first = printable(str(error).splitlines()[0])
        problems.append(Problem("YAML_INVALID", "", f"is not valid YAML: {first}", place))
        return None
    return None if node is None else _tree(node, place, "", problems)


def _unsafe(text: str, place: Source) -> Problem | None:
    """Look at the events before anything is built: an alias could unfold, depth could overflow."""
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        where = _at(place, event.start_mark.line)
        if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor is not None):
            return Problem("YAML_UNSAFE", "", "must not use anchors and aliases (&, *)", where)
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                return Problem("YAML_UNSAFE", "", f"must not be nested deeper than {DEPTH_MAX}", where)
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        tag = getattr(event, "tag", None)
        if tag is not None:
            return Problem("YAML_UNSAFE", "", "must not use tags", where, shown(str(tag)))
    return None


def _at(place: Source, line_from_0: int) -> Source:
    return Source(Layer.FILE, place.place, line_from_0 + 1)


def _tree(node: Node, place: Source, path: str, problems: list[Problem]) -> Tree:
    here = _at(place, node.start_mark.line)
    if isinstance(node, SequenceNode):
        items = (_tree(item, place, f"{path}[{i}]", problems) for i, item in enumerate(node.value))
        return Listed(tuple(items), here)
    if isinstance(node, MappingNode):
        return Branch(_children(node.value, place, path, problems), here)
    tag = str(node.tag).removeprefix(_TAG_PREFIX)
    return Leaf(_KINDS.get(tag, "other"), str(node.value), here)


def _children(
    pairs: list[tuple[Any, Any]], place: Source, path: str, problems: list[Problem]
) -> dict[str, Tree]:
    children: dict[str, Tree] = {}
    for key, value in pairs:
        here = _at(place, key.start_mark.line)
        if not isinstance(key, ScalarNode) or str(key.tag) != f"{_TAG_PREFIX}str":
            text = shown(str(key.value)) if isinstance(key, ScalarNode) else "a list or mapping"
            problems.append(Problem("UNKNOWN_KEY", path, "keys must be words", here, text))
            continue
        field = below(path, key.value)
        if key.value in children:
            problems.append(Problem("DUPLICATE_KEY", field, "stands there twice, keep one", here))
            continue
        children[key.value] = _tree(value, place, field, problems)
    return children
