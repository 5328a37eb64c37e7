"""simulate: the desk, its store and the simulated exchange in one process, under seeded faults."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from perpdesk.cli.console import notice, out, print_json, progress, table
from perpdesk.cli.options import JsonOption
from perpdesk.domain.errors import InputError
from perpdesk.simulation import matrix, planted, planted_page, report, swarm
from perpdesk.simulation.run import Options, Result

_PROOF = Path("docs/proof")
EXIT_FOUND = 1
# Many short lives find more than few long ones; a search for one fault wants its rarer states too.
SWARM_MINUTES, SEARCH_MINUTES = 6, 15


def add_to(application: typer.Typer) -> None:
    """Hang this command into the tree."""
    application.command("simulate")(simulate)


def simulate(
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds.")] = 200,
    seed_start: Annotated[int, typer.Option("--seed-start", min=0, help="The first of them.")] = 0,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Only this seed.")] = None,
    faults: Annotated[float, typer.Option("--faults", min=0.0, max=1.0, help="Share of requests.")] = 0.4,
    minutes: Annotated[
        int | None,
        typer.Option(
            "--minutes",
            min=1,
            help="Virtual minutes with faults [default: 6; 15 of a search].",
            show_default=False,
        ),
    ] = None,
    versions: Annotated[
        str, typer.Option("--versions", help="What desks run: one, two, scores, ladders, or mixed by seed.")
    ] = "one",
    processes: Annotated[int, typer.Option("--processes", min=1)] = min(2, os.cpu_count() or 1),
    trace: Annotated[bool, typer.Option("--trace", help="Print every line of the trace (one seed).")] = False,
    crash_matrix: Annotated[
        bool, typer.Option("--crash-matrix", help="Die before every await of every path; writes a proof.")
    ] = False,
    crash_at: Annotated[
        str | None, typer.Option("--crash-at", help="Task steps of the first lives, e.g. 120,40.")
    ] = None,
    points: Annotated[
        int | None, typer.Option("--points", min=1, help="Of the matrix: at most so many single crashes.")
    ] = None,
    pairs: Annotated[int, typer.Option("--pairs", min=0, help="Of the matrix: sampled pairs.")] = 200,
    planted_faults: Annotated[
        bool, typer.Option("--planted", help="Plant each of our own faults: it must be found.")
    ] = False,
    tries: Annotated[int, typer.Option("--tries", min=1, help="Of each planted fault.")] = 3,
    runs_max: Annotated[int, typer.Option("--runs-max", min=1, help="Of each try.")] = 100,
    only: Annotated[str | None, typer.Option("--only", help="Only these planted faults, by commas.")] = None,
    write_to: Annotated[Path, typer.Option("--write-to", help="Folder of the proof.")] = _PROOF,
    as_json: JsonOption = False,
) -> int:
    """Simulate the live desk under faults, people and deaths; exit code 1 if any invariant broke."""
    if versions not in swarm.DESKS:
        raise InputError(f"must be one of {', '.join(swarm.DESKS)}", field="--versions")
    searches = planted_faults or crash_matrix
    minutes = minutes or (SEARCH_MINUTES if searches else SWARM_MINUTES)
    options = Options(faults=faults, minutes=minutes, versions=versions)
    if crash_at is not None:
        options = replace(options, crash_at=_steps(crash_at))
    if planted_faults:
        return _planted(options, tries, runs_max, processes, only, seed_start, write_to, as_json)
    if crash_matrix and seed is None:
        chosen = list(range(seed_start, seed_start + min(seeds, 3)))
        return _matrix(options, chosen, points, pairs, processes, write_to, as_json)
    if seed is not None:
        return _one(seed, options, trace=trace, as_json=as_json, scene=crash_matrix)
    return _swarm(options, seed_start, seeds, processes, as_json)


def _steps(text: str) -> tuple[int | None, ...]:
    try:
        return tuple(int(part) if part.strip() not in ("", "-") else None for part in text.split(","))
    except ValueError:
        raise InputError(
            f"must be numbers of steps separated by commas, was {text!r}", field="--crash-at"
        ) from None


def _one(seed: int, options: Options, *, trace: bool, as_json: bool, scene: bool) -> int:
    job = swarm.seeds(seed, 1, options)[0]
    if scene:
        job = replace(job, options=matrix.scene(options))
    if trace:
        job = replace(job, options=replace(job.options, tell=lambda line: out.print(line, markup=False)))
    results, wall_s = swarm.timed(lambda: swarm.run_all([job]))
    said = report.summary(results, options, wall_s)
    result: Result = results[0]
    said |= {
        "digest": result.digest,
        "life_steps": result.life_steps,
        "deaths": result.deaths,
        "ends": result.ends,
    }
    said["all_violations"] = [f"{one.us} {one.rule}: {one.text}" for one in result.violations]
    if as_json:
        print_json(said)
    else:
        _print(said)
        out.print(f"digest {result.digest}", markup=False)
        for line in (*said["all_violations"], *result.ends):
            out.print(f"  {line}", markup=False)
    return 0 if not result.violations else EXIT_FOUND


def _swarm(options: Options, start: int, count: int, processes: int, as_json: bool) -> int:
    jobs = swarm.seeds(start, count, options)
    with progress("simulate", len(jobs), quiet=as_json) as done:
        number = 0

        def told(result: Result) -> None:
            nonlocal number
            number += 1
            done(number)
            if result.violations and not as_json:
                notice(f"seed {result.seed}: {result.violations[0].rule}: {result.violations[0].text}")

        results, wall_s = swarm.timed(lambda: swarm.run_all(jobs, processes, told))
    said = report.summary(results, options, wall_s)
    if as_json:
        print_json(said)
    else:
        _print(said)
    return 0 if said["passed"] else EXIT_FOUND


def _matrix(
    options: Options,
    seeds: Sequence[int],
    points: int | None,
    pairs: int,
    processes: int,
    write_to: Path,
    as_json: bool,
) -> int:
    cells: dict[str, matrix.Cell] = {}
    ran: list[Result] = []

    def recorded(seed: int, before: tuple[int, ...] = ()) -> list[str]:
        first = swarm.run_all([matrix.recording(seed, options, before)])[0]
        if first.violations:
            raise InputError(
                f"seed {seed} breaks {first.violations[0].rule} with the deaths {before}", field="--seed"
            )
        matrix.count(cells, first.places, after=bool(before))
        return first.places

    for seed in seeds:
        whole = recorded(seed)
        middle = matrix.middle(whole)
        recovery = recorded(seed, (middle,))
        chosen = matrix.singles(whole)
        chosen += matrix.singles(recovery[: len(whole) - middle], (middle,), occurrences=1)
        chosen = matrix.thinned(seed, chosen, points)
        chosen += matrix.pairs(seed, chosen, len(whole), pairs)
        jobs = matrix.jobs(seed, chosen, options)
        with progress(f"seed {seed}", len(jobs), quiet=as_json) as done:
            number = 0

            def told(result: Result) -> None:
                nonlocal number
                number += 1
                done(number)
                if result.violations and not as_json:
                    notice(f"{result.violations[0].rule}: {result.violations[0].text}")

            results = swarm.run_all(jobs, processes, told)
        matrix.gather(cells, seed, chosen, results)
        ran += results
    limit = "" if points is None else f" --points {points}"
    command = (
        f"perpdesk simulate --crash-matrix --seed-start {seeds[0]} --seeds {len(seeds)} "
        f"--minutes {options.minutes} --pairs {pairs}{limit}"
    )
    effort = matrix.Effort(
        command, seeds, sum(one.cpu_s for one in ran), sum(one.simulated_ms for one in ran),
        sum(one.lives for one in ran),
    )  # fmt: skip
    page = write_to / "crash_matrix.md"
    matrix.written(cells, effort, page)
    said = {
        name: {
            "awaits": cell.found,
            "classes": cell.classes,
            "runs": cell.points,
            "violations": dict(cell.violations),
            "failing": cell.failing,
        }
        for name, cell in sorted(cells.items())
    }
    broken = sum(sum(cell.violations.values()) for cell in cells.values())
    if as_json:
        print_json({"passed": broken == 0, "paths": said, "page": str(page)})
    else:
        out.print(page.read_text(), markup=False)
    return 0 if broken == 0 else EXIT_FOUND


def _planted(
    options: Options,
    tries: int,
    runs_max: int,
    processes: int,
    only: str | None,
    start: int,
    write_to: Path,
    as_json: bool,
) -> int:
    wanted = list(planted.PLANTED) if only is None else [planted.of(name) for name in only.split(",")]
    hunts = [swarm.Hunt(one.name, options, tries, runs_max, start) for one in wanted]
    found: list[planted.Found] = []
    for result in swarm.hunt_all(hunts, processes):
        found.append(result)
        page = planted_page.written(write_to, [result], faults=options.faults, runs_max=runs_max)
        if not as_json:
            notice(f"{result.name}: runs {list(result.runs)}, rules {', '.join(result.rules)}")
    missed = [one.name for one in found if one.median_runs is None]
    if as_json:
        rows = planted_page.kept(write_to)
        print_json(
            {
                "passed": not missed,
                "planted": len(found),
                "missed": missed,
                "faults": {one.name: rows[one.name] for one in found},
            }
        )
    else:
        out.print(page.read_text(), markup=False)
    return 0 if not missed else EXIT_FOUND


def _print(said: dict[str, Any]) -> None:
    naked = said["naked_seconds"]
    rows = [
        ["runs", str(said["runs"])],
        ["simulated days", str(said["simulated_days"])],
        ["violations", str(said["violations"])],
        ["doubled positions", str(said["doubled_positions"])],
        [
            "uncovered s, alive: p50 p99 max",
            " ".join(str(naked["alive"][one]) for one in ("p50", "p99", "max")),
        ],
        [
            "uncovered s, with a death",
            " ".join(str(naked["with_death"][one]) for one in ("p50", "p99", "max")),
        ],
        ["entries, orders, fills", f"{said['entries']} {said['orders']} {said['fills']}"],
        ["lives", str(said["lives"])],
        ["kinds of faults fired", str(len(said["faults_fired"]))],
        ["kinds not fired", ", ".join(said["faults_not_fired"]) or "none"],
        ["CPU seconds", str(said["cpu_seconds"])],
        ["runs per CPU second", str(said["runs_per_cpu_second"])],
        ["commit", said["commit"]],
    ]
    out.print(table("simulation", ["figure", "value"], rows))
    for failed in said["seeds_failed"][:20]:
        out.print(f"seed {failed['seed']}: {failed['violations'][0]}", markup=False)
        out.print(f"  {failed['replay']}", markup=False)
