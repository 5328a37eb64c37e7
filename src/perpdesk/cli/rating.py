"""rating list|set: how symbols have treated the score trader, and a person's word on it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.cli.console import out, print_json, table
from perpdesk.cli.options import ConfigOption, JsonOption, SetOption, load_config
from perpdesk.cli.places import ByOption, speaker
from perpdesk.cli.report import minute
from perpdesk.config.records import rating_rules
from perpdesk.domain.books import JournalEntry
from perpdesk.domain.errors import InputError
from perpdesk.domain.signal_books import SymbolRating
from perpdesk.domain.units import plain
from perpdesk.live import new_rating

LEVELS = ("L0 full size", "L1", "L2", "L3 banned")
_DatabaseOption = Annotated[
    str,
    typer.Option("--database", envvar="PERPDESK_DATABASE", help="SQLAlchemy URL, e.g. sqlite:///desk.sqlite"),
]


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    group = typer.Typer(
        no_args_is_help=True, help="Symbol ratings: what a symbol that keeps losing is worth."
    )
    group.command("list")(list_ratings)
    group.command("set")(set_rating)
    application.add_typer(group, name="rating")


def list_ratings(database: _DatabaseOption, as_json: JsonOption = False) -> None:
    """Every symbol with its level, what it costs, and the record that led to it."""
    rows = [_row(one) for one in asyncio.run(_ratings(database)).values()]
    if as_json:
        print_json({"ratings": rows})
    elif not rows:
        out.print("no symbol is rated yet: a live start rates every symbol of its universe")
    else:
        out.print(table("symbol ratings", list(rows[0]), [[_cell(v) for v in row.values()] for row in rows]))


def set_rating(
    symbol: Annotated[str, typer.Argument(help="Such as BTCUSDT.")],
    level: Annotated[int, typer.Argument(help="0 to 3; 3 bans the symbol.")],
    database: _DatabaseOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is journalled.")],
    by: ByOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rate a symbol by hand: the only way back from a ban. A running desk takes it over within seconds."""
    if not 0 <= level <= 3:
        raise InputError(f"must be 0, 1, 2 or 3, was {level}", field="LEVEL")
    name = symbol.upper()
    rules = rating_rules(load_config(config, settings, None, ["score"]).config)
    ms, who = SystemClock().now_ms(), speaker(by)

    async def write() -> SymbolRating:
        async with await SqlStore.open(database) as store, store.unit() as books:
            known = (await books.ratings()).get(name)
            before = None if known is None else known.rating_level
            made = new_rating(name, level, rules, ms, before=before, reason=f"{who}: {reason}"[:300])
            await books.save_rating(made)
            payload = {"symbol": name, "level": level, "before": before, "by": who, "reason": reason}
            await books.append_journal([JournalEntry(ms=ms, kind="rating_set", payload=payload)])
            return made

    made = asyncio.run(write())
    if as_json:
        print_json(_row(made))
    else:
        out.print(f"{name} is {LEVELS[level]} (margin x {plain(made.margin_multiplier)}) by {who}")


async def _ratings(database: str) -> dict[str, SymbolRating]:
    async with await SqlStore.open(database) as store:
        return await store.ratings()


def _row(one: SymbolRating) -> dict[str, object]:
    return {
        "symbol": one.symbol,
        "level": one.rating_level,
        "margin": float(one.margin_multiplier),
        "bonus": float(one.score_bonus),
        "trades": one.total_trades,
        "hard_stops": one.hard_stop_loss_count,
        "lost": plain(one.total_loss_amount),
        "gained": plain(one.total_profit_amount),
        "before": one.previous_level,
        "since": None if one.level_changed_ms is None else minute(one.level_changed_ms),
        "reason": one.level_change_reason,
    }


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
