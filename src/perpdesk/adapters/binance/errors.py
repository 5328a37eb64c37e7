"""What the exchange can do to us, named by what the operator must do about it."""

from __future__ import annotations

from perpdesk.domain.errors import InputError, NeedsPerson, PerpdeskError, Refused


class ExchangeUnreachable(PerpdeskError):
    """A read failed: nothing is known, and nothing was changed. Check the network; it will be asked again."""


class ExchangeRefused(Refused):
    """The exchange proved that it did not do what was asked. The code and text are its own."""

    def __init__(self, path: str, code: int | None, text: str) -> None:
        super().__init__("EXCHANGE", f"{path} answered {code}: {text}")
        self.code = code
        self.text = text


class MalformedAnswer(ExchangeUnreachable):
    """An answer that is not the JSON that was agreed. Never read as a refusal; report it with the log."""


class WrongExchange(NeedsPerson):
    """A simulator where the live exchange was expected, or the reverse. Correct the account's environment."""


class KeyRefused(NeedsPerson):
    """The exchange does not take the API key or its signature. Check the key, its rights and its IP list."""


class Throttled(Refused):
    """A limit left no room for this request in time: it was not sent."""

    def __init__(self, what: str, until_ms: int) -> None:
        super().__init__("LIMIT", f"{what}: no room before {until_ms} (UTC ms), the request was not sent")
        self.until_ms = until_ms


class LeaseTooShort(Refused):
    """The account's lease ends before the request could not live any more: not sent. Renew it."""

    def __init__(self, lease_end_ms: int, fence_ms: int) -> None:
        super().__init__(
            "LEASE", f"the lease ends at {lease_end_ms}, the request could live until {fence_ms}"
        )


class KeyFileError(InputError):
    """The secret of an account cannot be used. Give the secret as Binance showed it, or a PEM private key."""
