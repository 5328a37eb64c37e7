"""Summaries of many runs."""

from __future__ import annotations

from collections import Counter

from perpdesk.simulation import matrix, report, swarm
from perpdesk.simulation.lineup import LINEUPS, chosen
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


def test_the_versions_of_a_swarm_are_replayed() -> None:
    options = Options(versions="mixed")
    assert {job.desk for job in swarm.seeds(0, 3, options)} == {swarm.DESKS["mixed"]}
    assert "--versions mixed --trace" in report.replay(4, options)
    shares = Counter(chosen(seed) for seed in range(300))
    assert set(shares) == set(LINEUPS)
    assert min(shares.values()) > 30


def test_the_matrix_takes_the_first_and_the_last_await_of_every_class(tmp_path) -> None:
    places = (
        ["X.idle @e1"] * 5 + ["X.idle @xs"] * 5 + ["Delivery._send > place @xs+"] * 5 + ["Recovery.run @"]
    )
    points = matrix.singles(places)
    assert [point.crash_at for point in points] == [(0,), (10,), (14,), (15,)]
    assert [point.path for point in points] == ["other", "protect", "protect", "recovery"]
    assert {point.path for point in matrix.thinned(1, points, 3)} == {"other", "protect", "recovery"}
    assert matrix.middle(places) == 12
    again = matrix.singles(places, (12,), occurrences=1)
    assert [point.crash_at for point in again] == [(12, 0), (12, 10), (12, 15)]
    assert {point.path for point in again} == {"recovery, after a death", "protect, after a death"}
    points += [*again, *matrix.pairs(3, points, len(places), 4)]
    assert [point.path for point in points].count("pairs") == 4

    cells: dict[str, matrix.Cell] = {}
    matrix.count(cells, places, after=False)
    assert (cells["other"].found, cells["other"].classes) == (10, 1)
    results = [result(3, [(1.0, True)], *(["I4"] if i == 2 else [])) for i in range(len(points))]
    matrix.gather(cells, 3, points, results)
    page = tmp_path / "proof" / "crash_matrix.md"
    matrix.written(cells, matrix.Effort("perpdesk simulate --crash-matrix", [3], 1.0, 2, 3), page)
    text = page.read_text()
    assert f"16 awaits in 3 classes; {len(points)} runs with a death, 1 violations." in text
    assert "--seed 3 --crash-at 14: I4: said so" in text
