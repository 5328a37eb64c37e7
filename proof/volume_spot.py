"""Volume over Spot order lists, as real processes, with a stranger (ccxt) watching the same accounts.

    python proof/volume_spot.py [--target 600] [--seed 7] [--json FILE]

An exchange, `perpdesk volume keys add` and `perpdesk volume run --exchange-url` as people use them, a market
that moves and thins out, and ccxt in an environment of its own (as for `make conformance`). At the end the
stranger, the ledger and the exchange's own books must agree on every list, order, execution and balance.
Exit code 1 if they do not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import runpy
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from base64 import b64encode
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SYMBOL, BASE = "DOGEUSDT", "DOGE"
USERS = (1, 2, 3)
CONFIG = """
global_settings:
  volume_check_delay_seconds: 1
  default_trade_interval_seconds: 0.2
  order_timeout_seconds: 10
  retry_delay_seconds: 0.5
  max_price_volatility_percentage: 50
  volatility_window_seconds: 10
  max_consecutive_failures: 100
  max_loss_per_trade_usdt: 5
  max_loss_per_day_usdt: 500
  max_loss_per_day_all_users_usdt: 5000
strategies:
  - strategy_id: doge
    strategy_name: Doge on Spot
    enabled: true
    venue: binance_spot
    target_token: DOGE
    target_chain: SPOT
    target_volume: {target}
    single_trade_amount_usdt: 30
    sell_profit_percentage: 0.5
    price_mode: discount_on_buy
    user_ids: [1, 2, 3]
user_overrides:
  - user_id: 1
    strategies: {{doge: {{single_trade_amount_usdt: 50}}}}
  - user_id: 3
    strategies: {{doge: {{single_trade_amount_usdt: 20}}}}
"""


def command(*words: object) -> list[str]:
    """The command line of this environment."""
    return [sys.executable, "-c", "from perpdesk.cli import main; main()", *map(str, words)]


class Exchange:
    """A process of its own."""

    def __init__(self) -> None:
        words = ("exchange", "--control", "--accounts", len(USERS), "--price", f"{SYMBOL}=0.25")
        self.process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.url, self._control = ready["rest_url"], ready["control_url"]
        self.keys = [json.loads(self.process.stdout.readline()) for _ in USERS]

    def do(self, action: str, **arguments: Any) -> Any:
        """One action of the control channel."""
        body = json.dumps({"do": action, **arguments}).encode()
        with urllib.request.urlopen(self._control, body, timeout=60) as answer:
            return json.loads(answer.read())

    def wander(self, draw: random.Random) -> None:
        """The market moves by a tick or two; now and then there is little to buy."""
        bid = 25_000 + draw.randint(-5, 5)
        sizes = {"ask_qty": str(draw.randint(20, 90))} if draw.random() < 0.1 else {}
        self.do("spot_quote", symbol=SYMBOL, bid=f"{bid / 1e5:.5f}", ask=f"{(bid + 1) / 1e5:.5f}", **sizes)


def stranger() -> Path:
    """ccxt's interpreter, installed where `make conformance` has it."""
    conformance = ROOT / "conformance"
    sys.path.insert(0, str(conformance))
    wrong = runpy.run_path(str(conformance / "run.py"))["prepare"]("ccxt")
    if wrong is not None:
        raise SystemExit(f"ccxt: {wrong}")
    return ROOT / ".conformance" / "ccxt" / "bin" / "python"


def run(target: int, seed: int, folder: Path) -> dict[str, Any]:
    """Everything; returns the figures."""
    python, draw = stranger(), random.Random(seed)
    master = f"k1:{b64encode(secrets.token_bytes(32)).decode()}"
    surroundings = os.environ | {
        "PERPDESK_VAULT": str(folder / "vault.json"),
        "PERPDESK_MASTER_KEY": master,
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "PERPDESK_CONTROL_DIR": str(folder / "control"),
    }
    database, config = folder / "volume.sqlite", folder / "trading_config.yaml"
    url = f"sqlite:///{database}"
    config.write_text(CONFIG.format(target=target))
    exchange = Exchange()
    try:
        subprocess.run(command("db", "upgrade", "--database", url), check=True, env=surroundings)
        for user, keys in zip(USERS, exchange.keys, strict=True):
            rights = {"enableFutures": False, "enableSpotAndMarginTrading": True}
            exchange.do("key_rights", api_key=keys["api_key"], set=rights)
            words = (
                "volume",
                "keys",
                "add",
                "--user",
                user,
                "--exchange-url",
                exchange.url,
                "--key-file",
                "-",
            )
            text = f"{keys['api_key']}\n{keys['secret']}\n"
            subprocess.run(command(*words), check=True, env=surroundings, input=text, text=True)
        watcher = subprocess.Popen(
            [str(python), "ccxt_watch.py"], cwd=ROOT / "conformance" / "clients",
            env=os.environ
            | {
                "PERPDESK_REST": exchange.url,
                "PERPDESK_WS": exchange.url.replace("http", "ws", 1),
                "PERPDESK_SYMBOL": SYMBOL,
            },
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert watcher.stdin is not None
        assert watcher.stdout is not None
        rows = [
            {"user": str(user), **{name: keys[name] for name in ("api_key", "secret")}}
            for user, keys in zip(USERS, exchange.keys, strict=True)
        ]
        watcher.stdin.write(json.dumps(rows) + "\n")
        watcher.stdin.flush()
        print(watcher.stdout.readline().strip(), file=sys.stderr)
        exchange.wander(draw)
        begun = time.monotonic()
        words = (
            "volume", "run", "--exchange-url", exchange.url, "--config", config, "--database", url, "--json",
        )  # fmt: skip
        desk = subprocess.Popen(command(*words), stdout=subprocess.PIPE, text=True, env=surroundings)
        while desk.poll() is None:
            time.sleep(0.1)
            exchange.wander(draw)
        took = time.monotonic() - begun
        assert desk.stdout is not None
        status = json.loads(desk.stdout.read())
        watcher.stdin.write("over\n")
        watcher.stdin.flush()
        seen = json.loads(watcher.stdout.readline())
        watcher.wait(timeout=60)
        books = {user: exchange.do("spot_ledger", account=user - 1) for user in USERS}
    finally:
        exchange.process.terminate()
        exchange.process.communicate(timeout=60)
    return judged(status, seen, books, database) | {
        "exit_code": desk.returncode,
        "seconds": round(took, 1),
        "target": target,
        "cost_usdt": status["cost_usdt"],
        "cost_bp": status["cost_bp"],
        "user_volumes": status["user_volumes"],
    }


def judged(
    status: dict[str, Any], seen: dict[str, Any], books: dict[int, Any], database: Path
) -> dict[str, Any]:
    """Three views of every list, order, execution and balance: the stranger's, ours, the exchange's."""
    problems: list[str] = []
    figures: dict[str, Any] = {"lists": 0, "orders": 0, "executions": 0, "looks": 0, "statuses_seen": 0}

    def same(what: str, *views: Any) -> None:
        if any(view != views[0] for view in views):
            problems.append(f"{what}: {' | '.join(str(view)[:300] for view in views)}")

    with sqlite3.connect(database) as ledger:
        ledger.row_factory = sqlite3.Row
        pairs = ledger.execute("SELECT * FROM volume_pairs").fetchall()
        orders = ledger.execute("SELECT * FROM volume_orders").fetchall()
        fills = ledger.execute("SELECT * FROM volume_fills").fetchall()
    for user in USERS:
        theirs, exchange = seen[str(user)], books[user]
        mine = [row for row in pairs if row["user_id"] == user]
        sent = {row["pair_id"] for row in mine if row["outcome"] not in ("NOT_SENT", "REFUSED", "NOT_PLACED")}
        same(
            f"user {user}: lists",
            sorted(sent),
            sorted(row["listClientOrderId"] for row in theirs["lists"]),
            sorted(row["listClientOrderId"] for row in exchange["lists"]),
        )
        same(
            f"user {user}: every list has ended",
            {"ALL_DONE"},
            {row["listOrderStatus"] for row in theirs["lists"]},
            {row["listOrderStatus"] for row in exchange["lists"]},
        )
        ours = {
            row["client_id"]: (row["venue_order_id"], Decimal(row["cum_qty"]), Decimal(row["cum_quote"]))
            for row in orders
            if row["user_id"] == user and row["venue_order_id"] is not None
        }
        same(
            f"user {user}: orders",
            ours,
            {
                row["clientOrderId"]: (
                    str(row["orderId"]), Decimal(row["executedQty"]), Decimal(row["cummulativeQuoteQty"]),
                )
                for row in theirs["orders"]
            },
        )  # fmt: skip
        same(
            f"user {user}: executions",
            sorted((row["trade_id"], Decimal(row["qty"]), Decimal(row["quote"]), Decimal(row["commission"]))
                   for row in fills if row["user_id"] == user),
            sorted((int(row["id"]), Decimal(row["qty"]), Decimal(row["quoteQty"]), Decimal(row["commission"]))
                   for row in theirs["trades"]),
            sorted((row["id"], Decimal(row["qty"]), Decimal(row["quoteQty"]), Decimal(row["commission"]))
                   for row in exchange["fills"]),
        )  # fmt: skip
        lost = sum((Decimal(row["loss_usdt"]) for row in mine), Decimal(0))
        dust = sum((Decimal(row["dust"]) for row in mine), Decimal(0))
        same(
            f"user {user}: USDT",
            Decimal(10_000) - lost,
            Decimal(theirs["free"]["USDT"]),
            Decimal(exchange["balances"]["USDT"]["free"]),
        )
        same(
            f"user {user}: {BASE}",
            dust.normalize(),
            Decimal(theirs["free"].get(BASE, "0")).normalize(),
            Decimal(exchange["balances"].get(BASE, {"free": "0"})["free"]).normalize(),
        )
        same(f"user {user}: nothing is locked", {}, theirs["used"])
        if status["users"][str(user)]["state"] != "DONE":
            problems.append(f"user {user} is {status['users'][str(user)]}")
        figures["lists"] += len(theirs["lists"])
        figures["orders"] += len(theirs["orders"])
        figures["executions"] += len(theirs["trades"])
        figures["looks"] += theirs["looks"]
        figures["statuses_seen"] += sum(map(len, theirs["statuses"].values()))
    outcomes: dict[str, int] = {}
    for row in pairs:
        outcomes[row["outcome"]] = outcomes.get(row["outcome"], 0) + 1
    cost = sum((Decimal(row["loss_usdt"]) for row in pairs), Decimal(0))
    same("cost", Decimal(status["cost_usdt"]), round(cost, 4))
    return {"problems": problems, **figures, "outcomes": outcomes}


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=int, default=600)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(given.target, given.seed, Path(folder))
    text = json.dumps(found, indent=1)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
