"""Whole runs with a small trader: repeatable, and what is done wrong on purpose is found."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.simulation.trader import Trader

from perpdesk.simulation.database import Files, files
from perpdesk.simulation.run import Options, Result, simulate

ROOT = Path(__file__).resolve().parents[2]
SHORT = Options(minutes=4, people=False, events=False, deaths=False)
DIGEST = """
import logging; logging.disable(logging.CRITICAL)
from tests.simulation.trader import Trader
from perpdesk.simulation.database import files
from perpdesk.simulation.run import Options, simulate
with files() as folder:
    print(simulate(11, lambda seed: Trader(), folder, Options(minutes=1)).digest)
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Files]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with files() as found:
        yield found
    logging.disable(before)


def run(folder: Files, seed: int, options: Options = SHORT, wrong: str = "") -> Result:
    return simulate(seed, lambda _: Trader(wrong), folder, options)


def rules(result: Result) -> set[str]:
    return {one.rule for one in result.violations}


def test_a_calm_run_trades_and_breaks_nothing_that_matters(folder: Files) -> None:
    result = run(folder, 2, replace(SHORT, faults=0.0))
    assert result.entries > 0
    assert result.fills > 0
    assert result.commits > 0
    assert result.doubled == 0
    assert not rules(result) & {"I1", "I3", "I4", "I6", "I7", "I11", "I15", "I22", "I23"}


def test_the_same_seed_gives_the_same_trace_twice(folder: Files) -> None:
    options = replace(SHORT, people=True, events=True, deaths=True, faults=0.5)
    first, again, other = run(folder, 5, options), run(folder, 5, options), run(folder, 6, options)
    assert first.digest == again.digest
    assert first.steps == again.steps
    assert first.violations == again.violations
    assert other.digest != first.digest


@pytest.mark.slow
def test_the_trace_does_not_depend_on_the_hash_seed() -> None:
    found = set()
    for number in ("0", "77"):
        environment = os.environ | {"PYTHONHASHSEED": number, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout.strip())
    assert len(found) == 1


def test_a_position_without_a_stop_is_found(folder: Files) -> None:
    result = run(folder, 2, replace(SHORT, faults=0.0), wrong="naked")
    assert "I4" in rules(result)
    assert max(seconds for seconds, _ in result.naked) > 20


@pytest.mark.slow
def test_a_repeated_entry_is_found(folder: Files) -> None:
    for seed in range(40):
        result = run(folder, seed, replace(SHORT, faults=1.0, minutes=6), wrong="doubles")
        if result.doubled:
            assert rules(result) & {"I1", "I7"}
            return
    raise AssertionError("forty seeds did not find it")


@pytest.mark.slow
def test_a_death_at_any_step_is_survived_by_the_simulation(folder: Files) -> None:
    whole = run(folder, 2, replace(SHORT, faults=0.0, minutes=2, record=True))
    steps = len(whole.places)
    for step in range(0, steps, max(1, steps // 10)):
        result = run(folder, 2, replace(SHORT, faults=0.0, minutes=2, crash_at=(step,)))
        assert result.lives == 2
        assert result.life_steps[0] == step
        assert result.doubled == 0


@pytest.mark.slow
def test_faults_fire(folder: Files) -> None:
    fired = set()
    for seed in range(3):
        fired |= set(run(folder, seed, Options(minutes=3, faults=0.8)).fired)
    assert len(fired) > 15
