"""What the hunts for planted faults found, kept in one JSON file and shown as a page of the documentation.

A hunt replaces the rows of the faults that it was for: the page can be made in one go or fault by fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from perpdesk.simulation.planted import PLANTED, Found
from perpdesk.simulation.report import commit

_FILE, _PAGE = "planted.json", "planted.md"


def kept(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of earlier hunts, by fault."""
    path = folder / _FILE
    return json.loads(path.read_text()) if path.exists() else {}


def written(folder: Path, found: Sequence[Found], *, faults: float, runs_max: int) -> Path:
    """Take the rows in and write the page anew. Rows of faults that are planted no longer go."""
    rows = kept(folder)
    for one in found:
        rows[one.name] = {
            "says": one.says,
            "seed_starts": list(one.starts),
            "runs": list(one.runs),
            "median_runs": one.median_runs,
            "runs_max": runs_max,
            "faults": faults,
            "rules": list(one.rules),
            "cpu_seconds": one.cpu_s,
            "commit": commit(),
        }
    rows = {one.name: rows[one.name] for one in PLANTED if one.name in rows}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).write_text(json.dumps(rows, indent=1) + "\n")
    page = folder / _PAGE
    page.write_text("\n".join(_lines(rows)) + "\n")
    return page


def _lines(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = [row for row in rows.values() if row["median_runs"] is not None]
    medians = [row["median_runs"] for row in found]
    cpu_s = sum(row["cpu_seconds"] for row in rows.values())
    lines = [
        "# Planted faults",
        "",
        "Faults of our own, switched on one at a time: the simulation must find each. A try runs seeds one",
        "after another until an invariant breaks (or protection is later than usual: I4 p99) that the same",
        "seed keeps without the fault. Made by, all at once or fault by fault:",
        "",
        "    perpdesk simulate --planted [--only NAME,NAME]",
        "",
        f"{len(PLANTED)} faults, {len(rows)} hunted, **{len(found)} found in every try**; median runs to "
        f"find one: {median(medians):g} (the worst fault: {max(medians):g}). {cpu_s:.0f} CPU seconds."
        if medians
        else "None found yet.",
        "",
        "| Fault | What is wrong | Runs of each try | Median | Found by | From seeds | CPU s | Commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        runs = ", ".join("not found" if one is None else str(one) for one in row["runs"])
        middle = "" if row["median_runs"] is None else f"{row['median_runs']:g}"
        starts = ", ".join(str(one) for one in row["seed_starts"])
        lines.append(
            f"| {name} | {row['says']} | {runs} | {middle} | {' '.join(row['rules'])} | {starts} "
            f"| {row['cpu_seconds']:g} | `{row['commit'][:10]}` |"
        )
    missing = [one.name for one in PLANTED if one.name not in rows]
    if missing:
        lines += ["", f"Not hunted yet: {', '.join(missing)}."]
    return lines
