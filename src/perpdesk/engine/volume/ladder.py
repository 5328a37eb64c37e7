"""The kill ladder for volume's users: control files that hold with the database and the dashboard down.

One file speaks for all users, one for each; the stricter holds. They are the files of ``engine.control_file``
with numbers that no account has: 0 for everybody, minus the user's number for one.
"""

from __future__ import annotations

from perpdesk.domain.kill import Rung
from perpdesk.engine.control_file import ControlFile
from perpdesk.ports import Folder

EVERYBODY = 0
RUN = "RUN"


def control_id(user_id: int | None) -> int:
    """The number under which a word about a user (None: about everybody) is kept."""
    return EVERYBODY if user_id is None else -user_id


class Ladder:
    """What holds for each user."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._everybody = ControlFile(folder, EVERYBODY)
        self._users: dict[int, ControlFile] = {}

    def state_of(self, user_id: int) -> str:
        """RUN, HALT, REDUCE, CANCEL or FLATTEN; a file that cannot be trusted is a HALT. Never raises."""
        own = self._users.get(user_id)
        if own is None:
            own = self._users[user_id] = ControlFile(self._folder, control_id(user_id))
        rung = max(self._everybody.rung(), own.rung())
        return RUN if rung is Rung.NORMAL else rung.name
