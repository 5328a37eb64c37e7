"""exchange: the simulated exchange as a server that other people's bots can trade on."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.cli.console import notice
from perpdesk.cli.options import (
    BracketsOption,
    DataOption,
    FromOption,
    FundingOption,
    InstrumentsOption,
    SymbolsOption,
    ToOption,
    time_ms,
)
from perpdesk.domain import units
from perpdesk.domain.errors import InputError
from perpdesk.domain.instrument import Instrument
from perpdesk.exchange.core.world import Rules
from perpdesk.exchange.faults import Plan, read_plan
from perpdesk.exchange.server import ServeOptions, serve
from perpdesk.exchange.server.details import candle_details
from perpdesk.exchange.server.details import open_interest as read_open_interest
from perpdesk.exchange.server.options import DEFAULT_PRICES
from perpdesk.kernel.records import MINUTE_MS
from perpdesk.market import funding as funding_files
from perpdesk.market.instruments import bundled, read_brackets, read_instruments
from perpdesk.market.synthetic import synthetic_tape
from perpdesk.market.tape import Tape, read_tape

_SYNTHETIC_MINUTES = 7 * 1440
_ACCOUNTS_MAX = 10_000
_WALK_MAX_PPM = 100_000
_PPM, _SHARE_PPM = 1_000_000, 100_000


def add_to(application: typer.Typer) -> None:
    """Hang this command into the tree."""
    application.command("exchange")(exchange_command)


def exchange_command(
    data: DataOption = None,
    symbols: SymbolsOption = None,
    from_text: FromOption = None,
    to_text: ToOption = None,
    instruments: InstrumentsOption = None,
    brackets: BracketsOption = None,
    synthetic: Annotated[
        int | None, typer.Option("--synthetic", help="So many invented contracts instead of --data.")
    ] = None,
    prices: Annotated[
        list[str] | None,
        typer.Option("--price", help="SYMBOL=PRICE, stands until the control channel moves it; repeatable."),
    ] = None,
    speed: Annotated[
        str, typer.Option("--speed", help="real, max, or how many times faster than life.")
    ] = "real",
    lockstep: Annotated[
        bool, typer.Option("--lockstep", help="The tape moves only by the control channel's step.")
    ] = False,
    port: Annotated[int, typer.Option("--port", help="0: any free one.")] = 0,
    accounts: Annotated[int, typer.Option("--accounts", help="How many, each with a key.")] = 2,
    balance: Annotated[str, typer.Option("--balance", help="USDT of every account.")] = "10000",
    seed: Annotated[int, typer.Option("--seed", help="Of the order book, invented markets and faults.")] = 7,
    faults: Annotated[Path | None, typer.Option("--faults", help="JSON file with a fault plan.")] = None,
    funding: FundingOption = None,
    open_interest: Annotated[
        list[Path] | None, typer.Option("--oi", help="Open interest rows to serve; repeatable.")
    ] = None,
    control: Annotated[bool, typer.Option("--control", help="Open POST /control to this machine.")] = False,
    signature_mode: Annotated[str, typer.Option("--signature-mode", help="lenient or strict.")] = "lenient",
    ws_legacy: Annotated[str, typer.Option("--ws-legacy", help="public_only or full.")] = "public_only",
    recv_window: Annotated[
        str, typer.Option("--recv-window", help="check or skip; auto skips when time is accelerated.")
    ] = "auto",
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="PEM certificate; serves https.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="PEM key of --tls-cert.")] = None,
    public_keys: Annotated[
        list[str] | None,
        typer.Option(
            "--public-key", help="ACCOUNT=FILE: an RSA or Ed25519 public key in PEM for it; repeatable."
        ),
    ] = None,
    spot_balances: Annotated[
        list[str] | None,
        typer.Option("--spot-balance", help="ASSET=AMOUNT in every Spot wallet; repeatable. 10000 USDT."),
    ] = None,
    alpha_walk_ppm: Annotated[
        int, typer.Option("--alpha-walk-ppm", help="How far Alpha tokens may wander each second; 0: stand.")
    ] = 0,
    fills: Annotated[
        str,
        typer.Option("--fills", help="book: the synthetic book; kernel: as in a backtest (with --lockstep)."),
    ] = "book",
    slippage_ppm: Annotated[
        int, typer.Option("--slippage-ppm", help="Of market orders with --fills kernel.")
    ] = 500,
    volume_share_ppm: Annotated[
        int | None,
        typer.Option(
            "--volume-share-ppm",
            help="Share of a bar's volume that a client's orders may take; 0: no limit. "
            "Default: 0, with --fills kernel 100000.",
        ),
    ] = None,
    insurance: Annotated[
        str, typer.Option("--insurance", help="USDT of the insurance fund; when it is empty: ADL.")
    ] = "1000000000",
) -> None:
    """Serve the simulated exchange on this machine until interrupted.

    When it is ready, its URLs and then each account's key and secret stand on stdout as JSON lines.
    """
    known = _instruments(instruments, brackets)
    tape, start_step = _tape(data, symbols, from_text, to_text, known, synthetic, seed)
    if tape is not None and prices:
        raise InputError("cannot be combined with --data or --synthetic", field="--price")
    pace = _speed(speed)
    universe = tape.universe.symbols if tape is not None else tuple(_prices(prices) or DEFAULT_PRICES)
    for value, choices, name in (
        (signature_mode, ("lenient", "strict"), "--signature-mode"),
        (ws_legacy, ("public_only", "full"), "--ws-legacy"),
        (recv_window, ("auto", "check", "skip"), "--recv-window"),
        (fills, ("book", "kernel"), "--fills"),
    ):
        if value not in choices:
            raise InputError(f"must be {' or '.join(choices)}, was {value!r}", field=name)
    if not 1 <= accounts <= _ACCOUNTS_MAX:
        raise InputError(f"must be 1 to {_ACCOUNTS_MAX}, was {accounts}", field="--accounts")
    if not 0 <= port <= 65_535:
        raise InputError(f"must be 0 to 65535, was {port}", field="--port")
    for text, name in ((balance, "--balance"), (insurance, "--insurance")):
        if units.money_e8(text, name) < 0:
            raise InputError("must not be negative", field=name)
    if volume_share_ppm is None:
        volume_share_ppm = _SHARE_PPM if fills == "kernel" else 0
    for parts, name in ((volume_share_ppm, "--volume-share-ppm"), (slippage_ppm, "--slippage-ppm")):
        if not 0 <= parts <= _PPM:
            raise InputError(f"must be 0 to {_PPM}, was {parts}", field=name)
    skips = recv_window == "skip" or (recv_window == "auto" and tape is not None)
    options = ServeOptions(
        clock=SystemClock(),
        prices=_prices(prices) or dict(DEFAULT_PRICES),
        instruments=known,
        tape=tape,
        start_step=start_step,
        speed=pace,
        lockstep=lockstep,
        volume_share_ppm=volume_share_ppm,
        accounts=accounts,
        balance=balance,
        spot_balances=_spot_balances(spot_balances),
        alpha_walk_ppm=_alpha_walk(alpha_walk_ppm),
        port=port,
        tls=_tls(tls_cert, tls_key),
        rules=Rules(
            seed=seed,
            fills=fills,
            slippage_ppm=slippage_ppm,
            insurance_e8=units.money_e8(insurance, "--insurance"),
        ),
        key_files=_public_keys(public_keys),
        signature_mode="strict" if signature_mode == "strict" else "lenient",
        recv_window_mode="skip" if skips else "check",
        ws_legacy="full" if ws_legacy == "full" else "public_only",
        control=control or lockstep,
        candle_details=candle_details(data, universe) if data else {},
        open_interest=read_open_interest(open_interest, universe) if open_interest else {},
        funding=funding_files.read(funding, tape.universe) if funding and tape is not None else None,
        faults=read_plan(faults, seed) if faults is not None else Plan(seed),
    )
    asyncio.run(_serve(options))


async def _serve(options: ServeOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    try:
        async with serve(options) as server:
            ready = {"event": "ready", "rest_url": server.rest_url, "ws_url": server.ws_url}
            if options.control:
                ready["control_url"] = f"{server.rest_url}/control"
            print(json.dumps(ready), flush=True)
            for account in server.accounts:
                row = {"account": account.index, "api_key": account.api_key, "secret": account.secret}
                print(json.dumps(row), flush=True)
            for keys in server.signed_keys:
                row = {"account": keys.account, "api_key": keys.api_key, "key_type": keys.kind}
                print(json.dumps(row), flush=True)
            await stop.wait()
    except OSError as error:
        raise InputError(f"cannot listen on port {options.port}: {error.strerror}", field="--port") from error
    notice("exchange stopped")


def _instruments(path: Path | None, brackets: Path | None) -> Mapping[str, Instrument]:
    ladder = read_brackets(brackets) if brackets is not None else None
    return read_instruments(path, ladder) if path is not None else bundled(ladder)


def _tape(
    data: list[Path] | None,
    symbols: str | None,
    from_text: str | None,
    to_text: str | None,
    known: Mapping[str, Instrument],
    synthetic: int | None,
    seed: int,
) -> tuple[Tape | None, int]:
    """The market and the step at which the exchange opens; what lies before is history."""
    if synthetic is not None:
        if data:
            raise InputError("cannot be combined with --data", field="--synthetic")
        return synthetic_tape(seed, synthetic, _SYNTHETIC_MINUTES), 0
    if not data:
        return None, 0
    wanted = None
    if symbols is not None:
        wanted = [part.strip().upper() for part in symbols.split(",") if part.strip()]
    tape = read_tape(data, symbols=wanted, end_ms=time_ms(to_text, "--to"), instruments=known)
    for warning in tape.warnings:
        notice(f"warning: {warning}")
    from_ms = time_ms(from_text, "--from")
    step = 0 if from_ms is None else max(0, -(-(from_ms - tape.start_ms) // MINUTE_MS))
    if step > tape.steps:
        raise InputError(f"lies behind the data, which end at {tape.end_ms}", field="--from")
    return tape, step


def _prices(texts: list[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or []:
        symbol, equals, price = text.partition("=")
        if not equals:
            raise InputError(f"must be SYMBOL=PRICE, was {text!r}", field="--price")
        found[symbol.upper()] = price
    return found


def _spot_balances(texts: list[str] | None) -> dict[str, str]:
    """By asset. Raises InputError."""
    if not texts:
        return {"USDT": "10000"}
    found: dict[str, str] = {}
    for text in texts:
        asset, equals, amount = text.partition("=")
        if not equals or not asset.isascii() or not asset:
            raise InputError(f"must be ASSET=AMOUNT, was {text!r}", field="--spot-balance")
        if units.money_e8(amount, "--spot-balance") < 0:
            raise InputError(f"must not be negative, was {text!r}", field="--spot-balance")
        found[asset.upper()] = amount
    return found


def _alpha_walk(swing_ppm: int) -> int:
    """Raises InputError."""
    if not 0 <= swing_ppm <= _WALK_MAX_PPM:
        raise InputError(f"must be 0 to {_WALK_MAX_PPM}, was {swing_ppm}", field="--alpha-walk-ppm")
    return swing_ppm


def _speed(text: str) -> float:
    """0 for max. Raises InputError."""
    words = {"real": 1.0, "max": 0.0}
    if text in words:
        return words[text]
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 < speed <= 1e6:
        raise InputError(f"{text!r} is neither 'real', 'max' nor a number above 0", field="--speed")
    return speed


def _public_keys(texts: list[str] | None) -> list[tuple[int, bytes]]:
    """(account, PEM) of every ``ACCOUNT=FILE``. Raises InputError."""
    found = []
    for text in texts or []:
        account, equals, path = text.partition("=")
        if not (equals and account.isascii() and account.isdigit() and path):
            raise InputError(f"must be ACCOUNT=FILE, was {text!r}", field="--public-key")
        try:
            found.append((int(account), Path(path).read_bytes()))
        except OSError as error:
            raise InputError(
                f"cannot be read: {error.strerror}", field="--public-key", file=Path(path)
            ) from error
    return found


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None:
            raise InputError("needs --tls-cert", field="--tls-key")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        raise InputError(f"cannot be used: {error}", field="--tls-cert", file=certificate) from error
    return context
