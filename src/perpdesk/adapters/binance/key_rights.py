"""What an API key may do: one that can move money away is refused, whoever holds it.

Read when a key is added, at every start, and hourly: the rights of a key can change while it is used.
"""

from __future__ import annotations

from dataclasses import dataclass

from perpdesk.adapters.binance import endpoints as to
from perpdesk.adapters.binance import payloads as p
from perpdesk.adapters.binance.errors import KeyRefused
from perpdesk.adapters.binance.rest import Rest

# An authority that ends sooner than this is told.
EXPIRY_WARNING_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class KeyReport:
    """problems: why the key is refused. warnings: what a person should know."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def judge(
    rights: p.KeyRights, now_ms: int, *, needs_ip_list: bool = True, needs_spot: bool = False
) -> KeyReport:
    """What is wrong with a key. needs_ip_list: False only by the operator's explicit word.

    needs_spot: the run trades Spot too, so that this right is wanted and not surplus.
    """
    problems = _moves_money(rights)
    warnings: list[str] = []
    if not rights.enable_futures:
        problems.append(
            "it may not trade futures: switch 'Enable Futures' on (a key that is older than the futures "
            "account must be made anew)"
        )
    if rights.enable_margin is True:
        problems.append("it may borrow on margin: switch 'Enable Margin' off")
    if rights.enable_spot_and_margin_trading is True and not needs_spot:
        problems.append("it may trade Spot, which this run does not need: switch it off")
    if rights.enable_spot_and_margin_trading is not True and needs_spot:
        problems.append("it may not trade Spot: switch 'Enable Spot & Margin Trading' on")
    _place_and_time(rights, now_ms, needs_ip_list, problems, warnings)
    return KeyReport(tuple(problems), tuple(warnings))


def judge_spot(rights: p.KeyRights, now_ms: int, *, needs_ip_list: bool = True) -> KeyReport:
    """What is wrong with a key that is to trade Spot and nothing else."""
    problems = _moves_money(rights)
    warnings: list[str] = []
    if rights.enable_spot_and_margin_trading is not True:
        problems.append("it may not trade Spot: switch 'Enable Spot & Margin Trading' on")
    surplus = (
        (rights.enable_futures, "trade futures", "Enable Futures"),
        (rights.enable_margin, "borrow on margin", "Enable Margin"),
        (rights.enable_vanilla_options, "trade options", "Enable European Options"),
        (rights.enable_portfolio_margin_trading, "trade on portfolio margin", "Portfolio Margin Trading"),
    )
    for has, what, switch in surplus:
        if has is True:
            problems.append(f"it may {what}, which this run does not need: use a key without {switch!r}")
    _place_and_time(rights, now_ms, needs_ip_list, problems, warnings)
    return KeyReport(tuple(problems), tuple(warnings))


def _moves_money(rights: p.KeyRights) -> list[str]:
    """What no key of ours may do, whatever it trades."""
    problems: list[str] = []
    if rights.enable_withdrawals:
        problems.append("it may withdraw: switch 'Enable Withdrawals' off")
    if rights.enable_internal_transfer:
        problems.append("it may transfer to other users: switch 'Enable Internal Transfer' off")
    if rights.permits_universal_transfer:
        problems.append("it may transfer between accounts: switch 'Permits Universal Transfer' off")
    return problems


def _place_and_time(
    rights: p.KeyRights, now_ms: int, needs_ip_list: bool, problems: list[str], warnings: list[str]
) -> None:
    """From where, and until when."""
    if not rights.ip_restrict:
        text = "it works from any address: bind it to this machine's address"
        (problems if needs_ip_list else warnings).append(text)
    until_ms = rights.trading_authority_expiration_time
    if isinstance(until_ms, int) and until_ms > 0:
        left_ms = until_ms - now_ms
        if left_ms <= 0:
            problems.append("its right to trade has run out: renew it")
        elif left_ms < EXPIRY_WARNING_MS:
            warnings.append(f"its right to trade ends in {left_ms // 3_600_000} hours")


async def read_key_rights(rest: Rest) -> p.KeyRights:
    """Ask the exchange. Raises ExchangeUnreachable, ExchangeRefused: then the key is not proven harmless."""
    rights: p.KeyRights = await rest.ask(to.KEY_RIGHTS, ())
    return rights


async def require_harmless_key(
    rest: Rest, *, needs_ip_list: bool = True, needs_spot: bool = False
) -> KeyReport:
    """The report of a key without problems. Raises KeyRefused, naming every problem, and as the read does."""
    rights = await read_key_rights(rest)
    report = judge(rights, rest.server.now_ms(), needs_ip_list=needs_ip_list, needs_spot=needs_spot)
    if report.problems:
        raise KeyRefused(f"account {rest.account}: the API key is refused: {'; '.join(report.problems)}")
    return report
