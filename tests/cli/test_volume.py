"""perpdesk volume: quick-start to the target, its status afterwards, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perpdesk.adapters.sqlstore import upgrade
from perpdesk.cli.main import run_command

QUICK = (
    "volume quick-start --token AOP --chain BSC --volume 40 --amount 10 --interval 1 --mul-point-mode REAL"
)


def test_quick_start_reaches_the_target_and_says_what_it_cost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command([*QUICK.split(), "--user", "1", "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert list(document)[:7] == [
        "strategy_id",
        "strategy_name",
        "is_running",
        "target_volume",
        "total_volume",
        "progress",
        "user_volumes",
    ]
    assert document["strategy_id"] == "quick_aop_1"
    assert 40 <= float(document["total_volume"]) <= 50
    assert document["users"]["1"]["state"] == "DONE"
    assert "wash trading is illegal" in said.err


@pytest.mark.parametrize("wrong", [["--volume", "-1"], ["--interval", "0"], ["--user", "nobody"]])
def test_wrong_numbers_exit_with_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*QUICK.split(), "--user", "1", *wrong]) == 2
    assert wrong[0] in capsys.readouterr().err


def test_the_status_of_strategies_that_never_ran(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'v.sqlite'}"
    upgrade(url)
    assert (
        run_command(["volume", "status", "--strategy", "koge_volume_boost", "--json", "--database", url]) == 0
    )
    document = json.loads(capsys.readouterr().out)
    assert document["user_volumes"] == {"1": None, "2": None, "3": None}
    assert document["total_volume"] is None


def test_config_show_names_the_layer(capsys: pytest.CaptureFixture[str]) -> None:
    command = "volume config show --strategy koge_volume_boost --user 1 --json"
    assert run_command(command.split()) == 0
    values = json.loads(capsys.readouterr().out)["values"]
    assert values["single_trade_amount_usdt"] == {
        "value": "50",
        "from": "user_overrides[0].strategies.koge_volume_boost",
    }


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--live", 2, "no strategy with venue binance_spot is enabled"),
        ("--live --strategy koge_volume_boost", 3, "trades on venue sim"),
        ("--live --exchange-url http://127.0.0.1:1", 3, "--live means the live exchange"),
        ("--exchange-url http://127.0.0.1:1 --strategy koge_volume_boost", 3, "trades on venue sim"),
    ],
)
def test_a_run_on_the_wrong_venue_is_refused(
    words: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["volume", "run", *words.split()]) == code
    assert said in capsys.readouterr().err
