"""The shipped file, the schema and the documentation say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from perpdesk.config import Config, lint, load, loads, show_rows
from perpdesk.config.show import Row

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "config" / "perpdesk.yaml"


def rows() -> list[Row]:
    return show_rows(load(SHIPPED, environment={}))


def test_the_shipped_file_holds_the_defaults_of_the_schema() -> None:
    assert load(SHIPPED, environment={}).config == Config()


def test_the_shipped_file_names_every_key() -> None:
    assert {row.layer for row in rows()} == {"file"}


def test_nothing_but_defaults_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(environment={})
    assert loaded.config == Config()
    assert loaded.path is None
    assert {(row.layer, row.place) for row in show_rows(loaded)} == {("default", None)}


def test_the_default_path_is_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "perpdesk.yaml").write_text("sma_cross: {fast: 7}\n")
    monkeypatch.chdir(tmp_path)
    assert load(environment={}).config.sma_cross.fast == 7


def test_the_environment_of_the_process_is_a_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERPDESK__SMA_CROSS__FAST", "9")
    assert load().config.sma_cross.fast == 9


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "score:\nrisk:\n", "---\n"])
def test_an_empty_file_or_section_changes_nothing(text: str) -> None:
    assert loads(text).config == Config()


def test_the_defaults_yield_exactly_the_two_dominated_stops() -> None:
    findings = [(f.code, f.severity, f.field) for f in lint(Config())]
    assert findings == [
        ("L03", "W", "score.guardian.timed_stops[1]"),
        ("L03", "W", "score.guardian.timed_stops[2]"),
    ]
    sentences = [finding.sentence for finding in lint(Config())]
    assert "(1800 s, -0.035)" in sentences[0]
    assert "(3600 s, -0.04)" in sentences[1]


def test_every_key_is_documented() -> None:
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    for row in rows():
        key = re.sub(r"\[\d\]", "[]", row.field)
        assert f"`{key}`" in text, f"{key} is not in docs/config.md"


def test_the_file_is_plain_yaml_that_any_reader_takes() -> None:
    data = YAML(typ="safe", pure=True).load(SHIPPED.read_text(encoding="utf-8"))
    assert list(data) == ["account", "risk", "paper", "sma_cross", "score", "oi", "grid"]
    assert data["sma_cross"]["stop"] == 0.03
