"""Progress of volume's users, on stderr."""

from __future__ import annotations

from decimal import Decimal

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from perpdesk.cli.console import err
from perpdesk.engine.volume.user import UserRun
from perpdesk.strategies.volume_target.volume import v_star


class Bars:
    """One progress bar a user, on stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._tasks: dict[tuple[str, int], TaskID] = {}
        self._progress: Progress | None = None
        if err.is_terminal and not quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[what]}"))
            self._progress = Progress(*columns, console=err)

    def __enter__(self) -> Bars:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, one: UserRun) -> None:
        """A run has moved on."""
        if self._progress is None:
            return
        run, key = one.run, (one.seat.strategy_id, one.seat.user_id)
        done = v_star(run.terms.mode, run.day, run.terms.m) or Decimal(0)
        what = f"{done:.2f} of {run.terms.target} {run.state.value} {run.reason.value}".strip()
        if key not in self._tasks:
            label = f"{key[0]} user {key[1]}"
            self._tasks[key] = self._progress.add_task(label, total=float(run.terms.target), what=what)
        completed = float(min(done, run.terms.target))
        self._progress.update(self._tasks[key], completed=completed, what=what)
