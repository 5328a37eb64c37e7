"""Entry point: builds the command tree, turns errors into sentences and exit codes."""

from __future__ import annotations

import sys

import typer

from perpdesk.cli.console import notice
from perpdesk.domain.errors import PerpdeskError

EXIT_INTERNAL, EXIT_INPUT = 1, 2


def _application() -> typer.Typer:
    from perpdesk.cli.configure import add_to as add_configuration
    from perpdesk.cli.database import add_to as add_database
    from perpdesk.cli.demo import add_to as add_demo
    from perpdesk.cli.exchange import add_to as add_exchange
    from perpdesk.cli.run import add_to as add_runs

    application = typer.Typer(
        name="perpdesk",
        help="An automated trading desk for crypto futures: one step in backtest, paper and live.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    add_runs(application)
    add_demo(application)
    add_exchange(application)
    add_configuration(application)
    add_database(application)
    return application


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))


def run_command(arguments: list[str]) -> int:
    """Run one command; returns its exit code. Known errors become one sentence on stderr."""
    try:
        code = _application()(args=arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except PerpdeskError as error:
        notice(f"error: {error}")
        return error.exit_code
    except typer.TyperException as error:  # a wrong command, option or value; without one its help was shown
        if message := error.format_message():
            notice(f"error: {message}")
        return EXIT_INPUT
    except typer.Abort:
        notice("aborted")
        return EXIT_INTERNAL
