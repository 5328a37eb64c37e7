"""The system under test: what one life of a process is given, and what a desk must be to be simulated."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.binance.signing import Credentials
from perpdesk.adapters.binance.sockets import Dial
from perpdesk.market.universe import Universe
from perpdesk.simulation.clock import ProcessClock
from perpdesk.simulation.database import DatabaseFile
from perpdesk.simulation.loop import Incarnation, Loop
from perpdesk.simulation.network import URL, Network
from perpdesk.simulation.observer import Limits, Observer

ACCOUNT_ID = 1
# Any will do: the exchange of a simulation knows them.
API_KEY, API_SECRET = "simulated" * 8, "canary" * 10


@dataclass
class Life:
    """One life of a process: its clock, its database, its way to the exchange."""

    loop: Loop
    incarnation: Incarnation
    clock: ProcessClock
    database: DatabaseFile
    network: Network
    universe: Universe
    seed: int
    is_dead: Callable[[int], bool] = lambda number: False  # has that process of this machine ended?
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(f"life {self.seed} {self.incarnation.number}")

    @property
    def dial(self) -> Dial:
        """Opens streams."""
        return self.network.dial

    @property
    def credentials(self) -> Credentials:
        """Of the one account."""
        return Credentials(API_KEY, API_SECRET)

    def gateway(self) -> Gateway:
        """What all accounts behind this process's address share."""
        return Gateway(simulated(URL), self.clock)


class Subject(Protocol):
    """A desk. ``limits``: what it was told to keep to. keeps_books: its database mirrors the account."""

    limits: Limits
    keeps_books: bool

    async def live(self, life: Life) -> None:
        """One life, from start to death; returning or raising ends the process, and it is started again."""
        ...

    def watched_by(self, observer: Observer) -> None:
        """Who is to be told when a person does something to the desk itself."""
        ...

    def calm(self, database: DatabaseFile) -> None:
        """The people are gone: every switch is on again."""
        ...

    def acts(self, database: DatabaseFile) -> dict[str, Callable[[], Awaitable[None]]]:
        """What a person does to the desk itself (switches, rungs), by catalogue name."""
        ...


Make = Callable[[int], Subject]
