"""What the ledger keeps of volume_target: runs, pairs, orders, fills, days, readings, halts, acceptances.

``document`` is the state machine's whole state as JSON; the other columns are for people and queries. All
times are UTC milliseconds, days are days since 1970-01-01, amounts exact.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec


class VolumeRun(msgspec.Struct, frozen=True, kw_only=True):
    """One user's run on one token. ended_ms None: it goes on (one a user and token)."""

    run_id: int
    strategy_id: str
    user_id: int
    token_key: str
    day: int
    state: str
    reason: str
    target: Decimal
    scope: str
    mode: str
    pairs: int
    failures: int
    config_hash: str
    lease_epoch: int
    created_ms: int
    updated_ms: int
    ended_ms: int | None
    document: str


class VolumePair(msgspec.Struct, frozen=True, kw_only=True):
    """One pair. state other than FLAT: it occupies the place of (user, token)."""

    pair_id: str
    run_id: int
    seq: int
    user_id: int
    token_key: str
    state: str
    outcome: str | None
    p_ref: Decimal
    buy_price: Decimal
    sell_price: Decimal
    qty: Decimal
    sent_ms: int | None
    recv_window_ms: int
    buy_deadline_ms: int | None
    sell_deadline_ms: int | None
    dust: Decimal
    loss_usdt: Decimal
    counted_usdt: Decimal
    config_hash: str
    created_ms: int
    updated_ms: int
    ended_ms: int | None
    document: str


class VolumePairSum(msgspec.Struct, frozen=True, kw_only=True):
    """What a status needs of a pair."""

    run_id: int
    seq: int
    state: str
    loss_usdt: Decimal
    counted_usdt: Decimal
    dust: Decimal
    created_ms: int
    ended_ms: int | None


class VolumeOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order of a pair. attempt counts exits from 1; venue_order_id None: not seen yet."""

    client_id: str
    pair_id: str
    user_id: int
    token_key: str
    leg: str
    attempt: int
    venue_order_id: str | None
    price: Decimal | None
    qty: Decimal
    cum_qty: Decimal
    cum_quote: Decimal
    status: str
    terminal: bool
    config_hash: str


class VolumeFill(msgspec.Struct, frozen=True, kw_only=True):
    """One execution with its commission. in_base: it was taken from the token."""

    client_id: str
    trade_id: int
    cum_qty: Decimal
    user_id: int
    token_key: str
    leg: str
    qty: Decimal
    price: Decimal
    quote: Decimal
    commission: Decimal
    in_base: bool
    venue_ms: int


class VolumeDay(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one (user, token, UTC day), over all runs. best None: no reading yet."""

    user_id: int
    token_key: str
    day: int
    baseline: Decimal
    best: Decimal | None
    quote: Decimal
    rebased: Decimal
    loss_usdt: Decimal


class VolumeReading(msgspec.Struct, frozen=True, kw_only=True):
    """One query of the counter. displayed None: it failed, and error says why."""

    user_id: int
    token_key: str
    day: int
    displayed: Decimal | None
    read_ms: int
    error: str | None


class VolumeHalt(msgspec.Struct, frozen=True, kw_only=True):
    """A user's halt; cleared by a person."""

    strategy_id: str
    user_id: int
    since_ms: int
    reason: str
    cleared_ms: int | None = None
    cleared_by: str | None = None


class VolumeAcceptance(msgspec.Struct, frozen=True, kw_only=True):
    """A user's acceptance of the notice with this sha256."""

    user_id: int
    notice_hash: str
    accepted_ms: int
    accepted_by: str


class VolumeLease(msgspec.Struct, frozen=True, kw_only=True):
    """Who may trade a token: one process at a time."""

    name: str
    owner: str
    epoch: int
    expires_ms: int


VolumeRow = VolumeRun | VolumePair | VolumeOrder | VolumeFill | VolumeDay | VolumeReading | VolumeHalt
