"""What can be broken on purpose: a seeded plan of faults on requests and stream messages.

Requests (``route`` is a pattern such as ``POST /fapi/v1/order`` or ``* /fapi/*``):

drop-req    the connection ends before the request is carried out
drop-resp   it is carried out, the answer is lost
late-exec   the answer is -1007; it is carried out ``ms`` later
reply       ``http``, ``code``, ``msg`` (or a plain ``body``) are the answer; with ``executes``, carried out
hide        queries deny that the thing exists (-2013, cancels -2011) for ``ms`` from the first hit on
stale       queries answer what they answered before, for ``ms``
empty       queries answer as if nothing were there
garble      the answer is broken: ``form`` is truncate, html, empty, schema or binary
slow        the request waits ``ms`` before it is carried out; with form ``answer``, the answer waits

Stream messages (``route`` is a pattern over ``user:EVENT`` or the stream's name):

ws-skip     the message is lost
ws-dup      it comes twice
ws-reorder  it comes after the next one
ws-lag      it comes ``ms`` later
ws-silent   its connection says nothing for ``ms``
ws-close    its connection is closed with ``code``
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from perpdesk.domain.errors import InputError

REQUEST_KINDS = (
    "drop-req",
    "drop-resp",
    "late-exec",
    "reply",
    "hide",
    "stale",
    "empty",
    "garble",
    "slow",
)
STREAM_KINDS = ("ws-skip", "ws-dup", "ws-reorder", "ws-lag", "ws-silent", "ws-close")
FORMS = ("truncate", "html", "empty", "schema", "binary")
_PPM = 1_000_000


class Fault(msgspec.Struct, kw_only=True):
    """One fault. It lets ``skip`` matching things pass, then strikes ``count`` times (-1: always), each with
    ``probability_ppm``."""

    kind: str
    route: str = "*"
    count: int = 1
    skip: int = 0
    probability_ppm: int = _PPM
    ms: int = 0
    http: int = 503
    code: int = 0
    msg: str = ""
    body: str | None = None
    executes: bool = False
    form: str = ""
    name: str = ""
    since_ms: int | None = None


class Plan:
    """The faults of a server. ``fired`` counts them by kind, or by their name where they have one."""

    def __init__(self, seed: int, faults: Sequence[Fault] = ()) -> None:
        self._random = random.Random(seed)
        self.faults: list[Fault] = []
        self.fired: Counter[str] = Counter()
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Raises InputError for a fault that nothing understands."""
        if fault.kind not in (*REQUEST_KINDS, *STREAM_KINDS):
            raise InputError(
                f"unknown fault {fault.kind!r}: choose from {', '.join((*REQUEST_KINDS, *STREAM_KINDS))}",
                field="kind",
            )
        if fault.kind == "garble" and fault.form not in FORMS:
            raise InputError(f"must be one of {', '.join(FORMS)}, was {fault.form!r}", field="form")
        if fault.ms < 0 or fault.skip < 0 or not 0 <= fault.probability_ppm <= _PPM:
            raise InputError("ms and skip must not be negative, probability_ppm 0 to 1000000", field="fault")
        self.faults.append(fault)

    def clear(self) -> None:
        """No faults any more."""
        self.faults.clear()

    def request(self, route: str, now_ms: int) -> Fault | None:
        """The fault that strikes this request, if any."""
        return self._take(route, REQUEST_KINDS, now_ms)

    def message(self, route: str, now_ms: int) -> Fault | None:
        """The fault that strikes this stream message, if any."""
        return self._take(route, STREAM_KINDS, now_ms)

    def _take(self, route: str, kinds: Sequence[str], now_ms: int) -> Fault | None:
        for fault in list(self.faults):
            if fault.kind not in kinds or not fnmatchcase(route, fault.route):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            lasting = fault.kind in ("hide", "stale") and fault.ms > 0
            if lasting and fault.since_ms is not None and now_ms - fault.since_ms > fault.ms:
                self.faults.remove(fault)
                continue
            if fault.probability_ppm < _PPM and self._random.randrange(_PPM) >= fault.probability_ppm:
                continue
            if fault.since_ms is None:
                fault.since_ms = now_ms
            if not lasting and fault.count > 0:
                fault.count -= 1
                if fault.count == 0:
                    self.faults.remove(fault)
            self.fired[fault.name or fault.kind] += 1
            return fault
        return None


def read_plan(path: Path | str, seed: int) -> Plan:
    """A plan from a JSON file: a list of faults. Raises InputError naming the file and the element."""
    try:
        faults = msgspec.json.decode(Path(path).read_bytes(), type=list[Fault])
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"cannot be read as a list of faults: {error}", file=path) from error
    try:
        return Plan(seed, faults)
    except InputError as error:
        raise InputError(error.problem, field=error.field, file=path) from error
