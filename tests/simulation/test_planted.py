"""Planted faults: each names a function that exists, is wrong while planted, and right again afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from perpdesk.domain.errors import InputError
from perpdesk.simulation import planted, planted_page, swarm
from perpdesk.simulation.run import Options

# A short world without faults: whatever breaks in it is ours.
SHORT = Options(
    faults=0.0, minutes=3, symbols=2, people=False, events=False, deaths=False, waves=True, first_only=True
)
NAMES = [one.name for one in planted.PLANTED]


def current(target: str) -> object:
    owner, attribute = planted._found(target)
    return getattr(owner, attribute)


def test_there_are_enough_of_them() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 25


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_planted_and_taken_out_again(name: str) -> None:
    targets = [swap.target for swap in planted.of(name).swaps]
    before = [current(target) for target in targets]
    with planted.planted_in(name):
        assert all(current(target) is not right for target, right in zip(targets, before, strict=True))
    assert [current(target) for target in targets] == before


def test_an_unknown_fault_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="no-fence"), planted.planted_in("no-such-fault"):
        pass


def test_the_hunt_counts_runs_up_to_the_finding() -> None:
    def run(seed: int, name: str) -> list[str]:
        return ["I1"] if seed % 10_000 == 4 else []

    found = planted.hunt(planted.PLANTED[0], run, tries=3, runs_max=10)
    assert found.runs == (5, 5, 5)
    assert found.median_runs == 5
    missed = planted.hunt(planted.PLANTED[0], run, tries=2, runs_max=3)
    assert missed.median_runs is None


@pytest.fixture(scope="module", autouse=True)
def _bench() -> Iterator[None]:
    before = logging.root.manager.disable
    yield
    swarm.close()
    logging.disable(before)


def rules(name: str) -> set[str]:
    return {one.rule for one in swarm.work(swarm.Job(1, SHORT, planted=name)).violations}


def test_without_a_planted_fault_nothing_is_found() -> None:
    assert rules("") == set()


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("intent-after-send", "I23"),
        ("half-stops", "I16"),
        ("local-day", "I25"),
        ("secret-sent", "I20"),
    ],
)
def test_a_planted_fault_is_found(name: str, rule: str) -> None:
    assert rule in rules(name)


def test_rows_of_the_page_are_replaced_fault_by_fault(tmp_path: Path) -> None:
    first, second = planted.PLANTED[:2]
    found = planted.Found(first.name, first.says, (1, 3, 2), ("I1",), (0, 10_000, 20_000), 1.5)
    page = planted_page.written(tmp_path, [found], faults=0.4, runs_max=9)
    assert "**1 found in every try**" in page.read_text()
    missed = planted.Found(second.name, second.says, (None, 1), (), (0, 10_000), 2.5)
    again = planted.Found(first.name, first.says, (7,), ("I2",), (0,), 1.0)
    text = planted_page.written(tmp_path, [missed, again], faults=0.4, runs_max=9).read_text()
    assert "2 hunted, **1 found in every try**; median runs to find one: 7 " in text
    assert "not found, 1" in text
    assert "I1" not in planted_page.kept(tmp_path)[first.name]["rules"]
