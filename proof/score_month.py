"""make score: both scorers on one account over a month of recorded minutes, and what must be true of it.

Three runs over the same market: the coupled replay, the engine on the in-process exchange (parity: every fill
equal), and paper with a database, where after every minute the exchange's own positions and orders are
looked at. Then the rows: is there a moment at which both versions hold the same symbol and side, with books
and stops of their own, and never two rows of one version on one symbol and side? Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from perpdesk.adapters.sqlstore import upgrade  # noqa: E402
from perpdesk.app import Desk, backtest, paper  # noqa: E402
from perpdesk.cli.options import MarketOptions, load_market  # noqa: E402
from perpdesk.config.load import loads  # noqa: E402
from perpdesk.domain.units import plain, price_of, qty_of  # noqa: E402
from perpdesk.kernel.records import STOP  # noqa: E402
from perpdesk.parity import compare  # noqa: E402

BOTH = ["score_v2", "score_v3"]
_FUNDING = "funding/binance_usdm_20sym_2025-03_2025-06.parquet"
_MARKS = "mark_price/binance_usdm_20sym_8h_mark_klines_2025-03_2025-06.parquet"
_TOGETHER = """
SELECT a.symbol, a.position_side, MAX(a.open_time, b.open_time) AS both_from,
       MIN(COALESCE(a.close_time, '9'), COALESCE(b.close_time, '9')) AS both_until,
       a.quantity AS v2_quantity, a.avg_entry_price AS v2_entry, b.quantity AS v3_quantity,
       b.avg_entry_price AS v3_entry
FROM futures_positions a JOIN futures_positions b
  ON a.account_id = b.account_id AND a.symbol = b.symbol AND a.position_side = b.position_side
WHERE a.signal_version = 'v2' AND b.signal_version = 'v3'
  AND a.open_time < COALESCE(b.close_time, '9') AND b.open_time < COALESCE(a.close_time, '9')
ORDER BY both_from
"""
_TWICE = """
SELECT COUNT(*) FROM futures_positions a JOIN futures_positions b
  ON a.account_id = b.account_id AND a.symbol = b.symbol AND a.position_side = b.position_side
  AND a.signal_version = b.signal_version AND a.id < b.id
WHERE a.open_time < COALESCE(b.close_time, '9') AND b.open_time < COALESCE(a.close_time, '9')
"""


@dataclass
class Looks:
    """What the exchange showed after every minute. problems: what may never be."""

    minutes: int = 0
    shared: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    async def __call__(self, desk: Desk, now_ms: int) -> None:
        self.minutes += 1
        universe = desk.market.universe
        stops: dict[int, dict[str, tuple[int, int]]] = {}
        for order in await desk.venue.open_orders():
            version = order.client_id.split("-")[0]
            if order.kind != STOP:
                continue
            if version in stops.setdefault(order.symbol, {}):
                self._wrong(now_ms, universe.symbols[order.symbol], f"two stops of {version}")
            stops[order.symbol][version] = -order.side * order.lots, order.price
        for held in await desk.venue.positions():
            s, by_version = held.symbol, stops.get(held.symbol, {})
            if held.lots != sum(lots for lots, _ in by_version.values()):
                self._wrong(now_ms, universe.symbols[s], f"{held.lots} lots held, stops over {by_version}")
            if len(by_version) > 1:
                digits, step = universe.price_digits[s], universe.lot_step[s]
                self.shared[universe.symbols[s], now_ms] = {
                    "position": plain(qty_of(held.lots, step)),
                    "stops": {
                        version: f"{plain(qty_of(abs(lots), step))} at {plain(price_of(price, digits))}"
                        for version, (lots, price) in sorted(by_version.items())
                    },
                }

    def _wrong(self, now_ms: int, symbol: str, text: str) -> None:
        self.problems.append(f"{_text(now_ms)} {symbol}: {text}")


def run(data: Path, to_text: str, symbols: str | None) -> dict[str, Any]:
    """Everything; the figures."""
    market = load_market(
        MarketOptions(
            [data / "klines_1m" / "usdm"], symbols, funding=[data / _FUNDING], mark=[data / _MARKS],
            to_text=to_text,
        )
    )  # fmt: skip
    receipt = compare(loads(""), BOTH, market)
    alone, _, _ = backtest(loads(""), BOTH[:1], market)
    looks = Looks()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "desk.sqlite"
        upgrade(f"sqlite:///{path}")
        result = asyncio.run(paper(loads(""), BOTH, market, database=f"sqlite:///{path}", each_minute=looks))
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row
        together = [dict(row) for row in connection.execute(_TOGETHER)]
        (twice,) = connection.execute(_TWICE).fetchone()
        rows = dict(
            connection.execute("SELECT signal_version, COUNT(*) FROM futures_positions GROUP BY 1").fetchall()
        )
        connection.close()
    for row in together:
        begin_ms, end_ms = _ms(row["both_from"]), _ms(row["both_until"])
        seen = {ms: one for (symbol, ms), one in looks.shared.items() if symbol == row["symbol"]}
        row["minutes_at_the_exchange"] = sum(begin_ms < ms <= end_ms for ms in seen)
        row["exchange"] = next((one for ms, one in sorted(seen.items()) if begin_ms < ms <= end_ms), None)
    verdicts = {
        "every fill of the replay and of the engine is equal": receipt.identical,
        "paper with a database has the same fills": result.to_json()["fills_hash"] == receipt.fills_hash,
        "both versions held the same symbol and side": bool(together),
        "then the exchange had one position and a stop for each": bool(together)
        and all(row["exchange"] is not None for row in together),
        "after every minute the stops were over all that was held": not looks.problems,
        "never two rows of one version": twice == 0,
    }
    return {
        "receipt": receipt.to_json(),
        "alone": alone.to_json(),
        "rows": rows,
        "net_pnl": {one.version: one.to_json()["net_pnl"] for one in result.versions},
        "minutes": looks.minutes,
        "problems": looks.problems[:10],
        "together": together,
        "verdicts": verdicts,
        "passed": all(verdicts.values()),
    }


def page(found: dict[str, Any], command: str, commit: str) -> str:
    """The page of docs/proof."""
    receipt, alone = found["receipt"], found["alone"]
    lines = [
        "# Both scorers on one account, a month",
        "",
        "Written by the command below: recorded minutes, real funding rates, the default configuration.",
        "",
        f"```\n{command}\n```",
        "",
        f"Commit {commit}. {receipt['symbols']} symbols, {receipt['bars']:,} bars, "
        f"{receipt['fills']:,} fills (hash `{receipt['fills_hash'][:16]}`), rows {found['rows']}, "
        f"net {found['net_pnl']} USDT.",
        "",
        f"Backtest of V2 alone through the compiled loop: {alone['bars']:,} bars in "
        f"{alone['seconds']:.2f} s, {alone['bars_per_second']:,} bars/s "
        "(loading and compiling not included).",
        "",
        "| | |",
        "|---|---|",
        *(f"| {text} | {'yes' if holds else 'NO'} |" for text, holds in found["verdicts"].items()),
        "",
        "## Both on the same symbol and side",
        "",
        "The rows from the database; position and stops from the exchange, in the first minute of each.",
        "",
        "| symbol | from | until | v2 row | v3 row | exchange: position | stop of v2 | stop of v3 "
        "| minutes seen |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["together"]:
        seen = row["exchange"] or {"position": "-", "stops": {}}
        cells = (
            f"{row['symbol']} {row['position_side']}", row["both_from"][:16], row["both_until"][:16],
            f"{row['v2_quantity']} at {row['v2_entry']}", f"{row['v3_quantity']} at {row['v3_entry']}",
            seen["position"], seen["stops"].get("v2", "-"), seen["stops"].get("v3", "-"),
            row["minutes_at_the_exchange"],
        )  # fmt: skip
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    lines += ["", *(f"- {text}" for text in found["problems"])]
    return "\n".join(lines).rstrip() + "\n"


def _text(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _ms(text: str) -> int:
    if text == "9":
        return 1 << 62
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", default="2025-06-03", help="the end of the run, exclusive")
    parser.add_argument("--symbols", help="only these, separated by commas")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--write", type=Path, help="write the page of docs/proof there")
    given = parser.parse_args()
    data = Path(os.environ.get("PERPDESK_DATA") or ROOT.parent / "shared" / "data")
    if not (data / "klines_1m" / "usdm").is_dir():
        print("recorded data are not here: set PERPDESK_DATA", file=sys.stderr)
        return 2
    found = run(data, given.to, given.symbols)
    command = f"python proof/score_month.py --to {given.to}"
    command += f" --symbols {given.symbols}" if given.symbols else ""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    text = page(found, command, done.stdout.strip() or "unknown")
    if given.write is not None:
        given.write.parent.mkdir(parents=True, exist_ok=True)
        given.write.write_text(text)
    print(json.dumps(found) if given.json else text)
    return 0 if found["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
