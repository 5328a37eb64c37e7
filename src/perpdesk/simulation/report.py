"""What many runs found, as one JSON object, with the command that repeats each failing seed."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perpdesk.adapters.build import build_hash
from perpdesk.simulation.run import Options, Result
from perpdesk.simulation.weather import READ_FAULTS, STREAM_FAULTS, WRITE_FAULTS

P99_ALIVE_S, P99_DEATH_S, HARD_S = 3.0, 15.0, 20.0
_DAY_MS = 86_400_000
# Faults that are not in the exchange's plan.
EPISODES = (
    "NET-04 connection dies in the body", "NET-07 outage", "NET-08 streams down", "NET-08 requests down",
    "NET-10 resting connections die", "WS-01 silent socket", "WS-02 sockets close", "WS-03 key expires",
    "WS-04 key expires silently", "API-14 order hidden", "ALG-01 stop hidden", "API-27 stale read",
    "API-28 empty answers", "API-03 banned", "API-02 429", "CLK-01 clocks part", "CLK-01 clock drifts",
    "CLK-02 clock steps", "CLK-04 process frozen",
    "DB-01 down", "DB-01 statement fails", "DB-01 error before commit", "DB-02 commit outcome unknown",
    "DB-04 locked", "DB-10 slow", "MKT-01 gap", "MKT-02 spike", "MKT-03 frozen feed", "MKT-06 ADL",
    "MKT-07 funding", "MKT-08 settlement", "MKT-09 halt", "ALG-04 thin book", "ALG-11 mark parts from last",
    "HUM-01 closes", "HUM-02 closes a part", "HUM-03 adds", "HUM-04 reverses", "HUM-05 cancels a stop",
    "HUM-05 moves a stop", "HUM-06 changes leverage", "HUM-07 changes margin type",
    "HUM-07 changes position mode", "HUM-08 transfers", "HUM-09 deletes the key", "HUM-10 kill -9",
    "HUM-12 another bot", "CON-01 started twice", "CP crash",
)  # fmt: skip
CATALOGUE = tuple(
    sorted({fault["name"] for fault in (*WRITE_FAULTS, *READ_FAULTS, *STREAM_FAULTS)} | set(EPISODES))
)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values do not exceed (0 for none)."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1_000_000) * len(ordered) // 1_000_000) - 1))]


def naked_of(values: Sequence[float]) -> dict[str, float | int]:
    """Figures of uncovered seconds."""
    return {
        "intervals": len(values),
        "p50": round(quantile(values, 0.50), 3),
        "p99": round(quantile(values, 0.99), 3),
        "max": round(max(values, default=0.0), 3),
    }


def commit() -> str:
    """The commit of the sources, with a star if they were changed since; "unknown" outside a repository."""
    folder = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", "."],
            cwd=folder.parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("*" if changed else "")


def replay(seed: int, options: Options) -> str:
    """The command that repeats one seed of a swarm."""
    versions = "" if options.versions == "one" else f"--versions {options.versions} "
    return (
        f"perpdesk simulate --seed {seed} --faults {options.faults:g} --minutes {options.minutes} "
        f"{versions}--trace"
    )


def summary(results: Sequence[Result], options: Options, wall_s: float) -> dict[str, Any]:
    """One JSON object."""
    fired: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    for result in results:
        fired += result.fired
        rules.update(violation.rule for violation in result.violations)
    excluded_us: Counter[str] = sum((result.excluded_us for result in results), Counter())
    alive = [seconds for result in results for seconds, death in result.naked if not death]
    death = [seconds for result in results for seconds, death in result.naked if death]
    failed = [result for result in results if result.violations]
    cpu_s = sum(result.cpu_s for result in results)
    naked = {"alive": naked_of(alive), "with_death": naked_of(death)}
    within = (
        naked["alive"]["p99"] <= P99_ALIVE_S
        and naked["with_death"]["p99"] <= P99_DEATH_S
        and max(naked["alive"]["max"], naked["with_death"]["max"]) <= HARD_S
    )
    doubled = sum(result.doubled for result in results)
    return {
        "passed": not failed and doubled == 0 and within,
        "runs": len(results),
        "seeds": [min((r.seed for r in results), default=0), max((r.seed for r in results), default=0)],
        "faults": options.faults,
        "simulated_days": round(sum(result.simulated_ms for result in results) / _DAY_MS, 3),
        "violations": sum(rules.values()),
        "violations_by_rule": dict(sorted(rules.items())),
        "doubled_positions": doubled,
        "naked_seconds": naked,
        "naked_within_limits": within,
        "naked_excluded_seconds": {cause: round(us / 1e6, 1) for cause, us in sorted(excluded_us.items())},
        "entries": sum(result.entries for result in results),
        "orders": sum(result.orders for result in results),
        "fills": sum(result.fills for result in results),
        "requests": sum(result.requests for result in results),
        "commits": sum(result.commits for result in results),
        "lives": sum(result.lives for result in results),
        "steps": sum(result.steps for result in results),
        "faults_fired": dict(sorted(fired.items())),
        "faults_not_fired": [name for name in CATALOGUE if fired[name] == 0],
        "seeds_failed": [
            {
                "seed": result.seed,
                "violations": [f"{one.rule}: {one.text}" for one in result.violations[:5]],
                "replay": replay(result.seed, options),
            }
            for result in failed
        ],
        "commit": commit(),
        "build_hash": build_hash(),
        "cpu_seconds": round(cpu_s, 1),
        "wall_seconds": round(wall_s, 1),
        "runs_per_cpu_second": round(len(results) / cpu_s, 2) if cpu_s else 0.0,
    }
