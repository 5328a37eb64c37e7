"""Exact decimals and canonical JSON, without a database."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql, postgresql, sqlite

from perpdesk.adapters.sqlstore.types import Exact, canonical_json

SQLITE = sqlite.dialect()
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(JSON_VALUES)
def test_canonical_json_is_one_text_per_value(value: Any) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
    assert text.isascii()


def test_canonical_json_by_example() -> None:
    assert (
        canonical_json({"b": Decimal("1E-8"), "a": [1.5, None, "é"]})
        == '{"a":[1.5,null,"\\u00e9"],"b":"0.00000001"}'
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0", "0"),
        ("-0.000", "0"),
        ("1E+3", "1000"),
        ("100", "100"),
        ("0.10", "0.1"),
        ("-12.500", "-12.5"),
        ("1E-12", "0.000000000001"),
        ("999999999999999999.999999999999", "999999999999999999.999999999999"),
    ],
)
def test_sqlite_keeps_canonical_text(number: str, text: str) -> None:
    """So that `> 0`, `= 0` and `< 0` hold on text: no "0.000", no "-0", no exponent."""
    assert Exact(30, 12).process_bind_param(Decimal(number), SQLITE) == text


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_exact_takes_what_it_can_give_back_and_nothing_else(number: Decimal) -> None:
    kind = Exact(20, 8)
    if kind.problem_of(number) is None:
        assert kind.process_result_value(kind.process_bind_param(number, SQLITE), SQLITE) == number
        return
    assert not number.is_finite() or number.copy_abs() >= 10**12 or number != _cut(number)
    with pytest.raises(ValueError, match="must"):
        kind.process_bind_param(number, SQLITE)


def _cut(number: Decimal) -> Decimal:
    sign, figures, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    units = int("".join(map(str, figures)))
    units = units * 10 ** (exponent + 8) if exponent >= -8 else units // 10 ** (-exponent - 8)
    return Decimal((sign, tuple(map(int, str(units))), -8))


def test_exact_columns_are_decimals_where_there_are_decimals() -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("x", Exact(30, 12)))
    create = sa.schema.CreateTable(table)
    assert "x TEXT" in str(create.compile(dialect=SQLITE))
    for dialect in (postgresql.dialect(), mysql.dialect()):
        assert "x NUMERIC(30, 12)" in str(create.compile(dialect=dialect))
