"""What leaves the process as text on stderr: logs, warnings and tracebacks, each through the redaction."""

from __future__ import annotations

import logging
import os
import resource
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType

from perpdesk.cli.version_log import FOLDER_VARIABLE, VersionFiles
from perpdesk.domain.redaction import RedactingFilter, redacted

LEVEL_VARIABLE = "PERPDESK_LOG"
SIGNAL_LOGGER = "perpdesk.engine.recording.recorder"
_FORMAT = "%(levelname)s %(name)s: %(message)s"


def set_up_logs() -> None:
    """Log to stderr, at the level that PERPDESK_LOG names (WARNING). Once, before anything runs."""
    level = logging.getLevelNamesMapping().get(os.environ.get(LEVEL_VARIABLE, "").upper(), logging.WARNING)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.addFilter(RedactingFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:  # stderr stays as quiet as it was
        handler.setLevel(level)
        signals = logging.getLogger(SIGNAL_LOGGER)
        signals.setLevel(min(level, logging.INFO))
        signals.addHandler(VersionFiles(Path(folder)))
    for name in ("numba", "alembic"):  # they tell every step they take
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    if logging.lastResort is not None:
        logging.lastResort.addFilter(RedactingFilter())
    logging.captureWarnings(True)
    # A core file would hold every key that is in memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    sys.excepthook = show_failure
    threading.excepthook = _show_failure_of_thread
    sys.unraisablehook = _show_unraisable


def show_failure(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None, where: str = ""
) -> None:
    """A traceback on stderr: a bug of ours, but no reason to print a key."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        return
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(redacted(where + text))


def _show_failure_of_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None:
        name = failed.thread.name if failed.thread is not None else "?"
        show_failure(failed.exc_type, failed.exc_value, failed.exc_traceback, f"in thread {name}: ")


def _show_unraisable(failed: sys.UnraisableHookArgs) -> None:
    if failed.exc_value is not None:
        show_failure(
            failed.exc_type, failed.exc_value, failed.exc_traceback, f"{failed.err_msg or 'ignored'}: "
        )
