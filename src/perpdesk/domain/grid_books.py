"""What the grid's commands keep beside zones, signals and orders.

A ``document`` is canonical JSON and ``document_hash`` its sha256: a row that was edited by hand is refused
when it is read. Times are UTC ms.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpdesk.domain.order import Side


class GridLease(msgspec.Struct, frozen=True, kw_only=True):
    """Who may act for one command and symbol (``grid:scanner:BTCUSDT``). The epoch only rises."""

    name: str
    owner: str
    epoch: int
    expires_ms: int
    build_hash: str


class GridProcess(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a command: its parameters, code and data. Written before its results."""

    command: str
    symbol: str
    params_hash: str
    code_revision: str
    kernel_hash: str
    data_from_ms: int
    data_to_ms: int
    data_hash: str
    status: str
    created_ms: int


class GridScan(msgspec.Struct, frozen=True, kw_only=True):
    """A scan of one 4-hour boundary, complete or not."""

    symbol: str
    as_of_ms: int
    params_hash: str
    status: str
    reason: str
    document: str
    document_hash: str
    process_id: int
    created_ms: int


class GridSignalNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers that a signal's rule was measured with, and the process that found it."""

    signal_id: str
    process_id: int
    document: str
    document_hash: str


class GridRun(msgspec.Struct, frozen=True, kw_only=True):
    """One grid, from its start to flat. document: the plan and what was told to it since, by minute."""

    run_id: int
    account_id: int
    symbol: str
    mode: str
    variant: str
    signal_id: str
    state: str
    document: str
    document_hash: str
    begun_ms: int
    last_bar_ms: int
    kernel_hash: str
    params_hash: str
    process_id: int
    created_ms: int
    updated_ms: int
    ended_ms: int | None = None
    close_reason: str | None = None
    override_text: str | None = None
    backtest_id: int | None = None


class GridFill(msgspec.Struct, frozen=True, kw_only=True):
    """A fill of a run's order. trade_id counts from 1 in each run."""

    run_id: int
    trade_id: int
    client_id: str
    level: int
    side: Side
    lots: int
    price: Decimal
    fee: Decimal
    realized: Decimal
    is_maker: bool
    reason: str
    venue_ms: int
    params_hash: str


class GridBacktest(msgspec.Struct, frozen=True, kw_only=True):
    """A report that the gate asks for. digest: sha256 over all fills."""

    symbol: str
    params_hash: str
    kernel_hash: str
    code_revision: str
    data_from_ms: int
    data_to_ms: int
    data_hash: str
    days: int
    missing_fraction: Decimal
    crash_ok: bool
    digest: str
    metrics: str
    created_ms: int
    id: int | None = None
