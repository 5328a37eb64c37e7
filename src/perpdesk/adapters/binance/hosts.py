"""Which exchange: the live hosts are written here and nowhere else, a simulator lives on loopback.

Live means https and the pinned names; a simulator that says so is refused there, and an exchange that
does not say that it is simulated is refused as a simulator. A configuration cannot point live keys at
another host, nor a rehearsal at the live one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from perpdesk.adapters.binance.errors import WrongExchange
from perpdesk.domain.errors import ConfigError

# Every answer of the simulated exchange carries this header (names in small letters here).
SIMULATED_HEADER = "x-perpdesk-simulated"


@dataclass(frozen=True, slots=True)
class Hosts:
    """The addresses of one exchange. Made by ``LIVE`` or ``simulated``, not by hand.

    rest: USDⓈ-M futures; spot: Spot and the wallet (``/api``, ``/sapi``); requests: the WebSocket API.
    """

    rest: str
    streams: str
    is_live: bool
    spot: str
    requests: str

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise WrongExchange if an answer comes from the other kind of exchange."""
        marked = SIMULATED_HEADER in headers
        if self.is_live and marked:
            raise WrongExchange(f"{self.rest} answers as a simulated exchange, and the account is live")
        if not self.is_live and not marked:
            raise WrongExchange(
                f"{self.rest} does not say that it is simulated ({SIMULATED_HEADER}): "
                "a rehearsal never talks to anything else"
            )


LIVE = Hosts(
    rest="https://fapi.binance.com",
    streams="wss://fstream.binance.com",
    is_live=True,
    spot="https://api.binance.com",
    requests="wss://ws-fapi.binance.com/ws-fapi/v1",
)


def simulated(url: str) -> Hosts:
    """A simulated exchange at ``url`` (http or https, loopback). Raises ConfigError for anything else."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not _is_loopback(parts.hostname or ""):
        raise ConfigError(
            f"a simulated exchange is reached over http(s) on loopback, was {url!r}", field="exchange.url"
        )
    if parts.username is not None or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise ConfigError(f"must be scheme, host and port only, was {url!r}", field="exchange.url")
    rest = f"{parts.scheme}://{parts.netloc}"
    streams = "ws" + rest.removeprefix("http")
    return Hosts(rest=rest, streams=streams, is_live=False, spot=rest, requests=f"{streams}/ws-fapi/v1")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
