"""House rules that a linter does not know, so that nobody has to remember them."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "perpdesk"
CLOCKS = SOURCE / "adapters" / "clocks.py"
UNITS = SOURCE / "domain" / "units.py"


def project_files() -> Iterator[Path]:
    """Every text file that belongs to the project."""
    folders = ("src", "tests", "docs", "requirements", ".ci", "bench", "config")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    for path in sorted(found + list(ROOT.glob("*"))):
        generated = {"__pycache__", ".git"} & set(path.parts) or any(
            part.endswith(".egg-info") for part in path.parts
        )
        if path.is_file() and not generated and path.suffix not in {".gz", ".parquet", ".sqlite", ".png"}:
            yield path


def sources() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def lines_matching(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in project_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def nodes_where(wrong, paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if wrong(node)
    ]


def record_types() -> Iterator[tuple[str, np.dtype]]:
    """Every dtype that a kernel or strategy module declares."""
    for package in ("kernel", "strategies"):
        parent = importlib.import_module(f"perpdesk.{package}")
        names = [parent.__name__]
        names += [info.name for info in pkgutil.walk_packages(parent.__path__, parent.__name__ + ".")]
        for name in names:
            for attribute, value in vars(importlib.import_module(name)).items():
                if isinstance(value, np.dtype) and value.names:
                    yield f"{name}.{attribute}", value


def test_record_fields_are_not_numpy_methods() -> None:
    """Attribute access on a record would give the method, silently, in plain Python."""
    taken = set(dir(np.recarray)) | set(dir(np.record))
    checked = dict(record_types())
    assert "perpdesk.kernel.records.position_dt" in checked
    clashes = {name: sorted(taken & set(dtype.names or ())) for name, dtype in checked.items()}
    assert {name: found for name, found in clashes.items() if found} == {}


def test_no_paths_of_one_machine() -> None:
    assert lines_matching(re.compile(r"(?<![\w.$~*])/(home|root|Users|work|mnt|tmp)/\w")) == []


def test_no_package_registry_is_named() -> None:
    """People's own index settings decide where packages come from."""
    assert (
        lines_matching(re.compile(r"\b(pypi|pythonhosted|npmjs|crates|anaconda|debian)\.(org|com|io|dev)\b"))
        == []
    )


def test_no_unfinished_marks() -> None:
    assert lines_matching(re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")) == []


def test_no_error_is_swallowed() -> None:
    """A bare except, or one that catches everything and says nothing."""

    def swallows(node: ast.AST) -> bool:
        if not isinstance(node, ast.ExceptHandler):
            return False
        everything = isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
        silent = all(isinstance(statement, ast.Pass) for statement in node.body)
        return node.type is None or (everything and silent)

    assert nodes_where(swallows, sources()) == []


def test_time_is_an_argument() -> None:
    """The time of day and waiting belong to adapters/clocks.py; a stopwatch (perf_counter) may be read."""
    clock = "time.time time.time_ns time.monotonic time.monotonic_ns time.sleep"
    calendar = "datetime.now datetime.utcnow datetime.today date.today"
    readings = {tuple(name.split(".")) for name in (clock + " " + calendar).split()}

    def reads_or_waits(node: ast.AST) -> bool:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            return False
        owner = node.func.value
        owner_name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        if (owner_name, node.func.attr) == ("asyncio", "sleep"):
            return ast.unparse(node.args[0]) != "0"
        return (owner_name, node.func.attr) in readings

    assert nodes_where(reads_or_waits, [path for path in sources() if path != CLOCKS]) == []


def test_decimals_are_rounded_in_one_place() -> None:
    """Rounding Decimals by hand is how a tick or a cent gets lost: use domain/units.py.

    With a context of its own (one that traps Inexact) quantize only changes how a number is written.
    """

    def rounds(node: ast.AST) -> bool:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            return False
        rounding = node.func.attr in {"quantize", "to_integral_value"}
        return rounding and not any(keyword.arg == "context" for keyword in node.keywords)

    assert nodes_where(rounds, [path for path in sources() if path != UNITS]) == []


@pytest.mark.parametrize(
    "path", [p for p in sources() if p.stat().st_size], ids=lambda path: str(path.relative_to(SOURCE))
)
def test_everything_public_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text())
    silent = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        public = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        if public and not node.name.startswith("_") and not ast.get_docstring(node):
            silent.append(node.name)
    assert silent == []


def direct_dependencies(group: str) -> set[str]:
    lines = (ROOT / "requirements" / f"{group}.in").read_text().splitlines()
    return {line.strip() for line in lines if line.strip() and not line.startswith(("#", "-"))}


def test_the_package_asks_for_what_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["dependencies"]) == direct_dependencies("base")


@pytest.mark.parametrize("group", ["build", "base", "test"])
def test_every_dependency_is_pinned_by_hash_and_has_its_reason(group: str) -> None:
    locked = (ROOT / "requirements" / f"{group}.txt").read_text()
    decisions = (ROOT / "docs" / "decisions.md").read_text()
    pins = re.findall(r"^([A-Za-z0-9_.-]+)(\[.*\])?==[^\s]+.* \\\n    --hash=sha256:", locked, re.MULTILINE)
    pinned = {name.lower().replace("_", "-").replace(".", "-") for name, _ in pins}
    for name in direct_dependencies(group):
        plain = name.split("[")[0]
        assert plain.lower().replace("_", "-").replace(".", "-") in pinned
        assert f"`{plain}`" in decisions, f"{plain} needs a row in docs/decisions.md"
    assert len(pins) == len(re.findall(r"^[A-Za-z0-9]", locked, re.MULTILINE))
