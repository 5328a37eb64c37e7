"""A crash at every await of every path, then a restart; and pairs of crashes, sampled.

A first run without a crash records every step of the process and what it was doing. Awaits are the same if
the whole stack of what waits is the same, the same leg was last on the wire, and the account held or did not
hold something: of each such class the first occurrence and the last are died before, each in a run of its
own. Then the process that recovers from a death in the middle of a position is recorded and died before in
the same way; and pairs are drawn from both. Every dead process is started again half a second to five later,
and at the end everything must be as it should be.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
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
_LEGS = {
    "e1": "entry",
    "xs": "protect",
    "xt": "protect",
    "xm": "close",
    "dz": "protect",
    "take back": "replace",
}
OTHER = "other"
HELD = "+"


@dataclass
class Cell:
    """What the crashes of one path found. found: awaits of it that the recorded lives went through."""

    found: int = 0
    classes: int = 0
    points: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    naked: list[float] = field(default_factory=list)
    doubled: int = 0
    failing: list[str] = field(default_factory=list)


def path_of(where: str) -> str:
    """The path that a place (as ``loop`` names it, with leg and holding) belongs to."""
    for name, marks in PATHS:
        if any(mark in where for mark in marks):
            return name
    if any(mark in where for mark in _WORK):
        leg = where.rpartition("@")[2].rstrip(HELD)
        return "partial take-profit" if leg.startswith("s") else _LEGS.get(leg, OTHER)
    return OTHER


def class_of(where: str) -> str:
    """What makes two awaits the same: of background work, the leg on the wire does not."""
    if path_of(where) != OTHER:
        return where
    stack, _, leg = where.rpartition(" @")
    return stack + (HELD if leg.endswith(HELD) else "")


def scene(options: Options) -> Options:
    """A calm world with one process, in which every path is gone through."""
    return replace(options, faults=0.0, people=False, events=False, deaths=False, waves=True)


@dataclass(frozen=True)
class Point:
    """One run: the steps before which the lives die, and the path that it tests."""

    crash_at: tuple[int | None, ...]
    path: str


def singles(places: Sequence[str], before: tuple[int, ...] = (), *, occurrences: int = 2) -> list[Point]:
    """Of every class of awaits the first occurrence, the last, and more evenly between them.

    places: of the steps of a recorded life; before: where the lives before it died.
    """
    by_class: dict[str, list[int]] = {}
    for step, where in enumerate(places):
        by_class.setdefault(class_of(where), []).append(step)
    points = []
    for where, steps in by_class.items():
        path = path_of(where)
        count = min(len(steps), 1 if path == OTHER else occurrences)
        chosen = {steps[i * (len(steps) - 1) // max(1, count - 1)] for i in range(count)}
        path = f"{'recovery' if path == OTHER else path}, after a death" if before else path
        points += [Point((*before, step), path) for step in sorted(chosen)]
    return points


def middle(places: Sequence[str]) -> int:
    """A step at which a position is held and its orders have just changed: where a recovery begins."""
    held = [
        step
        for step, where in enumerate(places)
        if where.endswith(HELD) and path_of(where) in ("protect", "partial take-profit", "replace")
    ]
    return held[len(held) // 2] if held else len(places) // 2


def pairs(seed: int, points: Sequence[Point], places: int, count: int) -> list[Point]:
    """Two deaths in a row, drawn: the second within the first 400 steps of the next life, or anywhere."""
    rng = random.Random(f"matrix {seed}")
    known = [point for point in points if point.path != OTHER and len(point.crash_at) == 1]
    drawn = []
    for _ in range(count if known else 0):
        first = rng.choice(known)
        second = rng.randrange(400) if rng.random() < 0.7 else rng.randrange(places)
        drawn.append(Point((*first.crash_at, second), "pairs"))
    return drawn


def thinned(seed: int, points: Sequence[Point], most: int | None) -> list[Point]:
    """At most so many of the points, drawn, as evenly over the paths as they allow."""
    if most is None or len(points) <= most:
        return list(points)
    rng = random.Random(f"thin {seed}")
    by_path: dict[str, list[int]] = {}
    for i, point in enumerate(points):
        by_path.setdefault(point.path, []).append(i)
    for places in by_path.values():
        rng.shuffle(places)
    rounds = sorted((n, path, i) for path, places in by_path.items() for n, i in enumerate(places))
    return [points[i] for i in sorted(i for _, _, i in rounds[:most])]


def recording(seed: int, options: Options, before: tuple[int, ...] = (), desk: str = DESK) -> Job:
    """The run that records the life after these deaths."""
    return Job(seed, replace(scene(options), record=True, crash_at=before), desk)


def jobs(seed: int, points: Sequence[Point], options: Options, desk: str = DESK) -> list[Job]:
    """One job for each point."""
    return [Job(seed, replace(scene(options), crash_at=point.crash_at), desk) for point in points]


def count(cells: dict[str, Cell], places: Sequence[str], *, after: bool) -> None:
    """Add the awaits of a recorded life."""
    seen: set[str] = set()
    for where in places:
        path = path_of(where)
        path = f"{'recovery' if path == OTHER else path}, after a death" if after else path
        cell = cells.setdefault(path, Cell())
        cell.found += 1
        cell.classes += class_of(where) not in seen
        seen.add(class_of(where))


def gather(cells: dict[str, Cell], seed: int, points: Sequence[Point], results: Sequence[Result]) -> None:
    """Add what was found, by path."""
    for point, result in zip(points, results, strict=True):
        cell = cells.setdefault(point.path, Cell())
        cell.points += 1
        cell.doubled += result.doubled
        cell.naked += [seconds for seconds, _ in result.naked]
        cell.violations.update(one.rule for one in result.violations)
        if result.violations and len(cell.failing) < 5:
            crashes = ",".join(str(step) for step in point.crash_at)
            first = result.violations[0]
            cell.failing.append(f"--seed {seed} --crash-at {crashes}: {first.rule}: {first.text}")


@dataclass(frozen=True)
class Effort:
    """What a matrix took."""

    command: str
    seeds: Sequence[int]
    cpu_s: float
    simulated_ms: int
    lives: int


def _order(name: str) -> tuple[bool, bool, bool, str]:
    return name == "pairs", name == OTHER, "after a death" in name, name


def written(cells: dict[str, Cell], effort: Effort, path: Path) -> None:
    """The matrix as a page of the documentation."""
    lines = [
        "# Crash matrix",
        "",
        "The process dies before an await of a path and is started again 0.5 to 5 s later; at the end the",
        "exchange, the database and the invariants are checked.",
        "",
        "- *Awaits*: all that the recorded lives went through.",
        "- *Classes*: those that differ in what waits (the whole stack, by line), in the leg that was last",
        "  on the wire, or in whether a position was held. (Of background work, which no path owns: not in",
        "  the leg.) Of each class the process dies before the first occurrence and before the last.",
        "- *After a death*: the process that recovers from a death in the middle of a position is itself",
        "  killed, once for each class of its awaits.",
        "- *Pairs*: two deaths in a row, drawn.",
        "",
        "Made by:",
        "",
        f"    {effort.command}",
        "",
        f"Commit `{commit()}`, seeds {', '.join(str(seed) for seed in effort.seeds)}, "
        f"{effort.cpu_s:.0f} CPU seconds, {effort.simulated_ms / 3_600_000:.1f} simulated hours, "
        f"{effort.lives} lives.",
        "",
        "| Path | Awaits | Classes | Runs | Violations | Doubled | Uncovered p50 s | p99 s | max s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in sorted(cells, key=_order):
        cell = cells[name]
        naked = naked_of(cell.naked)
        figures = (
            cell.found or "", cell.classes or "", cell.points, sum(cell.violations.values()), cell.doubled,
            naked["p50"], naked["p99"], naked["max"],
        )  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(str(figure) for figure in figures) + " |")
    runs = sum(cell.points for cell in cells.values())
    broken = sum(sum(cell.violations.values()) for cell in cells.values())
    found = sum(cell.found for cell in cells.values())
    classes = sum(cell.classes for cell in cells.values())
    lines += ["", f"{found} awaits in {classes} classes; {runs} runs with a death, {broken} violations."]
    failing = [text for cell in cells.values() for text in cell.failing]
    if failing:
        lines += ["", "## Failing", ""] + [f"- `perpdesk simulate --crash-matrix {text}`" for text in failing]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
