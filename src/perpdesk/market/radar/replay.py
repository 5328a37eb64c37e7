"""Recorded polls judged again, with today's rules or others: what would have been seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perpdesk.domain.signal_books import OiAnomaly, OiSnapshot
from perpdesk.market.radar.judge import Decision, Judge
from perpdesk.market.radar.poll import Poll, Row
from perpdesk.market.radar.source import NO_RATIOS, Mark, Ratios

Key = tuple[str, int, int]


@dataclass(frozen=True)
class Replayed:
    """What came out, against what was recorded: (symbol, period, poll) that only one of them has."""

    polls: int
    rows: int
    decisions: tuple[Decision, ...]
    only_replayed: tuple[Key, ...]
    only_recorded: tuple[Key, ...]

    @property
    def anomalies(self) -> list[OiAnomaly]:
        """All of them, in order of time."""
        return [one for decision in self.decisions for one in decision.anomalies]


def replay(judge: Judge, snapshots: Sequence[OiSnapshot], recorded: Sequence[OiAnomaly]) -> Replayed:
    """Judge polls in order of time. Ratios are those that the recorded anomalies carry.

    How many symbols a poll had asked is not recorded: no replayed poll counts as degraded.
    """
    ratios = {(one.symbol, one.poll_ms): _ratios(one) for one in recorded}
    polls: dict[int, list[Row]] = {}
    for one in snapshots:
        mark = None if one.mark_price is None else Mark(one.mark_price, one.funding_rate)
        polls.setdefault(one.poll_ms, []).append(Row(one.symbol, one.received_ms, one.open_interest, mark))
    decisions: list[Decision] = []
    for slot_ms in sorted(polls):
        poll = Poll(slot_ms, tuple(polls[slot_ms]), 0)
        for place, row in enumerate(judge.anomalous(poll)):
            decisions.append(judge.decide(row, poll, ratios.get((row.symbol, slot_ms), NO_RATIOS), place))
    got = _keys(one for decision in decisions for one in decision.anomalies)
    known = _keys(recorded)
    return Replayed(
        len(polls), len(snapshots), tuple(decisions), tuple(sorted(got - known)), tuple(sorted(known - got))
    )


def _keys(anomalies: Iterable[OiAnomaly]) -> set[Key]:
    return {(one.symbol, one.period_seconds, one.poll_ms) for one in anomalies}


def _ratios(one: OiAnomaly) -> Ratios:
    return Ratios(
        one.ratio_top_position, one.ratio_taker, one.ratio_top_account, one.ratio_global, one.poll_ms
    )
