"""Database URLs: understood, or refused without showing a password."""

from __future__ import annotations

import pytest

from perpdesk.adapters.sqlstore import SqlStore, urls
from perpdesk.domain.errors import InputError


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:///books.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:///books.db", "sqlite+aiosqlite"),
        ("postgresql://u@h/d", "postgresql+asyncpg"),
        ("postgres://u@h/d", "postgresql+asyncpg"),
        ("postgresql+psycopg://u@h/d", "postgresql+asyncpg"),
        ("mysql://u@h/d", "mysql+aiomysql"),
        ("mariadb://u@h/d", "mysql+aiomysql"),
    ],
)
def test_people_need_not_know_drivers(url: str, driver: str) -> None:
    assert urls.parse(url).drivername == driver


@pytest.mark.parametrize(
    "url",
    ["", "books.db", "oracle://u:sekret@h/d", "postgresql://u:sekret@h", "postgresql://u:sekret@h:port/d"],
)
def test_what_is_no_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InputError, match="--database") as refused:
        urls.parse(url)
    assert "sekret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_what_is_shown_can_be_typed_again() -> None:
    assert (
        urls.shown(urls.parse("postgres://u:p%40ss@h:5/d?ssl=require"))
        == "postgresql://u:***@h:5/d?ssl=require"
    )
    assert urls.shown(urls.parse("sqlite:///a/b.db")) == "sqlite:///a/b.db"


def test_drivers_messages_lose_their_secrets() -> None:
    url = urls.parse("postgresql://u:p%40ss@h/d?password=hidden&ssl=on")
    assert urls.without_secrets("p@ss, hidden, on", url) == "***, ***, on"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:sekret-word@127.0.0.1:1/test",
        "mysql://u:sekret-word@127.0.0.1:1/test",
        "mysql://nobody:sekret-word@127.0.0.1:1/test?connect_timeout=1",
    ],
)
async def test_a_server_that_does_not_answer_is_said_without_the_password(url: str) -> None:
    with pytest.raises(InputError, match="start the server") as refused:
        await SqlStore.open(url)
    seen = error = refused.value
    texts = []
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    assert not [text for text in texts if "sekret-word" in text], seen


async def test_an_open_store_does_not_show_it_either() -> None:
    async with await SqlStore.open("sqlite://") as store:
        store._url = urls.parse("postgresql://u:sekret@h/d")
        assert repr(store) == "SqlStore(postgresql://u:***@h/d)"
