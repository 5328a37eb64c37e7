"""accounts add|list|check|rotate|remove: the keys in the vault, and what the exchange lets them do."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from perpdesk.adapters.binance.hosts import Hosts
from perpdesk.adapters.clocks import SystemClock
from perpdesk.adapters.vault import AccountEntry, LastCheck, Vault, default_path
from perpdesk.adapters.vault.store import OPERATOR
from perpdesk.cli import account_rows as rows
from perpdesk.cli.account_checks import OK, ask_rights, hosts_of, hosts_of_new, is_spot, refuse_problems
from perpdesk.cli.console import notice, out, print_json, table
from perpdesk.cli.key_input import read_key
from perpdesk.cli.options import JsonOption
from perpdesk.domain.errors import InputError, PerpdeskError, Refused

EXIT_UNKNOWN, EXIT_REFUSED = 1, 3
_UNKNOWN = "unknown"
_NameArgument = Annotated[str, typer.Argument(help="The account's name in the vault.", metavar="NAME")]
_VaultOption = Annotated[
    Path | None, typer.Option("--vault", help="Default: $PERPDESK_VAULT, else in the user's data folder.")
]
_UrlOption = Annotated[
    str | None,
    typer.Option("--exchange-url", help="A simulated exchange on this machine instead of the live one."),
]
_KeyFileOption = Annotated[
    Path | None,
    typer.Option("--key-file", help="Private file with key and secret, - for stdin; default: asked for."),
]
_AnyIpOption = Annotated[
    bool,
    typer.Option("--allow-any-ip", help="Take a live key that has no list of addresses; journalled."),
]
_DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", envvar="PERPDESK_DATABASE", help="Keep the account's row and journal there."),
]


def add_to(application: typer.Typer) -> None:
    """Hang these commands into the tree."""
    group = typer.Typer(no_args_is_help=True, help="The accounts and their API keys (in the vault).")
    for name, command in (
        ("add", add),
        ("list", list_accounts),
        ("check", check),
        ("rotate", rotate),
        ("remove", remove),
    ):
        group.command(name)(command)
    application.add_typer(group, name="accounts")


def add(
    name: _NameArgument,
    exchange_url: _UrlOption = None,
    key_file: _KeyFileOption = None,
    allow_any_ip: _AnyIpOption = False,
    database: _DatabaseOption = None,
    vault: _VaultOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put an account's API key into the vault, after asking the exchange what it may do."""
    place = hosts_of_new(exchange_url)
    keep_new(name, place, exchange_url, key_file, allow_any_ip, database, vault, as_json)


def keep_new(
    name: str,
    place: tuple[str, Hosts],
    exchange_url: str | None,
    key_file: Path | None,
    allow_any_ip: bool,
    database: str | None,
    vault: Path | None,
    as_json: bool,
    *,
    user_id: int = OPERATOR,
) -> None:
    """Ask for a key, ask the exchange about it, keep it. place: the exchange's name and addresses."""
    store = _vault(vault)
    exchange, hosts = place
    _refuse_silent_override(allow_any_ip, database)
    store.refuse_name(name)
    _ = store.ring  # without a master key nobody should have to type a key
    if database is not None:
        rows.refuse_row(database, name)
    credential = read_key(key_file, any_ip=allow_any_ip)
    store.refuse_taken(name, credential)
    report, verdict = ask_rights(hosts, credential, name, spot=is_spot(exchange))
    refuse_problems(report, hosts)
    entry = store.add(
        name,
        exchange,
        credential,
        now_ms=verdict.at_ms,
        check=verdict,
        exchange_url=exchange_url,
        user_id=user_id,
    )
    _tell(database, "KeyAdded", entry, verdict, any_ip=allow_any_ip)
    _print(entry, f"account {name} is in the vault: key {entry.key_hint}…, {hosts.rest}", as_json)


def list_accounts(vault: _VaultOption = None, as_json: JsonOption = False) -> None:
    """The accounts in the vault. Of a key only its first four letters are shown."""
    store = _vault(vault)
    found = [_shown(entry) for entry in store.entries()]
    if as_json:
        print_json({"vault": str(store.path), "accounts": found})
        return
    if not found:
        out.print("no accounts")
        return
    columns = ["name", "exchange", "created", "key", "key id", "last check"]
    cells = [
        [
            one["name"],
            one["exchange_url"] or one["exchange"],
            _minute(one["created_ms"]),
            one["key"],
            f"{one['vault_ref']} v{one['key_version']} {one['master_key_id']}",
            _check_text(one["last_check"]),
        ]
        for one in found
    ]
    out.print(table("accounts", columns, cells))


def check(
    name: Annotated[str | None, typer.Argument(help="Default: all accounts.", metavar="[NAME]")] = None,
    exchange_url: _UrlOption = None,
    database: _DatabaseOption = None,
    vault: _VaultOption = None,
    as_json: JsonOption = False,
) -> int:
    """Ask the exchange again what the keys may do. Exit 3: a key is refused; 1: nothing is known of one."""
    store = _vault(vault)
    entries = store.entries() if name is None else (store.entry(name),)
    answers: list[dict[str, Any]] = []
    for entry in entries:
        try:
            credential = store.credential(entry.name, entry.user_id)
            hosts = hosts_of(entry, exchange_url)
            _, verdict = ask_rights(hosts, credential, entry.name, spot=is_spot(entry.exchange))
        except PerpdeskError as error:
            if name is not None:
                raise
            answers.append({"name": entry.name, "verdict": _UNKNOWN, "sentences": [str(error)]})
            continue
        store.note_check(entry.name, verdict, entry.key_version)
        _tell(database, "KeyChecked", entry, verdict, any_ip=credential.any_ip)
        answers.append({"name": entry.name, "verdict": verdict.verdict, "sentences": list(verdict.sentences)})
    if as_json:
        print_json({"accounts": answers})
    for one in answers:
        if not as_json:
            out.print(f"{one['name']}: {'; '.join([one['verdict'], *one['sentences']])}", markup=False)
    verdicts = {one["verdict"] for one in answers}
    return EXIT_REFUSED if verdicts - {OK, _UNKNOWN} else EXIT_UNKNOWN if _UNKNOWN in verdicts else 0


def rotate(
    name: Annotated[str | None, typer.Argument(help="Whose API key.", metavar="[NAME]")] = None,
    master: Annotated[bool, typer.Option("--master", help="Seal all keys with a new master key.")] = False,
    forget_old: Annotated[
        bool, typer.Option("--forget-old", help="With --master: delete the old master keys afterwards.")
    ] = False,
    exchange_url: _UrlOption = None,
    key_file: _KeyFileOption = None,
    allow_any_ip: _AnyIpOption = False,
    database: _DatabaseOption = None,
    vault: _VaultOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace an account's API key, or with --master the key that the vault is sealed with."""
    store = _vault(vault)
    if master == (name is not None) or (forget_old and not master):
        raise InputError("name an account, or give --master (and then perhaps --forget-old)", field="rotate")
    if master:
        _rotate_master(store, forget_old, as_json)
        return
    assert name is not None
    old = store.entry(name)
    hosts = hosts_of(old, exchange_url)
    _refuse_silent_override(allow_any_ip, database)
    _ = store.ring
    credential = read_key(key_file, any_ip=allow_any_ip)
    report, verdict = ask_rights(hosts, credential, name, spot=is_spot(old.exchange))
    refuse_problems(report, hosts)
    entry = store.replace(name, credential, now_ms=verdict.at_ms, check=verdict)
    _tell(database, "KeyReplaced", entry, verdict, any_ip=allow_any_ip)
    sentence = (
        f"account {name} has key {entry.key_hint}… now: restart its desk, then delete the old key "
        f"{old.key_hint}… at the exchange"
    )
    _print(entry, sentence, as_json)


def _rotate_master(store: Vault, forget_old: bool, as_json: bool) -> None:
    newest = store.new_master_key()
    sealed = store.reseal()
    opened = store.verify()
    gone = store.forget_old_master_keys() if forget_old else []
    kept = [key.key_id for key in store.ring.keys[:-1]]
    if as_json:
        print_json(
            {"master_key_id": newest, "sealed": sealed, "opened": opened, "kept": kept, "forgotten": gone}
        )
        return
    out.print(
        f"{sealed} keys sealed with master key {newest} in {store.ring.source.name}, {opened} open",
        markup=False,
    )
    if kept:
        out.print(f"older master keys are kept ({', '.join(kept)}): copies of the vault may need them")


def remove(
    name: _NameArgument,
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="The account's name again; default: asked for.")
    ] = None,
    database: _DatabaseOption = None,
    vault: _VaultOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget an account's key. Orders, fills and positions in the database stay."""
    store = _vault(vault)
    entry = store.entry(name)
    now_ms = SystemClock().now_ms()
    if database is not None:
        rows.refuse_owned(database, name, now_ms)
    if confirm is None:
        if not sys.stdin.isatty():
            raise InputError(
                "there is no terminal to ask at: give the account's name again", field="--confirm"
            )
        confirm = typer.prompt(f"type {name} to forget its key", err=True)
    if confirm != name:
        raise Refused(
            "NOT_CONFIRMED", f"what was given is not the account's name {name!r}: nothing was removed"
        )
    store.remove(name)
    if database is not None:
        rows.tell_removed(database, entry, now_ms)
    _print(
        entry,
        f"account {name} is no longer in the vault: delete the key {entry.key_hint}… at the exchange; a desk "
        "that runs has it until it stops",
        as_json,
    )


def _vault(path: Path | None) -> Vault:
    return Vault(default_path() if path is None else path)


def _refuse_silent_override(allow_any_ip: bool, database: str | None) -> None:
    if allow_any_ip and database is None:
        raise InputError(
            "needs --database: taking a key without an address list is journalled", field="--allow-any-ip"
        )


def _tell(database: str | None, kind: str, entry: AccountEntry, verdict: LastCheck, *, any_ip: bool) -> None:
    if database is None:
        return
    try:
        rows.tell(database, kind, entry, verdict, any_ip=any_ip, ms=verdict.at_ms)
    except PerpdeskError:
        notice(
            "the vault has been changed, the database has not: run "
            f"`perpdesk accounts check {entry.name}` with --database again"
        )
        raise


def _shown(entry: AccountEntry) -> dict[str, Any]:
    last = entry.last_check
    return {
        "name": entry.name,
        "exchange": entry.exchange,
        "exchange_url": entry.exchange_url,
        "created_ms": entry.created_ms,
        "changed_ms": entry.changed_ms,
        "key": f"{entry.key_hint}…",
        "vault_ref": entry.vault_ref,
        "key_version": entry.key_version,
        "master_key_id": entry.master_key_id,
        "last_check": None
        if last is None
        else {"at_ms": last.at_ms, "verdict": last.verdict, "sentences": list(last.sentences)},
    }


def _print(entry: AccountEntry, sentence: str, as_json: bool) -> None:
    if as_json:
        print_json({"account": _shown(entry)})
    else:
        out.print(sentence, markup=False)


def _check_text(last: dict[str, Any] | None) -> str:
    return "never" if last is None else f"{last['verdict']} {_minute(last['at_ms'])}"


def _minute(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
