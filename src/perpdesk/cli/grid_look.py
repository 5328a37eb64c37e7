"""Looking at what the grid's commands have written: runs, zones, signals, one order's story, parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from perpdesk.adapters.sqlstore.store import SqlStore
from perpdesk.cli.console import out, print_json, table
from perpdesk.cli.grid_options import DatabaseOption, SymbolOption, answer, answered
from perpdesk.cli.option_groups import expanded
from perpdesk.cli.options import ConfigOption, JsonOption, SetOption, load_config, time_ms
from perpdesk.cli.report import minute
from perpdesk.config import grid_records
from perpdesk.config.snapshot import Snapshot
from perpdesk.domain import units
from perpdesk.domain.errors import InputError
from perpdesk.domain.grid_books import GridFill
from perpdesk.domain.order import Side
from perpdesk.grid_desk.explain import explain


@dataclass(frozen=True)
class Look:
    """The database and how to answer."""

    database: DatabaseOption
    as_json: JsonOption = False


AtOption = Annotated[
    str | None, typer.Option("--at", help="Only what counts at this moment (UTC); default: everything.")
]
HashArgument = Annotated[str, typer.Argument(help="params_hash of a zone, a signal, a run or an order.")]


def add_to(grid: typer.Typer) -> None:
    """Hang these commands into the grid's."""
    commands: dict[str, Callable[..., int]] = {
        "status": status,
        "zones": zones,
        "signals": signals,
        "explain": explain_command,
    }
    for name, command in commands.items():
        grid.command(name)(expanded(command))
    params = typer.Typer(no_args_is_help=True, help="The parameters that zones, signals and runs refer to.")
    params.command("show")(expanded(show))
    params.command("diff")(expanded(diff))
    grid.add_typer(params, name="params")


def status(
    look: Look,
    symbol: Annotated[str | None, typer.Option("--symbol", help="Only this one.")] = None,
    account: Annotated[int | None, typer.Option("--account", help="Only this account.")] = None,
) -> int:
    """Runs, their states and results so far."""

    async def work() -> dict[str, Any]:
        async with await SqlStore.open(look.database) as store:
            runs = await store.grid_runs(account, symbol.upper() if symbol else None)
            rows = []
            for one in runs:
                fills = await store.grid_fills(one.run_id)
                live = await store.grid_orders(one.run_id, live_only=True)
                rows.append(
                    {
                        "run_id": one.run_id,
                        "account": one.account_id,
                        "symbol": one.symbol,
                        "mode": one.mode,
                        "variant": one.variant,
                        "state": one.state,
                        "begun_ms": one.begun_ms,
                        "last_bar_ms": one.last_bar_ms,
                        "ended_ms": one.ended_ms,
                        "close_reason": one.close_reason,
                        "fills": len(fills),
                        "live_orders": len(live),
                        "held_lots": _held(fills),
                        "realized": units.plain(sum((fill.realized for fill in fills), units.money_of(0))),
                        "fees": units.plain(sum((fill.fee for fill in fills), units.money_of(0))),
                        "backtest": one.backtest_id,
                        "override": one.override_text,
                    }
                )
            return {"command": "status", "status": "ok", "runs": rows}

    value = answered(work())
    if look.as_json:
        print_json(value)
        return 0
    columns = ["run", "symbol", "variant", "state", "begun", "ended", "why", "fills", "held", "live"]
    columns += ["realized", "fees"]
    lines = [
        [
            str(row["run_id"]),
            row["symbol"],
            row["variant"],
            row["state"],
            minute(row["begun_ms"]),
            minute(row["ended_ms"]) if row["ended_ms"] else "",
            row["close_reason"] or "",
            *(str(row[name]) for name in ("fills", "held_lots", "live_orders")),
            *(f"{Decimal(row[name]):.4f}" for name in ("realized", "fees")),
        ]
        for row in value["runs"]
    ]
    out.print(table("grid runs (times UTC, money USDT, held in lots)", columns, lines))
    if any(row["state"] == "ERROR" for row in value["runs"]):
        out.print("a run in ERROR wants a person: look at it, then `perpdesk grid resolve`", markup=False)
    return 0


def _held(fills: list[GridFill]) -> int:
    return sum(fill.lots if fill.side is Side.BUY else -fill.lots for fill in fills)


def zones(look: Look, symbol: SymbolOption, at: AtOption = None) -> int:
    """Zones of support and resistance, by scan."""
    at_ms = time_ms(at, "--at")

    async def work() -> dict[str, Any]:
        async with await SqlStore.open(look.database) as store:
            for name in names_of(symbol):
                if found := await store.grid_zones(name, at_ms):
                    break
        rows = [
            {
                "id": zone.id,
                "kind": zone.kind,
                "side": zone.side,
                "center": price_text(zone.center),
                "lo": price_text(zone.lo),
                "hi": price_text(zone.hi),
                "strength": price_text(zone.strength),
                "confidence": zone.confidence,
                "ma_adjusted": zone.ma_adjusted,
                "kmeans": zone.kmeans_ok,
                "valid_from_ms": zone.valid_from_ms,
                "expires_ms": zone.expires_ms,
                "params_hash": zone.params_hash,
            }
            for zone in found
        ]
        return {"command": "zones", "status": "ok", "symbol": name, "zones": rows}

    value = answered(work())
    if look.as_json:
        print_json(value)
        return 0
    lines = [
        [
            f"{row['kind']} {row['id']}",
            row["lo"],
            row["hi"],
            f"{Decimal(row['strength']):.3f}",
            str(row["confidence"]),
            minute(row["valid_from_ms"]),
            minute(row["expires_ms"]),
        ]
        for row in value["zones"]
    ]
    columns = ["zone", "from", "to", "strength", "confidence", "scanned", "expires"]
    out.print(table(f"{value['symbol']}: zones (times UTC)", columns, lines))
    return 0


def signals(look: Look, symbol: SymbolOption, at: AtOption = None) -> int:
    """Signals and what became of them."""
    at_ms = time_ms(at, "--at")

    async def work() -> dict[str, Any]:
        async with await SqlStore.open(look.database) as store:
            for name in names_of(symbol):
                if found := await store.signals(name, unexpired_at_ms=at_ms):
                    break
        rows = [
            {
                "id": one.id,
                "type": one.type,
                "side": one.side.value,
                "bar_close_ms": one.bar_close_ms,
                "zone": one.zone_id,
                "low": price_text(one.low),
                "high": price_text(one.high),
                "status": one.status,
                "confirmed_ms": one.confirmed_ms,
                "expires_ms": one.expires_ms,
                "run_id": one.run_id,
                "params_hash": one.params_hash,
            }
            for one in found
            if at_ms is None or one.bar_close_ms <= at_ms
        ]
        return {"command": "signals", "status": "ok", "symbol": name, "signals": rows}

    value = answered(work())
    if look.as_json:
        print_json(value)
        return 0
    lines = [
        [
            row["type"],
            row["side"],
            minute(row["bar_close_ms"]),
            f"{row['low']} … {row['high']}",
            row["zone"],
            row["status"],
            minute(row["expires_ms"]),
            str(row["run_id"] or ""),
        ]
        for row in value["signals"]
    ]
    columns = ["signal", "side", "bar closed", "bar", "zone", "status", "expires", "run"]
    out.print(table(f"{value['symbol']}: signals (times UTC)", columns, lines))
    return 0


def explain_command(
    look: Look, order_id: Annotated[str, typer.Argument(help="Client id of a grid's order.")]
) -> int:
    """Walk back from an order: run, signal, zone, scan, bars, parameters; every hash is checked."""

    async def work() -> dict[str, Any]:
        async with await SqlStore.open(look.database) as store:
            return await explain(store, order_id)

    return answer(work(), look.as_json)


def show(
    symbol: SymbolOption,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """The symbol's whole merged block, with the hash that everything made under it carries."""
    name, kept = block_of(symbol, config, settings)
    block = json.loads(kept.json)
    if as_json:
        print_json({"symbol": name, "params_hash": kept.params_hash, "params": block})
        return 0
    lines = [[key, _text(value)] for key, value in sorted(flat(block).items())]
    out.print(table(f"{name}: {kept.params_hash}", ["parameter", "value"], lines))
    return 0


def diff(
    look: Look,
    before: HashArgument,
    after: Annotated[
        str | None, typer.Argument(help="Another params_hash; default: the configuration as it is now.")
    ] = None,
    symbol: Annotated[str, typer.Option("--symbol", help="Whose block of the configuration.")] = "BTC",
    config: ConfigOption = None,
    settings: SetOption = None,
) -> int:
    """What differs between two stored sets of parameters, or a stored one and the configuration."""

    async def work() -> dict[str, Any]:
        async with await SqlStore.open(look.database) as store:
            one = await _stored(store, before, "BEFORE")
            if after is not None:
                return {"before": one, "after": await _stored(store, after, "AFTER")}
        return {"before": one, "after": flat(json.loads(block_of(symbol, config, settings)[1].json))}

    both = answered(work())
    one, other = both["before"], both["after"]
    rows = [
        {"parameter": name, "before": one.get(name), "after": other.get(name)}
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]
    if look.as_json:
        print_json({"command": "params diff", "equal": not rows, "differences": rows})
        return 0
    lines = [[row["parameter"], _text(row["before"]), _text(row["after"])] for row in rows]
    out.print(table(f"{len(rows)} parameters differ", ["parameter", "before", "after"], lines))
    return 0


async def _stored(store: SqlStore, params_hash: str, field: str) -> dict[str, Any]:
    text = await store.params_snapshot(params_hash)
    if text is None:
        raise InputError(f"no parameters with the hash {params_hash} are stored", field=field)
    return flat(json.loads(text))


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """A nested block as ``section.key`` → value."""
    if not isinstance(value, dict):
        return {name: value}
    found: dict[str, Any] = {}
    for key, part in value.items():
        found |= flat(part, f"{name}.{key}" if name else key)
    return found


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def price_text(value: Decimal) -> str:
    """A stored number without the zeros that its column adds."""
    return f"{value.normalize():f}"


def names_of(symbol: str) -> tuple[str, str]:
    """What ``btc`` may mean: itself first, else with USDT behind."""
    return symbol.upper(), f"{symbol.upper()}USDT"


def block_of(symbol: str, config: Path | None, settings: list[str] | None) -> tuple[str, Snapshot]:
    """(the symbol's whole name, its merged block)."""
    loaded = load_config(config, settings, None, [grid_records.NAME])
    exact, longer = names_of(symbol)
    name = exact if exact.endswith(("USDT", "USDC")) else longer
    return name, grid_records.block_snapshot(loaded.config, name)
