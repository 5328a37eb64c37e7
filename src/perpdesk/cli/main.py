"""Entry point: builds the command tree, turns errors into sentences and exit codes."""

from __future__ import annotations

import os
import re
import sys

import typer

from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.dead_owner import dead_owner_of
from perpdesk.cli import first_look
from perpdesk.cli.console import notice
from perpdesk.cli.logs import set_up_logs, show_failure
from perpdesk.domain.errors import PerpdeskError
from perpdesk.domain.secret import HIDDEN

EXIT_INTERNAL, EXIT_INPUT = 1, 2
_URL_WITH_PASSWORD = re.compile(r"://[^/@:]*:[^@]+@")
# In a message about wrong arguments: it may be a key that was pasted where none belongs.
_LONG_WORD = re.compile(r"[A-Za-z0-9]{32,}")


def _application() -> typer.Typer:
    from perpdesk.cli.accounts import add_to as add_accounts
    from perpdesk.cli.configure import add_to as add_configuration
    from perpdesk.cli.control import add_to as add_control
    from perpdesk.cli.database import add_to as add_database
    from perpdesk.cli.demo import add_to as add_demo
    from perpdesk.cli.exchange import add_to as add_exchange
    from perpdesk.cli.grid import add_to as add_grid
    from perpdesk.cli.guardian import add_to as add_guardian
    from perpdesk.cli.kill import add_to as add_kill
    from perpdesk.cli.live import add_to as add_live
    from perpdesk.cli.oi import add_to as add_oi
    from perpdesk.cli.rating import add_to as add_rating
    from perpdesk.cli.run import add_to as add_runs
    from perpdesk.cli.score import add_to as add_score
    from perpdesk.cli.simulate import add_to as add_simulation
    from perpdesk.cli.status import add_to as add_status
    from perpdesk.cli.volume import add_to as add_volume
    from perpdesk.cli.watch import add_to as add_watch

    application = typer.Typer(
        name="perpdesk",
        help="An automated trading desk for crypto futures: one step in backtest, paper and live.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    add_runs(application)
    add_live(application)
    add_watch(application)
    add_status(application)
    add_demo(application)
    add_exchange(application)
    add_configuration(application)
    add_database(application)
    add_control(application)
    add_kill(application)
    add_guardian(application)
    add_accounts(application)
    add_simulation(application)
    add_volume(application)
    add_grid(application)
    add_oi(application)
    add_score(application)
    add_rating(application)
    return application


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    set_up_logs()
    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))


def run_command(arguments: list[str]) -> int:
    """Run one command; returns its exit code. Known errors become one sentence on stderr."""
    if any(_URL_WITH_PASSWORD.search(argument) for argument in arguments):
        notice(
            "warning: every user of this machine can read a password in the command line: "
            "put the database's URL into PERPDESK_DATABASE"
        )
    if arguments[:1] == ["live"]:  # before everything that takes time to load
        first_look.dead = dead_owner_of(arguments, os.environ, SystemClock().now_ms())
    try:
        code = _application()(args=arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except PerpdeskError as error:
        notice(f"error: {error}")
        return error.exit_code
    except typer.TyperException as error:  # a wrong command, option or value; without one its help was shown
        if message := error.format_message():
            notice(f"error: {_LONG_WORD.sub(HIDDEN, message)}")
        return EXIT_INPUT
    except typer.Abort:
        notice("aborted")
        return EXIT_INTERNAL
    except Exception as error:
        # Here, not in sys.excepthook: typer puts one of its own in the place of ours, which prints as it is.
        show_failure(type(error), error, error.__traceback__)
        return EXIT_INTERNAL
