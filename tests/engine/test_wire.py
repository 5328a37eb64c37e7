"""The last question before the wire: every door shuts it, exits pass, and nothing slips in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.guardian.cases import entry_order

from perpdesk.adapters.clocks import VirtualClock
from perpdesk.domain.kill import Rung
from perpdesk.domain.ownership import Heartbeat
from perpdesk.engine.guardian.breaker import Booking, Breaker, LossLimits
from perpdesk.engine.guardian.limits import Ceilings, WireLimits
from perpdesk.engine.guardian.staleness import AgeLimits, Freshness
from perpdesk.engine.guardian.throttle import RepeatThrottle
from perpdesk.engine.heartbeat import Pulse
from perpdesk.engine.wire import WireGate

E8 = 100_000_000
NOON = 20_000 * 86_400_000 + 43_200_000
CONTRACT = SimpleNamespace(unit_e8=1_000, lots_max=1_000, market_lots_max=1_000)


@dataclass
class World:
    """Everything that the gate asks, good until a test breaks it."""

    rung: Rung = Rung.NORMAL
    lease: bool = True
    switch: bool = True
    store: bool = True
    broken: str | None = None
    lease_end_ms: int = 1 << 60
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(NOON))
    held: tuple[int, int] = (1, 0)

    def __post_init__(self) -> None:
        self.freshness = Freshness(2, AgeLimits(frozen_ms=0))
        self.breaker = Breaker(1, LossLimits(200_000, 500_000))
        self.pulse = Pulse(1, "sma", "i", "b")
        self.beat()
        self.news()
        self.gate = WireGate(
            clock=self.clock,
            rungs=self,
            has_lease=lambda now_ms: self.lease and now_ms + 5_500 <= self.lease_end_ms,
            is_switched_on=lambda _: self.switch,
            is_store_healthy=lambda: self.store,
            freshness=self.freshness,
            breaker=lambda order: self.breaker.why_not_open(order.lots * E8),
            pulse=lambda _, now_ms: self.pulse.judge(now_ms),
            limits=WireLimits([CONTRACT] * 2, {0, 1}, lambda _: self.held, Ceilings(orders_per_minute=20)),
            throttle=RepeatThrottle(),
            strategies=["sma", "score"],
            protect_only=lambda: self.broken,
        )

    def now(self) -> Rung:
        return self.rung

    def beat(self) -> None:
        self.pulse.newest = Heartbeat(
            account_id=1,
            strategy="sma",
            instance="i",
            epoch=1,
            seq=1,
            beat_ms=self.clock.now_ms(),
            build_hash="b",
        )

    def news(self) -> None:
        now_ms = self.clock.now_ms()
        for symbol in (0, 1):
            self.freshness.marked(symbol, 100, now_ms, now_ms)
            self.freshness.bar_closed(symbol, now_ms)
        self.freshness.user_lives(now_ms)
        self.breaker.marked(now_ms, 0, 100 * E8)

    def later(self, ms: int) -> None:
        self.clock.advance_to(self.clock.now_ms() + ms)


def lose(world: World) -> None:
    world.breaker.booked(Booking("loss", NOON, -20 * E8))


def let(name: str, value: object) -> Callable[[World], None]:
    return lambda world: setattr(world, name, value)


DOORS: list[tuple[str, Callable[[World], None], str]] = [
    ("halt", let("rung", Rung.HALT), "HALTED"),
    ("reduce", let("rung", Rung.REDUCE), "HALTED"),
    ("cancel", let("rung", Rung.CANCEL), "HALTED"),
    ("flatten", let("rung", Rung.FLATTEN), "HALTED"),
    ("the lease is another's", let("lease", False), "NO_LEASE"),
    ("the lease ends within a request's life", let("lease_end_ms", NOON + 5_000), "NO_LEASE"),
    ("the switch is off", let("switch", False), "TRADING_DISABLED"),
    ("no intent can be written", let("store", False), "STORE_UNHEALTHY"),
    ("the canary found something", let("broken", "PROTECT_ONLY:x"), "PROTECT_ONLY:x"),
    ("the guardian was never seen", lambda w: setattr(w.pulse, "newest", None), "GUARDIAN_STALE"),
    ("foreign lots", lambda w: w.gate.blocked.update({0: "EXTERNAL"}), "SYMBOL_BLOCKED:EXTERNAL"),
    ("a rating that is not known", lambda w: w.gate.unrated.add(0), "RATING_UNKNOWN"),
    ("the data are old", lambda w: (w.later(3_001), w.beat()), "STALE_PRICE"),  # type: ignore[func-returns-value]
    ("the guardian is silent", lambda w: (w.later(15_001), w.news()), "GUARDIAN_STALE"),  # type: ignore[func-returns-value]
    ("the day is lost", lose, "DAILY_LOSS"),
    ("too many positions", let("held", (201, 0)), "MAX_POSITIONS"),
    ("too much held", let("held", (1, 10**18)), "EXPOSURE_LIMIT"),
]


def test_all_is_well() -> None:
    assert World().gate.judge(entry_order()) is None


@pytest.mark.parametrize(("name", "shut", "reason"), DOORS, ids=[door[0] for door in DOORS])
def test_every_door(name: str, shut: Callable[[World], None], reason: str) -> None:
    world = World()
    shut(world)
    assert world.gate.judge(entry_order()) == reason
    assert world.gate.refused == {reason.partition(":")[0]: 1}
    assert world.gate.judge(entry_order(side="sell", reduce_only=True)) is None


def test_an_exit_passes_everything_at_once() -> None:
    world = World()
    for _, shut, _ in DOORS:
        shut(world)
    for _ in range(100):
        assert world.gate.judge(entry_order(lots=10**6, reduce_only=True, leverage=0)) is None
    assert world.gate.limits.sent_in_all == 100


def test_the_worst_case_of_this_very_order() -> None:
    assert World().gate.judge(entry_order(lots=50)) is None
    assert World().gate.judge(entry_order(lots=51)) == "WORST_CASE"


@pytest.mark.parametrize("name", ["has_lease", "is_switched_on", "is_store_healthy", "breaker", "pulse"])
def test_a_check_that_raises_refuses(name: str) -> None:
    def fails(*_: object) -> bool:
        raise RuntimeError("the database is gone")

    world = World()
    setattr(world.gate, name, fails)
    assert world.gate.judge(entry_order()) == "CHECK_FAILED"
    assert world.gate.judge(entry_order(reduce_only=True)) is None


def test_a_control_file_that_cannot_be_read_refuses() -> None:
    world = World()
    world.gate.rungs = SimpleNamespace(now=lambda: (_ for _ in ()).throw(OSError("io")))
    assert world.gate.judge(entry_order()) == "CHECK_FAILED"


def test_repeated_executions_switch_the_strategy_off() -> None:
    world = World()
    said = [world.gate.judge(entry_order()) for _ in range(12)]
    assert said == [None] * 10 + ["REPEATED_EXECUTION"] * 2
    assert world.gate.judge(entry_order(1, "sell")) == "REPEATED_EXECUTION"
    assert world.gate.judge(entry_order(1, "sell", sleeve=1)) is None  # the other strategy goes on
    world.gate.throttle.enable("sma", by="ann", reason="checked")
    assert world.gate.judge(entry_order()) is None


def test_exits_count_in_the_rate_of_orders() -> None:
    world = World()
    for _ in range(20):
        world.gate.judge(entry_order(reduce_only=True))
    assert world.gate.judge(entry_order()) == "ORDER_RATE"
    world.later(60_000)
    world.news()
    world.beat()
    assert world.gate.judge(entry_order()) is None


def test_a_refused_order_counts_nowhere() -> None:
    world = World(switch=False)
    for _ in range(100):
        world.gate.judge(entry_order())
    world.switch = True
    assert world.gate.judge(entry_order()) is None
    assert world.gate.limits.sent_in_all == 1


EVENTS = (
    "judge",
    "judge",
    "exit",
    "kill",
    "unkill",
    "lose",
    "lease",
    "switch",
    "canary",
    "store",
    "wait",
    "news",
)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 3)), max_size=60))
def test_nothing_increases_exposure_after_a_trip_or_kill_in_any_order(events: list[tuple[str, int]]) -> None:
    """I9, I10: judged against a second, plain account of what has happened."""
    world = World()
    lost = False
    age = {"data": 0, "beat": 0}
    for what, n in events:
        if what == "judge":
            why = world.gate.judge(entry_order(n % 2, "buy" if n < 2 else "sell", sleeve=n % 2))
            allowed = (
                world.rung is Rung.NORMAL
                and world.lease
                and world.switch
                and world.store
                and world.broken is None
                and not lost
                and age["data"] <= 3_000
                and age["beat"] <= 15_000
            )
            assert why is not None or allowed
            if why in (
                "HALTED",
                "NO_LEASE",
                "DAILY_LOSS",
                "TRADING_DISABLED",
                "STALE_PRICE",
                "GUARDIAN_STALE",
            ):
                assert not allowed
        elif what == "exit":
            assert world.gate.judge(entry_order(n % 2, reduce_only=True)) is None
        elif what == "kill":
            world.rung = Rung(n + 1)
        elif what == "unkill":
            world.rung = Rung.NORMAL
        elif what == "lose":
            world.breaker.booked(Booking("loss", world.clock.now_ms(), -20 * E8))
            lost = True
        elif what == "wait":
            world.later(n * 2_000)
            age = {name: ms + n * 2_000 for name, ms in age.items()}
        elif what == "news":
            if n < 2:
                world.news()
                age["data"] = 0
            else:
                world.beat()
                age["beat"] = 0
        elif what == "canary":
            world.broken = "PROTECT_ONLY" if n else None
        else:
            setattr(world, what, n > 0)
