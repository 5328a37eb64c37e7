"""Bytes to typed payloads and back, with nothing lost on the way.

The hot path decodes straight into the types and keeps the bytes. ``whole`` also keeps what the types do
not know, so that writing it gives the message that came: a new field or word is visible, never dropped.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from perpdesk.adapters.binance import stream_events as ev
from perpdesk.adapters.binance.errors import MalformedAnswer
from perpdesk.domain.redaction import quoted

T = TypeVar("T")
Json = Any  # what msgspec.json.decode gives

# A message longer than this is not read: no answer of ours is (exchangeInfo of 1,000 symbols is 2 MB).
SIZE_MAX = 32 * 1024 * 1024
_QUOTED_MAX = 120  # of a broken answer, in the error about it
_NOTHING: Any = object()

_EVENT = msgspec.json.Decoder(ev.Known, strict=False)
_EVENTS = msgspec.json.Decoder(list[ev.Known], strict=False)


class _Envelope(Struct):
    stream: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    e: str | UnsetType = UNSET
    id: Any = UNSET


class _Named(Struct):
    e: str


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_NAMED = msgspec.json.Decoder(_Named)
_RAWS = msgspec.json.Decoder(list[Raw])


class Whole(Struct, Generic[T], frozen=True):
    """A typed value and everything in the message that its type does not know (None: nothing)."""

    value: T
    rest: Json


def _malformed(error: Exception, raw: bytes) -> MalformedAnswer:
    beginning = quoted(raw.decode("utf-8", "backslashreplace"), _QUOTED_MAX)
    return MalformedAnswer(f"{quoted(str(error), _QUOTED_MAX)}: {beginning!r}")


def read(kind: type[T], raw: bytes) -> T:
    """The typed value. Raises MalformedAnswer, quoting no more than its beginning."""
    try:
        found: T = msgspec.json.decode(raw, type=kind, strict=False)
    except msgspec.DecodeError as error:
        raise _malformed(error, raw) from error
    return found


def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """A ready decoder of a type, for many messages."""
    return msgspec.json.Decoder(kind, strict=False)


def whole(kind: Any, raw: bytes) -> Whole[Any]:
    """The typed value together with what its type does not know. Raises MalformedAnswer."""
    try:
        said = msgspec.json.decode(raw)
        value = msgspec.convert(said, kind, strict=False)
    except msgspec.DecodeError as error:  # a ValidationError is one
        raise _malformed(error, raw) from error
    rest = _beyond(said, msgspec.to_builtins(value))
    return Whole(value, None if rest is _NOTHING else rest)


def write(one: Whole[Any]) -> bytes:
    """The message that ``whole`` read."""
    known = msgspec.to_builtins(one.value)
    return msgspec.json.encode(known if one.rest is None else _joined(known, one.rest))


def _beyond(said: Json, known: Json) -> Json:
    """What ``said`` has and ``known`` has not or has otherwise; _NOTHING if they are the same."""
    if isinstance(said, dict) and isinstance(known, dict):
        more = {
            key: part
            for key, value in said.items()
            if (part := value if key not in known else _beyond(value, known[key])) is not _NOTHING
        }
        return more or _NOTHING
    if isinstance(said, list) and isinstance(known, list) and len(said) == len(known):
        parts = [_beyond(a, b) for a, b in zip(said, known, strict=True)]
        if all(part is _NOTHING for part in parts):
            return _NOTHING
        return {"[]": {str(i): part for i, part in enumerate(parts) if part is not _NOTHING}}
    same = type(said) is type(known) and said == known
    return _NOTHING if same else said


def _joined(known: Json, rest: Json) -> Json:
    if isinstance(known, dict) and isinstance(rest, dict):
        return {
            **known,
            **{key: _joined(known[key], part) if key in known else part for key, part in rest.items()},
        }
    if isinstance(known, list) and isinstance(rest, dict) and set(rest) == {"[]"}:
        out = list(known)
        for place, part in rest["[]"].items():
            out[int(place)] = _joined(known[int(place)], part)
        return out
    return rest


class Frame(Struct, frozen=True):
    """One message of a socket. stream: its stream's name ("" outside an envelope); events in order."""

    stream: str
    events: tuple[ev.Known | ev.Stranger, ...]


def frame(raw: bytes) -> Frame | None:
    """The events of one message, None for the answer to a subscription. Raises MalformedAnswer."""
    try:
        if raw[:1] == b"[":
            return Frame("", _many(raw))
        envelope = _ENVELOPE.decode(raw)
        if isinstance(envelope.data, Raw):
            data = bytes(envelope.data)
            stream = envelope.stream if isinstance(envelope.stream, str) else ""
            return Frame(stream, _many(data) if data[:1] == b"[" else (_one(data),))
        if isinstance(envelope.e, UnsetType):
            if envelope.id is UNSET:
                return Frame("", (ev.Stranger("", raw),))
            return None
        return Frame("", (_one(raw),))
    except msgspec.DecodeError as error:
        raise _malformed(error, raw) from error


class Mark(Struct, frozen=True, gc=False):
    """What the desk needs of a mark price, and no more: seven hundred of them come every second."""

    symbol: str = field(name="s")
    price: str = field(name="p")
    event_ms: int = field(name="E")
    market: int = field(name="st", default=1)


class _Marks(Struct):
    data: list[Mark]


_MARKS = msgspec.json.Decoder(_Marks, strict=False)
_MARKS_AHEAD = b'{"stream":"!markPrice@arr'


def marks(raw: bytes) -> list[Mark] | None:
    """The rows of a mark-price array in its envelope; None if the message is something else.

    Raises MalformedAnswer.
    """
    if not raw.startswith(_MARKS_AHEAD):
        return None
    try:
        found: list[Mark] = _MARKS.decode(raw).data
    except msgspec.DecodeError as error:
        raise _malformed(error, raw) from error
    return found


def _one(raw: bytes) -> ev.Known | ev.Stranger:
    try:
        known: ev.Known = _EVENT.decode(raw)
        return known
    except msgspec.ValidationError:
        return ev.Stranger(_NAMED.decode(raw).e, raw)


def _many(raw: bytes) -> tuple[ev.Known | ev.Stranger, ...]:
    try:
        return tuple(_EVENTS.decode(raw))
    except msgspec.ValidationError:
        return tuple(_one(bytes(part)) for part in _RAWS.decode(raw))
