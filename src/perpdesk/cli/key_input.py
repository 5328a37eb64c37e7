"""How an API key comes in: by a hidden prompt, a private file or stdin.

Never as an argument, which every user of the machine could read.
"""

from __future__ import annotations

import os
import stat
import sys
from getpass import getpass
from pathlib import Path

import msgspec

from perpdesk.adapters.vault import Credential
from perpdesk.cli.console import notice
from perpdesk.domain.errors import InputError, Refused
from perpdesk.domain.secret import Secret

_SIZE_MAX = 64 * 1024
_FIELD = "--key-file"
_FORMS = 'JSON with "api_key" and "secret", or the API key on the first line and its secret after it'


class _KeyFile(msgspec.Struct):
    api_key: str
    secret: str
    password: str | None = None


def read_key(key_file: Path | None, *, any_ip: bool) -> Credential:
    """The key that the operator gives. key_file: None asks at the terminal, ``-`` reads stdin.

    Raises InputError, never showing what was given, if it is no key that could sign.
    """
    api_key, secret, password = _asked() if key_file is None else _parsed(_content(key_file))
    made = Credential(Secret(api_key), Secret(secret), None if password is None else Secret(password), any_ip)
    made.signing()  # refuses what cannot sign
    if key_file is not None and key_file.is_file():
        notice(f"{key_file} still holds the key: delete it once the account is in the vault")
    return made


def _asked() -> tuple[str, str, str | None]:
    if not sys.stdin.isatty():
        raise InputError(
            "there is no terminal to ask at: give the key as a file, or - for stdin", field=_FIELD
        )
    return getpass("API key: ").strip(), getpass("secret: ").strip(), None


def _content(path: Path) -> str:
    if str(path) == "-":
        return _text(sys.stdin.buffer.read(_SIZE_MAX + 1))
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
                raise Refused(
                    "FILE_MODE", f"{path} can be read by others: `chmod 600 {path}`, and take a new key"
                )
            return _text(file.read(_SIZE_MAX + 1))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", field=_FIELD, file=path) from None


def _text(raw: bytes) -> str:
    if len(raw) > _SIZE_MAX:
        raise InputError(f"is longer than {_SIZE_MAX} bytes: must be {_FORMS}", field=_FIELD)
    try:
        return raw.decode().strip()
    except UnicodeDecodeError:
        raise InputError(f"is no text: must be {_FORMS}", field=_FIELD) from None


def _parsed(text: str) -> tuple[str, str, str | None]:
    if not text.startswith("{"):
        api_key, _, secret = text.partition("\n")
        if not secret.strip():
            raise InputError(f"must be {_FORMS}", field=_FIELD)
        return api_key.strip(), secret.strip(), None
    try:
        said = msgspec.json.decode(text, type=_KeyFile)
    except msgspec.DecodeError:
        raise InputError(f"must be {_FORMS}", field=_FIELD) from None
    return said.api_key.strip(), said.secret.strip(), said.password
