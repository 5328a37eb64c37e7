"""Every bad input gives its code, its field and its place, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perpdesk.config import load, loads
from perpdesk.domain.errors import ConfigError

VERSION = "{name: v2, scorer: v2"
V0 = "score.versions[0]"
GUARDIAN = "score.guardian"


def refused(text: str, **layers: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        loads(text, **layers)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return caught.value


def versions(rest: str) -> str:
    return f"score: {{versions: [{VERSION}, {rest}}}]}}"


def version_3(rest: str) -> str:
    """A file with one version of the V3 scorer."""
    return f"score: {{versions: [{{name: v3, scorer: v3, {rest}}}]}}"


def guardian(rest: str) -> str:
    return f"score: {{guardian: {{{rest}}}}}"


# text, code, field, part of the message
FORM = [
    ("sma_cross: {stop: .nan}", "sma_cross.stop", "finite"),
    ("sma_cross: {stop: .NaN}", "sma_cross.stop", "finite"),
    ("sma_cross: {stop: NaN}", "sma_cross.stop", "was the text 'NaN'"),
    ("sma_cross: {stop: .inf}", "sma_cross.stop", "finite"),
    ("sma_cross: {stop: -.inf}", "sma_cross.stop", "finite"),
    ("account: {balance_usdt: .inf}", "account.balance_usdt", "finite"),
    ("account: {balance_usdt: Infinity}", "account.balance_usdt", "was the text 'Infinity'"),
    ("sma_cross: {stop: 3%}", "sma_cross.stop", "was the text '3%': write 0.03"),
    ("sma_cross: {stop: '2.5 %'}", "sma_cross.stop", "write 0.025"),
    (guardian("fixed_stop: -3%"), f"{GUARDIAN}.fixed_stop", "write -0.03"),
    ("sma_cross: {stop: '0.03'}", "sma_cross.stop", "write it without quotes"),
    ("sma_cross: {stop: true}", "sma_cross.stop", "a fraction of the entry price with 0 < x < 0.5"),
    ("sma_cross: {fast: true}", "sma_cross.fast", "was true"),
    ("sma_cross: {fast: yes}", "sma_cross.fast", "was the text 'yes'"),
    ("sma_cross: {fast: 20.5}", "sma_cross.fast", "at most 0 decimal places"),
    ("sma_cross: {fast: 1_0}", "sma_cross.fast", "was 1_0"),
    ("sma_cross: {fast: 0x10}", "sma_cross.fast", "was 0x10"),
    ("sma_cross: {fast: ２０}", "sma_cross.fast", "with the digits 0 to 9"),
    ("sma_cross: {fast: 1:30}", "sma_cross.fast", "was the text '1:30'"),
    ("sma_cross: {fast: 2020-01-01}", "sma_cross.fast", "was 2020-01-01"),
    ("sma_cross: {fast: }", "sma_cross.fast", "was empty (null)"),
    ("sma_cross: {fast: [1]}", "sma_cross.fast", "was a list"),
    ("sma_cross: {fast: {a: 1}}", "sma_cross.fast", "was a mapping"),
    ("sma_cross: {fast: !!int abc}", "sma_cross.fast", "was abc"),
    ("sma_cross: {fast: !secret 5}", "sma_cross.fast", "was 5"),
    ("sma_cross: {fast: !!python/name:os.system x}", "sma_cross.fast", "must be"),
    ("sma_cross: {stop: 0.0300001}", "sma_cross.stop", "at most 6 decimal places"),
    ("account: {balance_usdt: 0.000000001}", "account.balance_usdt", "at most 8 decimal places"),
    ("account: {name: 5}", "account.name", "as text, was 5"),
    ("account: {name: true}", "account.name", "as text, was true"),
    ("account: {name: null}", "account.name", "as text, was empty"),
    ("account: {margin_mode: [isolated]}", "account.margin_mode", "isolated or cross"),
    (versions("enabled: 1"), f"{V0}.enabled", "must be true or false"),
    (versions("enabled: yes"), f"{V0}.enabled", "must be true or false"),
    (versions("enabled: !!bool maybe"), f"{V0}.enabled", "must be true or false"),
    ("sma_cross: {stopp: 0.03}", "sma_cross.stopp", "unknown key: did you mean stop?"),
    ("sma_cross: {zzz: 1}", "sma_cross.zzz", "known here: interval, fast, slow"),
    ("sma_crosss: {fast: 3}", "sma_crosss", "unknown section: did you mean sma_cross?"),
    ("oi: {adopt: all}", "oi.adopt", "not available yet"),
    ("oi: {thresholds: 3}", "oi.thresholds", "must be a mapping"),
    ("oi: {min_score: .nan}", "oi.min_score", "and finite"),
    (guardian("partial_exits: []"), f"{GUARDIAN}.partial_exits", "not available yet"),
    ("score: {symbols: [BTCUSDT]}", "score.symbols", "not available yet"),
    (versions("params: {min_score: 3}"), f"{V0}.params.min_score", "did you mean min_score_"),
    (guardian("trailing: null"), f"{GUARDIAN}.trailing", "must be a mapping"),
    ("score: 5", "score", "must be a mapping"),
    ("score: {versions: {v2: 1}}", "score.versions", "must be a list"),
    ("score: {versions: [v2]}", "score.versions[0]", "must be a mapping"),
    ("score: {versions: [{scorer: v2}]}", f"{V0}.name", "is missing"),
    ("score: {versions: [{name: v2}]}", f"{V0}.scorer", "is missing: must be v2 or v3"),
    ("score: {versions: [{name: v2, scorer: {v: 2}}]}", f"{V0}.scorer", "must be v2 or v3, was a mapping"),
    ("score: {versions: [{name: v2, scorer: 2}]}", f"{V0}.scorer", "must be v2 or v3, as text, was 2"),
    (versions("params: {min_score_long: 30}"), f"{V0}.params.min_score_long", "did you mean min_score_"),
    ("score: {versions: [{name: v3, scorer: v3, params: {min_score_to_trade: 30}}]}",
     f"{V0}.params.min_score_to_trade", "unknown key"),
    (guardian("timed_stops: [{level: -0.02}]"), f"{GUARDIAN}.timed_stops[0].within_s", "is missing"),
    ("sma_cross: {fast: 5, fast: 6}", "sma_cross.fast", "duplicate key"),
    ("sma_cross: {fast: &n 5, slow: *n}", "sma_cross.fast", "anchors"),
    ("sma_cross: {<<: {fast: 5}}", "sma_cross", "keys must be words, was '<<'"),
    ("sma_cross: {5: 6}", "sma_cross", "keys must be words, was '5'"),
    ("{[a]: 6}", None, "keys must be words"),
    ("sma_cross: !!set {fast}", "sma_cross", "was tagged 'set'"),
    ("sma_cross: {'\\e[31m': 1}", "sma_cross.'\\\\e[31m'", "unknown key"),
    ('sma_cross: {"\\e[31mred": 1}', "sma_cross.'\\x1b[31mred'", "unknown key"),
    ('sma_cross: {fast: "\\e[31m5"}', "sma_cross.fast", "was the text '\\x1b[31m5'"),
    ("[1, 2]", None, "must be a mapping of sections"),
    ("just text", None, "must be a mapping of sections"),
    ("a: [", None, "is not valid YAML"),
    ("account: {name: x}\n---\nrisk: {}", None, "another document"),
    ("a: \x00", None, "is not valid YAML"),
    ("[" * 20_000, None, "nested too deeply"),
    ("#" * 1_100_000, None, "must be shorter"),
]  # fmt: skip

# text, code, field
RANGE = [
    ("account: {name: A}", "E01", "account.name"),
    ("account: {name: ''}", "E01", "account.name"),
    (f"score: {{versions: [{VERSION}}}, {VERSION}}}]}}", "E01", f"{V0}.name"),
    ("score: {versions: [{name: V2, scorer: v2}]}", "E01", f"{V0}.name"),
    ("score: {versions: [{name: 'v2\n', scorer: v2}]}", "E01", f"{V0}.name"),
    ("score: {versions: [{name: v12345678901234567890, scorer: v2}]}", "E01", f"{V0}.name"),
    ("score: {versions: [{name: v3, scorer: ''}]}", "E02", f"{V0}.scorer"),
    ("score: {versions: [{name: v3, scorer: v9}]}", "E02", f"{V0}.scorer"),
    (versions("scan_interval_s: 0"), "E03", f"{V0}.scan_interval_s"),
    (versions("scan_interval_s: 90"), "E03", f"{V0}.scan_interval_s"),
    (versions("scan_interval_s: 86460"), "E03", f"{V0}.scan_interval_s"),
    (versions("scan_interval_s: 300, start_offset_s: 300"), "E03", f"{V0}.start_offset_s"),
    (versions("start_offset_s: -60"), "E03", f"{V0}.start_offset_s"),
    (versions("start_offset_s: 30"), "E03", f"{V0}.start_offset_s"),
    (versions("params: {min_score_to_trade: 0}"), "E04", f"{V0}.params.min_score_to_trade"),
    (version_3("params: {min_score_long: 42.000001}"), "E04", f"{V0}.params.min_score_long"),
    (version_3("params: {min_score_short: 0}"), "E04", f"{V0}.params.min_score_short"),
    (versions("params: {min_score_to_trade: 100.5}"), "E04", f"{V0}.params.min_score_to_trade"),
    (versions("entry_mode: limit"), "E05", f"{V0}.entry_mode"),
    ("score: {rating: {multipliers: [0.125, 0.25]}}", "E11", "score.rating.multipliers[1]"),
    ("score: {rating: {multipliers: [1.5, 0.25]}}", "E11", "score.rating.multipliers[0]"),
    ("score: {rating: {hard_stops: [3, 5]}}", "E11", "score.rating.hard_stops"),
    ("score: {rating: {losses_usdt: [100, 400, 200]}}", "E11", "score.rating.losses_usdt[2]"),
    (versions("margin_usdt: 0.5"), "E06", f"{V0}.margin_usdt"),
    (versions("margin_usdt: 1000001"), "E06", f"{V0}.margin_usdt"),
    (versions("leverage: 0"), "E06", f"{V0}.leverage"),
    (versions("leverage: 21"), "E06", f"{V0}.leverage"),
    (versions("max_positions: 0"), "E06", f"{V0}.max_positions"),
    (versions("max_positions: 201"), "E06", f"{V0}.max_positions"),
    ("account: {balance_usdt: 0}", "E06", "account.balance_usdt"),
    ("account: {balance_usdt: -1}", "E06", "account.balance_usdt"),
    ("account: {balance_usdt: 5e10}", "E06", "account.balance_usdt"),
    ("account: {balance_usdt: 1e400}", "E06", "account.balance_usdt"),
    ("account: {leverage: 125}", "E06", "account.leverage"),
    ("account: {margin_mode: portfolio}", "E06", "account.margin_mode"),
    ("account: {maker_fee: -0.0001}", "E12", "account.maker_fee"),
    ("account: {taker_fee: 0.05}", "E12", "account.taker_fee"),
    ("risk: {positions_max: 0}", "E06", "risk.positions_max"),
    ("risk: {max_total_notional_usdt: 0}", "E10", "risk.max_total_notional_usdt"),
    ("risk: {max_total_notional_usdt: 47000000000}", "E10", "risk.max_total_notional_usdt"),
    ("risk: {daily_loss_limit: 0}", "E10", "risk.daily_loss_limit"),
    ("risk: {daily_loss_limit: -0.2}", "E10", "risk.daily_loss_limit"),
    ("risk: {daily_loss_limit: 20}", "E10", "risk.daily_loss_limit"),
    ("risk: {worst_case_fraction: 1.1}", "E10", "risk.worst_case_fraction"),
    ("risk: {disaster: {max: 1}}", "E09", "risk.disaster.max"),
    ("risk: {disaster: {liq_share: 0}}", "E09", "risk.disaster.liq_share"),
    ("paper: {slippage: -0.0005}", "E12", "paper.slippage"),
    ("paper: {slippage: 0.5}", "E12", "paper.slippage"),
    ("paper: {volume_share: 0}", "E12", "paper.volume_share"),
    ("paper: {volume_share: 10}", "E12", "paper.volume_share"),
    ("paper: {speed: 0}", "E12", "paper.speed"),
    ("sma_cross: {interval: 5m}", "E13", "sma_cross.interval"),
    ("sma_cross: {fast: 0}", "E13", "sma_cross.fast"),
    ("sma_cross: {slow: 512}", "E13", "sma_cross.slow"),
    ("sma_cross: {fast: 100}", "E13", "sma_cross.fast"),
    ("sma_cross: {notional_usdt: -5}", "E06", "sma_cross.notional_usdt"),
    ("sma_cross: {notional_usdt: 1e12}", "E06", "sma_cross.notional_usdt"),
    ("sma_cross: {leverage: 30}", "E06", "sma_cross.leverage"),
    ("sma_cross: {positions_max: 1000}", "E06", "sma_cross.positions_max"),
    ("sma_cross: {stop: 0}", "E09", "sma_cross.stop"),
    ("sma_cross: {stop: -0.03}", "E09", "sma_cross.stop"),
    ("sma_cross: {stop: 3}", "E09", "sma_cross.stop"),
    ("sma_cross: {trail_activation: -0.01}", "E09", "sma_cross.trail_activation"),
    ("sma_cross: {trail_callback: 0.0005}", "E09", "sma_cross.trail_callback"),
    ("sma_cross: {trail_callback: 0.21}", "E09", "sma_cross.trail_callback"),
    ("sma_cross: {timeout_minutes: -1}", "E09", "sma_cross.timeout_minutes"),
    ("sma_cross: {timeout_minutes: 99999999999999}", "E09", "sma_cross.timeout_minutes"),
    ("sma_cross: {cooldown_s: 86401}", "E10", "sma_cross.cooldown_s"),
    ("score: {cooldown_s: -1}", "E10", "score.cooldown_s"),
    ("score: {cooldown_manual_s: 86401}", "E10", "score.cooldown_manual_s"),
    (guardian("fixed_stop: 0"), "E09", f"{GUARDIAN}.fixed_stop"),
    (guardian("fixed_stop: 0.03"), "E09", f"{GUARDIAN}.fixed_stop"),
    (guardian("fixed_stop: -0.51"), "E09", f"{GUARDIAN}.fixed_stop"),
    (guardian("timed_stops: [{within_s: 0, level: -0.02}]"), "E09", f"{GUARDIAN}.timed_stops[0].within_s"),
    (guardian("timed_stops: [{within_s: 60, level: 0.02}]"), "E09", f"{GUARDIAN}.timed_stops[0].level"),
    (guardian(f"timed_stops: [{'{within_s: 60, level: -0.02}, ' * 5}]"), "E09", f"{GUARDIAN}.timed_stops"),
    (guardian("trailing: {activation: 0}"), "E09", f"{GUARDIAN}.trailing.activation"),
    (guardian("trailing: {retrace: 0.5}"), "E09", f"{GUARDIAN}.trailing.retrace"),
    (guardian("trailing: {floor: -0.001}"), "E09", f"{GUARDIAN}.trailing.floor"),
    (guardian("fixed_tp: 5"), "E09", f"{GUARDIAN}.fixed_tp"),
    (guardian("timeouts: [{ratio: 0.5, minutes: 10}]"), "E09", f"{GUARDIAN}.timeouts[0].ratio"),
    (guardian(f"timeouts: [{'{ratio: 0, minutes: 9}, ' * 2}]"), "E09", f"{GUARDIAN}.timeouts[1].ratio"),
    (guardian("timeouts: [{ratio: 0, minutes: 0}]"), "E09", f"{GUARDIAN}.timeouts[0].minutes"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "field", "message"), FORM, ids=[row[0][:50] for row in FORM])
def test_a_wrong_form_is_e00_with_the_field(text: str, field: str | None, message: str) -> None:
    error = refused(text)
    assert (error.rule, error.field) == ("E00", field)
    assert message in error.problem


@pytest.mark.parametrize(("text", "code", "field"), RANGE, ids=[row[0][:60] for row in RANGE])
def test_a_wrong_value_has_the_code_of_its_key(text: str, code: str, field: str) -> None:
    error = refused(text)
    assert (error.rule, error.field) == (code, field)
    assert error.file == "text"
    assert error.row is not None


@pytest.mark.parametrize(("text", "code", "field"), RANGE, ids=[row[0][:60] for row in RANGE])
def test_the_same_value_is_refused_when_an_option_sets_it(text: str, code: str, field: str) -> None:
    section, _, value = text.partition(": ")
    error = refused("", options=[f"{section}={value}"])
    assert (error.rule, error.field) == (code, field)
    assert error.file == f"option {section}"


def test_the_message_says_file_line_field_expectation_and_value(tmp_path: Path) -> None:
    path = tmp_path / "desk.yaml"
    path.write_text("# comment\nsma_cross:\n  fast: 10\n  stop: 3\n")
    with pytest.raises(ConfigError) as caught:
        load(path, environment={})
    assert str(caught.value) == (
        f"{path}, row 4: sma_cross.stop: must be a fraction of the entry price with 0 < x < 0.5 "
        "(0.03 is 3 %), was 3 [E09]"
    )


def test_a_duplicate_key_names_both_lines() -> None:
    error = refused("risk:\n  positions_max: 5\n  daily_loss_limit: 0.1\n  positions_max: 6\n")
    assert error.field == "risk.positions_max"
    assert error.row == 4
    assert "first on line 2" in error.problem


def test_a_duplicate_section_is_refused_too() -> None:
    error = refused("risk: {}\nscore: {}\nrisk: {}\n")
    assert (error.field, error.row) == ("risk", 3)


def test_a_syntax_error_names_its_line() -> None:
    assert refused("risk:\n  positions_max: 5\n bad\n").row == 3


def test_no_control_character_reaches_the_message() -> None:
    for text in ("a: \x1b[31m", 'sma_cross: {fast: "\u202e5"}', "sma_cross: {\u202ex: 1}", "\x1b: ["):
        assert str(refused(text)).isprintable()


@pytest.mark.parametrize(
    ("content", "part"),
    [(None, "cannot be read"), (b"account: {name: \xff}", "must be UTF-8")],
    ids=["absent", "not UTF-8"],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, part: str) -> None:
    path = tmp_path / "desk.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=part) as caught:
        load(path, environment={})
    assert caught.value.file == str(path)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, environment={})


# Pieces of YAML, whole and broken, and single characters of every kind.
PIECES = [
    "score", "versions", "sma_cross", "stop", "fast", "risk", "null", "true", "~", "0.03", "1e5", "0x1",
    ".nan", "3%", "2020-01-01", ": ", "\n", "\n  ", "- ", "{", "}", "[", "]", ", ", "'", '"', "#",
    "&a ", "*a", "!!", "!x ", "|", ">", "?", "%YAML 1.1\n", "---\n", "...\n", "<<", "\t", "\\u", "\x00",
]  # fmt: skip


@settings(max_examples=400)
@example("%YAML 1.1\nscore={")
@given(st.lists(st.sampled_from(PIECES) | st.characters(), max_size=30).map("".join))
def test_any_text_is_a_config_or_a_config_error(text: str) -> None:
    errors = []
    for in_file, options in ((text, []), ("", [f"sma_cross.stop={text}"]), ("", [text])):
        try:
            loads(in_file, options=options)
        except ConfigError as error:
            errors.append(error)
    assert all(error.rule is not None and str(error).isprintable() for error in errors)
