"""Printing: results to stdout, notices and progress to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from perpdesk.domain.redaction import redacted, without_known

_WIDTH_UNKNOWN = 160  # of a pipe or file: tables are not squeezed
out = Console(soft_wrap=True, highlight=False)
if not out.is_terminal:
    out.width = _WIDTH_UNKNOWN
err = Console(stderr=True, soft_wrap=True, highlight=False)


def print_json(value: object) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(without_known(json.dumps(value, ensure_ascii=False)) + "\n")


def notice(text: str) -> None:
    """A sentence on stderr."""
    err.print(redacted(text), markup=False)


def table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """A table whose first column is left, the others right aligned."""
    made = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


@contextmanager
def progress(label: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; the yielded function takes the number of steps done."""
    if quiet or not err.is_terminal:
        yield lambda done: None
        return
    bar = Progress(
        TextColumn(label),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        console=err,
    )
    with bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)
