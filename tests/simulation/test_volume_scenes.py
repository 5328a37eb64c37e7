"""Every accident ends flat and honest, whole and with the process dying on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from perpdesk.simulation.database import Files, files
from perpdesk.simulation.volume_life import Scene, run
from perpdesk.simulation.volume_planted import planted
from perpdesk.simulation.volume_scenes import COMPLETES, SCENES, TIMES_OUT, played


@pytest.fixture(scope="module")
def folder() -> Iterator[Files]:
    with files() as found:
        yield found


def scene_named(words: str) -> Scene:
    return next(one for one in SCENES if words in one.name)


@pytest.mark.parametrize("scene", SCENES, ids=lambda one: one.name)
def test_a_scene_and_a_death_in_the_middle_of_it(scene: Scene, folder: Files) -> None:
    tally = played(folder, scene, 1, every=1_000_000)
    assert tally.failing == []
    assert tally.quarantined == 0
    assert sum(tally.outcomes.values()) >= 2
    assert tally.fired > 0 or not scene.faults


@pytest.mark.parametrize(
    ("words", "outcome"), [("partial working fill", "BUY_TIMED_OUT"), ("partial fill of", "SELL_TIMED_OUT")]
)
def test_what_was_filled_in_part_is_flattened(words: str, outcome: str, folder: Files) -> None:
    found = run(folder, scene_named(words), 1)
    assert found.problems == []
    assert set(found.outcomes) == {outcome}
    assert found.partial == found.outcomes[outcome] >= 2
    assert set(found.states.values()) == {"DONE"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scene", "every"), [(COMPLETES, 11), (TIMES_OUT, 31)], ids=["completes", "times out"]
)
def test_deaths_before_many_awaits(scene: Scene, every: int, folder: Files) -> None:
    tally = played(folder, scene, 2, every=every)
    assert tally.crash_points > 20
    assert tally.failing == []


def test_the_same_seed_tells_the_same_story(folder: Files) -> None:
    first, again = (run(folder, COMPLETES, 3).digest for _ in range(2))
    assert first == again
    assert run(folder, COMPLETES, 4).digest != first


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        ("executions are not kept", "completes"),
        ("managed accounts may meet", "three users"),
        ("a cancelled pair's rest stays", "sell never fills"),
        ("an error of a query is taken for absence", "nothing is heard"),
        ("the counter alone says what is missing", "counter lags"),
        ("a probe believes at once", "the fill comes late"),
    ],
)
def test_faults_of_our_own_are_found(fault: str, where: str, folder: Files) -> None:
    with planted(fault):
        tally = played(folder, scene_named(where), 1, every=1_000_000)
    assert tally.failing


@pytest.mark.slow
def test_a_restart_that_forgets_what_was_sent_is_found(folder: Files) -> None:
    with planted("a restart forgets what was sent"):
        tally = played(folder, COMPLETES, 1, every=9)
    assert tally.failing


def test_a_run_that_died_before_midnight_is_taken_up_after_it(folder: Files) -> None:
    found = run(folder, replace(scene_named("midnight"), crash_at=(101,)), 1)
    assert found.problems == []
