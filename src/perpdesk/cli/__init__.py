"""The command line. Every command prints for people, or with ``--json`` one JSON object on stdout.

main       entry point: errors to stderr, exit codes as in domain.errors
options    the options that every run shares, and what they load
console    tables, progress, JSON
run        backtest, paper, parity
demo       make demo: the shipped strategies on a synthetic market
configure  config show, config lint
database   db upgrade, status, report
accounts   accounts add|list|check|rotate|remove; account_checks, account_rows, key_input: its parts
logs       logs and tracebacks on stderr, without secrets
"""

from perpdesk.cli.main import main

__all__ = ["main"]
