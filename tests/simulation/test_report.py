"""Summaries of many runs."""

from __future__ import annotations

from collections import Counter

from perpdesk.simulation import matrix, report, swarm
from perpdesk.simulation.observer import Violation
from perpdesk.simulation.run import Options, Result


def result(seed: int, naked: list[tuple[float, bool]], *broken: str) -> Result:
    return Result(
        seed=seed, digest="", violations=[Violation(rule, "said so", 1) for rule in broken], doubled=0,
        naked=naked, fired=Counter({"NET-01 request lost": 2}), simulated_ms=86_400_000, steps=10, lives=1,
        entries=1, orders=2, fills=3, requests=4, commits=5, life_steps=[10], deaths=[], cpu_s=0.5,
    )  # fmt: skip


def test_quantiles_are_of_the_values_themselves() -> None:
    values = [float(i) for i in range(1, 101)]
    assert report.quantile(values, 0.5) == 50
    assert report.quantile(values, 0.99) == 99
    assert report.quantile([], 0.99) == 0
    assert report.quantile([7.0], 0.5) == 7


def test_a_clean_swarm_passes_and_counts() -> None:
    said = report.summary([result(1, [(0.5, False)]), result(2, [(12.0, True)])], Options(), 1.0)
    assert said["passed"]
    assert said["runs"] == 2
    assert said["simulated_days"] == 2
    assert said["faults_fired"] == {"NET-01 request lost": 4}
    assert "NET-02 answer lost" in said["faults_not_fired"]
    assert said["runs_per_cpu_second"] == 2


def test_a_violation_a_long_naked_time_or_a_slow_p99_fails_it() -> None:
    broken = report.summary([result(7, [], "I1")], Options(faults=0.3, minutes=9), 1.0)
    assert not broken["passed"]
    assert (
        broken["seeds_failed"][0]["replay"] == "perpdesk simulate --seed 7 --faults 0.3 --minutes 9 --trace"
    )
    for naked in ([(20.5, True)], [(3.5, False)], [(15.5, True)]):
        assert not report.summary([result(1, naked)], Options(), 1.0)["passed"]


def test_a_replayed_seed_is_the_swarms_own() -> None:
    options = Options(faults=0.2)
    many = swarm.seeds(10, 30, options)
    for i, job in enumerate(many):
        assert swarm.seeds(10 + i, 1, options) == [job]


def test_the_matrix_takes_every_step_of_a_path_and_samples_pairs(tmp_path) -> None:
    places = ["X.idle @e1"] * 10 + ["Delivery._send > place @xs"] * 5 + ["Recovery.run @"] * 3
    chosen = matrix.plan(3, places, pairs=4, other_every=5)
    singles = [steps for steps, path in chosen.points if not path.startswith("pairs")]
    assert singles == [(0,), (5,), *((i,) for i in range(10, 18))]
    assert sum(path.startswith("pairs") for _, path in chosen.points) == 4
    results = [result(3, [(1.0, True)], *(["I4"] if i == 3 else [])) for i in range(len(chosen.points))]
    cells = matrix.gather(chosen, results)
    page = tmp_path / "proof" / "crash_matrix.md"
    matrix.written(cells, [3], "perpdesk simulate --crash-matrix", page)
    text = page.read_text()
    assert f"{len(chosen.points)} crash points, 1 violations." in text
    assert "--crash-at 11: I4: said so" in text
