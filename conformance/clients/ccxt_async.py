"""ccxt (async): a whole life, and its view against the ledger."""

from __future__ import annotations

import asyncio
import sys

import ccxt.async_support as ccxt
from ccxt_common import options
from ccxt_life import life, listen_key
from life import Report, new_account


async def main() -> int:
    """The life of one account."""
    report = Report("ccxt async")
    account = new_account()
    x = ccxt.binanceusdm(options(account["api_key"], account["secret"]))
    try:
        await life(x, report, account["account"])
        await listen_key(x, report)
        report.check("no client exception", True)
    except Exception as error:
        report.crashed(error)
    finally:
        await x.close()
    return report.close()


sys.exit(asyncio.run(main()))
