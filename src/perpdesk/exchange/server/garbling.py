"""Answers that are not what they should be: empty accounts, broken JSON, fields nobody knows."""

from __future__ import annotations

from typing import Any

import msgspec

encode = msgspec.json.Encoder().encode
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>cloud gateway</body></html>"


def emptied(found: Any) -> Any:
    """The same shape with nothing in it: lists empty, amounts zero."""
    if isinstance(found, list):
        return []
    if isinstance(found, dict):
        return {name: emptied(value) for name, value in found.items()}
    if isinstance(found, str) and found.replace(".", "").replace("-", "").isdigit():
        return "0.00000000"
    return found


def garbled(found: Any, form: str) -> tuple[bytes, str]:
    """(body, content type) of a broken answer."""
    raw = encode(found)
    if form == "truncate":
        return raw[: max(1, len(raw) // 2)], "application/json"
    if form == "html":
        return _HTML, "text/html"
    if form == "binary":
        return bytes(range(256)), "application/octet-stream"
    if form == "schema":
        return encode(_strange(found)), "application/json"
    return b"", "application/json"


def _strange(found: Any) -> Any:
    """New fields, a new status word."""
    if isinstance(found, list):
        return [_strange(one) for one in found]
    if isinstance(found, dict):
        changed = {name: "PENDING_REVIEW" if name == "status" else value for name, value in found.items()}
        return changed | {"fieldOfTomorrow": {"nested": [1, "2"]}}
    return found
