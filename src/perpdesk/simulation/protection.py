"""What of the desk's positions stands uncovered on the exchange, and for how long (I4).

Covered: live stops on the other side, market on trigger, that reduce, on the loss side of the mark. The clock
of an uncovered position stands still while the account could not act: venue out of reach, symbol not traded,
process suspended by the machine, and from a second death on until the next process is born (a supervisor's
time; the first death's counts).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from perpdesk.engine import ids
from perpdesk.exchange.core.accounts import Account
from perpdesk.exchange.core.world import World

STOPS = ("STOP_MARKET", "TRAILING_STOP_MARKET")


@dataclass(slots=True)
class Interval:
    """A time without full cover. excluded_us: of it, time in which nobody could act."""

    symbol: str
    start_us: int
    end_us: int = 0
    excluded_us: int = 0
    with_death: bool = False
    deaths: int = 0
    lots: int = 0
    causes_us: Counter[str] = field(default_factory=Counter)  # of the excluded time, by cause

    @property
    def seconds(self) -> float:
        """The time that counts."""
        return max(0, self.end_us - self.start_us - self.excluded_us) / 1e6

    @property
    def seconds_a_death(self) -> float:
        """The same shared among the deaths that fell into it."""
        return self.seconds / max(1, self.deaths)


@dataclass(slots=True)
class _Running:
    interval: Interval
    seen_us: int
    cause: str
    deaths: int


@dataclass
class Meter:
    """Naked intervals of one account. ``done``: those that are over."""

    done: list[Interval] = field(default_factory=list)
    running: dict[int, _Running] = field(default_factory=dict)

    def look(
        self,
        contract: int,
        symbol: str,
        uncovered: int,
        now_us: int,
        *,
        excluded: str,
        death: bool,
        deaths: int = 0,
    ) -> None:
        """Say what is uncovered now. excluded: why nobody can act now ("": somebody can); death: no process
        stood ready; deaths: how many processes have died so far."""
        running = self.running.get(contract)
        if running is not None:
            one = running.interval
            if running.cause:
                one.excluded_us += now_us - running.seen_us
                one.causes_us[running.cause] += now_us - running.seen_us
            running.seen_us, running.cause = now_us, excluded
            one.end_us = now_us
            one.with_death = one.with_death or death
            one.deaths = deaths - running.deaths
            if uncovered == 0:
                self.done.append(one)
                del self.running[contract]
            else:
                one.lots = max(one.lots, uncovered)
        elif uncovered:
            made = Interval(symbol, now_us, now_us, with_death=death, lots=uncovered)
            self.running[contract] = _Running(made, now_us, excluded, deaths)

    def all(self) -> list[Interval]:
        """Those that are over and those that go on."""
        return [*self.done, *(one.interval for one in self.running.values())]


def uncovered_lots(world: World, account: Account, contract: int, ours: int) -> int:
    """Lots of ours in a contract that no stop covers (unsigned)."""
    if ours == 0:
        return 0
    cover = cover_lots(world, account, contract, 1 if ours > 0 else -1)
    return max(0, abs(ours) - cover)


def cover_lots(
    world: World, account: Account, contract: int, direction: int, code: tuple[str, str] | None = None
) -> int:
    """Lots that live stops by quantity would close (unsigned). The disaster stop stands behind them: it
    bounds the loss and does not count as the stop of a position. code: only stops of that (version,
    position code)."""
    mark = world.markets[contract].mark
    last = world.markets[contract].last
    total = 0
    for algo in account.open_algos.values():
        if algo.contract != contract or algo.side != -direction or algo.type not in STOPS:
            continue
        named = None if code is None else ids.parse(algo.client_id)
        if code is not None and (named is None or (named.version, named.position_code) != code):
            continue
        if algo.close_position or not (algo.reduce_only or algo.position_side != "BOTH"):
            continue
        if algo.type == "TRAILING_STOP_MARKET" and algo.extreme == 0:
            continue  # it follows nothing yet
        price = mark if algo.working_type == "MARK_PRICE" else last
        if algo.trigger and (price - algo.trigger) * direction < 0:
            continue
        total += algo.lots
    return total
