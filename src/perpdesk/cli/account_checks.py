"""Asking the exchange what an account's key may do."""

from __future__ import annotations

import asyncio
import socket

from perpdesk.adapters.binance.connect import Gateway
from perpdesk.adapters.binance.hosts import LIVE, Hosts, simulated
from perpdesk.adapters.binance.key_rights import KeyReport, judge, judge_spot, read_key_rights
from perpdesk.adapters.binance.rest import Rest
from perpdesk.adapters.binance.spot import SpotGateway
from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.vault import AccountEntry, Credential, LastCheck
from perpdesk.cli.console import notice
from perpdesk.domain.errors import InputError, Refused
from perpdesk.volume_run.spot_keys import BINANCE_SPOT, SIMULATED_SPOT, SPOT_EXCHANGES

BINANCE, SIMULATED = "binance", "simulated"
OK, REFUSED = "ok", "refused"


def hosts_of_new(exchange_url: str | None) -> tuple[str, Hosts]:
    """The exchange of an account that is added: the live one, or with a URL a simulated one on loopback."""
    return (BINANCE, LIVE) if exchange_url is None else (SIMULATED, simulated(exchange_url))


def spot_hosts_of_new(exchange_url: str | None) -> tuple[str, Hosts]:
    """The same for a key that trades Spot."""
    return (BINANCE_SPOT, LIVE) if exchange_url is None else (SIMULATED_SPOT, simulated(exchange_url))


def is_spot(exchange: str) -> bool:
    """Is an account's key for Spot, so that it is judged as one?"""
    return exchange in SPOT_EXCHANGES


def hosts_of(entry: AccountEntry, exchange_url: str | None) -> Hosts:
    """The exchange of a known account. Raises Refused if a live key would go anywhere else, InputError if a
    simulated account's address is not known."""
    if entry.exchange in (BINANCE, BINANCE_SPOT):
        if exchange_url is not None:
            raise Refused(
                "LIVE_KEY", f"the key of {entry.name!r} is live: it is shown to {LIVE.rest} and no other host"
            )
        return LIVE
    url = exchange_url or entry.exchange_url
    if url is None:
        raise InputError(
            f"account {entry.name!r} is simulated: say where its exchange is", field="--exchange-url"
        )
    return simulated(url)


def ask_rights(
    hosts: Hosts, credential: Credential, name: str, *, spot: bool = False
) -> tuple[KeyReport, LastCheck]:
    """The verdict on a key now. Raises ExchangeUnreachable (nothing is known), ExchangeRefused (the key does
    not work), WrongExchange."""
    clock = SystemClock()

    async def ask() -> KeyReport:
        gateway: Gateway | SpotGateway
        if spot:
            gateway = SpotGateway(hosts, clock)
            rest: Rest = gateway.account(credential.signing(), name).rest
        else:
            gateway = Gateway(hosts, clock)
            rest = gateway.rest(credential.signing(), name)
        try:
            await rest.sync_time()
            rights = await read_key_rights(rest)
        finally:
            await rest.close()
        rule = judge_spot if spot else judge
        return rule(rights, gateway.server.now_ms(), needs_ip_list=hosts.is_live and not credential.any_ip)

    report = asyncio.run(ask())
    verdict = REFUSED if report.problems else OK
    return report, LastCheck(clock.now_ms(), verdict, (*report.problems, *report.warnings))


def refuse_problems(report: KeyReport, hosts: Hosts) -> None:
    """Raise Refused with everything that is wrong; warnings go to stderr."""
    for warning in report.warnings:
        notice(f"warning: {warning}")
    if report.problems:
        listed = [problem for problem in report.problems if "address" in problem]
        if hosts.is_live and listed:
            notice(f"this machine's address is {own_address()} (behind a router: the router's)")
        raise Refused("KEY_RIGHTS", f"the key is not taken: {'; '.join(report.problems)}")


def own_address() -> str:
    """The address that packets to the outside would bear; nothing is sent to learn it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(
                ("192.0.2.1", 9)
            )  # a documentation address: connecting UDP only picks the interface
        except OSError:
            return "unknown"
        return str(probe.getsockname()[0])
