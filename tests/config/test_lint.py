"""Each linter rule at its edge: one step this side silent, one step that side found."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpdesk.config import Finding, lint, loads, refuse_errors
from perpdesk.config.lint import widest_stop
from perpdesk.domain.errors import ConfigError

CLEAN = ["score.guardian.timed_stops=[{within_s: 600, level: -0.025}]"]
V2_ALONE = "score.versions.v3.enabled=false"
TWO = (
    "score.versions=[{name: a, scorer: v2, start_offset_s: %s, scan_interval_s: 600},"
    " {name: b, scorer: v2, start_offset_s: 0, scan_interval_s: 900, enabled: %s}]"
)


def found(*options: str, **known: object) -> list[tuple[str, str, str]]:
    config = loads("", options=[*CLEAN, *options]).config
    return [(f.code, f.severity, f.field) for f in lint(config, **known)]  # type: ignore[arg-type]


def stops(*pairs: tuple[int, str]) -> str:
    entries = ", ".join(f"{{within_s: {within}, level: {level}}}" for within, level in pairs)
    return f"score.guardian.timed_stops=[{entries}]"


TRAILING = "score.guardian.trailing"
STOPS = "score.guardian.timed_stops"
ARM = "sma_cross.trail_activation=0.02"


def test_one_timed_stop_in_front_of_the_fixed_one_is_clean() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # L01, L02: where the trailing exit stands when it is armed
        ([f"{TRAILING}={{activation: 0.03, retrace: 0.03}}"], [("L01", "E", f"{TRAILING}.activation")]),
        ([f"{TRAILING}={{activation: 0.02, retrace: 0.03}}"], [("L01", "E", f"{TRAILING}.activation")]),
        ([f"{TRAILING}={{activation: 0.03, retrace: 0.0286}}"], [("L02", "W", f"{TRAILING}.floor")]),
        ([f"{TRAILING}={{activation: 0.03, retrace: 0.0285}}"], []),
        # L03: behind the fixed stop (equal counts), behind another timed stop, never behind itself
        ([stops((600, "-0.03"))], [("L03", "W", f"{STOPS}[0]")]),
        ([stops((600, "-0.029999"))], []),
        ([stops((600, "-0.02"), (300, "-0.025"))], [("L03", "W", f"{STOPS}[1]")]),
        ([stops((300, "-0.025"), (600, "-0.025"))], [("L03", "W", f"{STOPS}[0]")]),
        ([stops((600, "-0.025"), (600, "-0.025"))], [("L03", "W", f"{STOPS}[1]")]),
        ([stops((300, "-0.02"), (600, "-0.025"))], []),
        # L04: a take-profit in front of the trailing exit
        (["score.guardian.fixed_tp=0.03"], [("L04", "I", "score.guardian.fixed_tp")]),
        (["score.guardian.fixed_tp=0.030001"], []),
        # L05: the widest stop against the disaster stop
        (["score.guardian.fixed_stop=-0.1"], [("L05", "E", "score.guardian.fixed_stop")]),
        (["score.guardian.fixed_stop=-0.099999"], []),
        ([stops((600, "-0.1"))], [("L05", "E", f"{STOPS}[0].level"), ("L03", "W", f"{STOPS}[0]")]),
        (["sma_cross.stop=0.1"], [("L05", "E", "sma_cross.stop")]),
        (["sma_cross.stop=0.099999"], []),
        # L06: 0.8 * (1/16 - 0.025) = 0.03 exactly, 0.8 * (1/15 - 0.025) is a little more
        (["sma_cross.leverage=16"], [("L06", "E", "sma_cross.stop")]),
        (["sma_cross.leverage=15"], []),
        (["score.versions.v2.leverage=16"], [("L06", "E", "score.versions[0].leverage")]),
        (["account.leverage=16"], [("L06", "E", "sma_cross.stop")]),
        (["account.leverage=16", "score.versions.v2.leverage=null"],
         [("L06", "E", "sma_cross.stop"), ("L06", "E", "score.versions[0].leverage")]),
        (["score.versions.v2.leverage=16", "score.versions.v2.enabled=false"], []),
        # L07: scans that fall together: 600 and 900 meet where the offsets are equal modulo 300
        ([TWO % (300, "true")], [("L07", "W", "score.versions[1].start_offset_s")]),
        ([TWO % (240, "true")], []),
        ([TWO % (300, "false")], []),
        # L08: threshold plus the worst rating bonus
        (["score.versions.v2.params.min_score_to_trade=90.000001"],
         [("L08", "W", "score.versions[0].params.min_score_to_trade")]),
        (["score.versions.v2.params.min_score_to_trade=90"], []),
        (["score.versions.v3.params={min_score_long: 37.800001, min_score_short: 37.8}"],
         [("L08", "W", "score.versions[1].params.min_score_long")]),
        (["score.versions.v3.params.min_score_short=37.800001"],
         [("L08", "W", "score.versions[1].params.min_score_short")]),
        (["score.versions.v2.params.min_score_to_trade=70.000001", "score.rating.bonuses=[0.05, 0.3]"],
         [("L08", "W", "score.versions[0].params.min_score_to_trade")]),
        (["score.versions.v2.params.min_score_to_trade=95", "score.rating.enabled=false"], []),
        # the shipped grids meet nowhere; 600 and 300 meet where the offsets are equal modulo 300
        (["score.versions.v2.start_offset_s=300"], [("L07", "W", "score.versions[1].start_offset_s")]),
        # L10: a timed stop longer than the shortest life
        ([stops((10801, "-0.025"))], [("L10", "W", f"{STOPS}[0].within_s")]),
        ([stops((10800, "-0.025"))], []),
        ([stops((10801, "-0.025")), "score.guardian.timeouts=[]"], []),
        # L11: conditional orders
        (["risk.positions_max=200", "score.versions.v2.max_positions=76"], [("L11", "W", "score.versions")]),
        (["risk.positions_max=200", "score.versions.v2.max_positions=75"], []),
        ([V2_ALONE, "risk.positions_max=200", "score.versions.v2.max_positions=95"], []),
        # L14: break-even that does not pay the fees
        ([f"{TRAILING}.floor=0.000999"], [("L14", "W", f"{TRAILING}.floor")]),
        ([f"{TRAILING}.floor=0.001"], []),
        (["account.taker_fee=0.00076"], [("L14", "W", f"{TRAILING}.floor")]),
        # L15
        (["risk.daily_loss_limit=null"], [("L15", "I", "risk.daily_loss_limit")]),
        # R01: more than the account allows
        (["score.versions.v2.max_positions=21"], [("R01", "W", "score.versions[0].max_positions")]),
        (["sma_cross.positions_max=21"], [("R01", "W", "sma_cross.positions_max")]),
        # S01: 1.02 * 0.95 = 0.969 is below the stop at 0.97; S02: it secures less than 0.0015
        ([ARM, "sma_cross.trail_callback=0.05"], [("S01", "W", "sma_cross.trail_callback")]),
        ([ARM, "sma_cross.trail_callback=0.049"], [("S02", "W", "sma_cross.trail_callback")]),
        ([ARM, "sma_cross.trail_callback=0.0182"], [("S02", "W", "sma_cross.trail_callback")]),
        ([ARM, "sma_cross.trail_callback=0.018"], []),
        (["sma_cross.trail_activation=0.001", "sma_cross.trail_callback=null"], []),
    ],
)  # fmt: skip
def test_rule(options: list[str], expected: list[tuple[str, str, str]]) -> None:
    assert found(*options) == expected


def test_the_bracket_and_the_universe_sharpen_what_is_known() -> None:
    assert found("sma_cross.leverage=16", mmr_fraction=Decimal("0.004")) == []
    assert found("sma_cross.leverage=5", mmr_fraction=Decimal("0.17")) == [
        ("L06", "E", "sma_cross.stop"),
        ("L06", "E", "score.versions[0].leverage"),
        ("L06", "E", "score.versions[1].leverage"),
    ]
    assert found(symbols=110) == []
    assert found(symbols=111) == [("L11", "W", "score.versions")]


def test_only_what_runs_is_judged() -> None:
    bad = ["sma_cross.leverage=20", "score.versions.v2.leverage=20", "risk.daily_loss_limit=null"]
    assert [code for code, _, _ in found(*bad, strategies=("sma_cross",))] == ["L15", "L06"]
    assert [field for _, _, field in found(*bad, strategies=("score",))] == [
        "risk.daily_loss_limit",
        "score.versions[0].leverage",
    ]


def test_a_stop_beyond_liquidation_refuses_to_start() -> None:
    config = loads("sma_cross: {stop: 0.05, leverage: 20}").config
    with pytest.raises(ConfigError) as caught:
        refuse_errors(lint(config))
    assert (caught.value.rule, caught.value.field) == ("L06", "sma_cross.stop")
    assert caught.value.exit_code == 2
    assert "beyond liquidation: at leverage 20" in caught.value.problem
    assert "nearer than 0.0200" in caught.value.problem


def test_warnings_do_not_refuse() -> None:
    findings = lint(loads("risk: {daily_loss_limit: null}").config)
    assert {finding.severity for finding in findings} == {"W", "I"}
    refuse_errors(findings)


def test_the_widest_stop_counts_dominated_ones_too() -> None:
    assert widest_stop(loads("").config.score.guardian) == Decimal("0.04")
    assert widest_stop(loads("", options=["score.guardian.timed_stops=[]"]).config.score.guardian) == Decimal(
        "0.03"
    )


def test_a_finding_reads_as_one_line() -> None:
    finding = Finding("L15", "I", "risk.daily_loss_limit", "no daily loss limit")
    assert str(finding) == "L15 I risk.daily_loss_limit: no daily loss limit"
