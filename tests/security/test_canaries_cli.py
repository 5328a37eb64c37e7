"""SEC-01, SEC-02, I20: no key, password or DSN in what commands print, log, crash with, store, or show to `ps`."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import random
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.exchanges import exchange
from tests.security.sinks import Sinks

from perpdesk.adapters.sqlstore import upgrade
from perpdesk.cli.main import run_command
from perpdesk.domain.secret import Secret
from perpdesk.exchange.core.accounts import Keys

PASSWORD = "CANARYpassword9"
API_KEY, SECRET = "CANARYkey" + "k7Q2" * 13 + "end", "CANARYsecret" + "s9X4" * 12 + "last"
PROGRAM = [sys.executable, "-c", "from perpdesk.cli import main; main()"]

DSNS = [
    f"postgresql://desk:{PASSWORD}@127.0.0.1:1/books",
    f"postgresql://desk:{PASSWORD}@127.0.0.1:port/books",
    f"postgresql://desk:{PASSWORD}@[::1/books",
    f"postgresql://desk:x@{PASSWORD}@127.0.0.1:1/books",
    f"postgresql://desk:x@{PASSWORD}/y@127.0.0.1:1/books",
    f"postgresql://desk:x/{PASSWORD}@127.0.0.1:1/books",
    f"postgresql://desk:x#{PASSWORD}@127.0.0.1:1/books",
    f"postgresql://desk:{PASSWORD}@127.0.0.1:1",
    f"postgresql://127.0.0.1:1/books?password={PASSWORD}",
    f"postgresql://desk:{PASSWORD}@127.0.0.1:1/books?sslmode=nonsense",
    f"postgresql+psycopg://desk:{PASSWORD}@127.0.0.1:1/books",
    f"mysql://desk:{PASSWORD}@127.0.0.1:1/books",
    f"mysql://desk:{PASSWORD}@127.0.0.1:1/books?nonsense={PASSWORD}",
    f"mariadb://desk:{PASSWORD}@127.0.0.1:99999/books",
    f"redis://:{PASSWORD}@127.0.0.1/0",
    f"desk:{PASSWORD}@127.0.0.1/books",
    PASSWORD,
    f"sqlite:///missing/books.db?password={PASSWORD}",
    f"sqlite:///books.db?password={PASSWORD}",
]
COMMANDS = [
    ("db", "upgrade"),
    ("status", "--json"),
    ("report",),
    ("accounts", "check"),
    ("accounts", "remove", "a", "--confirm", "a"),
]


@pytest.fixture
def sinks() -> Iterator[Sinks]:
    found = Sinks()
    root = logging.getLogger()
    level = root.level
    root.addHandler(found)
    root.setLevel(logging.DEBUG)
    yield found
    root.removeHandler(found)
    root.setLevel(level)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, a vault and a master key of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setattr("keyring.core._keyring_backend", None)
    monkeypatch.setenv("PERPDESK_VAULT", str(tmp_path / "vault.json"))
    monkeypatch.setenv("PERPDESK_MASTER_KEY", master_key())
    monkeypatch.delenv("PERPDESK_DATABASE", raising=False)
    return tmp_path


def master_key() -> str:
    return "k1:" + base64.b64encode(random.Random("canary").randbytes(32)).decode()


@pytest.mark.parametrize("dsn", DSNS)
@pytest.mark.parametrize("way", ["argument", "environment"])
def test_database_urls(
    dsn: str,
    way: str,
    home: Path,
    sinks: Sinks,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wrong, unreachable, misspelt: the password is in no message. In the command line it is warned of."""
    where = ("--database", dsn) if way == "argument" else ()
    if way == "environment":
        monkeypatch.setenv("PERPDESK_DATABASE", dsn)
    for command in COMMANDS:
        code = run_command([*command, *where])
        said = capsys.readouterr()
        assert code == 2 or command[0] == "accounts" or "sqlite" in dsn, (command, said)
        sinks.text(f"{command} stdout", said.out)
        sinks.text(f"{command} stderr", said.err)
        assert ("every user of this machine can read" in said.err) == (
            way == "argument" and "@" in dsn and "://" in dsn
        )
    assert sinks.leaks({PASSWORD}) == []


@contextmanager
def postgresql_that_repeats_the_password() -> Iterator[int]:
    """Asks for the password in clear and quotes it in its refusal. Yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack("!i", await reader.readexactly(4))
                (code,) = struct.unpack("!i", (await reader.readexactly(size - 4))[:4])
                if code == 80877103:  # may we speak TLS?
                    writer.write(b"N")
                    continue
                break
            writer.write(b"R" + struct.pack("!ii", 8, 3))
            await reader.readexactly(1)
            (size,) = struct.unpack("!i", await reader.readexactly(4))
            password = (await reader.readexactly(size - 4)).rstrip(b"\0")
            fields = b"SFATAL\0C28P01\0Mno user desk with password " + password + b"\0\0"
            writer.write(b"E" + struct.pack("!i", len(fields) + 4) + fields)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    ports: list[int] = []
    ready, over = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        loops.append(asyncio.get_running_loop())
        ready.set()
        await over.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert ready.wait(30)
        yield ports[0]
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join(30)


def test_a_server_that_repeats_the_password(
    home: Path, sinks: Sinks, capsys: pytest.CaptureFixture[str]
) -> None:
    with postgresql_that_repeats_the_password() as port:
        for command in (("db", "upgrade"), ("status", "--json")):
            code = run_command(
                [*command, "--database", f"postgresql://desk:{PASSWORD}@127.0.0.1:{port}/books"]
            )
            said = capsys.readouterr()
            assert code == 2, said
            assert "no user desk with password ***" in said.err
            sinks.text("stdout", said.out)
            sinks.text("stderr", said.err)
    assert sinks.leaks({PASSWORD}) == []


@pytest.mark.slow
def test_a_key_from_stdin_to_the_database(home: Path, sinks: Sinks) -> None:
    """A process of its own at DEBUG: what `ps` shows while it waits, what it says, and all files it leaves."""
    database = home / "books.db"
    upgrade(f"sqlite:///{database}")
    environment = os.environ | {"PERPDESK_LOG": "DEBUG", "PERPDESK_DATABASE": f"sqlite:///{database}"}
    with exchange(1) as venue:
        venue.server.gate.add(Keys(0, API_KEY, "HMAC", SECRET))

        def run(*arguments: str, said: str = "") -> int:
            process = subprocess.Popen(
                [*PROGRAM, "accounts", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                text=True,
            )
            sinks.text(f"{arguments[0]} ps", Path(f"/proc/{process.pid}/cmdline").read_bytes())
            out, err = process.communicate(said, timeout=120)
            sinks.text(f"{arguments[0]} stdout", out)
            sinks.text(f"{arguments[0]} stderr", err)
            print(arguments, process.returncode, out, err[-800:])
            return process.returncode

        key = json.dumps({"api_key": API_KEY, "secret": SECRET})
        at = ("--exchange-url", venue.url, "--json")
        assert run("add", "a", "--key-file", "-", *at, said=key) == 0
        venue.do("key_rights", api_key=API_KEY, set={"enableWithdrawals": True})
        assert run("rotate", "a", "--key-file", "-", *at, said=key) == 3
        venue.do("revoke_key", api_key=API_KEY)
        assert run("check", "a", "--json") == 3
    for path in home.rglob("*"):
        if path.is_file():
            sinks.text(f"file {path.name}", path.read_bytes())
    names = {where for where, _ in sinks.texts}
    assert {"add ps", "add stderr", "file books.db", "file vault.json"} <= names
    assert any(b"DEBUG" in text for where, text in sinks.texts if where == "add stderr")
    assert sinks.leaks({API_KEY, SECRET, master_key(), master_key().partition(":")[2]}) == []


CRASHES = {
    "a bug": "raise RuntimeError(f'signing with {secret.reveal()}')",
    "a bug with a cause": """
        try:
            {}[secret.reveal()]
        except KeyError as error:
            raise RuntimeError('outer') from error
        """,
    "a signed address": "raise RuntimeError('GET /fapi/v1/order?symbol=X&signature=' + '%s')" % SECRET,  # noqa: UP031
    "a thread": """
        thread = threading.Thread(target=lambda: {}[secret.reveal()])
        thread.start()
        thread.join()
        """,
    "a forgotten task": """
        async def fail():
            raise RuntimeError(secret.reveal())
        async def run():
            task = asyncio.ensure_future(fail())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        asyncio.run(run())
        gc.collect()
        """,
    "a finaliser": """
        class Thing:
            def __del__(self):
                raise RuntimeError(secret.reveal())
        thing = Thing()
        del thing
        """,
    "a warning": "warnings.warn('with ' + secret.reveal())",
    "a log": "logging.getLogger('x').error('with %s', secret.reveal(), extra={'more': secret.reveal()})",
    "a log's traceback": """
        try:
            raise ValueError(secret.reveal())
        except ValueError:
            logging.getLogger('x').exception('failed')
        """,
    "results": "from perpdesk.cli.console import print_json, notice; notice(secret.reveal()); "
    "print_json({'said': secret.reveal()})",
}


@pytest.mark.slow
def test_whatever_crashes_the_process(tmp_path: Path) -> None:
    """The second net: texts that do hold the secret leave the process without it."""
    setup = f"""
        import asyncio, gc, logging, sys, threading, warnings
        from perpdesk.cli.logs import set_up_logs
        from perpdesk.domain.secret import Secret
        set_up_logs()
        secret = Secret('{SECRET}')
        """
    running = {}
    for name, body in CRASHES.items():
        script = tmp_path / f"{name}.py"
        script.write_text(textwrap.dedent(setup) + textwrap.dedent(body).strip())
        running[name] = subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    for name, process in running.items():
        out, err = process.communicate(timeout=120)
        assert "***" in out + err, name
        if name not in ("a signed address",):  # there the source line itself has it
            assert SECRET not in out + err, name
        assert (process.returncode == 1) == (name in ("a bug", "a bug with a cause", "a signed address")), (
            name
        )


@pytest.mark.parametrize("is_grouped", [False, True])
def test_a_bug_in_a_command(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_grouped: bool
) -> None:
    """Every way out of a command is redacted: typer has an except hook of its own."""
    secret = Secret(SECRET)

    def crash(*words: object, **named: object) -> None:
        error = RuntimeError(f"signing with {secret.reveal()}")
        raise ExceptionGroup(f"in a group {secret.reveal()}", [error]) if is_grouped else error

    monkeypatch.setattr("perpdesk.cli.database.upgrade", crash)
    hook = sys.excepthook
    try:
        assert run_command(["db", "upgrade", "--database", "sqlite:///x.db"]) == 1
    finally:
        sys.excepthook = hook
    said = capsys.readouterr()
    assert "RuntimeError: signing with ***" in said.err
    assert "Traceback" in said.err
    assert SECRET not in said.out + said.err


def test_the_search_finds_a_planted_leak(sinks: Sinks) -> None:
    logging.getLogger("desk").debug("connecting to %s", DSNS[0])
    (leak,) = sinks.leaks({PASSWORD})
    assert leak.startswith("log of desk: b'desk connecting to postgresql://desk:<CANARY>@127.0.0.1:1/books")
