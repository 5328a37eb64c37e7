"""The accidents of volume_target as scenes, and the crash before each await of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from perpdesk.exchange.faults import Fault
from perpdesk.exchange.spot.orders import BUY, SELL
from perpdesk.simulation.database import Files
from perpdesk.simulation.volume_life import KOGE, START_MS, Found, Scene, crash_points, run, shy, thin
from perpdesk.volume_run.sim import SimulatedMarket

DAY_MS = 86_400_000
MIDNIGHT_MS = (START_MS // DAY_MS + 1) * DAY_MS
_ALWAYS = -1


def fault(kind: str, rate: float = 1.0, route: str = "*", ms: int = 0, count: int = _ALWAYS) -> Fault:
    """One that strikes at this rate."""
    return Fault(kind=kind, route=route, count=count, probability_ppm=int(rate * 1_000_000), ms=ms)


def forget(market: SimulatedMarket) -> None:
    """Everybody's counter shows 0 all of a sudden."""
    pair = market.world.by_symbol[KOGE]
    for index in market.accounts.values():
        market.world.counters.forget(index, pair, market.now_ms())


def freeze(market: SimulatedMarket) -> None:
    """The counters stand still."""
    market.world.counters.frozen.update(market.accounts.values())


def thaw(market: SimulatedMarket) -> None:
    """They count again."""
    market.world.counters.frozen.clear()


COMPLETES = Scene("completes", profit="1.0")
TIMES_OUT = Scene("sell never fills", mode="profit_on_buy", profit="5", holds=True)
SCENES: tuple[Scene, ...] = (
    COMPLETES,
    TIMES_OUT,
    Scene("order timeout, the fill comes late", faults=(fault("late-exec", 0.7, "place_list", 4_500),)),
    Scene("partial working fill", profit="1.0", timeout=10, then=((1, shy(BUY, "0.2")),)),
    Scene("partial fill of the SELL", profit="1.0", timeout=10, then=((1, shy(SELL, "0.2")),)),
    Scene("answers are lost", profit="1.0", faults=(fault("drop-resp", 0.4),)),
    Scene("requests are lost", profit="1.0", faults=(fault("drop-req", 0.4),)),
    Scene("queries fail", profit="1.0", faults=(fault("reply", 0.5, "[!p]*"),)),
    Scene("queries deny what exists", profit="1.0", faults=(fault("hide", 0.5, "order"),)),
    Scene("counter lags", profit="1.0", lag_ms=90_000),
    Scene("counter sticks", profit="1.0", then=((500, freeze), (60_000, thaw))),
    Scene("counter forgets", profit="1.0", then=((2_500, forget),)),
    Scene("midnight", profit="1.0", start_ms=MIDNIGHT_MS - 1_500, target=100),
    Scene("midnight with a pair under way", mode="profit_on_buy", profit="5", holds=True,
          start_ms=MIDNIGHT_MS - 20_000, target=50),
    Scene("stream is lost", profit="1.0", faults=(fault("ws-close", 0.3),)),
    Scene("stream is silent", profit="1.0", faults=(fault("ws-silent", 0.3, ms=30_000),)),
    Scene("events twice, late and in disorder", profit="1.0",
          faults=(fault("ws-dup", 0.4), fault("ws-reorder", 0.4), fault("ws-lag", 0.3, ms=4_000))),
    Scene("three users, little to buy", users=3, timeout=10, target=40, then=((1, thin("0.3")),)),
    Scene("nothing is heard of what was sent", profit="1.0", heal_ms=60_000,
          faults=(fault("drop-resp", 0.7, "place_list"), fault("reply", 1.0, "order"),
                  fault("reply", 1.0, "fills"), fault("ws-skip", 1.0))),
    Scene("another process takes over", profit="1.0", waits_for_lease=True),
)  # fmt: skip


@dataclass
class Tally:
    """One scene's lives. failing: how to see the first few again."""

    scene: str
    runs: int = 0
    crash_points: int = 0
    flat: int = 0
    quarantined: int = 0
    problems: int = 0
    fired: int = 0
    partial: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    failing: list[str] = field(default_factory=list)

    def add(self, found: Found, how: str) -> None:
        """One more playing of it."""
        self.runs += 1
        self.fired += found.fired
        self.partial += found.partial
        self.quarantined += found.quarantined
        self.problems += len(found.problems)
        for outcome, count in found.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count
        self.flat = sum(count for outcome, count in self.outcomes.items() if outcome != "QUARANTINED")
        if found.problems and len(self.failing) < 3:
            self.failing.append(f"{how}: {found.problems[0]}")


def named(name: str, words: str | None) -> bool:
    """Does the name contain one of these words, comma-separated? Without any it is meant too."""
    asked = [word.strip() for word in (words or "").split(",") if word.strip()]
    return not asked or any(word in name for word in asked)


def chosen(words: str | None) -> Iterator[Scene]:
    """The scenes that are meant."""
    return (scene for scene in SCENES if named(scene.name, words))


def played(
    files: Files, scene: Scene, seed: int, *, every: int, say: Callable[[str], None] = lambda _: None
) -> Tally:
    """A scene without a crash, then with one before every so many-th await of its first life, and pairs of
    crashes: a second one early in the life after."""
    tally = Tally(scene.name)
    first = run(files, scene, seed, with_places=True)
    tally.add(first, f"{scene.name}, seed {seed}")
    for point in crash_points(first.places, every, seed):
        crashes = (point, (point * 7 + seed) % 300) if point % 5 == 0 else (point,)
        found = run(files, replace(scene, crash_at=crashes), seed)
        tally.crash_points += 1
        tally.add(found, f"{scene.name}, seed {seed}, crash at {crashes} ({first.places[point]})")
    say(f"{scene.name}: {tally.runs} lives, {tally.crash_points} crash points, {tally.problems} problems")
    return tally
