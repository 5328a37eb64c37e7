"""Managed accounts never trade with each other, and the rounds would show it if they did."""

from __future__ import annotations

import pytest

from perpdesk.simulation.volume_meetings import Meetings


@pytest.mark.parametrize("accounts", [2, 4])
def test_nobody_meets_in_random_interleavings(accounts: int) -> None:
    one = Meetings(seed=1, accounts=accounts)
    assert one.play(600) == 0
    assert one.tally["lists"] > 600
    for what in ("waits", "executions", "cancels", "exits", "exits wait", "made room"):
        assert one.tally[what] > 50, what


@pytest.mark.parametrize("part", ["ask", "room_for_exit"])
def test_half_a_guard_is_not_enough(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Meetings(seed=5)
    monkeypatch.setattr(one.lanes, part, lambda *_: True)
    assert one.play(3_000) > 5
