"""The exchange command as a person starts it: JSON lines when it is ready, sentences when it cannot be."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from perpdesk.cli.main import run_command

PROGRAM = [sys.executable, "-c", "from perpdesk.cli import main; main()", "exchange"]


def test_ready_lines_and_a_clean_end() -> None:
    process = subprocess.Popen(
        [*PROGRAM, "--accounts", "3", "--synthetic", "2", "--speed", "max", "--control"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        accounts = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert ready["event"] == "ready"
        assert ready["control_url"] == ready["rest_url"] + "/control"
        assert [row["account"] for row in accounts] == [0, 1, 2]
        assert len({row["api_key"] for row in accounts} | {row["secret"] for row in accounts}) == 6
        with urllib.request.urlopen(ready["rest_url"] + "/fapi/v1/exchangeInfo") as answer:
            symbols = [row["symbol"] for row in json.loads(answer.read())["symbols"]]
        assert symbols == ["AAAUSDT", "BBBUSDT"]
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "exchange stopped\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--price", "BTCUSDT"], "--price: must be SYMBOL=PRICE"),
        (["--price", "NOPEUSDT=1"], "no instrument describes NOPEUSDT"),
        (["--price", "BTCUSDT=1", "--synthetic", "1"], "--price: cannot be combined"),
        (["--speed", "fast"], "--speed: 'fast' is neither"),
        (["--accounts", "0"], "--accounts: must be 1 to"),
        (["--port", "70000"], "--port: must be 0 to 65535"),
        (["--balance", "many"], "--balance: must be a plain decimal number"),
        (["--balance", "-1"], "--balance: must not be negative"),
        (["--signature-mode", "loose"], "--signature-mode: must be lenient or strict"),
        (["--faults", "missing.json"], "missing.json: cannot be read as a list of faults"),
        (["--tls-cert", "missing.pem"], "missing.pem: --tls-cert: cannot be used"),
        (["--data", "missing"], "no such file or folder"),
        (["--synthetic", "0"], "symbols"),
    ],
)
def test_bad_options_are_sentences(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_command(["exchange", *arguments]) == 2
    assert words in capsys.readouterr().err.replace("\n", " ")


def test_the_kernels_fills_stop_by_stop() -> None:
    """--fills kernel from the command line: the tape waits for each answer on the control channel."""
    process = subprocess.Popen(
        [*PROGRAM, "--synthetic", "1", "--lockstep", "--fills", "kernel", "--slippage-ppm", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["control_url"]

        def ask(**arguments: object) -> dict[str, object]:
            request = urllib.request.Request(url, json.dumps(arguments).encode(), method="POST")
            with urllib.request.urlopen(request) as answer:
                found: dict[str, object] = json.loads(answer.read())
                return found

        assert [ask(do="step")["at"] for _ in range(3)] == ["close", "over", "close"]
        params = {"symbol": "AAAUSDT", "side": "BUY", "type": "MARKET", "quantity": 1}
        done = ask(do="actor", action="order", params=params)["done"]
        assert isinstance(done, list)
        assert done[0]["status"] == "NEW"
        told = [ask(do="step") for _ in range(3)]
        assert [one["at"] for one in told] == ["over", "fill", "close"]
        acted = told[1]["acted"]
        assert isinstance(acted, list)
        assert acted[0]["client_id"].startswith("web_")
        assert acted[0]["price"] == told[1]["price"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
