"""Every row of the specification's table of bad input: what it gets, and that no order goes out."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from tests.adapters.vault.vaults import Place
from tests.volume_run.sims import STRATEGY, bought_of, config, hold_true, new_desk, new_market, run_to_end
from tests.volume_run.spots import SYMBOL, rig, spot_config

from perpdesk.adapters.binance.hosts import simulated
from perpdesk.adapters.sqlstore import SqlStore, upgrade
from perpdesk.adapters.vault import Credential
from perpdesk.cli.main import run_command
from perpdesk.config.volume import VolumeConfigError, load_volume, read_volume
from perpdesk.config.volume_tokens import Listing
from perpdesk.domain.secret import Secret
from perpdesk.engine.volume.venue import Unread
from perpdesk.exchange.faults import Fault
from perpdesk.exchange.spot.alpha import default_tokens, token
from perpdesk.exchange.spot.pairs import Pair
from perpdesk.strategies.volume_target.modes import CountSide
from perpdesk.volume_run.sim import SimulatedMarket, driven
from perpdesk.volume_run.spot_keys import SIMULATED_SPOT, VaultKeys, account_name

KOGE = ("KOGE", "ALPHA_22USDT")


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[SqlStore]:
    """Empty, in a file."""
    url = f"sqlite:///{tmp_path / 'volume.sqlite'}"
    upgrade(url)
    async with await SqlStore.open(url) as store:
        yield store


# -- the file: refused with its line, and nothing starts ----------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("    target_volume: 5\n    target_volume: 6", "DUPLICATE_KEY"),
        ("    price_mode: &x discount_on_buy", "YAML_UNSAFE"),
        ("\tprice_mode: discount_on_buy", "YAML_INVALID"),
        ("#" + "x" * (2 << 20), "YAML_UNSAFE"),
        ("    single_trade_amount_usdt: yes", "BAD_NUMBER"),
        ("    single_trade_amount_usdt: .nan", "BAD_NUMBER"),
        ("    single_trade_amount_usdt: 1e400", "BAD_NUMBER"),
        ('    single_trade_amount_usdt: "٣"', "BAD_NUMBER"),
    ],
    ids=["duplicate key", "alias", "tab", "2 MiB", "yes", "nan", "1e400", "foreign digits"],
)
def test_a_bad_file_is_refused_with_its_line(
    line: str, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [one for one in STRATEGY.splitlines() if one.split(":")[0] != line.split(":")[0]]
    path = tmp_path / "trading_config.yaml"
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(VolumeConfigError) as caught:
        load_volume(path)
    assert code in caught.value.codes
    assert f"{path}:" in str(caught.value)  # with its line, where it is a line's fault
    assert caught.value.problems[0].source.line is not None or len(line) > 1 << 20
    assert run_command(["volume", "run", "--config", str(path)]) == 2
    assert code in capsys.readouterr().err


# -- the token ---------------------------------------------------------------------------------------------


def koge(**more: object) -> list[tuple[Pair, int]]:
    """The tokens of the market with this KOGE."""
    changed = replace(token(*KOGE, multiplier="1"), **more)  # type: ignore[arg-type]
    return [(changed, 4_800_000_000), *default_tokens()[1:]]


TOKENS = [
    ({}, {"target_token": "NOPE"}, "UNKNOWN_TOKEN"),
    ({}, {"target_chain": "ETH"}, "UNKNOWN_TOKEN"),
    ({"multiplier": None}, {}, "MUL_POINT_UNKNOWN"),
    ({"multiplier": "4x"}, {}, "MUL_POINT_UNKNOWN"),
    ({"multiplier": "0"}, {}, "MUL_POINT_UNKNOWN"),
    ({"multiplier": "2.5"}, {}, "MUL_POINT_MODE_REQUIRED"),
]


@pytest.mark.parametrize(("rules", "keys", "code"), TOKENS, ids=lambda one: str(one)[:40])
async def test_a_token_that_is_not_known_exactly_starts_nothing(
    rules: dict[str, object], keys: dict[str, str], code: str, books: SqlStore
) -> None:
    market = new_market(tokens=koge(**rules))
    desk = new_desk(market, config(**keys), books)
    with pytest.raises(VolumeConfigError) as caught:
        await driven(market, desk, desk.start_strategy("boost"))
    assert caught.value.codes == [code]
    await desk.close()
    assert await books.volume_runs() == []


async def test_one_name_for_two_contracts_starts_nothing(books: SqlStore) -> None:
    twin = token("KOGE", "ALPHA_23USDT")
    market = new_market(tokens=[*default_tokens(), (twin, 100_000_000)])
    desk = new_desk(market, config(), books)
    with pytest.raises(VolumeConfigError, match=twin.contract) as caught:
        await driven(market, desk, desk.start_strategy("boost"))
    assert caught.value.codes == ["AMBIGUOUS_TOKEN"]
    await desk.close()


async def test_a_multiplier_of_two_and_a_half_is_valid(books: SqlStore) -> None:
    market = new_market(tokens=koge(multiplier="2.5"))
    desk = new_desk(market, config(user_ids="[1]", target_volume=50, mul_point_mode="REAL"), books)
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    assert 50 <= bought_of(market, 1) <= 80
    await desk.close()
    await hold_true(market, books)


def delist(market: SimulatedMarket) -> None:
    market.world.by_symbol[KOGE[1]].status = "BREAK"


def forbid_lists(market: SimulatedMarket) -> None:
    market.world.by_symbol[KOGE[1]].oto_allowed = False


def forbid_stp(market: SimulatedMarket) -> None:
    market.world.by_symbol[KOGE[1]].stp_modes = ("NONE",)


def negative(market: SimulatedMarket) -> None:
    answer(market, -1.0)


def not_a_number(market: SimulatedMarket) -> None:
    answer(market, math.nan)


def unbounded(market: SimulatedMarket) -> None:
    answer(market, math.inf)


def answer(market: SimulatedMarket, shown: float) -> None:
    """Whatever is asked, the counter says this."""

    async def volume(*_: object) -> float:
        return shown

    market.spot.volume = volume  # type: ignore[method-assign]


def nothing(_: SimulatedMarket) -> None:
    """The market is as it should be."""


HALTS: list[tuple[Callable[[SimulatedMarket], None], dict[str, object], str]] = [
    (delist, {}, "INSTRUMENT"),
    (forbid_lists, {}, "INSTRUMENT"),
    (forbid_stp, {}, "INSTRUMENT"),
    (negative, {}, "READING_MISSING"),
    (not_a_number, {}, "READING_MISSING"),
    (unbounded, {}, "READING_MISSING"),
    (nothing, {"single_trade_amount_usdt": 4}, "FILTER FILTER_MIN_NOTIONAL"),
    (nothing, {"single_trade_amount_usdt": "0.3"}, "FILTER FILTER_MIN_QTY"),
    (nothing, {"sell_profit_percentage": 5}, "FILTER LOSS_PLANNED"),
    (nothing, {"price_mode": "discount_on_market", "buy_offset_percentage": 4}, "FILTER LOSS_PLANNED"),
    (nothing, {"max_loss_per_day_usdt": "0.5"}, "LOSS_DAY"),
]


@pytest.mark.parametrize(
    ("act", "keys", "reason"), HALTS, ids=[f"{row[0].__name__} {row[1]}" for row in HALTS]
)
async def test_what_may_not_be_traded_halts_before_any_order(
    act: Callable[[SimulatedMarket], None], keys: dict[str, object], reason: str, books: SqlStore
) -> None:
    market = new_market()
    act(market)
    desk = new_desk(market, config(user_ids="[1, 2]", soft_wait_max_seconds=20, **keys), books)
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    status = await desk.get_strategy_status("boost")
    for row in status["users"].values():  # type: ignore[attr-defined]
        assert (row["state"], row["reason"]) == ("HALTED", reason)
    assert await books.volume_pairs() == []
    assert all(not account.orders for account in market.world.accounts)
    await desk.close()


async def test_a_loss_beyond_the_cap_ends_after_that_pair(books: SqlStore) -> None:
    """The plan fits, the market does not: the bid is 4 % away when the SELL comes."""
    market = new_market()

    def wide(_: Pair, point):  # type: ignore[no-untyped-def]
        ms = point.ms
        while True:
            yield replace(point, ms=ms, bid_e8=point.bid_e8 * 96 // 100, last_e8=point.ask_e8)
            ms += 1_000

    market.follow(wide)
    more = {"max_spread_percentage": 10, "sell_profit_percentage": 1, "order_timeout_seconds": 30}
    desk = new_desk(market, config(user_ids="[1]", **more), books)
    await driven(market, desk, desk.start_strategy("boost"))
    await run_to_end(market, desk)
    status = await desk.get_strategy_status("boost")
    assert status["users"]["1"]["reason"] == "LOSS_TRADE"  # type: ignore[index]
    [pair] = await books.volume_pairs()
    assert pair.outcome == "ABORTED_LOSS"
    await desk.close()
    await hold_true(market, books)


# -- the counter of Spot -----------------------------------------------------------------------------------

ROW = (
    '[{{"symbol":"{symbol}","id":1,"orderId":1,"orderListId":-1,"price":"1","qty":"5","quoteQty":"{quote}",'
    '"commission":"0","commissionAsset":"USDT","time":{ms},"isBuyer":true,"isMaker":false,"isBestMatch":true}}]'
)
ANSWERS = {
    "login envelope": '{"code":"100002001","message":"Please log in first.","success":false,"data":null}',
    "error envelope": '{"code":-1000,"msg":"An unknown error occurred."}',
    "html": "<html><body>Sign in</body></html>",
    "empty": "",
    "list missing": '{"data":{}}',
    "null": "null",
    "null rows": "[null]",
    "negative": ROW.format(symbol=SYMBOL, quote="-5", ms="{ms}"),
    "nan": ROW.format(symbol=SYMBOL, quote="NaN", ms="{ms}"),
    "another token": ROW.format(symbol="BTCUSDT", quote="5", ms="{ms}"),
}


async def test_a_malformed_counter_is_an_error_and_an_empty_list_is_zero(tmp_path: Path) -> None:
    async with rig(tmp_path) as one:
        listing = Listing("binance_spot", "SPOT", "DOGE", SYMBOL, "1")
        user = one.venue.user(1, listing)
        day = one.venue.now_ms() // 86_400_000
        for name, text in ANSWERS.items():
            body = text.replace("{ms}", str(one.venue.now_ms()))
            fault = Fault(kind="reply", route="GET /api/v3/myTrades", http=200, body=body)
            one.server.faults.add(fault)
            with pytest.raises(Unread):
                pytest.fail(f"{name}: {await user.volume(day, CountSide.BUY)}")
        assert one.server.faults.fired.total() == len(ANSWERS)
        good = ROW.format(symbol=SYMBOL, quote="5", ms=one.venue.now_ms())
        one.server.faults.add(Fault(kind="reply", route="GET /api/v3/myTrades", http=200, body=good))
        assert await user.volume(day, CountSide.BUY) == 5
        assert await user.volume(day, CountSide.BUY) == 0  # the list is there, and empty
        await user.close()


# -- users -------------------------------------------------------------------------------------------------


async def test_everybody_at_the_target_sends_no_order_and_is_done(books: SqlStore) -> None:
    market = new_market()
    first = new_desk(market, config(user_ids="[1, 2]", target_volume=60), books)
    await driven(market, first, first.start_strategy("boost"))
    await run_to_end(market, first)
    await first.close()
    sent = [len(account.orders) for account in market.world.accounts]
    again = new_desk(market, config(user_ids="[1, 2]", target_volume=30), books)
    await driven(market, again, again.start_strategy("boost"))
    await run_to_end(market, again)
    status = await again.get_strategy_status("boost")
    states = {row["state"] for row in status["users"].values()}  # type: ignore[attr-defined]
    assert states == {"SKIPPED"}
    assert status["progress"] == "100.00%"
    assert [len(account.orders) for account in market.world.accounts] == sent
    await again.close()


async def test_a_user_in_two_strategies_on_one_token_is_refused_with_the_first_ones_name(
    books: SqlStore,
) -> None:
    block = STRATEGY[STRATEGY.index("  - strategy_id") :]
    other = block.replace("boost", "other").replace("[1, 2, 3]", "[3, 4]")
    loaded = read_volume(STRATEGY + other)
    assert "W_SAME_TOKEN" in {one.code for one in loaded.warnings}
    market = new_market()
    desk = new_desk(market, loaded, books)
    await driven(market, desk, desk.start_strategy("boost"))
    running = await driven(market, desk, desk.start_strategy("other"))
    assert "in strategy boost already" in running.errors[3]
    assert set(running.runs) == {4}
    desk.stop()
    await run_to_end(market, desk)
    await desk.close()
    await hold_true(market, books)


async def test_users_with_bad_keys_are_refused_and_the_others_run(tmp_path: Path) -> None:
    """1: good. 2: may withdraw. 3: none in the vault. 4: another user's."""
    (tmp_path / "v").mkdir()
    vault = Place(tmp_path / "v").vault()
    async with rig(tmp_path, accounts=4) as one:
        for user, owner in ((1, 1), (2, 2), (4, 1)):
            keys = one.server.accounts[user - 1]
            kept = Credential(Secret(keys.api_key), Secret(keys.secret), None, False)
            vault.add(account_name(user), SIMULATED_SPOT, kept, now_ms=1, user_id=owner)
        one.server.key_rights[one.server.accounts[1].api_key]["enableWithdrawals"] = True
        one.venue.credentials_of = VaultKeys(vault, simulated(one.server.rest_url))
        desk = one.desk(spot_config(user_ids="[1, 2, 3, 4]", target_volume=20))
        await desk.start_strategy("doge")
        await desk.finished()
        users = (await desk.get_strategy_status("doge"))["users"]
        assert isinstance(users, dict)
        states = {user: row["state"] for user, row in users.items()}
        assert states == {"1": "DONE", "2": "HALTED", "3": "REFUSED", "4": "REFUSED"}
        assert "it may withdraw" in users["2"]["reason"]
        assert "volume keys add --user 3" in users["3"]["reason"]
        assert "of user 1, not of user 4" in users["4"]["reason"]
        for user in (2, 3, 4):
            assert one.ledger(user)["lists"] == []
        assert sum(Decimal(row["quoteQty"]) for row in one.ledger(1)["fills"] if row["isBuyer"]) >= 20
        await desk.close()


# -- the command line --------------------------------------------------------------------------------------

QUICK = "volume quick-start --token KOGE --chain BSC --volume 100 --amount 10 --user 1 --interval 1"
LINES = [
    (f"{QUICK} --volume -1", 2, "--volume"),
    (f"{QUICK} --interval 0", 2, "--interval"),
    (f"{QUICK} --user nobody", 2, "--user"),
    (f"{QUICK} --user 0", 2, "--user"),
    (f"{QUICK} --amount 0", 2, "--amount"),
    (f"{QUICK} --token NOPE", 2, "UNKNOWN_TOKEN"),
    ("volume run --live --strategy koge_volume_boost", 3, "trades on venue sim"),
    ("volume run --live --exchange-url http://127.0.0.1:1", 3, "--live means the live exchange"),
    ("volume run --strategy nobody", 2, "there is no strategy nobody"),
]


@pytest.mark.parametrize(("words", "code", "said"), LINES, ids=[row[0][-40:] for row in LINES])
def test_wrong_commands(words: str, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(words.split()) == code
    assert said in capsys.readouterr().err
