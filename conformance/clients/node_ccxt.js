// node ccxt: a whole life, with the streams of ccxt.pro.
const ccxt = require('ccxt');
const {
  REST, WS, control, price, thinBook, fullBook, fundingHour, pause, Report,
} = require('./life.js');

const PAIR = 'BTC/USDT:USDT';
const REDUCE = { reduceOnly: true };
const CONDITIONAL = { conditional: true };
const WAIT_MS = 60000;
const report = new Report('node ccxt');

async function marketData(x) {
  await x.loadMarkets();
  report.check('ticker', (await x.fetchTicker(PAIR)).last === 50000);
  const book = await x.fetchOrderBook(PAIR, 20);
  report.check('order book', book.bids[0][0] < book.asks[0][0], book);
  report.check('klines', (await x.fetchOHLCV(PAIR, '1m')).length > 0);
  report.check('funding rate', (await x.fetchFundingRate(PAIR)).symbol === PAIR);
  report.check('open interest', await x.fetchOpenInterest(PAIR));
  await x.fetchTrades(PAIR);
}

async function settings(x) {
  report.part = 'settings';
  report.check('one-way mode', !(await x.fetchPositionMode(PAIR)).hedged);
  await x.setLeverage(10, PAIR);
  await x.setMarginMode('isolated', PAIR);
  report.check('isolated', (await x.fetchLeverage(PAIR)).marginMode === 'isolated');
  await x.setMarginMode('cross', PAIR);
  const told = await x.fetchLeverage(PAIR);
  report.check('leverage 10, cross', told.longLeverage === 10 && told.marginMode === 'cross', told);
}

async function orders(x, account) {
  report.part = 'limit';
  const limit = await x.createOrder(PAIR, 'limit', 'buy', 0.01, 49000);
  const open = await x.fetchOpenOrders(PAIR);
  report.check('open order', open.length === 1 && open[0].id === limit.id, open);
  const edited = await x.editOrder(limit.id, PAIR, 'limit', 'buy', 0.02, 48900);
  report.check('edited', edited.price === 48900 && edited.amount === 0.02, edited);
  report.part = 'cancel';
  await x.cancelOrder(limit.id, PAIR);
  const ended = await x.fetchOrder(limit.id, PAIR);
  report.check('canceled', ended.status === 'canceled', ended);
  report.part = 'market';
  const market = await x.createOrder(PAIR, 'market', 'buy', 0.02);
  report.check('market order', market.status === 'closed', market);
  report.part = 'partial fill';
  await thinBook();
  const partly = await x.createOrder(PAIR, 'limit', 'buy', 0.01, 50000.1);
  const found = await x.fetchOrder(partly.id, PAIR);
  report.check('0.004 of 0.01', found.filled === 0.004 && found.remaining === 0.006, found);
  await x.cancelOrder(partly.id, PAIR);
  await fullBook();
  report.part = 'stop';
  const stop = await x.createOrder(PAIR, 'market', 'sell', 0.01, undefined, { stopLossPrice: 49500, ...REDUCE });
  report.check('stop order', Boolean(stop.id), stop);
  await x.createOrder(PAIR, 'TRAILING_STOP_MARKET', 'sell', 0.004, undefined, { trailingPercent: 1, ...REDUCE });
  const waiting = await x.fetchOpenOrders(PAIR, undefined, undefined, CONDITIONAL);
  report.check('conditional orders open', waiting.length === 2, waiting);
  await price('49400', true);
  await report.holds('stop and trailing have sold', account, 'BOTH 0.01');
  report.part = 'trailing';
  report.check('trailing is gone', (await x.fetchOpenOrders(PAIR, undefined, undefined, CONDITIONAL)).length === 0);
  await x.createOrder(PAIR, 'market', 'sell', 0.01, undefined, REDUCE);
}

async function hedge(x, account) {
  report.part = 'hedge';
  await x.setPositionMode(true, PAIR);
  await x.createOrder(PAIR, 'market', 'buy', 0.02, undefined, { positionSide: 'LONG' });
  await x.createOrder(PAIR, 'market', 'sell', 0.01, undefined, { positionSide: 'SHORT' });
  const legs = await x.fetchPositions([PAIR]);
  report.check('two legs', legs.map((one) => one.side).sort().join() === 'long,short', legs);
  await books(x, account);
  report.part = 'hedge';
  await x.createOrder(PAIR, 'market', 'sell', 0.02, undefined, { positionSide: 'LONG' });
  await x.createOrder(PAIR, 'market', 'buy', 0.01, undefined, { positionSide: 'SHORT' });
  await x.setPositionMode(false, PAIR);
  await report.holds('both legs are closed', account);
}

async function fundingAndLiquidation(x) {
  report.part = 'funding';
  await x.createOrder(PAIR, 'market', 'buy', 0.02);
  await fundingHour();
  const rows = await x.fetchFundingHistory(PAIR);
  report.check('funding was paid', rows.length === 1 && rows[0].amount < 0, rows);
  await x.createOrder(PAIR, 'market', 'sell', 0.02, undefined, REDUCE);
  report.part = 'liquidation';
  await x.setLeverage(100, PAIR);
  await x.setMarginMode('isolated', PAIR);
  await x.createOrder(PAIR, 'market', 'buy', 0.1);
  await x.addMargin(PAIR, 5);
  await price('48500', true);
  report.check('liquidated', (await x.fetchPositions([PAIR])).length === 0);
  const forced = await x.fetchMyLiquidations(PAIR);
  report.check('liquidations', forced.length === 1, forced);
  await x.setMarginMode('cross', PAIR);
}

async function history(x, account) {
  report.part = 'history';
  const made = await x.fetchOrders(PAIR);
  report.check('orders', made.length >= 10, made.length);
  const income = await x.fetchLedger('USDT');
  const total = income.reduce((sum, row) => sum + Math.round(row.amount * 1e8) * (row.direction === 'in' ? 1 : -1), 0);
  const ledger = await control('ledger', { account });
  report.check('income adds up to the wallet', total === ledger.wallet_e8, [total, ledger.wallet_e8]);
  await books(x, account);
}

async function books(x, account) {
  report.part = 'books';
  const balance = await x.fetchBalance();
  const held = await x.fetchPositions([PAIR]);
  const fills = await x.fetchMyTrades(PAIR);
  await report.books(
    account,
    balance.info.assets.find((one) => one.asset === 'USDT').walletBalance, // its total counts what is not realised
    held.map((one) => `${one.info.positionSide} ${Number(one.info.positionAmt)}`),
    fills.map((one) => [one.id, one.price, one.amount, one.fee.cost]),
  );
}

async function streams(x, account) {
  report.part = 'user stream';
  const late = pause(WAIT_MS).then(() => null);
  const ticker = await Promise.race([x.watchOHLCV(PAIR, '1m'), late]);
  report.check('watchOHLCV', ticker && ticker.length > 0, ticker);
  const watching = x.watchOrders(PAIR);
  await pause(2500);
  const made = await x.createOrder(PAIR, 'market', 'buy', 0.01);
  const told = await Promise.race([watching, late]);
  report.check('the order is told', told && told[told.length - 1].id === made.id, told);
  await books(x, account);
}

async function main() {
  const keys = await control('account', { balance: '10000' });
  await price('50000');
  const x = new ccxt.pro.binanceusdm({
    apiKey: keys.api_key,
    secret: keys.secret,
    options: { defaultType: 'swap', fetchCurrencies: false },
    urls: {
      api: {
        fapiPublic: `${REST}/fapi/v1`, fapiPublicV2: `${REST}/fapi/v2`, fapiPublicV3: `${REST}/fapi/v3`,
        fapiPrivate: `${REST}/fapi/v1`, fapiPrivateV2: `${REST}/fapi/v2`, fapiPrivateV3: `${REST}/fapi/v3`,
        fapiData: `${REST}/futures/data`, sapi: `${REST}/sapi/v1`, public: `${REST}/api/v3`, private: `${REST}/api/v3`,
        ws: { linear: `${WS}/ws`, 'ws-api': { linear: `${WS}/ws-fapi/v1` } },
      },
    },
  });
  // this version still calls the futures streams by their older name
  x.urls.api.ws.future = `${WS}/ws`;
  x.urls.api.ws['ws-api'].future = `${WS}/ws-fapi/v1`;
  try {
    await x.loadHttpProxyAgent(); // it wants this before sockets without TLS
    await x.loadTimeDifference();
    await marketData(x);
    await settings(x);
    await orders(x, keys.account);
    await hedge(x, keys.account);
    await fundingAndLiquidation(x);
    await history(x, keys.account);
    await streams(x, keys.account);
    report.check('no client exception', true);
  } catch (error) {
    report.check('no client exception', false, String(error && error.stack));
  }
  process.exit(report.failed ? 1 : 0);
}

main();
