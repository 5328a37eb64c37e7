"""The second net under ``Secret``: takes secrets out of text that is about to leave the process.

Two ways: the exact values of all living secrets (also percent-encoded, escaped, and in base64), and the
shapes in which secrets travel: ``name=value``, JSON members, headers, passwords in URLs, JWTs, PEM keys.
A shape can be missed; so the first net is that secrets never become text.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import traceback
from urllib.parse import quote
from weakref import WeakKeyDictionary

from perpdesk.domain.secret import HIDDEN, Secret, living

# Of text from outside so much is looked at: the search must not take long, and nobody reads more.
_QUOTED_MAX = 1_024
# Keys, listen keys and signatures are longer; client ids end at 36.
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_-]{40,}")
# A shorter value would be found by chance in harmless text.
_SHORTEST = 6
# In results, which other programs read, a word that is a password by chance must stay.
_SHORTEST_IN_RESULTS = 16
_NAME = (
    r"[\w.-]{0,40}(?:secret|signature|passw(?:or)?d|passphrase|passwd|pwd|listen_?key|api[_-]?key|apikey|mbx-apikey"
    r"|private_?key|master_?key|access_?key|authorization|cookie|jwt|ws_?token|access_?token|refresh_?token|token"
    r"|csrf)[\w-]{0,20}"
)
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*")
_URL_PASSWORD = re.compile(r"(?P<front>[a-zA-Z][\w+.-]*://[^\s:/@'\"]*:)[^\s'\"]*(?P<back>@)")
# The user name of a URL may be the secret itself: https://TOKEN@host
_URL_USER = re.compile(r"(?P<front>https?://)[^\s:/@'\"?#]+(?P<back>@)")
_MEMBER = re.compile(
    rf"(?P<front>\\?[\"']{_NAME}\\?[\"']\s*[:=,]\s*b?\\?[\"'])(?:[^\"'\\]|\\[^\"'])*(?P<back>\\?[\"']?)",
    re.IGNORECASE,
)
_PAIR = re.compile(rf"(?P<front>\b{_NAME}\s*=\s*[\"']?)[^\s&\"',;)\]}}]+(?P<back>)", re.IGNORECASE)
_HEADER = re.compile(
    rf"(?P<front>\b(?:{_NAME}):[ \t]*)(?!//)(?:(?:bearer|basic|token)[ \t]+)?"
    r"(?:(?=\S*\d)[A-Za-z0-9+/=._~%-]{8,}|[A-Za-z0-9+/=._~%-]{20,})(?P<back>)",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"(?P<front>(?<![\w./-])keys?\\?[\"']?\s*[:=]\s*\\?[\"']?)(?=\S*\d)[A-Za-z0-9+/=_-]{16,}(?P<back>)",
    re.IGNORECASE,
)
_SHAPES = (_MEMBER, _PAIR, _HEADER, _KEY, _URL_PASSWORD, _URL_USER)


def redacted(text: str) -> str:
    """The text with every known secret, and everything of the shape of one, replaced by ``***``."""
    text = without_known(text, _SHORTEST)
    text = _PEM.sub(HIDDEN, text)
    text = _JWT.sub(HIDDEN, text)
    for shape in _SHAPES:
        text = shape.sub(rf"\g<front>{HIDDEN}\g<back>", text)
    return text


def quoted(text: str, length_max: int) -> str:
    """The beginning of text that came from outside, for an error or journal: redacted, without words that are
    long enough to be a key, on one line."""
    shown = _LONG_WORD.sub(HIDDEN, redacted(text[:_QUOTED_MAX]))
    return "".join(letter if letter.isprintable() else " " for letter in shown)[:length_max].strip()


def without_known(text: str, shortest: int = _SHORTEST_IN_RESULTS) -> str:
    """The text with the values of living secrets replaced, of those that are long enough; its shape is not
    looked at."""
    forms = [_forms_of(secret) for secret in living()]
    # The longest first: a part of another must not hide it.
    for value, *shown in sorted(forms, key=lambda found: len(found[0]), reverse=True):
        if len(value) >= shortest:
            for form in shown:
                if form in text:
                    text = text.replace(form, HIDDEN)
    return text


def _forms_of(secret: Secret) -> tuple[str, ...]:
    """The value, then everything to look for, the longest first: it may stand in an address, in JSON, in a
    repr or in basic authentication."""
    found = _forms.get(secret)
    if found is None:
        value = secret.reveal()
        raw = value.encode("utf-8", "surrogatepass")
        forms = {value, quote(value, safe="", errors="replace"), json.dumps(value)[1:-1], repr(value)[1:-1]}
        forms |= {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
        # Each line of a PEM key, which other programs quote one by one.
        forms |= {line for line in value.splitlines() if len(line) >= 16 and not line.startswith("-----")}
        found = _forms[secret] = (value, *sorted(forms, key=len, reverse=True))
    return found


class RedactingFilter(logging.Filter):
    """Put it on every handler: message, arguments, traceback and extra fields leave it redacted.

    It changes the record, so handlers after it see the redacted one too.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):  # arguments that do not fit: logging would print them raw
            text = f"{record.msg} {record.args!r}"
        record.msg, record.args = redacted(text), None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        record.exc_info = None
        if record.exc_text:
            record.exc_text = redacted(record.exc_text)
        if record.stack_info:
            record.stack_info = redacted(record.stack_info)
        for name, value in list(vars(record).items()):
            if name not in _OWN_FIELDS:
                record.__dict__[name] = (
                    value if isinstance(value, (int, float, bool)) else redacted(str(value))
                )
        return True


# Worked out once for each secret, and gone with it.
_forms: WeakKeyDictionary[Secret, tuple[str, ...]] = WeakKeyDictionary()
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
