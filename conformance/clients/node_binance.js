// node "binance": a whole life over REST and the streams of its USDM client.
const { USDMClient, WebsocketClient } = require('binance');
const {
  REST, WS, SYMBOL, control, price, thinBook, fullBook, fundingHour, pause, until, Report,
} = require('./life.js');

const WAIT_MS = 60000;
const report = new Report('node binance');

const market = (x, side, quantity, more = {}) => x.submitNewOrder({
  symbol: SYMBOL, side, type: 'MARKET', quantity, newOrderRespType: 'RESULT', ...more,
});
const limit = (x, quantity, at) => x.submitNewOrder({
  symbol: SYMBOL, side: 'BUY', type: 'LIMIT', timeInForce: 'GTC', quantity, price: at,
});

async function marketData(x) {
  const info = await x.getExchangeInfo();
  report.check('exchange info', info.symbols.some((one) => one.symbol === SYMBOL));
  report.check('klines', (await x.getKlines({ symbol: SYMBOL, interval: '1m' })).length > 0);
  report.check('order book', (await x.getOrderBook({ symbol: SYMBOL, limit: 5 })).bids.length === 5);
  report.check('mark price', (await x.getMarkPrice({ symbol: SYMBOL })).symbol === SYMBOL);
  report.check('book ticker', (await x.getSymbolOrderBookTicker({ symbol: SYMBOL })).bidPrice);
  report.check('24h ticker', (await x.get24hrChangeStatistics({ symbol: SYMBOL })).lastPrice);
  report.check('open interest', (await x.getOpenInterest({ symbol: SYMBOL })).openInterest);
  await x.getFundingRateHistory({ symbol: SYMBOL });
  await x.getAggregateTrades({ symbol: SYMBOL });
}

async function settings(x) {
  report.part = 'settings';
  report.check('one-way mode', (await x.getCurrentPositionMode()).dualSidePosition === false);
  report.check('leverage', (await x.setLeverage({ symbol: SYMBOL, leverage: 10 })).leverage === 10);
  await x.setMarginType({ symbol: SYMBOL, marginType: 'ISOLATED' });
  const [row] = await x.getFuturesSymbolConfig({ symbol: SYMBOL });
  report.check('isolated', row.marginType === 'ISOLATED', row);
  await x.setMarginType({ symbol: SYMBOL, marginType: 'CROSSED' });
  report.check('brackets', await x.getNotionalAndLeverageBrackets());
}

async function orders(x, account) {
  report.part = 'limit';
  const resting = await limit(x, 0.01, 49000);
  report.check('limit order', resting.status === 'NEW', resting);
  report.check('open orders', (await x.getAllOpenOrders({ symbol: SYMBOL })).length === 1);
  await x.modifyOrder({ symbol: SYMBOL, side: 'BUY', orderId: resting.orderId, quantity: 0.01, price: 48900 });
  const changed = await x.getOrder({ symbol: SYMBOL, orderId: resting.orderId });
  report.check('modified', Number(changed.price) === 48900, changed);
  report.part = 'cancel';
  await x.cancelOrder({ symbol: SYMBOL, orderId: resting.orderId });
  const ended = await x.getOrder({ symbol: SYMBOL, orderId: resting.orderId });
  report.check('canceled', ended.status === 'CANCELED', ended);

  report.part = 'market';
  const bought = await market(x, 'BUY', 0.02);
  report.check('market order', bought.status === 'FILLED', bought);

  report.part = 'partial fill';
  await thinBook();
  const partly = await limit(x, 0.01, 50000.1);
  const found = await x.getOrder({ symbol: SYMBOL, orderId: partly.orderId });
  report.check('0.004 of 0.01', found.status === 'PARTIALLY_FILLED' && Number(found.executedQty) === 0.004, found);
  await x.cancelOrder({ symbol: SYMBOL, orderId: partly.orderId });
  await fullBook();

  report.part = 'stop';
  const base = { algoType: 'CONDITIONAL', symbol: SYMBOL, side: 'SELL', reduceOnly: 'true' };
  const stop = await x.submitNewAlgoOrder({ ...base, type: 'STOP_MARKET', quantity: '0.01', triggerPrice: '49500' });
  report.check('algo order', stop.algoStatus === 'NEW', stop);
  const trailing = await x.submitNewAlgoOrder({
    ...base, type: 'TRAILING_STOP_MARKET', quantity: '0.004', callbackRate: '1',
  });
  const waiting = await x.getOpenAlgoOrders({ symbol: SYMBOL });
  report.check('open algo orders', waiting.length === 2, waiting);
  await price('49400', true);
  await report.holds('stop and trailing have sold', account, 'BOTH 0.01');
  report.part = 'trailing';
  const algo = await x.getAlgoOrder({ algoId: trailing.algoId });
  report.check('trailing has ended', algo.algoStatus === 'FINISHED', algo);
  await market(x, 'SELL', 0.01, { reduceOnly: 'true' });
}

async function hedge(x, account) {
  report.part = 'hedge';
  await x.setPositionMode({ dualSidePosition: 'true' });
  await market(x, 'BUY', 0.02, { positionSide: 'LONG' });
  await market(x, 'SELL', 0.01, { positionSide: 'SHORT' });
  await report.holds('two legs', account, 'LONG 0.02', 'SHORT -0.01');
  await books(x, account);
  report.part = 'hedge';
  await market(x, 'SELL', 0.02, { positionSide: 'LONG' });
  await market(x, 'BUY', 0.01, { positionSide: 'SHORT' });
  await x.setPositionMode({ dualSidePosition: 'false' });
  await report.holds('both legs are closed', account);
}

async function fundingAndLiquidation(x) {
  report.part = 'funding';
  await market(x, 'BUY', 0.02);
  await fundingHour();
  const rows = await x.getIncomeHistory({ incomeType: 'FUNDING_FEE' });
  report.check('funding was paid', rows.length === 1 && Number(rows[0].income) < 0, rows);
  await market(x, 'SELL', 0.02, { reduceOnly: 'true' });
  report.part = 'liquidation';
  await x.setLeverage({ symbol: SYMBOL, leverage: 100 });
  await x.setMarginType({ symbol: SYMBOL, marginType: 'ISOLATED' });
  await market(x, 'BUY', 0.1);
  await x.setIsolatedPositionMargin({ symbol: SYMBOL, amount: 5, type: '1' });
  await price('48500', true);
  report.check('liquidated', (await x.getPositionsV3({ symbol: SYMBOL })).length === 0);
  const forced = await x.getForceOrders({ symbol: SYMBOL }); // getUserForceOrders asks another endpoint
  report.check('forced orders', forced.length === 1, forced);
  await x.setMarginType({ symbol: SYMBOL, marginType: 'CROSSED' });
}

async function history(x, account) {
  report.part = 'history';
  const made = await x.getAllOrders({ symbol: SYMBOL });
  report.check('all orders', made.length >= 10, made.length);
  const income = await x.getIncomeHistory({ limit: 1000 });
  const total = income.reduce((sum, row) => sum + Math.round(Number(row.income) * 1e8), 0);
  const ledger = await control('ledger', { account });
  report.check('income adds up to the wallet', total === ledger.wallet_e8, [total, ledger.wallet_e8]);
  await books(x, account);
}

async function books(x, account) {
  report.part = 'books';
  const balance = (await x.getBalanceV3()).find((row) => row.asset === 'USDT');
  const held = (await x.getPositionsV3()).filter((row) => Number(row.positionAmt));
  const fills = await x.getAccountTrades({ symbol: SYMBOL, limit: 1000 });
  await report.books(
    account,
    balance.balance,
    held.map((row) => `${row.positionSide} ${Number(row.positionAmt)}`),
    fills.map((row) => [row.id, row.price, row.qty, row.commission]),
  );
}

async function streams(x, keys) {
  report.part = 'user stream';
  const seen = [];
  const socket = new WebsocketClient({
    api_key: keys.api_key, api_secret: keys.secret, wsUrl: WS, restOptions: { baseUrl: REST, disableTimeSync: true },
    beautify: false,
  }, { trace() {}, info() {}, error() {} });
  const events = [];
  socket.on('message', (message) => seen.push(message.data || message));
  socket.on('open', (event) => events.push(event.wsKey));
  socket.on('exception', (error) => report.check('stream exception', false, String(error && error.message)));
  await socket.subscribe(`${SYMBOL.toLowerCase()}@kline_1m`, 'usdmMarket').catch((e) => report.check('subscribe', false, e.message));
  await socket.subscribeUsdFuturesUserDataStream();
  await until(() => events.length >= 2, WAIT_MS);
  await pause(1000);
  await market(x, 'BUY', 0.01);
  const names = () => new Set(seen.map((one) => one.e));
  await until(() => names().has('ORDER_TRADE_UPDATE') && names().has('ACCOUNT_UPDATE') && names().has('kline'), WAIT_MS);
  report.check('kline stream', names().has('kline'), [...names()]);
  report.check('user stream', names().has('ORDER_TRADE_UPDATE') && names().has('ACCOUNT_UPDATE'), [...names()]);
  const filled = seen.find((one) => one.e === 'ORDER_TRADE_UPDATE' && one.o && one.o.X === 'FILLED');
  report.check('the fill is told', filled && Number(filled.o.l) === 0.01, filled);
  await books(x, keys.account);
  socket.closeAll(true);
}

async function main() {
  const keys = await control('account', { balance: '10000' });
  await price('50000');
  const x = new USDMClient({ api_key: keys.api_key, api_secret: keys.secret, baseUrl: REST, disableTimeSync: true });
  try {
    const offset = (await (await fetch(`${REST}/fapi/v1/time`)).json()).serverTime - Date.now();
    x.setTimeOffset(offset);
    await marketData(x);
    await settings(x);
    await orders(x, keys.account);
    await hedge(x, keys.account);
    await fundingAndLiquidation(x);
    await history(x, keys.account);
    await streams(x, keys);
    report.check('no client exception', true);
  } catch (error) {
    report.check('no client exception', false, (error && (error.message || error.body)) || String(error));
  }
  process.exit(report.failed ? 1 : 0);
}

main();
