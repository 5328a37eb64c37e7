"""Account, position, settings, history and listen-key endpoints."""

from __future__ import annotations

from typing import Any

from perpdesk.exchange.core import history, margin, settings, views
from perpdesk.exchange.core import refusals as no
from perpdesk.exchange.core.adl import CLIENT_ID as ADL_CLIENT_ID
from perpdesk.exchange.core.adl import quantile
from perpdesk.exchange.core.contracts import Contract
from perpdesk.exchange.core.events import rate_text
from perpdesk.exchange.core.numbers import integer, money, short
from perpdesk.exchange.core.refusals import Refusal
from perpdesk.exchange.server.call import Answer, Call, Endpoint, Table, by_symbol


def account_v2(call: Call) -> Answer:
    """GET v2/account."""
    return views.account_view(call.world, call.account, 2)


def account_v3(call: Call) -> Answer:
    """GET v3/account."""
    return views.account_view(call.world, call.account, 3)


def balance(call: Call) -> Answer:
    """GET v2|v3/balance."""
    return views.balance_rows(call.world, call.account)


def _risk(call: Call, version: int) -> Answer:
    contract = call.contract_if_given()
    if isinstance(contract, Refusal):
        return contract
    index = contract.index if contract is not None else None
    return views.position_rows(call.world, call.account, index, version)


def risk_v2(call: Call) -> Answer:
    """GET v2/positionRisk."""
    return _risk(call, 2)


def risk_v3(call: Call) -> Answer:
    """GET v3/positionRisk."""
    return _risk(call, 3)


def leverage(call: Call) -> Answer:
    """POST leverage."""
    return settings.set_leverage(call.world, call.account, call.params, call.now_ms)


def margin_type(call: Call) -> Answer:
    """POST marginType."""
    return settings.set_margin_type(call.world, call.account, call.params, call.now_ms)


def set_mode(call: Call) -> Answer:
    """POST positionSide/dual."""
    return settings.set_hedge(call.world, call.account, call.params, call.now_ms)


def mode(call: Call) -> Answer:
    """GET positionSide/dual."""
    return {"dualSidePosition": call.account.hedge}


def set_assets_mode(call: Call) -> Answer:
    """POST multiAssetsMargin."""
    return settings.set_multi_assets(call.world, call.account, call.params, call.now_ms)


def assets_mode(call: Call) -> Answer:
    """GET multiAssetsMargin."""
    return {"multiAssetsMargin": call.account.multi_assets}


def set_fee_burn(call: Call) -> Answer:
    """POST feeBurn."""
    return settings.set_fee_burn(call.world, call.account, call.params, call.now_ms)


def fee_burn(call: Call) -> Answer:
    """GET feeBurn."""
    return {"feeBurn": call.account.fee_burn}


def position_margin(call: Call) -> Answer:
    """POST positionMargin."""
    return settings.move_margin(call.world, call.account, call.params, call.now_ms)


def margin_history(call: Call) -> Answer:
    """GET positionMargin/history."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    limit = history.limit_of(call.params, 500, 1000)
    if isinstance(limit, Refusal):
        return limit
    kind = call.params.get("type", "")
    rows = [row for row in call.account.margin_changes if row["symbol"] == contract.symbol]
    return [row for row in rows if not kind or str(row["type"]) == kind][-limit:]


def _ladder(contract: Contract) -> dict[str, Any]:
    floor = 0
    rows = []
    for i, (cap, most, mmr, cum) in enumerate(contract.brackets, 1):
        rows.append(
            {
                "bracket": i,
                "initialLeverage": most,
                "notionalCap": cap // 10**8,
                "notionalFloor": floor // 10**8,
                "maintMarginRatio": mmr / 1_000_000,
                "cum": cum / 10**8,
            }
        )
        floor = cap
    return {"symbol": contract.symbol, "notionalCoef": 1.0, "brackets": rows}


def brackets(call: Call) -> Answer:
    """GET leverageBracket: always an array, as production answers."""
    contract = call.contract_if_given()
    if isinstance(contract, Refusal):
        return contract
    return [_ladder(one) for one in ([contract] if contract is not None else call.world.contracts)]


def commission(call: Call) -> Answer:
    """GET commissionRate."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    return {
        "symbol": contract.symbol,
        "makerCommissionRate": rate_text(contract.maker_ppm),
        "takerCommissionRate": rate_text(contract.taker_ppm),
        "rpiCommissionRate": "0.00005",
    }


def symbol_config(call: Call) -> Answer:
    """GET symbolConfig."""
    contract = call.contract_if_given()
    if isinstance(contract, Refusal):
        return contract
    rows = []
    for one in [contract] if contract is not None else call.world.contracts:
        setting = call.account.of(one.index)
        rows.append(
            {
                "symbol": one.symbol,
                "marginType": "ISOLATED" if setting.isolated else "CROSSED",
                "isAutoAddMargin": False,
                "leverage": setting.leverage,
                "maxNotionalValue": short(one.cap_e8(setting.leverage), 8),
            }
        )
    return rows


def account_config(call: Call) -> Answer:
    """GET accountConfig."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": call.account.hedge,
        "updateTime": 0,
        "multiAssetsMargin": call.account.multi_assets,
        "tradeGroupId": -1,
    }


def adl_quantile(call: Call) -> Answer:
    """GET adlQuantile: symbols with a position."""
    contract = call.contract_if_given()
    if isinstance(contract, Refusal):
        return contract
    held = {position.contract for position in call.account.held()}
    rows = []
    for index in sorted(held if contract is None else held & {contract.index}):
        sides = ("LONG", "SHORT", "BOTH") if call.account.hedge else ("BOTH",)
        rows.append(
            {
                "symbol": call.world.contracts[index].symbol,
                "adlQuantile": {
                    side: quantile(call.world, call.account.position(index, side)) for side in sides
                },
            }
        )
    return rows


def income(call: Call) -> Answer:
    """GET income: seven days unless asked for more, three months kept."""
    contract = call.contract_if_given()
    if isinstance(contract, Refusal):
        return contract
    limit = history.limit_of(call.params, 100, 1000)
    if isinstance(limit, Refusal):
        return limit
    span = history.window(call.params, call.now_ms, 0, 7)
    if isinstance(span, Refusal):
        return span
    kind = call.params.get("incomeType", "")
    oldest = call.now_ms - 90 * history.DAY_MS
    rows = [
        row
        for row in call.account.income
        if (contract is None or row["symbol"] == contract.symbol)
        and (not kind or row["incomeType"] == kind)
        and max(span[0], oldest) <= row["time"] <= span[1]
    ]
    from_start = bool(call.params.get("startTime"))
    chosen = history.page(rows, limit, from_start=from_start, key=lambda row: (row["time"], row["tranId"]))
    return [
        {
            "symbol": row["symbol"],
            "incomeType": row["incomeType"],
            "income": money(row["amount_e8"]),
            "asset": row["asset"],
            "info": row["info"],
            "time": row["time"],
            "tranId": row["tranId"],
            "tradeId": row["tradeId"],
        }
        for row in chosen
    ]


def user_trades(call: Call) -> Answer:
    """GET userTrades."""
    contract = call.contract()
    if isinstance(contract, Refusal):
        return contract
    limit = history.limit_of(call.params, 500, 1000)
    if isinstance(limit, Refusal):
        return limit
    first, order_id = (integer(call.params.get(name, "")) for name in ("fromId", "orderId"))
    timed = bool(call.params.get("startTime") or call.params.get("endTime"))
    if first is not None and timed:
        return no.BAD_COMBINATION
    span = history.window(call.params, call.now_ms, 7, 7)
    if isinstance(span, Refusal):
        return span
    oldest = call.now_ms - 90 * history.DAY_MS
    rows = [
        fill
        for fill in call.account.fills
        if fill["contract"] == contract.index
        and fill["time"] >= oldest
        and (order_id is None or fill["orderId"] == order_id)
        and (fill["id"] >= first if first is not None else span[0] <= fill["time"] <= span[1])
    ]
    from_start = first is not None or bool(call.params.get("startTime"))
    chosen = history.page(rows, limit, from_start=from_start, key=lambda fill: fill["id"])
    return [views.fill_row(call.world, fill) for fill in chosen]


def forced_orders(call: Call) -> Answer:
    """GET forceOrders: liquidations of the account."""
    contract = call.contract_if_given()
    if isinstance(contract, Refusal):
        return contract
    limit = history.limit_of(call.params, 50, 100)
    if isinstance(limit, Refusal):
        return limit
    kind = call.params.get("autoCloseType", "")
    if kind not in ("", "LIQUIDATION", "ADL"):
        return no.invalid_value("autoCloseType")
    span = history.window(call.params, call.now_ms, 0, 7)
    if isinstance(span, Refusal):
        return span
    rows = [
        order
        for order in call.account.forced
        if (not kind or (order.client_id == ADL_CLIENT_ID) == (kind == "ADL"))
        and (contract is None or order.contract == contract.index)
        and span[0] <= order.created_ms <= span[1]
    ]
    return [views.order_row(call.world, order, with_pair=True) for order in rows[-limit:]]


def order_limits(call: Call) -> Answer:
    """GET rateLimit/order."""
    rules = call.server.limits.rules()
    return [rules[2], rules[1]]


def trading_status(call: Call) -> Answer:
    """GET apiTradingStatus: nothing is locked."""
    return {"indicators": {}, "updateTime": call.now_ms}


def start_stream(call: Call) -> Answer:
    """POST listenKey."""
    return {"listenKey": call.server.listen_keys.start(call.account.index, call.server.session_ms())}


def extend_stream(call: Call) -> Answer:
    """PUT listenKey."""
    key = call.server.listen_keys.extend(call.account.index, call.server.session_ms())
    return no.BAD_LISTEN_KEY if key is None else {"listenKey": key}


def stop_stream(call: Call) -> Answer:
    """DELETE listenKey."""
    return {} if call.server.listen_keys.stop(call.account.index) else no.BAD_LISTEN_KEY


def pm_account(call: Call) -> Answer:
    """GET pmAccountInfo: what could be withdrawn to a portfolio-margin account."""
    sums = views.totals(call.world, call.account)
    return {
        "maxWithdrawAmountUSD": money(max(0, margin.available_e8(call.world, call.account))),
        "asset": call.params.get("asset", "USDT"),
        "maxWithdrawAmount": money(sums["withdrawable"]),
    }


TABLE: Table = {
    ("GET", "/fapi/v2/account"): Endpoint(account_v2, "SIGNED", 5),
    ("GET", "/fapi/v3/account"): Endpoint(account_v3, "SIGNED", 5),
    ("GET", "/fapi/v2/balance"): Endpoint(balance, "SIGNED", 5),
    ("GET", "/fapi/v3/balance"): Endpoint(balance, "SIGNED", 5),
    ("GET", "/fapi/v2/positionRisk"): Endpoint(risk_v2, "SIGNED", 5),
    ("GET", "/fapi/v3/positionRisk"): Endpoint(risk_v3, "SIGNED", 5),
    ("POST", "/fapi/v1/leverage"): Endpoint(leverage, "SIGNED", 1),
    ("POST", "/fapi/v1/marginType"): Endpoint(margin_type, "SIGNED", 1),
    ("POST", "/fapi/v1/positionSide/dual"): Endpoint(set_mode, "SIGNED", 1),
    ("GET", "/fapi/v1/positionSide/dual"): Endpoint(mode, "SIGNED", 30),
    ("POST", "/fapi/v1/multiAssetsMargin"): Endpoint(set_assets_mode, "SIGNED", 1),
    ("GET", "/fapi/v1/multiAssetsMargin"): Endpoint(assets_mode, "SIGNED", 30),
    ("POST", "/fapi/v1/feeBurn"): Endpoint(set_fee_burn, "SIGNED", 1),
    ("GET", "/fapi/v1/feeBurn"): Endpoint(fee_burn, "SIGNED", 30),
    ("POST", "/fapi/v1/positionMargin"): Endpoint(position_margin, "SIGNED", 1),
    ("GET", "/fapi/v1/positionMargin/history"): Endpoint(margin_history, "SIGNED", 1),
    ("GET", "/fapi/v1/leverageBracket"): Endpoint(brackets, "SIGNED", 1),
    ("GET", "/fapi/v1/commissionRate"): Endpoint(commission, "SIGNED", 20),
    ("GET", "/fapi/v1/symbolConfig"): Endpoint(symbol_config, "SIGNED", 5),
    ("GET", "/fapi/v1/accountConfig"): Endpoint(account_config, "SIGNED", 5),
    ("GET", "/fapi/v1/adlQuantile"): Endpoint(adl_quantile, "SIGNED", 5),
    ("GET", "/fapi/v1/income"): Endpoint(income, "SIGNED", 30),
    ("GET", "/fapi/v1/userTrades"): Endpoint(user_trades, "SIGNED", 5),
    ("GET", "/fapi/v1/forceOrders"): Endpoint(forced_orders, "SIGNED", by_symbol(20, 50)),
    ("GET", "/fapi/v1/rateLimit/order"): Endpoint(order_limits, "SIGNED", 1),
    ("GET", "/fapi/v1/apiTradingStatus"): Endpoint(trading_status, "SIGNED", by_symbol(1, 10)),
    ("GET", "/fapi/v1/pmAccountInfo"): Endpoint(pm_account, "SIGNED", 5),
    ("POST", "/fapi/v1/listenKey"): Endpoint(start_stream, "KEY", 1),
    ("PUT", "/fapi/v1/listenKey"): Endpoint(extend_stream, "KEY", 1),
    ("DELETE", "/fapi/v1/listenKey"): Endpoint(stop_stream, "KEY", 1),
}
