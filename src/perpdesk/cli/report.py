"""The report of a run, for people."""

from __future__ import annotations

from datetime import UTC, datetime

from perpdesk.cli.console import out, table
from perpdesk.domain.units import half_away, money_of
from perpdesk.research.result import RunResult

# What the printed speed contains.
_SPEED_OF = {"backtest": "in memory, without reading and compiling"}
_SPEED_OF |= dict.fromkeys(("paper", "demo"), "with compiling and records")


def usdt(amount_e8: int) -> str:
    """Money for a table: two decimals."""
    return f"{half_away(money_of(amount_e8), 2):,}"


def minute(ms: int) -> str:
    """A UTC minute for a table."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def print_result(result: RunResult) -> None:
    """The figures of a run and its per-version table."""
    span = f"{minute(result.from_ms)} … {minute(result.to_ms)} UTC"
    rows = [
        ["bars", f"{result.bars:,}"],
        [f"bars per second ({_SPEED_OF[result.mode]})", f"{result.bars_per_second:,.0f}"],
        ["fills", f"{result.fills:,}"],
        ["round trips", f"{len(result.trips):,}"],
        ["realised PnL, USDT", usdt(result.realised_e8)],
        ["fees, USDT", usdt(result.fees_e8)],
        ["funding, USDT", usdt(result.funding_e8) if result.funding_known else "no rates given"],
        ["net PnL, USDT", usdt(result.net_e8)],
        ["unrealised, USDT", f"{usdt(result.unrealised_e8)} in {result.open_positions} open"],
        ["equity, USDT", usdt(result.equity_e8)],
        ["max drawdown", f"{result.max_drawdown:.2%}"],
        ["liquidations", str(result.liquidations)],
        ["fills hash", result.fills_hash[:16]],
        ["params hash", result.params_hash[:16]],
    ]
    out.print(
        table(
            f"{result.mode}: {result.strategy} on {len(result.symbols)} symbols, {span}", ["", "value"], rows
        )
    )
    out.print()
    versions = [
        [
            part.version,
            str(part.fills),
            str(part.round_trips),
            f"{part.wins / part.round_trips:.0%}" if part.round_trips else "-",
            usdt(part.realised_e8),
            usdt(part.fees_e8),
            usdt(part.funding_e8),
            usdt(part.net_e8),
            str(part.open_positions),
            " ".join(f"{name}:{count}" for name, count in part.exits.items()) or "-",
        ]
        for part in result.versions
    ]
    columns = ["version", "fills", "trips", "won", "realised", "fees", "funding", "net", "open", "exits"]
    out.print(table("by version", columns, versions))
    if result.refusals:
        refused = ", ".join(f"{name} {count:,}" for name, count in result.refusals.items())
        out.print(f"entries refused: {refused}")
    for note in result.notes:
        out.print(f"note: {note}", markup=False)
