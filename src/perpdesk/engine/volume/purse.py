"""What users share: the losses of a day, the claims of a common target, and the slots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from perpdesk.strategies.volume_target.arithmetic import ZERO
from perpdesk.strategies.volume_target.losses import day_loss
from perpdesk.strategies.volume_target.run import Others, Run
from perpdesk.strategies.volume_target.volume import Claims, shown, v_star


class Losses:
    """Losses of a UTC day, by user over all tokens."""

    def __init__(self) -> None:
        self._by_day: dict[int, dict[int, Decimal]] = {}
        self._total: dict[int, Decimal] = {}

    def load(self, day: int, losses: Mapping[int, Decimal]) -> None:
        """What the ledger knows of a day."""
        self._by_day[day] = dict(losses)
        self._total[day] = sum(losses.values(), ZERO)

    def add(self, day: int, user_id: int, loss: Decimal) -> None:
        """A pair's loss; a gain (negative) reduces the day's, which never falls below zero."""
        users = self._by_day.setdefault(day, {})
        before = users.get(user_id, ZERO)
        users[user_id] = day_loss((before, loss))
        self._total[day] = self._total.get(day, ZERO) + users[user_id] - before

    def of(self, day: int, user_id: int) -> Decimal:
        """A user's loss of the day so far."""
        return self._by_day.get(day, {}).get(user_id, ZERO)

    def of_all(self, day: int) -> Decimal:
        """The sum over all users: what one has gained does not pay for another."""
        return self._total.get(day, ZERO)


class Slots:
    """At most so many users trade at once, over all strategies, in the order in which they asked."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._waiting: dict[object, Callable[[], None]] = {}
        self._held: set[object] = set()

    def ask(self, who: object, go: Callable[[], None]) -> None:
        """``go`` is called when there is a slot, perhaps at once."""
        self._waiting[who] = go
        self._give()

    def keep(self, who: object) -> None:
        """A restart found this run with a slot."""
        self._held.add(who)

    def free(self, who: object) -> None:
        """No longer wanted."""
        self._waiting.pop(who, None)
        self._held.discard(who)
        self._give()

    def _give(self) -> None:
        while self._waiting and len(self._held) < self._most():
            who = next(iter(self._waiting))
            go = self._waiting.pop(who)
            self._held.add(who)
            go()


class Group:
    """The users of one strategy; matters where they have one target together."""

    def __init__(self) -> None:
        self.runs: dict[int, Run] = {}
        self._open: dict[int, Decimal] = {}

    def others(self, user_id: int) -> Others | None:
        """The sums over the other users; None while any of them has no reading."""
        volume = displayed = units = ZERO
        for other, run in self.runs.items():
            if other == user_id:
                continue
            known, counter = _v_star(run), shown(run.terms.mode, run.day, run.terms.m)
            if known is None or counter is None:
                return None
            volume, displayed = volume + known, displayed + counter
            if not run.state.is_over:
                units += run.terms.unit
        return Others(volume, displayed, units)

    def total(self) -> Decimal | None:
        """V* of all users."""
        return self._claims(ZERO).total()

    def claim(self, user_id: int, unit: Decimal, target: Decimal) -> bool:
        """May this user start a pair? Then its unit is claimed."""
        claims, granted = self._claims(target).claim(user_id, unit)
        self._open = dict(claims.open)
        return granted

    def settle(self, user_id: int) -> None:
        """The user's pair has ended (or was not started)."""
        self._open.pop(user_id, None)

    def _claims(self, target: Decimal) -> Claims:
        return Claims(target, {user: _v_star(run) for user, run in self.runs.items()}, self._open)


def _v_star(run: Run) -> Decimal | None:
    return v_star(run.terms.mode, run.day, run.terms.m)
