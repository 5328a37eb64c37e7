"""Planted faults: each names a function that exists, is wrong while planted, and right again afterwards."""

from __future__ import annotations

import pytest

from perpdesk.domain.errors import InputError
from perpdesk.simulation import planted

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
