"""volume run, status, stop, resume, resolve, accept-notice, quick-start, config."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.sqlstore import SqlStore
from perpdesk.adapters.vault import default_path
from perpdesk.cli import volume_keys, volume_kill
from perpdesk.cli.console import notice, out, print_json, table
from perpdesk.cli.options import JsonOption
from perpdesk.cli.places import ByOption, ControlDirOption, DatabaseOption, folder_of, speaker
from perpdesk.cli.volume_bars import Bars
from perpdesk.cli.volume_keys import VaultOption
from perpdesk.config.volume import DEFAULT_VOLUME_PATH, VolumeConfig, VolumeConfigs, load_volume, quick_start
from perpdesk.domain.errors import InputError, Refused
from perpdesk.domain.volume_books import VolumeAcceptance
from perpdesk.engine.volume.records import settled_again
from perpdesk.engine.volume.status import Document, quarantined, status_of
from perpdesk.engine.volume.terms import NOTICE, NOTICE_HASH
from perpdesk.strategies.volume_target.modes import VolumeVenue
from perpdesk.volume_run.session import SessionOptions, run_session, stop_file
from perpdesk.volume_run.sim import real_pause

EXIT_REFUSED, EXIT_PERSON = 3, 4
_WATCH_MS = 1_000
ConfigOption = Annotated[
    Path, typer.Option("--config", help="The volume configuration (default: config/trading_config.yaml).")
]
StrategyOption = Annotated[str | None, typer.Option("--strategy", help="One strategy; default: all enabled.")]
UserOption = Annotated[int, typer.Option("--user", min=1, help="The user's number.")]
SpeedOption = Annotated[
    float,
    typer.Option(
        "--speed", min=0, help="Venue seconds a second on the simulated market; 0: as fast as it can."
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of the simulated market.")]
ExchangeUrlOption = Annotated[
    str | None,
    typer.Option("--exchange-url", help="A simulated exchange on this machine instead of the built-in one."),
]
T = TypeVar("T")


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    group = typer.Typer(no_args_is_help=True, help="Trade until a volume counter shows a target.")
    for name, command in (
        ("run", run),
        ("status", status),
        ("stop", stop),
        ("reload", reload),
        ("quick-start", start_quickly),
        ("resume", resume),
        ("resolve", resolve),
        ("accept-notice", accept_notice),
    ):
        group.command(name)(command)
    shown = typer.Typer(no_args_is_help=True, help="Show and check the volume configuration.")
    shown.command("show")(show)
    shown.command("check")(check)
    group.add_typer(shown, name="config")
    volume_keys.add_to(group)
    volume_kill.add_to(group)
    application.add_typer(group, name="volume")


# -- running ----------------------------------------------------------------------------------------------


def run(
    strategy: StrategyOption = None,
    config: ConfigOption = DEFAULT_VOLUME_PATH,
    database: DatabaseOption = None,
    is_live: Annotated[
        bool, typer.Option("--live", help="Strategies of real venues, with real orders.")
    ] = False,
    exchange_url: ExchangeUrlOption = None,
    speed: SpeedOption = 0.0,
    seed: SeedOption = 7,
    vault: VaultOption = None,
    control_dir: ControlDirOption = None,
    show_status: Annotated[bool, typer.Option("--status", help="The same as `volume status`.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Run all enabled strategies, or one, to their targets. Ctrl-C ends within one pair, again flattens."""
    if show_status:
        return status(strategy=strategy, config=config, database=database, as_json=as_json)
    configs = VolumeConfigs(lambda: load_volume(config))
    if is_live and exchange_url is not None:
        raise Refused("LIVE_KEY", "--live means the live exchange and no other: leave --exchange-url out")
    chosen = _chosen(configs.current, strategy, is_live=is_live, rehearses=exchange_url is not None)
    return _run(
        configs,
        chosen,
        database,
        exchange_url,
        is_live,
        speed,
        seed,
        as_json,
        vault=vault,
        folder=control_dir,
    )


def start_quickly(
    token: Annotated[str, typer.Option("--token")],
    chain: Annotated[str, typer.Option("--chain")],
    volume: Annotated[str, typer.Option("--volume", help="The target.")],
    amount: Annotated[str, typer.Option("--amount", help="USDT of one pair.")],
    user: Annotated[str, typer.Option("--user")],
    interval: Annotated[str, typer.Option("--interval", help="Seconds between two pairs.")] = "1",
    mul_point_mode: Annotated[str | None, typer.Option("--mul-point-mode")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="Take its global_settings.")] = None,
    database: DatabaseOption = None,
    speed: SpeedOption = 0.0,
    seed: SeedOption = 7,
    control_dir: ControlDirOption = None,
    as_json: JsonOption = False,
) -> int:
    """One strategy for one user on the simulated market, from options."""
    base = None if config is None else load_volume(config)
    made = quick_start(
        token=token,
        chain=chain,
        volume=volume,
        amount=amount,
        user=user,
        interval=interval,
        mul_point_mode=mul_point_mode,
        base=base,
    )
    names = list(made.strategies)
    return _run(
        VolumeConfigs(lambda: made), names, database, None, False, speed, seed, as_json, folder=control_dir
    )


def _chosen(
    config: VolumeConfig, strategy: str | None, *, is_live: bool, rehearses: bool = False
) -> list[str]:
    """The strategies of this run: the simulated market's, or with --live or --exchange-url Spot's."""
    for warning in config.warnings:
        notice(f"warning: {warning}")
    wanted = VolumeVenue.BINANCE_SPOT if is_live or rehearses else VolumeVenue.SIM
    if strategy is not None:
        if strategy not in config.strategies:
            known = ", ".join(config.strategies) or "none"
            raise InputError(f"there is no strategy {strategy}; known: {known}", field="--strategy")
        venue = config.strategies[strategy]["venue"]
        if venue is not wanted:
            advice = "leave --live and --exchange-url out" if venue is VolumeVenue.SIM else "use --live"
            raise Refused("VENUE", f"strategy {strategy} trades on venue {venue}: {advice}")
        return [strategy]
    enabled = [name for name, one in config.strategies.items() if one["enabled"] is True]
    found = [name for name in enabled if config.strategies[name]["venue"] is wanted]
    if not found:
        more = "" if not enabled else f" with venue {wanted.value}"
        raise InputError(f"no strategy{more} is enabled", field="--config")
    return found


def _run(
    configs: VolumeConfigs,
    chosen: list[str],
    database: str | None,
    exchange_url: str | None,
    is_live: bool,
    speed: float,
    seed: int,
    as_json: bool,
    *,
    vault: Path | None = None,
    folder: Path | None = None,
) -> int:
    notice(NOTICE)
    if database is None and (is_live or exchange_url is not None):
        raise InputError("orders on an exchange need a ledger that survives: name it", field="--database")
    if database is None:
        notice("nothing is kept: `volume status` and a later resume need --database")
    bars = Bars(quiet=as_json)
    options = SessionOptions(
        configs=configs,
        strategies=chosen,
        database=database or "sqlite://",
        exchange_url=exchange_url,
        is_live=is_live,
        speed=speed,
        seed=seed,
        owner=f"{socket.gethostname()} {os.getpid()}",
        on_change=bars.show,
        say=notice,
        asks=_asks(),
        vault=default_path() if vault is None else vault,
        folder=folder_of(folder, make=True),
    )
    with bars:
        documents = asyncio.run(run_session(options))
    if as_json:
        print_json(documents[0] if len(documents) == 1 else documents)
    else:
        for document in documents:
            _print(document)
    if quarantined(documents):
        return EXIT_PERSON
    users = [user for document in documents for user in _users(document).values()]
    return EXIT_REFUSED if users and all(user["state"] in ("REFUSED", "HALTED") for user in users) else 0


def _asks() -> Callable[[Callable[[int], None]], Callable[[], None]]:
    """Signals as requests: SIGINT and SIGTERM stop (1, 2, 3 …), SIGHUP reloads (0)."""

    def install(ask: Callable[[int], None]) -> Callable[[], None]:
        loop, count = asyncio.get_running_loop(), 0

        def more() -> None:
            nonlocal count
            count += 1
            ask(count)

        names = (signal.SIGINT, signal.SIGTERM)
        for name in names:
            loop.add_signal_handler(name, more)
        loop.add_signal_handler(signal.SIGHUP, ask, 0)

        def remove() -> None:
            for name in (*names, signal.SIGHUP):
                loop.remove_signal_handler(name)

        return remove

    return install


# -- looking ----------------------------------------------------------------------------------------------


def status(
    strategy: StrategyOption = None,
    config: ConfigOption = DEFAULT_VOLUME_PATH,
    database: DatabaseOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Volumes, cost, ETA and quarantined pairs, from the database."""
    loaded = load_volume(config)
    names = [strategy] if strategy is not None else list(loaded.strategies)
    unknown = [name for name in names if name not in loaded.strategies]
    if unknown:
        raise InputError(f"there is no strategy {unknown[0]}", field="--strategy")

    async def read(store: SqlStore) -> list[Document]:
        now_ms = SystemClock().now_ms()
        return [await status_of(store, loaded.strategies[name], now_ms) for name in names]

    while True:
        documents = _with_store(database, read)
        if as_json:
            print_json(documents[0] if strategy is not None else documents)
        else:
            for document in documents:
                _print(document)
        if not watch:
            return EXIT_PERSON if quarantined(documents) else 0
        asyncio.run(real_pause(_WATCH_MS))


def _users(document: Document) -> dict[str, dict[str, object]]:
    users = document["users"]
    assert isinstance(users, dict)
    return users


def _print(document: Document) -> None:
    cost, rate, eta = document["cost_usdt"], document["cost_bp"], document["eta_seconds"]
    title = (
        f"{document['strategy_id']}: {document['total_volume']} of {document['target_volume']} "
        f"({document['progress']}), cost {cost} USDT"
        + ("" if rate is None else f" = {rate} bp")
        + ("" if eta is None else f", {eta} s left")
        + f", quarantined {document['quarantined']}"
    )
    names = ["state", "volume", "remaining", "pairs", "failures", "cost_usdt", "reason"]
    rows = [
        [user, *("" if row.get(name) is None else str(row[name]) for name in names)]
        for user, row in _users(document).items()
    ]
    out.print(table(title, ["user", *names], rows))


def show(
    strategy: Annotated[str, typer.Option("--strategy")],
    user: UserOption,
    config: ConfigOption = DEFAULT_VOLUME_PATH,
    as_json: JsonOption = False,
) -> None:
    """What a user trades a strategy with: every value with the layer that set it."""
    found = load_volume(config).strategies.get(strategy)
    if found is None:
        raise InputError(f"there is no strategy {strategy}", field="--strategy")
    if user not in found.users:
        raise InputError(f"user {user} is not in user_ids of {strategy}", field="--user")
    document = found.users[user].show()
    if as_json:
        print_json(document)
        return
    values = document["values"]
    assert isinstance(values, dict)
    rows = [[name, str(value["value"]), str(value["from"])] for name, value in values.items()]
    out.print(table(f"{strategy} user {user} {document['config_hash']}", ["key", "value", "from"], rows))


def check(config: ConfigOption = DEFAULT_VOLUME_PATH, as_json: JsonOption = False) -> int:
    """Everything that is wrong with the file, at once; warnings too."""
    loaded = load_volume(config)
    if as_json:
        print_json({"ok": True, "warnings": [str(warning) for warning in loaded.warnings]})
        return 0
    for warning in loaded.warnings:
        out.print(str(warning), markup=False)
    out.print(f"{len(loaded.strategies)} strategies, {len(loaded.warnings)} warnings, accepted")
    return 0


# -- telling ----------------------------------------------------------------------------------------------


def stop(
    strategy: StrategyOption = None,
    user: Annotated[int | None, typer.Option("--user", min=1, help="One user; default: all.")] = None,
    now: Annotated[bool, typer.Option("--now", help="No grace: flatten at once.")] = False,
    database: DatabaseOption = None,
) -> None:
    """Ask the process that runs to stop: no new pair, the live one ends within its grace."""
    _ask(database, f"stop {strategy or '*'} {user or '*'} {'now' if now else ''}".strip())
    notice("asked to stop; `volume status` shows when it has")


def reload(database: DatabaseOption = None) -> None:
    """Ask the process that runs to read its configuration anew."""
    _ask(database, "reload")


def _ask(database: str | None, text: str) -> None:
    path = stop_file(_database(database))
    if path is None:
        raise InputError("runs of a database server are stopped by SIGTERM (kill PID)", field="--database")
    with path.open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def resume(user: UserOption, database: DatabaseOption = None, by: ByOption = None) -> None:
    """Let a halted user's runs go on: at the next start, and in a process that runs (SQLite) at once."""

    async def clear(store: SqlStore) -> int:
        return await store.clear_volume_halts(user, SystemClock().now_ms(), speaker(by))

    out.print(f"{_with_store(database, clear)} halts of user {user} cleared")
    path = stop_file(_database(database))
    if path is not None:
        _ask(database, f"resume {user}")


def resolve(
    pair: Annotated[str, typer.Option("--pair", help="The pair's id, as `volume status` shows it.")],
    how: Annotated[str, typer.Option("--as", help="reconcile")] = "reconcile",
    database: DatabaseOption = None,
) -> None:
    """Let a quarantined pair be reconciled with the venue again, at the next start."""
    if how != "reconcile":
        raise InputError("must be reconcile", field="--as")

    async def change(store: SqlStore) -> None:
        rows = await store.volume_pairs(pair_id=pair)
        if not rows or rows[0].state != "QUARANTINED":
            raise InputError(f"{pair} is no quarantined pair", field="--pair")
        await store.save_volume([], [settled_again(rows[0], SystemClock().now_ms())])

    _with_store(database, change)
    out.print(f"{pair} will be reconciled by the next `volume run`; `volume resume` clears the user's halt")


def accept_notice(user: UserOption, database: DatabaseOption = None, by: ByOption = None) -> None:
    """Accept the notice about venue rules for a user; real venues need it."""
    out.print(NOTICE)
    row = VolumeAcceptance(
        user_id=user, notice_hash=NOTICE_HASH, accepted_ms=SystemClock().now_ms(), accepted_by=speaker(by)
    )

    async def accept(store: SqlStore) -> bool:
        return await store.accept_volume_notice(row)

    _with_store(database, accept)
    out.print(f"accepted for user {user}: {NOTICE_HASH}")


def _database(database: str | None) -> str:
    if database is None:
        raise InputError("name the database of the run", field="--database")
    return database


def _with_store(database: str | None, work: Callable[[SqlStore], Awaitable[T]]) -> T:
    async def opened() -> T:
        async with await SqlStore.open(_database(database)) as store:
            return await work(store)

    return asyncio.run(opened())
