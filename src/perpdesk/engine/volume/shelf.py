"""A user's pairs: the live one, those that late news has brought back, and the last few that have ended."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal

from perpdesk.domain.volume_books import VolumePair
from perpdesk.engine.volume import records
from perpdesk.engine.volume.seat import Birth
from perpdesk.strategies.volume_target.arithmetic import ZERO
from perpdesk.strategies.volume_target.pair import Pair, PairState

RECENT = 3


class Shelf:
    """current: the pair that occupies the place of (user, token). late: to be settled (again) after it."""

    def __init__(self) -> None:
        self.current: Pair | None = None
        self.late: dict[str, Pair] = {}
        self.births: dict[str, Birth] = {}
        self._recent: OrderedDict[str, Pair] = OrderedDict()
        self._booked: dict[str, Decimal] = {}

    @property
    def live(self) -> tuple[Pair, ...]:
        """The pairs to which time matters."""
        return (*(() if self.current is None else (self.current,)), *self.late.values())

    @property
    def is_settled(self) -> bool:
        """Is nothing left but what only a person can settle?"""
        return self.current is None and all(
            pair.state is PairState.QUARANTINED for pair in self.late.values()
        )

    def find(self, pair_id: str) -> Pair | None:
        """The pair, if it is here."""
        if self.current is not None and self.current.client_id == pair_id:
            return self.current
        return self.late.get(pair_id) or self._recent.get(pair_id)

    def take(self, row: VolumePair) -> Pair:
        """A pair from the ledger; where it is kept is for the caller to say."""
        pair = records.pair_from(row)
        self.births[pair.client_id] = Birth(row.run_id, row.seq, row.created_ms)
        return pair

    def load(self, row: VolumePair) -> Pair:
        """A pair of long ago, whose loss is booked as it stood."""
        pair = self.take(row)
        self._booked[pair.client_id] = pair.loss
        return pair

    def keep(self, after: Pair, *, is_current: bool) -> None:
        """A pair has changed."""
        if is_current:
            self.current = after
        elif after.is_live or after.late or after.client_id in self.late:
            self.late[after.client_id] = after
            self._recent.pop(after.client_id, None)
        else:
            self.remember(after)

    def remember(self, pair: Pair) -> None:
        """It has ended; events about it may still come."""
        self.late.pop(pair.client_id, None)
        self._recent[pair.client_id] = pair
        self._recent.move_to_end(pair.client_id)
        while len(self._recent) > RECENT:
            self.births.pop(self._recent.popitem(last=False)[0], None)

    def loss_to_book(self, pair: Pair) -> Decimal:
        """What its loss has changed by since it was last booked: late news settle a pair anew."""
        loss = pair.loss - self._booked.pop(pair.client_id, ZERO)
        self._booked[pair.client_id] = pair.loss
        while len(self._booked) > RECENT:
            self._booked.pop(next(iter(self._booked)))
        return loss
