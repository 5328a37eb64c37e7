"""config show, config lint."""

from __future__ import annotations

import typer

from perpdesk.cli.console import out, print_json
from perpdesk.cli.options import ConfigOption, JsonOption, SetOption
from perpdesk.config import lint, load, show_rows, show_text, snapshot
from perpdesk.config.lint import STRATEGIES

_EXIT_INPUT = 2


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    group = typer.Typer(no_args_is_help=True, help="Show and check the configuration.")
    group.command("show")(show)
    group.command("lint")(check)
    application.add_typer(group, name="config")


def show(config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False) -> None:
    """Every value with the layer that set it."""
    loaded = load(config, options=settings or ())
    if as_json:
        rows = [
            {"field": r.field, "value": r.value, "layer": r.layer, "place": r.place}
            for r in show_rows(loaded)
        ]
        print_json({"params_hash": snapshot(loaded.config).params_hash, "values": rows})
        return
    out.print(show_text(loaded), markup=False)


def check(config: ConfigOption = None, settings: SetOption = None, as_json: JsonOption = False) -> int:
    """Rules that are dominated, unreachable or beyond liquidation. Errors exit with 2."""
    findings = lint(load(config, options=settings or ()).config, strategies=(*STRATEGIES, "oi"))
    refused = any(finding.severity == "E" for finding in findings)
    if as_json:
        rows = [
            {"code": f.code, "severity": f.severity, "field": f.field, "message": f.sentence}
            for f in findings
        ]
        print_json({"ok": not refused, "findings": rows})
    else:
        for finding in findings:
            out.print(str(finding), markup=False)
        out.print(f"{len(findings)} findings, {'refused' if refused else 'accepted'}")
    return _EXIT_INPUT if refused else 0
