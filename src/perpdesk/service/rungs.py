"""The rung of the kill ladder that an account's process obeys: the strictest of everything that speaks."""

from __future__ import annotations

from perpdesk.domain.kill import Rung
from perpdesk.engine.control_file import ControlFile
from perpdesk.ports import Folder


class SpokenRungs:
    """The control file, and what this process says itself. ``own``: its rungs by reason."""

    def __init__(self, folder: Folder, account_id: int) -> None:
        self.control = ControlFile(folder, account_id)
        self.own: dict[str, Rung] = {}

    def now(self) -> Rung:
        """Read afresh: a stat, and a short read when the file has changed. Never raises."""
        return max(self.control.rung(), *self.own.values(), Rung.NORMAL)

    def obeyed(self) -> tuple[int, str]:
        """The newest word that was read, and the rung that holds: what the owner's beats tell."""
        rung = self.now()
        return self.control.seq, rung.word
