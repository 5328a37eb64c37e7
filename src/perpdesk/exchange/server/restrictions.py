"""GET /sapi/v1/account/apiRestrictions: what an API key may do, as a person has ticked it in the settings.

A new key is as it should be: futures only, no way to move money away, bound to an address. The control
channel (``key_rights``) ticks boxes while the key is in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perpdesk.domain.errors import InputError
from perpdesk.exchange.server.call import Answer, Call, Endpoint, Table

if TYPE_CHECKING:
    from perpdesk.exchange.server.running import RunningServer

_CREATED_MS = 1_698_645_219_000
DEFAULTS: dict[str, bool | int] = {
    "ipRestrict": True,
    "createTime": _CREATED_MS,
    "enableReading": True,
    "enableFutures": True,
    "enableSpotAndMarginTrading": False,
    "enableMargin": False,
    "enableWithdrawals": False,
    "enableInternalTransfer": False,
    "permitsUniversalTransfer": False,
    "enableVanillaOptions": False,
    "enablePortfolioMarginTrading": False,
    "enableFixApiTrade": False,
    "enableFixReadOnly": False,
}
_EXPIRY = "tradingAuthorityExpirationTime"


def restrictions(call: Call) -> Answer:
    """GET apiRestrictions of the caller's key."""
    return DEFAULTS | call.server.key_rights.get(call.api_key, {})


def set_rights(server: RunningServer, api_key: str, changes: dict[str, Any]) -> None:
    """Tick boxes of a key. Raises InputError for a box or a key that does not exist."""
    if api_key not in server.gate.keys:
        raise InputError("is no key of this exchange", field="api_key")
    for name, value in changes.items():
        kind = int if name in ("createTime", _EXPIRY) else bool
        if name not in (*DEFAULTS, _EXPIRY) or type(value) is not kind:
            raise InputError(f"must be a {kind.__name__} among {', '.join((*DEFAULTS, _EXPIRY))}", field=name)
    server.key_rights.setdefault(api_key, {}).update(changes)


TABLE: Table = {("GET", "/sapi/v1/account/apiRestrictions"): Endpoint(restrictions, "SIGNED", 1)}
