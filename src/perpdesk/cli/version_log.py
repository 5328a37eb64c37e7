"""Log files of the score versions: one a UTC day and version, every line with the version's prefix."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from perpdesk.domain.redaction import RedactingFilter

FOLDER_VARIABLE = "PERPDESK_LOG_DIR"
KEPT = 30


class VersionFiles(logging.Handler):
    """Writes records that carry a ``version`` to that version's file of the record's UTC day."""

    def __init__(self, folder: Path) -> None:
        super().__init__(logging.INFO)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.addFilter(RedactingFilter())

    def emit(self, record: logging.LogRecord) -> None:
        """Append one line. A disk that is full or gone must not stop the desk."""
        version = getattr(record, "version", None)
        if not isinstance(version, str):
            return
        try:
            self._write(version, record)
        except OSError:
            self.handleError(record)

    def _write(self, version: str, record: logging.LogRecord) -> None:
        at = datetime.fromtimestamp(record.created, UTC)
        path = self.folder / f"smart_trader_{version}_{at.date().isoformat()}.log"
        is_new = not path.exists()
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{at.strftime('%Y-%m-%dT%H:%M:%S')}Z {record.getMessage()}\n")
        if is_new:
            kept = sorted(self.folder.glob(f"smart_trader_{version}_????-??-??.log"))
            for old in kept[:-KEPT]:
                old.unlink(missing_ok=True)
