"""Figures as a dict and as Prometheus text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.engine.metrics import LABELS_MAX, MS_BUCKETS, Histogram, Metrics


def test_snapshot() -> None:
    figures = Metrics()
    figures.add("orders_sent", kind="entry")
    figures.add("orders_sent", 2, kind="entry")
    figures.put("reconcile_age_ms", 1_500)
    for ms in (1, 3, 400):
        figures.observe("fill_to_stop_ms", ms)
    assert figures.snapshot() == {
        "orders_sent{kind=entry}": 3,
        "reconcile_age_ms": 1_500,
        "fill_to_stop_ms": {"count": 3, "p50": 5, "p99": 400, "max": 400},
    }


def test_exposition() -> None:
    figures = Metrics()
    figures.describe("orders_sent", "Orders that went\nto the wire")
    figures.add("orders_sent", 3, symbol='A"B\\\n')
    figures.put("loop_lag_ms", 0.5)
    figures.observe("signal_to_wire_us", 7, (5, 10))
    figures.observe("signal_to_wire_us", 70, (5, 10))
    assert figures.exposition().splitlines() == [
        "# HELP perpdesk_orders_sent Orders that went\\nto the wire",
        "# TYPE perpdesk_orders_sent counter",
        'perpdesk_orders_sent{symbol="A\\"B\\\\\\n"} 3',
        "# TYPE perpdesk_loop_lag_ms gauge",
        "perpdesk_loop_lag_ms 0.5",
        "# TYPE perpdesk_signal_to_wire_us histogram",
        'perpdesk_signal_to_wire_us_bucket{le="5"} 0',
        'perpdesk_signal_to_wire_us_bucket{le="10"} 1',
        'perpdesk_signal_to_wire_us_bucket{le="+Inf"} 2',
        "perpdesk_signal_to_wire_us_sum 77",
        "perpdesk_signal_to_wire_us_count 2",
    ]
    assert Metrics().exposition() == ""


def test_names_are_checked() -> None:
    for name in ("", "Orders", "a b", "1a", "a-b"):
        with pytest.raises(ValueError, match="a metric is named"):
            Metrics().add(name)


def test_a_runaway_label_does_not_eat_the_memory() -> None:
    figures = Metrics()
    for n in range(LABELS_MAX + 50):
        figures.add("orders_sent", client_id=str(n))
    snapshot = figures.snapshot()
    assert len(snapshot) == LABELS_MAX + 1
    assert snapshot["orders_sent{client_id=other}"] == 50


@given(st.lists(st.integers(0, 100_000), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_never_too_small_and_at_most_one_bucket_too_large(
    values: list[int], share: float
) -> None:
    histogram = Histogram(MS_BUCKETS)
    for value in values:
        histogram.observe(value)
    rank = max(1, -int(-share * len(values) // 1))
    exact = sorted(values)[min(rank, len(values)) - 1]
    said = histogram.quantile(share)
    assert exact <= said <= max(values)
    assert said <= min((bound for bound in MS_BUCKETS if bound >= exact), default=max(values))
