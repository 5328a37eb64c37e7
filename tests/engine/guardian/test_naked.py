"""The naked clock: what it counts, what it leaves out, and what it demands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perpdesk.engine.guardian.naked import Escalation, NakedMeter, escalation, figures, quantile
from perpdesk.engine.metrics import Metrics

KEY = (0, 1)


def test_the_thresholds() -> None:
    ages = (0, 2_999, 3_000, 14_999, 15_000)
    assert [escalation(age).value for age in ages] == ["wait", "wait", "repeat", "repeat", "close"]


def test_uncovered_notional_times_time() -> None:
    meter = NakedMeter()
    meter.observe(KEY, 500, 1_000)
    meter.observe(KEY, 200, 3_000)  # part of it was covered
    meter.observe(KEY, 0, 4_000)
    report = meter.report(9_000)
    assert (report.naked_ms, report.exposure_e8_ms) == (3_000, 500 * 2_000 + 200 * 1_000)
    assert (report.longest_ms, report.now_naked) == (3_000, 0)


def test_an_outage_stops_the_clock_and_is_printed() -> None:
    meter = NakedMeter()
    meter.observe(KEY, 100, 1_000)
    meter.reach(False, 3_000, "BAN")
    assert meter.age_ms(KEY, 63_000) == 2_000
    meter.reach(True, 63_000)
    assert meter.age_ms(KEY, 64_000) == 3_000
    report = meter.report(64_000)
    assert report.naked_ms == 3_000
    assert report.excluded_ms == {"BAN": 60_000}


def test_an_outage_while_nothing_is_naked_excludes_nothing() -> None:
    meter = NakedMeter()
    meter.reach(False, 1_000, "OUTAGE")
    meter.reach(True, 9_000)
    assert meter.report(9_000).excluded_ms == {}


def test_repeats_every_three_seconds_then_closes() -> None:
    meter = NakedMeter()
    meter.observe(KEY, 100, 1)
    said = [(ms, meter.due(ms + 1).get(KEY)) for ms in range(0, 23_000, 1_000)]
    assert [ms for ms, what in said if what is Escalation.REPEAT] == [
        3_000,
        6_000,
        9_000,
        12_000,
    ]
    assert [ms for ms, what in said if what is Escalation.CLOSE] == [
        15_000,
        16_000,
        17_000,
        18_000,
        19_000,
        20_000,
        21_000,
        22_000,
    ]


def test_no_close_during_an_outage() -> None:
    meter = NakedMeter()
    meter.observe(KEY, 100, 1)
    meter.reach(False, 5_000)
    assert Escalation.CLOSE not in meter.due(90_000).values()


def test_a_start_counts_from_the_fill_and_not_from_the_first_look() -> None:
    """Planted bug: a watchdog that begins when the entry is recorded forgets the time that the process was dead."""
    meter = NakedMeter()
    meter.observe(KEY, 100, 50_000, since_ms=28_000)
    assert meter.due(50_000) == {KEY: Escalation.CLOSE}
    assert meter.report(50_000).exposure_e8_ms == 22_000 * 100


def test_an_audit_that_names_it_no_more_ends_the_stretch() -> None:
    meter = NakedMeter()
    meter.observe(KEY, 100, 1_000)
    meter.observe((1, -1), 100, 1_000)
    meter.observed({(1, -1)}, 2_000)
    assert meter.report(9_000).now_naked == 1
    assert meter.age_ms(KEY, 9_000) == 0


def test_fill_to_stop() -> None:
    meter = NakedMeter()
    for n in range(100):
        meter.filled(f"p{n}", 10_000 * n)
        assert meter.acknowledged(f"p{n}", 10_000 * n + n + 1) == n + 1
    meter.filled("closed", 1_000_000)
    meter.flat("closed", 1_001_000)
    assert meter.acknowledged("closed", 1_002_000) is None
    report = meter.report(1_002_000)
    assert (report.stops, report.stop_ms_p50, report.stop_ms_p99, report.stop_ms_max) == (100, 50, 99, 100)


def test_a_second_fill_does_not_restart_the_clock() -> None:
    meter = NakedMeter()
    meter.filled("p", 1_000)
    meter.filled("p", 3_000)
    assert meter.acknowledged("p", 4_000) == 3_000


def test_a_clock_that_steps_back_charges_nothing() -> None:
    meter = NakedMeter()
    meter.observe(KEY, 100, 600_000)
    meter.age_ms(KEY, 1_000)
    assert meter.age_ms(KEY, 2_000) == 1_000


def test_quantiles_are_of_values_that_occurred() -> None:
    assert quantile([], 0.5) == 0
    assert quantile([3, 1, 2], 0.5) == 2
    assert quantile([1, 2, 3, 4], 0.99) == 4


@given(
    events=st.lists(
        st.tuples(st.integers(0, 5_000), st.sampled_from(["cover", "naked", "out", "back"])), max_size=40
    )
)
def test_counted_and_excluded_time_add_up(events: list[tuple[int, str]]) -> None:
    """Every ms with something naked is either counted or excluded, and never both."""
    meter, now_ms, naked, total = NakedMeter(), 1, False, 0
    for wait_ms, what in events:
        now_ms += wait_ms
        total += wait_ms * naked
        if what in ("cover", "naked"):
            naked = what == "naked"
            meter.observe(KEY, 7 * naked, now_ms)
        else:
            meter.reach(what == "back", now_ms)
    report = meter.report(now_ms)
    assert report.naked_ms + sum(report.excluded_ms.values()) == total
    assert report.exposure_e8_ms == 7 * report.naked_ms


def test_figures_can_be_published() -> None:
    meter = NakedMeter()
    meter.observe(KEY, 2 * 10**8, 1_000)
    meter.reach(False, 4_000, "BAN")
    gauges = figures(meter.report(9_000))
    assert gauges["naked_exposure_quote_seconds"] == 6.0
    assert gauges["naked_excluded_ban_seconds"] == 5.0
    published = Metrics()
    for name, value in gauges.items():
        published.put(name, value)
    assert "perpdesk_naked_seconds 3\n" in published.exposition()
