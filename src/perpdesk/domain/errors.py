"""What can go wrong, named by what the operator must do about it.

::

    PerpdeskError                exit code 1
    ├── InternalError            1  a bug: report it with the log; open positions keep their exchange stops
    │   └── InvalidTransition    1  an order's life took a step that the table does not know
    ├── InputError               2  correct the named field, file or option and run again
    │   ├── ConfigError          2  correct the named key of the configuration
    │   ├── DataError            2  correct or replace the named row of the data file
    │   ├── UnknownSymbol        2  correct the symbol, or bring a file that describes it
    │   ├── ScaleError           2  the numbers do not fit the kernel's integers: use a coarser scale
    │   └── DatabaseNotMigrated  2  run `perpdesk db upgrade`
    ├── Refused                  3  a safety rule said no: read the reason, nothing was changed
    ├── NeedsPerson              4  nothing automatic is safe any more: look at the account yourself
    └── LeaseHeld                5  another process owns the account: stop it, or wait until its lease ends

What a store can say is in ``domain/books.py``, hung into this tree (``PositionExists`` is Refused,
``StoreFailed`` exits with 1, ``BooksContradiction`` needs a person).

The command line prints the message to stderr and exits with ``exit_code``. Everything else that is
raised (a bug of ours or of a library) exits with 1.
"""

from __future__ import annotations

from typing import ClassVar


class PerpdeskError(Exception):
    """Base of every error that perpdesk raises on purpose."""

    exit_code: ClassVar[int] = 1


class InternalError(PerpdeskError):
    """A bug. Report it with the log; positions that are open keep their stops on the exchange."""


class InvalidTransition(InternalError):
    """An event arrived that an order in this status cannot take. Compare the order with the exchange."""

    def __init__(self, status: str, event: str) -> None:
        super().__init__(
            f"an order that is {status} cannot take the event {event}: "
            "compare the order with the exchange before trading on"
        )
        self.status = status
        self.event = event


class InputError(PerpdeskError):
    """What was given cannot be used. Correct the named field, file or option; nothing was changed.

    The message reads ``file, row N: field: problem (rule)``, with the parts that are known.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        field: str | None = None,
        file: object | None = None,
        row: int | None = None,
        rule: str | None = None,
    ) -> None:
        self.problem = problem
        self.field = field
        self.file = None if file is None else str(file)
        self.row = row
        self.rule = rule
        super().__init__(problem)

    def __str__(self) -> str:
        places = [] if self.file is None else [self.file]
        if self.row is not None:
            places.append(f"row {self.row}")
        parts = [", ".join(places)] if places else []
        if self.field is not None:
            parts.append(self.field)
        text = ": ".join([*parts, self.problem])
        return text if self.rule is None else f"{text} [{self.rule}]"


class ConfigError(InputError):
    """The configuration cannot be used. Correct the key that ``field`` names (``score.v2.leverage``)."""


class DataError(InputError):
    """A data file breaks a rule. Correct or replace the row; rows count from 1, without the header."""

    def __init__(self, problem: str, *, file: object, rule: str, row: int | None = None) -> None:
        super().__init__(problem, file=file, row=row, rule=rule)


class UnknownSymbol(InputError):
    """No instrument has this symbol. Correct it, or bring an exchangeInfo file that has it."""

    def __init__(self, symbol: str, *, field: str | None = None, known: int | None = None) -> None:
        among = "" if known is None else f" among the {known} symbols known here"
        super().__init__(
            f"unknown symbol {symbol!r}{among}: correct it, or pass --instruments FILE "
            "with its exchangeInfo row",
            field=field,
        )
        self.symbol = symbol


class ScaleError(InputError):
    """The kernel's 64-bit integers cannot hold this exactly. The message says which scale to change."""


class DatabaseNotMigrated(InputError):
    """The database has not the tables of this version. Run the command that the message names.

    ``url`` is shown as it is: pass it with the password hidden.
    """

    def __init__(self, url: str, *, found: str | None, wanted: str) -> None:
        has = "no perpdesk tables" if found is None else f"revision {found}"
        super().__init__(
            f"the database has {has}, this version needs revision {wanted}: "
            f"run `perpdesk db upgrade --database {url}`"
        )
        self.found = found
        self.wanted = wanted


class Refused(PerpdeskError):
    """A safety rule said no. Nothing was changed; the reason says which rule and what would satisfy it."""

    exit_code = 3

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class NeedsPerson(PerpdeskError):
    """Nothing automatic is safe any more. Look at the account on the exchange and decide yourself."""

    exit_code = 4


class LeaseHeld(PerpdeskError):
    """Another process owns this account. Stop it, or wait until its lease ends."""

    exit_code = 5

    def __init__(self, account: str, owner: str, until_ms: int) -> None:
        super().__init__(
            f"account {account} is owned by {owner} until {until_ms} (UTC ms): stop that process, or wait"
        )
        self.account = account
        self.owner = owner
        self.until_ms = until_ms
