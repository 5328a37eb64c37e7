"""What is looked at every second of virtual time rather than at every step: alarms (L6), bounds (I24), other
people's accounts (I21), secrets (I20).

Conditions are the world's own (the wire is down, the database is down, the day's loss is reached); whether
somebody was told is heard from the desk's notifier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from perpdesk.engine import ids
from perpdesk.ports import Notice
from perpdesk.simulation.database import DatabaseFile
from perpdesk.simulation.loop import Incarnation, NumberedTask
from perpdesk.simulation.observer import RECOVERY_US, Observer

_SECOND_MS = 1_000
# L6 leaves 5 s from the moment at which it can be known: a feed is stale after 3 s, a lease is renewed every
# 5 s (and waited for 3 s), a loss that the stream did not tell is read in the statement.
_WIRE_S, _DATABASE_S, _LOSS_S = 12, 16, 45
# Bounds of one process that trades a few symbols (I24).
TASKS_MAX, INBOX_MAX, CONNECTIONS_MAX = 250, 5_000, 40
_BOUNDS_EVERY = 5


@dataclass
class _Standing:
    """Since when a condition holds that a process could see all the time. was_told: of its alarm."""

    since_us: int
    numbers: frozenset[int]


@dataclass
class Watch:
    """Looks at one run. secrets: what must be nowhere but in a header. wire_is_down: nothing gets through."""

    observer: Observer
    file: DatabaseFile
    secrets: Sequence[str] = ()
    wire_is_down: Callable[[], bool] = lambda: False
    standing: dict[int, set[tuple[str, str]]] = field(default_factory=dict)  # by process
    told: set[str] = field(default_factory=set)  # codes, ever
    _since: dict[str, _Standing] = field(default_factory=dict)
    _forms: list[tuple[str, bytes]] = field(init=False)
    _unseen: set[int] = field(default_factory=set)
    _rounds: int = 0

    def __post_init__(self) -> None:
        self._forms = [(secret, secret.encode()) for secret in self.secrets]

    async def run(self) -> None:
        """Until the world ends."""
        while True:
            await self.observer.loop.pause(_SECOND_MS)
            self.look()

    def look(self) -> None:
        """Once."""
        self._rounds += 1
        self._conditions()
        self._other_accounts()
        if self._rounds % _BOUNDS_EVERY == 0:
            self._bounds()

    # -- L6 ------------------------------------------------------------------------------------

    def heard(self, number: int, notice: Notice) -> None:
        """A process told a person."""
        place = (notice.code, notice.key)
        mine = self.standing.setdefault(number, set())
        if notice.is_over:
            mine.discard(place)
        else:
            mine.add(place)
            self.told.add(notice.code)

    def _conditions(self) -> None:
        observer, faults = self.observer, self.file.faults
        self._condition("wire down", ("UNREACHABLE", "STALE_PRICE"), _WIRE_S, self.wire_is_down())
        self._condition("database down", ("STORE_UNHEALTHY",), _DATABASE_S, faults.down)
        is_lost = observer.tripped_us is not None and "DAILY_LOSS" not in self.told
        self._condition("daily loss", ("DAILY_LOSS",), _LOSS_S, is_lost and not observer.unreachable())

    def _condition(self, name: str, codes: tuple[str, ...], seconds: int, holds: bool) -> None:
        now_us = self.observer.loop.now_us
        ready = frozenset(one.number for one in self._ready(now_us))
        before = self._since.get(name)
        if not holds or not ready or (before is not None and not before.numbers <= ready):
            self._since.pop(name, None)
            return
        if before is None:
            before = self._since[name] = _Standing(now_us, ready)
        stands = any(code in codes for number in ready for code, _ in self.standing.get(number, ()))
        if not stands and now_us - before.since_us > seconds * 1_000_000:
            self.observer.violate("L6", f"{name} for {seconds} s, and nobody was told")

    def _ready(self, now_us: int) -> list[Incarnation]:
        return [
            one
            for one in self.observer.processes()
            if not one.is_dead and one.frozen_until_us <= now_us and now_us - one.born_us > RECOVERY_US
        ]

    # -- I21 -----------------------------------------------------------------------------------

    def _other_accounts(self) -> None:
        """Nobody trades the accounts beside ours: an order there was signed with a key that is another's."""
        for account in self.observer.server.world.accounts[1:]:
            for client_id in [one.client_id for one in account.orders.values()] + list(
                account.algo_by_client_id
            ):
                if ids.parse(client_id) is not None:
                    self.observer.violate("I21", f"order {client_id} is in another user's account")

    # -- I24 -----------------------------------------------------------------------------------

    def _bounds(self) -> None:
        loop, network = self.observer.loop, self.observer.network
        tasks: dict[int, int] = {}
        unseen = set()
        for task in loop.all_tasks():
            owner = task.owner
            if owner is None or owner.is_dead:
                continue
            if not task.done():
                tasks[owner.number] = tasks.get(owner.number, 0) + 1
            elif _is_unseen(task):
                unseen.add(task.number)
                if task.number in self._unseen:  # whoever waits for it has had its time
                    self.observer.violate("I24", f"a task died unseen: {task.exception()!r:.200}")
        self._unseen = unseen
        for number, count in tasks.items():
            if count > TASKS_MAX:
                self.observer.violate("I24", f"process {number} has more than {TASKS_MAX} tasks")
        for name, longest, most in (
            ("a socket's inbox", network.longest_inbox(), INBOX_MAX),
            ("connections", network.open_connections(), CONNECTIONS_MAX),
        ):
            if longest > most:
                self.observer.violate("I24", f"{name}: {longest}, the most that is usual is {most}")

    # -- I20 -----------------------------------------------------------------------------------

    def hear(self, kind: str, text: str, more: bytes) -> None:
        """Something was on the wire or went into the database."""
        for secret, raw in self._forms:
            if raw in more or secret in text:
                self.observer.violate("I20", f"a secret is in a {kind}")

    def at_rest(self, where: str, texts: Iterable[str | bytes]) -> None:
        """Look through what a process leaves behind."""
        for text in texts:
            raw = text.encode() if isinstance(text, str) else text
            if any(form in raw for _, form in self._forms):
                self.observer.violate("I20", f"a secret is in {where}")

    def files(self) -> None:
        """The database as it lies on the disk."""
        for suffix in ("", "-wal"):
            path = self.file.path.with_name(self.file.path.name + suffix)
            if path.exists():
                self.at_rest("the database file", [path.read_bytes()])


def _is_unseen(task: NumberedTask) -> bool:
    return not task.cancelled() and bool(getattr(task, "_log_traceback", False))


class Told:
    """A Notifier: who is told of a process's alarms."""

    def __init__(self, watch: Watch, number: int) -> None:
        self._watch, self._number = watch, number

    async def notify(self, notice: Notice) -> None:
        self._watch.heard(self._number, notice)
