"""What a server can be told. The defaults behave like production in 2026."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from perpdesk.domain.instrument import Instrument
from perpdesk.exchange.core.world import Rules
from perpdesk.exchange.faults import Plan
from perpdesk.exchange.server.details import CandleDetails, OpenInterest
from perpdesk.market.bars import Records
from perpdesk.market.tape import Tape
from perpdesk.ports import Clock

DEFAULT_PRICES: Mapping[str, str] = {"BTCUSDT": "50000", "ETHUSDT": "2500", "SOLUSDT": "150"}


@dataclass(frozen=True)
class ServeOptions:
    """clock: the machine's (adapters.clocks.SystemClock) or one that a test drives.

    With a tape, its minutes are replayed at ``speed`` (0: as fast as possible, None: only when told) and the
    exchange's time is the tape's. Without, prices stand at ``prices`` until ``tick`` is called and the
    exchange's time is the clock's. With ``lockstep`` the tape moves only by the control channel's ``step``.
    start_step: minutes of the tape that are history already. volume_share_ppm: how much of a bar's volume
    resting orders may take (0: all they want). balance: USDT of every account.
    spot_balances: its Spot wallet. alpha_walk_ppm: how far Alpha tokens wander each second (0: they stand).
    public_keys: (API key, PEM) of RSA or Ed25519 keys, for the accounts in their order. key_files: (account,
    PEM); the server makes the API key.
    """

    clock: Clock
    prices: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_PRICES))
    instruments: Mapping[str, Instrument] | None = None
    tape: Tape | None = None
    speed: float | None = 1.0
    start_step: int = 0
    volume_share_ppm: int = 0
    lockstep: bool = False
    accounts: int = 2
    balance: str = "10000"
    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    rules: Rules = field(default_factory=Rules)
    signature_mode: Literal["lenient", "strict"] = "lenient"
    recv_window_mode: Literal["check", "skip"] = "check"
    ws_legacy: Literal["public_only", "full"] = "public_only"
    weight_limit: int = 2_400
    order_limit_10s: int = 300
    order_limit_1m: int = 1_200
    retry_after: bool = True
    event_order: Literal["live", "shuffled"] = "live"
    listen_key_ms: int = 3_600_000
    pulse_ms: int = 100
    ping_ms: int = 180_000
    pong_ms: int = 600_000
    control: bool = False
    faults: Plan | None = None
    candle_details: Mapping[str, CandleDetails] = field(default_factory=dict)
    open_interest: Mapping[str, OpenInterest] = field(default_factory=dict)
    funding: Records | None = None
    public_keys: Sequence[tuple[str, bytes]] = ()
    spot_balances: Mapping[str, str] = field(default_factory=lambda: {"USDT": "10000"})
    alpha_walk_ppm: int = 0
    key_files: Sequence[tuple[int, bytes]] = ()
