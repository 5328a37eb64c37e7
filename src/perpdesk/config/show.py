"""Every value with the layer that set it, for ``perpdesk config show``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from perpdesk.config.load import Loaded
from perpdesk.config.snapshot import builtins_of
from perpdesk.config.tree import Layer, Source


@dataclass(frozen=True)
class Row:
    """One value: ``value`` is JSON-ready (decimals are text), ``layer`` one of default, file, environment,
    option, ``place`` where it was written (``config/perpdesk.yaml:12``; None for defaults)."""

    field: str
    value: str | int | bool | None
    layer: str
    place: str | None


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for i, part in enumerate(value):
            yield from _leaves(part, f"{path}[{i}]")
    else:
        yield path, None if value == [] else value


def _source(loaded: Loaded, path: str) -> Source:
    """Who set the value; a value inside a default section is a default."""
    return loaded.sources.get(path, Source(Layer.DEFAULT))


def show_rows(loaded: Loaded) -> list[Row]:
    """Every value in the order of the schema, with its layer and place. An empty list is one null row."""
    rows = []
    for path, value in _leaves(builtins_of(loaded.config), ""):
        assert value is None or isinstance(value, (str, int, bool))
        source = _source(loaded, path)
        place = None if source.place is None else str(source)
        rows.append(Row(path, value, source.layer.value, place))
    return rows


def show_text(loaded: Loaded) -> str:
    """The rows as an aligned text table."""
    table = [("field", "value", "set by")]
    for row in show_rows(loaded):
        value = "null" if row.value is None else str(row.value)
        value = value.lower() if isinstance(row.value, bool) else value
        table.append((row.field, value, row.layer if row.place is None else f"{row.layer} {row.place}"))
    widths = [max(len(line[column]) for line in table) for column in (0, 1)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in table)
