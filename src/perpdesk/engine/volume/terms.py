"""The notice about venue rules. It is shown at every start; real venues need each user's acceptance."""

from __future__ import annotations

from hashlib import sha256

NOTICE = (
    "This program trades only to raise a volume counter. Every round trip is expected to lose money (fees, "
    "spread, price moves while holding). Exchanges forbid artificial volume and may freeze or close accounts "
    "and cancel rewards for it; in many countries wash trading is illegal. You alone decide to run it and "
    "carry the consequences."
)
NOTICE_HASH = sha256(NOTICE.encode()).hexdigest()
