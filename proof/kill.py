"""make kill: a desk that trades recorded data is killed with SIGKILL at random moments and started again.

For each database: an exchange server, a desk, N kills. Afterwards everything is closed, and the exchange's
statement and fills must be the database's to the last digit; no position was doubled; none stood without a
stop beyond the limits. Exit code 1 if anything of this does not hold. Real processes, no data of anybody.

The market moves along recorded minutes, four points a minute, faster than life; the exchange's clock runs in
real time, but for the moment between a death and the next start, in which it and the desk's are put forward
so that every life meets the close of a minute (never while a position stands naked). A fifth of the
kills falls into start and recovery, a third into the seconds after a minute's close (entries, their stops and
their rows are on their way), a third into the moment in which a fill is seen, the rest anywhere.
SIGTERM ends the killing early: what was done is judged.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from proof.accounts import compare  # noqa: E402
from proof.databases import KINDS, database  # noqa: E402
from proof.market import Recorded  # noqa: E402
from proof.observer import Observer, naked_lots, quantiles  # noqa: E402
from proof.rig import ACCOUNT, Desk, Exchange, Rig, wait_until  # noqa: E402

NAKED_ALIVE_P99_S = 3.0
NAKED_DEATH_S = 15.0
NAKED_HARD_S = 20.0
POINT_S = 0.5
NOTIONAL = Decimal(2_000)
# One position's notional may grow by what the price moves; two of them would be twice.
DOUBLED = NOTIONAL * 3 / 2
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
# Funding is exchanged every hour; the run begins so long before the first time.
FUNDING_AFTER_MS = 3 * MINUTE_MS + 10_000
HISTORY_MINUTES = 6
FILL_MAX_S = 4.0  # after a minute's close; then it is an ordinary kill
READY_GUESS_S = 18.0
READY_MAX_S = 120.0
CANARY_S = 4.0  # between ready and the first entry: the venue's contract is proven


class Market:
    """Moves the prices of an exchange along recorded minutes, in a thread."""

    def __init__(self, exchange: Exchange, recorded: Recorded) -> None:
        self.exchange, self.recorded = exchange, recorded
        self.points = 0
        self.problems: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        for prices in self.recorded.points():
            if self._over.wait(POINT_S):
                return
            for symbol, price in prices.items():
                try:
                    self.exchange.do("tick", symbol=symbol, price=price, walk=True)
                except OSError as error:
                    self.problems.append(f"{symbol} {price}: {error}")
            self.points += 1


@dataclass
class Kills:
    """One database's run."""

    kind: str
    url: str
    folder: Path
    kills: int
    seed: int
    synthetic: bool
    symbols: int
    died_early: list[str] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    steps: int = 0
    naked_deaths: int = 0
    done: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    since_ms: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    moments: dict[str, int] = field(
        default_factory=lambda: {"start": 0, "close": 0, "fill": 0, "anywhere": 0}
    )

    def run(self) -> dict[str, Any]:
        """Everything; the figures."""
        began = time.monotonic()
        recorded = Recorded(self.symbols, self.seed * 997, synthetic=self.synthetic)
        exchange = Exchange(self.folder, recorded.prices, self.seed)
        market, observer = Market(exchange, recorded), Observer(exchange, DOUBLED)
        try:
            for symbol in recorded.symbols:
                exchange.do("funding", symbol=symbol, rate="0.0005", hours=1)
            rig = Rig(self.folder / "desk", exchange, self.url)
            market.start()
            for _ in range(HISTORY_MINUTES):
                time.sleep(1)
                self._forward(rig, MINUTE_MS)
            left_ms = HOUR_MS - int(exchange.do("exposure")["now_ms"]) % HOUR_MS
            self._forward(rig, (left_ms - FUNDING_AFTER_MS) % HOUR_MS)
            observer.start()
            try:
                self._kill_and_start(rig, recorded.symbols, observer)
                self._close_all(rig, recorded.symbols, observer)
            finally:
                market.stop()
                observer.stop()
                rig.close()
            compared = compare(exchange, self.url, self.since_ms)
        finally:
            exchange.close()
        return self._judged(compared, observer, market, recorded, time.monotonic() - began)

    def _kill_and_start(self, rig: Rig, symbols: list[str], observer: Observer) -> None:
        dice = random.Random(f"{self.kind} {self.seed}")
        self.since_ms = int(rig.exchange.do("exposure")["now_ms"])
        for number in range(self.kills):
            if self.over.is_set():
                return
            recent = sorted(self.ready_s[-9:]) or [READY_GUESS_S]
            guess = recent[len(recent) * 4 // 5]
            close_s = guess + CANARY_S + dice.uniform(1.0, 4.0)
            started = time.monotonic()
            self._put_clock(rig, close_s)
            desk = rig.live(symbols)
            throw = dice.random()
            if throw < 0.2:
                moment, after_s = "start", dice.uniform(0, guess + 1)
            elif throw < 0.5:
                moment, after_s = "close", dice.uniform(0, 2.5)
            elif throw < 0.85:
                moment, after_s = "fill", FILL_MAX_S
            else:
                moment, after_s = "anywhere", dice.uniform(2.5, 12)
            if moment != "start":
                after_s += self._next_close(desk, started, observer) - started
            if moment == "fill":
                self._until_fill(rig.exchange, desk, started + after_s)
            else:
                self._live_until(desk, started, started + after_s, observer)
            observer.alive = False
            self.moments[moment] += 1
            if desk.process.poll() is not None:
                self.died_early.append(
                    f"life {number} exited with {desk.process.returncode}: {desk.text[-400:]}"
                )
            desk.kill()
            self.done += 1
            self._note(rig)
            if (number + 1) % 10 == 0:
                fills = rig.exchange.do("exposure")["fills"]
                self._say(
                    f"{number + 1} kills, {fills} fills, {self.steps} minutes closed, refused {self.refused}"
                )

    def _say(self, text: str) -> None:
        print(f"{self.kind}: {text}", file=sys.stderr, flush=True)

    def _note(self, rig: Rig) -> None:
        """What the dead desk had told last, and what it has left."""
        seen = rig.exchange.do("exposure")
        self.naked_deaths += any(naked_lots(one, seen["stops"]) for one in seen["positions"])
        figures = rig.figures().get("figures", {})
        self.steps += int(figures.get("steps_total", 0))
        for name, count in figures.get("entries_refused", {}).items():
            self.refused[name] = self.refused.get(name, 0) + int(count)

    def _next_close(self, desk: Desk, started: float, observer: Observer) -> float:
        """When the first minute closes after the desk is ready, on our clock."""
        self._live_until(desk, started, started + READY_MAX_S, observer, only_ready=True)
        now_ms = int(desk.rig.exchange.do("exposure")["now_ms"])
        return time.monotonic() + (MINUTE_MS - now_ms % MINUTE_MS) / 1000

    def _live_until(
        self, desk: Desk, started: float, until: float, observer: Observer, *, only_ready: bool = False
    ) -> None:
        while time.monotonic() < until and desk.process.poll() is None:
            if not observer.alive and desk.is_ready():
                observer.alive = True
                self.ready_s.append(time.monotonic() - started)
            if observer.alive and only_ready and desk.opens():
                return
            time.sleep(0.05)

    def _until_fill(self, exchange: Exchange, desk: Desk, until: float) -> None:
        """The very moment in which a fill is there: its stop is not, or is on its way."""
        before = int(exchange.do("exposure")["fills"])
        while time.monotonic() < until and desk.process.poll() is None:
            if int(exchange.do("exposure")["fills"]) > before:
                return

    def _put_clock(self, rig: Rig, close_s: float) -> None:
        """Nobody is alive: the next minute's close shall come in so many seconds, on the exchange's clock and
        on this machine's. Not while a position stands naked: its time is measured as it is."""
        seen = rig.exchange.do("exposure")
        if any(naked_lots(one, seen["stops"]) for one in seen["positions"]):
            return
        left_ms = MINUTE_MS - int(seen["now_ms"]) % MINUTE_MS
        ms = int(left_ms - close_s * 1000) % MINUTE_MS
        self._forward(rig, ms)

    def _forward(self, rig: Rig, ms: int) -> None:
        rig.exchange.do("skip_time", ms=ms)
        rig.shift_ms += ms

    def _close_all(self, rig: Rig, symbols: list[str], observer: Observer) -> None:
        """The last life closes everything; one more reads the statement to its end."""
        desk = rig.live(symbols)
        desk.wait_ready()
        observer.alive = True
        rig.run("kill", "flatten", "--account", ACCOUNT, "--reason", "end of the proof", check=False)

        def flat() -> bool:
            seen = rig.exchange.do("exposure")
            return not seen["positions"] and not seen["stops"] and not seen["orders"]

        wait_until(flat, 120)
        time.sleep(3)
        self._ended(desk)
        desk = rig.live(symbols)
        desk.wait_ready()
        time.sleep(10)
        self._ended(desk)

    def _ended(self, desk: Desk) -> None:
        code = desk.stop()
        if code != 0:
            self.died_early.append(f"SIGTERM was answered with {code}: {desk.text[-400:]}")

    def _judged(
        self, compared: dict[str, Any], observer: Observer, market: Market, recorded: Recorded, seconds: float
    ) -> dict[str, Any]:
        alive = quantiles([one.seconds for one in observer.stretches if not one.died])
        death = quantiles([one.seconds for one in observer.stretches if one.died])
        verdicts = {
            f"{self.kills} kills": self.done == self.kills,
            "income equal to the last digit": compared["income_equal"],
            "fills equal one by one": compared["fills_equal"],
            "realised and commission of all fills equal": _is_equal(compared, "REALIZED_PNL", "COMMISSION"),
            "funding of all positions equal": _is_equal(compared, "FUNDING_FEE"),
            "no entry filled twice": not compared["doubled_entries"],
            "no position beyond one": not observer.doubled,
            "naked while alive": alive["p99"] <= NAKED_ALIVE_P99_S and alive["max"] <= NAKED_HARD_S,
            "naked across a death": death["max"] <= NAKED_DEATH_S,
            "nothing ended by itself": not self.died_early,
            "journal intact": compared["journal_intact"],
        }
        return {
            "database": self.kind,
            "kills": self.done,
            "kills_wanted": self.kills,
            "moments": self.moments,
            "seed": self.seed,
            "market": recorded.source,
            "seconds": round(seconds),
            "minutes_played": market.points // 4,
            "market_problems": market.problems[:5],
            "minutes_closed": self.steps,
            "deaths_that_left_a_naked_position": self.naked_deaths,
            "entries_refused": self.refused,
            "machine": f"{os.cpu_count()} CPUs, load average {os.getloadavg()[1]:.1f}",
            "looks": observer.looks,
            "largest_position_usdt": str(observer.largest.quantize(Decimal("0.01"))),
            "naked_alive_s": alive,
            "naked_across_death_s": death,
            "ready_s": quantiles(self.ready_s),
            "doubled": observer.doubled[:5],
            "ended_by_itself": self.died_early[:5],
            **compared,
            "verdicts": verdicts,
            "passed": all(verdicts.values()),
        }


def report(results: list[dict[str, Any]], command: str, commit: str) -> str:
    """The page of docs/proof."""
    lines = [
        "# Kill proof",
        "",
        "Written by the command below. Real processes: an exchange server, a desk and its database,",
        "SIGKILL at random moments, restart; then the exchange's own statement against the books.",
        "",
        f"```\n{command}\n```",
        "",
        f"Commit {commit}. {results[0]['market'][:1].upper()}{results[0]['market'][1:]}.",
        "",
        "| | " + " | ".join(one["database"] for one in results) + " |",
        "|---" * (len(results) + 1) + "|",
    ]
    figures: list[tuple[str, Any]] = [
        (
            "kills (start, after a close, at a fill, anywhere)",
            lambda r: f"{r['kills']} ({', '.join(map(str, r['moments'].values()))})",
        ),
        (
            "fills on the exchange / in the database",
            lambda r: f"{r['fills_exchange']} / {r['fills_database']}",
        ),
        ("positions", lambda r: r["positions"]),
        ("realised, exchange / books", lambda r: _pair(r, "REALIZED_PNL")),
        ("commission", lambda r: _pair(r, "COMMISSION")),
        ("funding", lambda r: _pair(r, "FUNDING_FEE")),
        ("deaths that left a naked position", lambda r: r["deaths_that_left_a_naked_position"]),
        ("entries that filled twice", lambda r: len(r["doubled_entries"])),
        ("largest position, USDT (wanted 2000)", lambda r: r["largest_position_usdt"]),
        ("naked, process alive: p50 / p99 / max s", lambda r: _times(r["naked_alive_s"])),
        ("naked across a death: p50 / p99 / max s", lambda r: _times(r["naked_across_death_s"])),
        ("start to ready: p50 / p99 / max s", lambda r: _times(r["ready_s"])),
        ("looks at the exchange", lambda r: r["looks"]),
        ("machine", lambda r: r["machine"]),
        ("wall time, s", lambda r: r["seconds"]),
    ]
    for title, cell in figures:
        lines.append(f"| {title} | " + " | ".join(str(cell(one)) for one in results) + " |")
    for title in results[0]["verdicts"]:
        lines.append(
            f"| {title} | " + " | ".join("yes" if r["verdicts"][title] else "NO" for r in results) + " |"
        )
    return "\n".join(lines) + "\n"


def _is_equal(compared: dict[str, Any], *names: str) -> bool:
    rows = [compared["booked"][name] for name in names]
    return all(Decimal(row["database"]) == Decimal(row["exchange"]) for row in rows)


def _pair(result: dict[str, Any], name: str) -> str:
    found = result["booked"][name]
    return f"{found['exchange']} / {found['database']}"


def _times(found: dict[str, float]) -> str:
    return f"{found['p50']} / {found['p99']} / {found['max']} ({found['count']:.0f})"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="SIGKILLs for each database")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--databases", default=",".join(KINDS))
    parser.add_argument("--symbols", type=int, default=8)
    parser.add_argument("--at-once", type=int, default=1, help="so many databases beside each other")
    parser.add_argument("--synthetic", action="store_true", help="the synthetic market, not recorded data")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--write", type=Path, help="write the page of docs/proof there")
    parser.add_argument("--keep", type=Path, help="keep the logs in this folder")
    given = parser.parse_args()
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with ThreadPoolExecutor(max(1, given.at_once)) as pool:
        results = list(pool.map(lambda kind: _run(kind, given, over), given.databases.split(",")))
    page = report(results, _command(given), _commit())
    if given.write is not None:
        given.write.parent.mkdir(parents=True, exist_ok=True)
        given.write.write_text(page)
    print(
        json.dumps({"passed": all(r["passed"] for r in results), "databases": results})
        if given.json
        else page
    )
    return 0 if all(one["passed"] for one in results) else 1


def _command(given: argparse.Namespace) -> str:
    """What makes these figures again: without the places of one machine."""
    words = ["python proof/kill.py", f"--kills {given.kills}", f"--seed {given.seed}"]
    words += [f"--databases {given.databases}", f"--symbols {given.symbols}", f"--at-once {given.at_once}"]
    return " ".join(words + (["--synthetic"] if given.synthetic else []))


def _run(kind: str, given: argparse.Namespace, over: threading.Event) -> dict[str, Any]:
    """One database, in a folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="perpdesk-kill-"))
    try:
        with database(kind, folder) as url:
            one = Kills(kind, url, folder, given.kills, given.seed, given.synthetic, given.symbols)
            one.over = over
            found = one.run()
        print(json.dumps(found), file=sys.stderr, flush=True)
        return found
    finally:
        if given.keep is not None:
            shutil.copytree(folder, given.keep / kind, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
