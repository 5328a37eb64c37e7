"""Errors say where, what and what to do, and end the process with the documented code."""

from __future__ import annotations

import inspect

import pytest

from perpdesk.domain import errors


def tree() -> list[type[errors.PerpdeskError]]:
    return [
        cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.PerpdeskError)
    ]


@pytest.mark.parametrize("cls", tree())
def test_the_drawn_tree_is_the_real_one(cls: type[errors.PerpdeskError]) -> None:
    assert errors.__doc__ is not None
    (line,) = [line for line in errors.__doc__.splitlines() if f" {cls.__name__} " in line]
    drawn = [word for word in line.split() if word.isdigit()][0]
    assert int(drawn) == cls.exit_code
    assert cls.__doc__ is not None


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.InputError("must be above zero"), "must be above zero"),
        (errors.ConfigError("unknown key", field="score.v2.levrage", file="perpdesk.yaml"),
         "perpdesk.yaml: score.v2.levrage: unknown key"),
        (errors.DataError("open_ms goes back", file="BTC.parquet", row=7, rule="TIME_ORDER"),
         "BTC.parquet, row 7: open_ms goes back [TIME_ORDER]"),
        (errors.DataError("no row", file="BTC.parquet", rule="EMPTY"), "BTC.parquet: no row [EMPTY]"),
    ],
)  # fmt: skip
def test_messages_name_the_place(error: errors.InputError, text: str) -> None:
    assert str(error) == text


def test_messages_name_the_remedy() -> None:
    assert "--instruments FILE" in str(errors.UnknownSymbol("XUSDT", known=3))
    url = "sqlite:///desk.sqlite"
    assert f"perpdesk db upgrade --database {url}" in str(
        errors.DatabaseNotMigrated(url, found=None, wanted="1")
    )
    assert "revision 0" in str(errors.DatabaseNotMigrated(url, found="0", wanted="1"))
    assert "wait" in str(errors.LeaseHeld("1", "desk-a", 5))
    assert str(errors.Refused("CRASH_UNTESTED", "run the crash test")).startswith("CRASH_UNTESTED: ")
