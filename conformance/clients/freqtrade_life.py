"""freqtrade as a black box, live mode: one buy, a stop on the exchange, one sell."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ccxt_common import options
from life import Report, control, ledger, money, new_account

PAIR = "BTC/USDT:USDT"
# It starts within seconds, on a busy machine within minutes.
START_S, STEP_S = 300, 120
STRATEGY = """
from freqtrade.strategy import IStrategy


class OneTrade(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "1m"
    can_short = True
    stoploss = -0.05
    minimal_roi = {}
    startup_candle_count = 5
    entered = False
    process_only_new_candles = False
    order_types = {
        "entry": "market",
        "exit": "market",
        "emergency_exit": "market",
        "stoploss": "market",
        "stoploss_on_exchange": True,
        "stoploss_on_exchange_interval": 5,
    }

    def populate_indicators(self, dataframe, metadata):
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe["enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe["exit_long"] = 0
        return dataframe

    def custom_exit(self, pair, trade, current_time, current_rate, current_profit, **kwargs):
        return "done" if current_rate > 50500 else None

    def confirm_trade_entry(self, *args, **kwargs):
        first, self.entered = not self.entered, True
        return first

    def leverage(self, *args, **kwargs):
        return 3.0
"""


def configuration(account: dict, folder: Path) -> dict:
    """The user's config.json."""
    ours = options(account["api_key"], account["secret"])
    del ours["urls"]["api"]["ws"]
    return {
        "max_open_trades": 1,
        "stake_currency": "USDT",
        "stake_amount": 500,
        "dry_run": False,
        "trading_mode": "futures",
        "margin_mode": "isolated",
        "db_url": f"sqlite:///{folder}/trades.sqlite",
        "unfilledtimeout": {"entry": 10, "exit": 10},
        "entry_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "exit_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "exchange": {
            "name": "binance",
            "key": account["api_key"],
            "secret": account["secret"],
            "enable_ws": False,
            "pair_whitelist": [PAIR],
            "pair_blacklist": [],
            "ccxt_config": {
                "options": {**ours["options"], "fetchMarkets": {"types": ["linear"]}},
                "urls": ours["urls"],
            },
        },
        "pairlists": [{"method": "StaticPairList"}],
        "internals": {"process_throttle_secs": 1},
        "initial_state": "running",
    }


def until(condition, seconds: float) -> bool:
    """Ask again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.5)
    return False


def life(report: Report, account: int) -> None:
    """Buy, stop on exchange, sell."""
    bought = until(lambda: bool(ledger(account)["positions"]), START_S)
    report.check("it has started", bought)
    report.part = "market"
    report.check("bought", bought, ledger(account))
    report.part = "stop"
    stopped = until(lambda: ledger(account)["open_algos"] == 1, STEP_S)
    report.check("stop on the exchange", stopped, ledger(account))
    control("tick", symbol="BTCUSDT", price="50600", walk=True)
    report.part = "market"
    sold = until(lambda: bought and not ledger(account)["positions"], STEP_S)
    report.check("sold", sold, ledger(account))
    report.part = "stop"
    gone = until(lambda: ledger(account)["open_algos"] == 0, STEP_S)
    report.check("stop is gone", gone, ledger(account))


def main() -> int:
    """One process of freqtrade from start to end."""
    report = Report("freqtrade")
    made = new_account()
    control("tick", symbol="BTCUSDT", price="50000")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "strategies").mkdir()
        (folder / "strategies" / "one_trade.py").write_text(STRATEGY)
        (folder / "config.json").write_text(json.dumps(configuration(made, folder)))
        log = (folder / "log.txt").open("w")
        process = subprocess.Popen(
            [
                str(Path(sys.executable).parent / "freqtrade"), "trade",
                "--config", str(folder / "config.json"), "--userdir", str(folder),
                "--strategy-path", str(folder / "strategies"), "--strategy", "OneTrade",
            ],
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            life(report, made["account"])
            report.check("it keeps running", process.poll() is None, process.returncode)
            lived = (folder / "log.txt").read_text()  # what it says while it is interrupted is another matter
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
            log.close()
        errors = [line for line in lived.splitlines() if "ERROR" in line or "Traceback" in line]
        report.check("no client exception", not errors, errors[-3:])
        if report.failed:
            print(lived[-6000:], file=sys.stderr)
        report.part = "books"
        missing = control("fired")["unknown_paths"]
        report.check("every endpoint was there", not missing, missing)
        books = ledger(made["account"])
        report.check("a buy and a sell", len(books["fills"]) == 2, books["fills"])
        report.equal("the wallet adds up", money(books["wallet_e8"]), money(
            books["initial_e8"] + books["realised_e8"] - books["fees_e8"]
        ))  # fmt: skip
    return report.close()


sys.exit(main())
