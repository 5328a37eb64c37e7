"""ccxt (sync): the same life with blocking calls."""

from __future__ import annotations

import asyncio
import sys

import ccxt
from ccxt_common import options
from ccxt_life import Awaitable, life, listen_key
from life import Report, new_account


async def main() -> int:
    """The life of one account."""
    report = Report("ccxt sync")
    account = new_account()
    x = Awaitable(ccxt.binanceusdm(options(account["api_key"], account["secret"])))
    try:
        await life(x, report, account["account"])
        await listen_key(x, report)
        report.check("no client exception", True)
    except Exception as error:
        report.crashed(error)
    return report.close()


sys.exit(asyncio.run(main()))
