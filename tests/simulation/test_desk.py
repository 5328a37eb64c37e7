"""The live desk in the simulation: it trades, it survives deaths, and what is planted in it is found."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from perpdesk.simulation import matrix
from perpdesk.simulation.database import Files, files
from perpdesk.simulation.desk import make
from perpdesk.simulation.planted import planted_in
from perpdesk.simulation.run import Options, Result, simulate

pytestmark = pytest.mark.slow
SCENE = matrix.scene(Options(minutes=6))


@pytest.fixture(scope="module")
def folder() -> Iterator[Files]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with files() as found:
        yield found
    logging.disable(before)


def run(folder: Files, options: Options = SCENE, seed: int = 3) -> Result:
    return simulate(seed, make, folder, options)


def rules(result: Result) -> set[str]:
    return {one.rule for one in result.violations}


def test_a_calm_scene_goes_through_the_paths_and_breaks_nothing(folder: Files) -> None:
    result = run(folder, replace(SCENE, record=True))
    assert result.violations == []
    assert result.entries >= 2
    assert result.fills > result.entries
    assert result.lives == 1
    paths = {matrix.path_of(place) for place in result.places}
    assert {"recovery", "reconcile", "entry", "protect", "replace"} <= paths


def test_deaths_on_the_way_break_nothing(folder: Files) -> None:
    places = run(folder, replace(SCENE, record=True)).places
    points = matrix.singles(places)
    for point in (*matrix.thinned(3, points, 3), *matrix.pairs(3, points, len(places), 1)):
        result = run(folder, replace(SCENE, crash_at=point.crash_at))
        assert result.violations == [], point
        assert result.lives > 1


def test_without_stops_the_guardian_closes_what_stands_bare(folder: Files) -> None:
    with planted_in("no-stops"):
        result = run(folder)
    longest_s = max(seconds for seconds, _ in result.naked)
    assert 10 < longest_s < 20, "found by its time; the guardian keeps the limit"


@pytest.mark.parametrize(("name", "rule"), [("intent-after-send", "I23"), ("one-book", "L3")])
def test_what_is_planted_is_found(folder: Files, name: str, rule: str) -> None:
    with planted_in(name):
        assert rule in rules(run(folder))
