"""Canonical JSON: one text per value, and a changed text is found out."""

from __future__ import annotations

import pytest

from perpdesk.strategies.grid.snapshot import (
    canonical_json,
    decimal_text,
    fraction_text,
    read_snapshot,
    snapshot_hash,
    text_hash,
)


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (800_000, 6, "0.8"),
        (0, 6, "0"),
        (-200, 6, "-0.0002"),
        (10**10, 8, "100"),
        (7, 0, "7"),
        (1_500_000, 6, "1.5"),
    ],
)
def test_fractions(value, scale, text):
    assert fraction_text(value, scale) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.1, "0.1"), (-1e-12, "0"), (1e-9, "0.000000001"), (12.0, "12")]
)
def test_computed_numbers(value, text):
    assert decimal_text(value) == text


def test_order_of_keys_leaves_no_trace():
    assert canonical_json({"b": 1, "a": [True, None, "ü"]}) == '{"a":[true,null,"ü"],"b":1}'
    assert snapshot_hash({"b": 1, "a": 2}) == snapshot_hash({"a": 2, "b": 1})


def test_a_float_is_refused_by_its_place():
    with pytest.raises(ValueError, match=r"snapshot.zones\[1\].strength.*'0.5'"):
        canonical_json({"zones": [{}, {"strength": 0.5}]})


def test_an_edited_text_is_refused():
    text = canonical_json({"grid_levels": 10})
    assert read_snapshot(text, text_hash(text)) == {"grid_levels": 10}
    with pytest.raises(ValueError, match="changed afterwards"):
        read_snapshot(text.replace("10", "11"), text_hash(text))
