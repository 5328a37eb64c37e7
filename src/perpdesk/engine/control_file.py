"""The control file: what a person said about an account, obeyed with the database and the dashboard down.

`perpdesk kill` writes ``<account>.control.json`` (whole, fsynced, numbered) and adds the word to
``<account>.control.log``; the owner looks at the file before every send. No file: nobody has said anything.
Anything else than a whole file with the right checksum and a number that never falls is a HALT: no entries,
exits go on. The log is journalled by whoever reaches the database first, each word once.
"""

from __future__ import annotations

import msgspec

from perpdesk.domain.books import StoreFailed
from perpdesk.domain.errors import InputError, NeedsPerson, Refused
from perpdesk.domain.kill import ControlAction, Rung
from perpdesk.ports import Folder, OwnershipBooks

REASON_MAX = 300
BY_MAX = 100


class _Sealed(ControlAction, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An action as it is in a file, with its checksum."""

    seal: str


_DECODER = msgspec.json.Decoder(_Sealed, strict=True)


def control_name(account_id: int) -> str:
    """The file that says what holds."""
    return f"{account_id}.control.json"


def log_name(account_id: int) -> str:
    """The file of everything that was said."""
    return f"{account_id}.control.log"


class ControlFile:
    """An owner's view of its account's control file.

    ``why`` says in words what the rung of the last look rests on; ``seq`` is the number of the newest word.
    """

    def __init__(self, folder: Folder, account_id: int) -> None:
        self._folder = folder
        self._account_id = account_id
        self._name = control_name(account_id)
        self._stamp: tuple[int, ...] | None = None
        self._newest: ControlAction | None = None
        self._rung = Rung.NORMAL
        self._was_there = False
        self.why = "nobody has said anything"

    @property
    def seq(self) -> int:
        """The number of the newest word that was understood, 0 if there was none."""
        return 0 if self._newest is None else self._newest.seq

    def rung(self) -> Rung:
        """What holds now. Never raises, never waits: a stat, and a short read when the file has changed."""
        try:
            stamp = self._folder.stamp(self._name)
            if stamp is None:
                if not self._was_there:
                    self._rung = Rung.NORMAL
                    return self._rung
                return self._distrust("is gone: run `perpdesk kill resume`, removing it resumes nothing")
            self._was_there = True
            if stamp == self._stamp:
                return self._rung
            said = read_action(self._folder.read(self._name), self._account_id)
        except (OSError, InputError) as error:
            return self._distrust(f"cannot be read: {error}")
        known = self._newest
        if known is not None and (said.seq < known.seq or (said.seq == known.seq and said != known)):
            return self._distrust(f"goes back from word {known.seq} to {said.seq}")
        self._newest, self._stamp = said, stamp
        self._rung = Rung.of(said.rung)
        self.why = f"word {said.seq} of {said.by}: {said.rung}, {said.reason}"
        return self._rung

    def _distrust(self, what: str) -> Rung:
        # Looked at again each time (no stamp is kept): a good file with a higher number ends it.
        self._stamp = None
        self._rung = max(self._rung, Rung.HALT)
        self.why = f"the control file {what}"
        return self._rung


def read_action(content: bytes | None, account_id: int) -> ControlAction:
    """The word in a file or line. Raises InputError, saying what is wrong with it."""
    try:
        said = _DECODER.decode(b"" if content is None else content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"it is not a word of `perpdesk kill`: {error}") from None
    action = ControlAction(**{name: getattr(said, name) for name in ControlAction.__struct_fields__})
    if said.seal != action.sha256:
        raise InputError("its checksum is wrong: it was cut or changed")
    if action.account_id != account_id:
        raise InputError(f"it is about account {action.account_id}")
    if action.seq < 1 or action.rung not in {rung.word for rung in Rung}:
        raise InputError(f"it says {action.rung!r} as word {action.seq}")
    return action


def say(folder: Folder, account_id: int, rung: Rung, reason: str, *, by: str, ms: int) -> ControlAction:
    """Write a word of a person: it holds when this returns, power cut or not.

    Raises InputError for an empty or unprintable reason, Refused while another word is being written,
    NeedsPerson if the folder cannot be written: then stop the process itself.
    """
    _check_text("--reason", reason, REASON_MAX)
    _check_text("--by", by, BY_MAX)
    try:
        lock = folder.lock(f"{account_id}.control.lock")
        if lock is None:
            raise Refused("CONTROL_BUSY", "another command is writing the control file: try again")
        try:
            seq = 1 + max((action.seq for action in spoken(folder, account_id)), default=0)
            action = ControlAction(
                account_id=account_id, seq=seq, rung=rung.word, reason=reason, by=by, ms=ms
            )
            line = msgspec.json.encode(_Sealed(**msgspec.structs.asdict(action), seal=action.sha256))
            folder.replace(control_name(account_id), line)
            folder.append(log_name(account_id), line)
        finally:
            lock.release()
    except OSError as error:
        raise NeedsPerson(
            f"the control folder cannot be written ({error}): stop the process of account {account_id} "
            "itself, and cancel or close on the exchange"
        ) from None
    return action


def spoken(folder: Folder, account_id: int) -> list[ControlAction]:
    """Everything that was said and can be understood, by number. Raises OSError."""
    lines = (folder.read(log_name(account_id)) or b"").split(b"\n")
    lines.append(folder.read(control_name(account_id)) or b"")
    found: dict[str, ControlAction] = {}
    for line in lines:
        try:
            action = read_action(line, account_id)
        except InputError:
            continue  # an empty line, or one that a power cut left unfinished
        found[action.sha256] = action
    return sorted(found.values(), key=lambda action: (action.seq, action.ms))


class ControlJournal:
    """Brings what was said into the database's journal, each word once, whenever the database answers."""

    def __init__(self, folder: Folder, account_id: int) -> None:
        self._folder = folder
        self._account_id = account_id
        self._done: set[str] = set()
        self._stamps: tuple[object, ...] | None = None
        self.problem: str | None = None

    async def catch_up(self, books: OwnershipBooks, ms: int) -> int:
        """Write what is not yet written; returns how many words were new. Never raises for a database or
        folder that does not answer: ``problem`` says so, and the next call tries again."""
        self.problem = None
        written = 0
        try:
            stamps = tuple(self._folder.stamp(name(self._account_id)) for name in (control_name, log_name))
            if stamps == self._stamps:
                return 0
            for action in spoken(self._folder, self._account_id):
                if action.sha256 not in self._done:
                    written += await books.record_control_action(action, ms)
                    self._done.add(action.sha256)
            self._stamps = stamps
        except (StoreFailed, OSError) as error:
            self.problem = str(error)
        return written


def _check_text(field: str, text: str, length: int) -> None:
    if not text.strip():
        raise InputError("say why: it is journalled", field=field)
    if len(text) > length or not text.isprintable():
        raise InputError(f"must be one printable line of at most {length} characters", field=field)
