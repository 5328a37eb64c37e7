"""Real minutes: a live desk as a process, the radar polling hundreds of symbols of an exchange beside it.

    python bench/oi_real.py --symbols 600 --minutes 10

Every minute one of the traded symbols breaks out just before the poll. Printed as JSON: the polls' duration
in ms (p50, p99, most), coverage, the share of the weight limit, entries, and from the last input of a
decision (sentiment included) to its entry at the wire in µs (upper bounds of buckets).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from proof.rig import ACCOUNT, Rig, perpdesk
from tests.cli.exchanges import exchange
from tests.oi.stage import BEST, ENDPOINTS, Told
from tests.service.wires import Wire

from perpdesk.exchange.core.world import Rules
from perpdesk.market.instruments import contract

CONFIG = """
account: {balance_usdt: 1000000, leverage: 6, margin_mode: isolated}
risk: {positions_max: 20, max_total_notional_usdt: 1000000}
oi:
  initial_balance_usdt: 10000
  max_monitored_symbols: max
  timeout_min: 5
  cooldown_s: 0
  max_positions: 20
"""
TRADED = 12


def breaks_out(wire: Wire, told: Told, name: str) -> None:
    """Open interest and price of one symbol go up."""
    grid = int(time.time() * 1000) // 300_000 * 300_000
    told.ratios.update({endpoint: {grid: ratio} for endpoint, ratio in zip(ENDPOINTS, BEST, strict=True)})
    told.amount = (told.amount or 1e5) * 1.04
    wire.do("tick", symbol=name, price="102", walk=True)


def run(symbols: int, minutes: int, folder: Path) -> dict[str, object]:
    names = [f"X{n:03d}USDT" for n in range(symbols)]
    known = {
        name: contract(
            name, price_tick=Decimal("0.01"), lot_step=Decimal("0.01"), qty_min=Decimal("0.01"),
            qty_max=Decimal(1_000_000), market_qty_max=Decimal(1_000_000), notional_min=Decimal(5),
        )
        for name in names
    }  # fmt: skip
    told = {name: Told() for name in names}
    took: dict[int, int] = {}
    weights = [0]
    with exchange(
        1, prices=dict.fromkeys(names, "100"), instruments=known, open_interest=told, balance="1000000",
        rules=Rules(depth_level_usdt=5_000_000),
    ) as venue:  # fmt: skip
        wire = Wire(venue)
        rig = Rig(folder / "desk", wire, f"sqlite:///{folder}/desk.sqlite", CONFIG)  # type: ignore[arg-type]
        desk = rig.start(
            perpdesk(
                "oi", "run", "--live", "--confirm", ACCOUNT, "--account", ACCOUNT,
                "--symbols", ",".join(names[:TRADED]), "--config", rig.folder / "config.yaml",
            )
        )  # fmt: skip
        try:
            desk.wait_ready()
            until, broken = time.monotonic() + 60 * minutes + 90, -1
            while time.monotonic() < until:
                time.sleep(0.25)
                now_s = time.time()
                figures = rig.figures().get("figures", {})
                if figures.get("radar_polls"):
                    took[figures["radar_polls"]] = figures["radar_poll_took_ms"]
                weights.append(venue.server.limits.used("127.0.0.1", int(now_s * 1000)))
                minute = int(now_s // 60)
                if now_s % 60 > 55 and minute != broken and len(took) >= 2:
                    broken = minute
                    name = names[minute % TRADED]
                    breaks_out(wire, told[name], name)
                if 20 < now_s % 60 < 20.3 and broken > 0:
                    wire.do("tick", symbol=names[broken % TRADED], price="100", walk=True)
            figures = rig.figures()["figures"]
            desk.stop()
        finally:
            rig.close()
            (folder / "log").write_text(desk.text)
    durations = sorted(took.values())
    at = lambda share: durations[min(len(durations) - 1, int(share * len(durations)))]  # noqa: E731
    return {
        "symbols": figures["radar_symbols"],
        "polls": figures["radar_polls"],
        "skipped": figures["radar_skipped"],
        "coverage": figures["radar_coverage"],
        "poll_ms": {"p50": at(0.5), "p99": at(0.99), "most": durations[-1]},
        "weight_share": round(max(weights) / 2_400, 4),
        "refusals": figures["radar_refusals"],
        "entries": sum(row["buyer"] for row in venue.server.world.accounts[0].fills),
        "signal_to_send_us": figures.get("signal_to_send_us"),
        "entries_refused": figures.get("entries_refused"),
    }


def main() -> None:
    """One run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=600)
    parser.add_argument("--minutes", type=int, default=10)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(chosen.symbols, chosen.minutes, Path(folder))))


if __name__ == "__main__":
    main()
