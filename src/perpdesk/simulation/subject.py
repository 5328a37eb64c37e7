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
from perpdesk.simulation.observer import Limits
from perpdesk.simulation.watch import Watch

ACCOUNT_ID = 1
# Any will do: the exchange of a simulation knows them.
API_KEY, API_SECRET = "simulated" * 8, "canary" * 10
# Of another user of the same exchange, whom nobody trades for.
OTHER_KEY, OTHER_SECRET = "somebody" * 8, "magpie" * 10


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
    machine: int = 0
    users: int = 1
    on_stop: list[Callable[[], None]] = field(default_factory=list)  # a person ends it in order
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

    @property
    def other_credentials(self) -> Credentials:
        """Of the other user, whose account is only read."""
        return Credentials(OTHER_KEY, OTHER_SECRET)

    def gateway(self) -> Gateway:
        """What all accounts behind this process's address share."""
        return Gateway(simulated(URL), self.clock)


class Subject(Protocol):
    """A desk. ``limits``: what it was told to keep to. keeps_books: its database mirrors the account.
    sleeves: how many versions it runs."""

    limits: Limits
    keeps_books: bool
    sleeves: int

    async def live(self, life: Life) -> None:
        """One life, from start to death; returning or raising ends the process, and it is started again."""
        ...

    def watched_by(self, watch: Watch) -> None:
        """Who is to be told when a person does something to the desk itself, and of alarms."""
        ...

    def leaves(self) -> list[bytes]:
        """What lies on the disks of its machines, beside the database."""
        ...

    def calm(self, database: DatabaseFile) -> None:
        """The people are gone: every switch is on again."""
        ...

    def acts(self, database: DatabaseFile) -> dict[str, Callable[[], Awaitable[None]]]:
        """What a person does to the desk itself (switches, rungs), by catalogue name."""
        ...


Make = Callable[[int], Subject]
