"""A crash at every await of every path, then a restart; and pairs of crashes, sampled.

A first run without a crash records every step of the process and what it was doing. Each step that belongs to
a path is then the last one of a run of its own: the process dies before the next, is started again half a
second to five later, and at the end everything must be as it should be.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from perpdesk.simulation.report import commit, naked_of
from perpdesk.simulation.run import Options, Result
from perpdesk.simulation.swarm import DESK, Job

# A path is known by the functions that wait: the first that matches names it.
PATHS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("recovery", ("Recovery.", "_recover", "_make_ready", "take_lease", "BinanceVenue._start", "write_down")),
    ("reconcile", ("Reconciler.", "EngineSink.", "import_fill")),
    ("replace", ("_take_back", "_leave", "DisasterStops.")),
    ("protect", ("Protection.", "close_position_stop")),
    ("entry", ("_is_written", "entry_approved", "_take_symbol", "open_position", "set_leverage")),
)
# What the rest of delivery and booking does is known by the leg that was last on the wire.
_WORK = ("Delivery.", "LiveEngine.", "StoreRecorder.", "Writer.", "AccountFacts.")
_LEGS = {"e1": "entry", "xs": "protect", "xt": "protect", "xm": "close", "dz": "protect"}
OTHER = "other"


@dataclass
class Cell:
    """What the crashes of one path found."""

    points: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    naked: list[float] = field(default_factory=list)
    doubled: int = 0
    failing: list[str] = field(default_factory=list)


def path_of(where: str) -> str:
    """The path that a place (as ``loop`` names it) belongs to."""
    for name, marks in PATHS:
        if any(mark in where for mark in marks):
            return name
    if any(mark in where for mark in _WORK):
        leg = where.rpartition("@")[2]
        return "partial take-profit" if leg.startswith("s") else _LEGS.get(leg, OTHER)
    return OTHER


def scene(options: Options) -> Options:
    """A calm world with one process, in which every path is gone through."""
    return replace(options, faults=0.0, people=False, events=False, deaths=False, waves=True)


@dataclass(frozen=True)
class Plan:
    """The runs of a matrix. points: (crash steps, path)."""

    seed: int
    points: tuple[tuple[tuple[int | None, ...], str], ...]

    def jobs(self, options: Options, desk: str = DESK) -> list[Job]:
        """One job for each point."""
        return [Job(self.seed, replace(scene(options), crash_at=steps), desk) for steps, _ in self.points]


def plan(
    seed: int, places: Sequence[str], *, pairs: int, other_every: int = 1, points_max: int | None = None
) -> Plan:
    """Every step whose place belongs to a path (and every so many of the others); pairs of them, sampled.

    places: of the steps of a run without a crash, in their order. The second crash of a pair comes within
    the first 400 steps of the next life, or so late as the first.
    """
    rng = random.Random(f"matrix {seed}")
    singles: list[tuple[tuple[int | None, ...], str]] = []
    for step, where in enumerate(places):
        path = path_of(where)
        if path != OTHER or step % other_every == 0:
            singles.append(((step,), path))
    if points_max is not None and len(singles) > points_max:
        keep = sorted(rng.sample(range(len(singles)), points_max))
        singles = [singles[i] for i in keep]
    doubles: list[tuple[tuple[int | None, ...], str]] = []
    known = [point for point in singles if point[1] != OTHER] or singles
    for _ in range(pairs if known else 0):
        (first, *_), path = rng.choice(known)
        second = rng.randrange(0, 400) if rng.random() < 0.7 else rng.choice(known)[0][0]
        doubles.append(((first, second), f"pairs: {path}"))
    return Plan(seed, (*singles, *doubles))


def gather(chosen: Plan, results: Sequence[Result]) -> dict[str, Cell]:
    """What was found, by path."""
    cells: dict[str, Cell] = {}
    for (steps, path), result in zip(chosen.points, results, strict=True):
        cell = cells.setdefault(path, Cell())
        cell.points += 1
        cell.doubled += result.doubled
        cell.naked += [seconds for seconds, _ in result.naked]
        cell.violations.update(one.rule for one in result.violations)
        if result.violations and len(cell.failing) < 5:
            crashes = ",".join(str(step) for step in steps)
            first = result.violations[0]
            cell.failing.append(f"--seed {chosen.seed} --crash-at {crashes}: {first.rule}: {first.text}")
    return cells


def written(cells: dict[str, Cell], seeds: Sequence[int], command: str, path: Path) -> None:
    """The matrix as a page of the documentation."""
    lines = [
        "# Crash matrix",
        "",
        "The process dies before each await of a path and is started again 0.5 to 5 s later; at the end the",
        "exchange, the database and the invariants are checked. Pairs are two deaths in a row, sampled.",
        "Made by:",
        "",
        f"    {command}",
        "",
        f"Commit `{commit()}`, seeds {', '.join(str(seed) for seed in seeds)}.",
        "",
        "| Path | Crash points | Violations | Doubled positions | Uncovered p99 s | Uncovered max s |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(cells, key=lambda one: (one.startswith("pairs"), one == OTHER, one)):
        cell = cells[name]
        naked = naked_of(cell.naked)
        figures = (cell.points, sum(cell.violations.values()), cell.doubled, naked["p99"], naked["max"])
        lines.append(f"| {name} | " + " | ".join(str(figure) for figure in figures) + " |")
    total = sum(cell.points for cell in cells.values())
    broken = sum(sum(cell.violations.values()) for cell in cells.values())
    lines += ["", f"{total} crash points, {broken} violations."]
    failing = [text for cell in cells.values() for text in cell.failing]
    if failing:
        lines += ["", "## Failing", ""] + [f"- `perpdesk simulate --crash-matrix {text}`" for text in failing]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


Recorder = Callable[[Job], list[str]]
