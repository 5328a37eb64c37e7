"""Secrets do not become text, and what slipped out all the same is found."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import pickle
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpdesk.domain.redaction import RedactingFilter, redacted, without_known
from perpdesk.domain.secret import Secret

VALUE = "canary-Zx81/and=more"


@dataclasses.dataclass
class Holder:
    name: str
    key: Secret


def test_it_is_revealed_only_by_name() -> None:
    secret = Secret(VALUE)
    assert secret.reveal() == VALUE
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>30}",
        f"{secret!r}",
        "%s" % secret,  # noqa: UP031
        "{}".format(secret),  # noqa: UP032
    ]
    shown += [
        repr(Holder("a", secret)),
        repr([secret]),
        str({"k": secret}),
        repr(dataclasses.asdict(Holder("a", secret))),
    ]
    for text in shown:
        assert VALUE not in text
        assert "***" in text


@pytest.mark.parametrize(
    "write",
    [
        pickle.dumps,
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        lambda s: pickle.dumps(Holder("a", s)),
        lambda s: json.dumps(dataclasses.asdict(Holder("a", s))),
        lambda s: msgspec.json.encode(Holder("a", s)),
        lambda s: s.__getstate__(),
        lambda s: s.__reduce_ex__(5),
        list,
        bytes,
        len,
        lambda s: s[0],
        lambda s: s + "x",
        lambda s: "x" + s,
        lambda s: "".join([s]),
        lambda s: "x" in s,
        vars,
    ],
)
def test_it_is_not_written(write: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError) as error:
        write(Secret(VALUE))
    assert VALUE not in str(error.value)


def test_a_copy_is_the_same_secret() -> None:
    secret = Secret(VALUE)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_attributes_do_not_hold_the_value() -> None:
    secret = Secret(VALUE)
    for name in dir(secret):
        try:
            found = getattr(secret, name)
        except TypeError:
            continue
        if name != "reveal":
            assert VALUE not in repr(found), name
    with pytest.raises(AttributeError):
        secret._reveal = lambda: "other"


def test_comparing() -> None:
    assert Secret(VALUE).matches(Secret(VALUE))
    assert Secret(VALUE).matches(VALUE)
    assert not Secret(VALUE).matches("other")
    assert Secret(VALUE) != Secret(VALUE)  # by value only with matches


@given(st.text(min_size=6, max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_known_values_leave_any_text(value: str, before: str, after: str) -> None:
    secret = Secret(value)
    for form in (value, quote(value, safe="", errors="replace"), json.dumps(value)[1:-1], repr(value)[1:-1]):
        found = without_known(f"{before}{form}{after}", 6)
        if form not in before + after and form not in "***":
            assert form not in found.replace("***", "\x00"), (secret.matches(value), form)


def test_a_key_of_several_lines() -> None:
    """As a whole it leaves nothing; its lines are found one by one, too."""
    lines = ["-----BEGIN OPENSSH KEY-----", "canary0123456789abcdef", "canaryABCDEFGHIJKLMNOP", "canary=="]
    secret = Secret("\n".join(lines))
    assert without_known(f"<{secret.reveal()}>") == "<***>"
    assert without_known(f"line 2: {lines[1]}!") == "line 2: ***!"


def test_results_keep_words_that_are_a_password_by_chance() -> None:
    secret = Secret("version")
    assert without_known('{"version": 1}') == '{"version": 1}'
    assert redacted('{"version": 1}') == '{"***": 1}'
    assert secret.matches("version")


def test_a_secret_that_is_gone_is_not_looked_for() -> None:
    secret = Secret("only-here-for-a-moment")
    assert without_known("only-here-for-a-moment") == "***"
    del secret
    assert without_known("only-here-for-a-moment") == "only-here-for-a-moment"


CANARY = "C4nary0123456789abcdefC4nary0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"GET /fapi/v1/order?symbol=BTCUSDT&timestamp=1&signature={CANARY}",
        f"https://host/private/ws?listenKey={CANARY}&x=1",
        f"X-MBX-APIKEY: {CANARY}",
        f"'X-MBX-APIKEY': '{CANARY}'",
        f'{{"listenKey": "{CANARY}"}}',
        f'{{"listenKey": "{CANARY}',
        f'{{\\"api_key\\": \\"{CANARY}\\"}}',
        f'b\'{{"secret":"{CANARY}"}}\'',
        f"api_key={CANARY}, side=buy",
        f"apiKey={CANARY}",
        f"key={CANARY}",
        f"secret = '{CANARY}'",
        f"password: {CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"Authorization: Basic {CANARY}==",
        f"postgresql://desk:{CANARY}@db.example/books",
        f"postgresql+asyncpg://desk:p@ss/{CANARY}@db.example/books",
        f"mysql://desk:{CANARY}@db.example:3306/books?charset=utf8mb4",
        f"https://{CANARY}@host/path",
        f"redis://:{CANARY}@localhost:6379/0",
        f"jwt eyJhbGciOiJIUzI1NiJ9.eyJ{CANARY}.{CANARY}",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
        f"-----BEGIN EC PRIVATE KEY-----\n{CANARY} and the rest is cut off",
        f"jwt_secret_key={CANARY}",
        f"ws_token={CANARY}",
        f"PERPDESK_MASTER_KEY={CANARY}",
    ],
)
def test_shapes_of_secrets(text: str) -> None:
    assert CANARY not in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "score.v2.leverage: must be 1 to 20, was 40 [E06]",
        "the database has no perpdesk tables: run `perpdesk db upgrade --database sqlite:///books.db`",
        "api_key: must be the key as Binance shows it",
        "secret: cannot be read as a PEM private key",
        "http://127.0.0.1:8080/fapi/v1/time answered -1021",
        "postgresql://desk@db.example/books cannot be used",
        "unknown key 'scores'",
        "exchange.url: must be scheme, host and port only",
        "3 tokens, 2 keys",
        "master.key: PERPDESK_MASTER_KEY_FILE: no such file",
    ],
)
def test_what_people_need_stays(text: str) -> None:
    assert redacted(text) == text


def logged(act: Callable[[logging.Logger], None]) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        logging.Formatter("%(levelname)s %(message)s %(extra_field)s", defaults={"extra_field": ""})
    )
    handler.addFilter(RedactingFilter())
    logger = logging.Logger("test", logging.DEBUG)
    logger.addHandler(handler)
    act(logger)
    return stream.getvalue()


def fail(logger: logging.Logger) -> None:
    try:
        try:
            raise ValueError(f"inner listenKey={CANARY}")
        except ValueError as error:
            raise RuntimeError(f"outer signature={CANARY}") from error
    except RuntimeError:
        logger.exception("it failed with secret=%s", CANARY)


@pytest.mark.parametrize(
    "act",
    [
        lambda log: log.info("url /x?signature=%s", CANARY),
        lambda log: log.info("url /x?signature=" + CANARY),
        lambda log: log.info("%(secret)s signature=%(secret)s", {"secret": Secret(CANARY)}),
        lambda log: log.info("here: %s", {"api_key": CANARY}),
        lambda log: log.info("wrong count %s %s secret=" + CANARY, "a"),
        lambda log: log.info("x", extra={"extra_field": f"password={CANARY}"}),
        lambda log: log.info("x", extra={"extra_field": {"secret": CANARY}}),
        lambda log: log.info("x", stack_info=True, extra={"extra_field": f"password={CANARY}"}),
        fail,
    ],
)
def test_the_log_filter(act: Callable[[logging.Logger], None]) -> None:
    text = logged(act)
    assert text
    assert CANARY not in text


def test_the_log_filter_keeps_the_rest() -> None:
    assert logged(lambda log: log.warning("%s: silent for %d ms", "user stream", 45_000)) == (
        "WARNING user stream: silent for 45000 ms \n"
    )
    failed = logged(fail)
    assert "ValueError: inner listenKey=***" in failed
    assert "direct cause" in failed
    assert "RuntimeError: outer signature=***" in failed
