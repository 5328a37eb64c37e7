// node "binance": REST and streams of its USDM client.
const { USDMClient, WebsocketClient } = require('binance');

const REST = process.env.PERPDESK_REST;
const WS = process.env.PERPDESK_WS;
const SYMBOL = 'BTCUSDT';
const CLIENT = 'node binance';
let failed = 0;

function check(name, truth, why = '') {
  if (!truth) failed += 1;
  const line = { client: CLIENT, check: name, ok: Boolean(truth), why: truth ? '' : JSON.stringify(why).slice(0, 500) };
  console.log(JSON.stringify(line));
}

async function control(action, args = {}) {
  const answer = await fetch(`${REST}/control`, { method: 'POST', body: JSON.stringify({ do: action, ...args }) });
  return answer.json();
}

function until(condition, ms) {
  return new Promise((resolve) => {
    const started = Date.now();
    const timer = setInterval(() => {
      if (condition() || Date.now() - started > ms) {
        clearInterval(timer);
        resolve(condition());
      }
    }, 50);
  });
}

async function rest(x, account) {
  const info = await x.getExchangeInfo();
  check('exchange info', info.symbols.some((one) => one.symbol === SYMBOL));
  check('klines', (await x.getKlines({ symbol: SYMBOL, interval: '1m' })).length > 0);
  check('order book', (await x.getOrderBook({ symbol: SYMBOL, limit: 5 })).bids.length === 5);
  await x.getMarkPrice({ symbol: SYMBOL });
  await x.setLeverage({ symbol: SYMBOL, leverage: 10 });
  const limit = await x.submitNewOrder({
    symbol: SYMBOL, side: 'BUY', type: 'LIMIT', timeInForce: 'GTC', quantity: 0.01, price: 49000,
  });
  check('limit order', limit.status === 'NEW', limit);
  check('open orders', (await x.getAllOpenOrders({ symbol: SYMBOL })).length === 1);
  await x.modifyOrder({ symbol: SYMBOL, side: 'BUY', orderId: limit.orderId, quantity: 0.01, price: 48900 });
  await x.cancelOrder({ symbol: SYMBOL, orderId: limit.orderId });
  const market = await x.submitNewOrder({
    symbol: SYMBOL, side: 'BUY', type: 'MARKET', quantity: 0.02, newOrderRespType: 'RESULT',
  });
  check('market order', market.status === 'FILLED', market);
  const stop = await x.submitNewAlgoOrder({
    algoType: 'CONDITIONAL', symbol: SYMBOL, side: 'SELL', type: 'STOP_MARKET', quantity: '0.02', triggerPrice: '49500',
    reduceOnly: 'true',
  });
  check('algo order', stop.algoStatus === 'NEW', stop);
  await control('tick', { symbol: SYMBOL, price: '49400', walk: true });
  check('stopped out', (await x.getPositionsV3()).length === 0);
  const books = await control('ledger', { account });
  const balance = (await x.getBalanceV3()).find((row) => row.asset === 'USDT');
  check('balance', Math.round(Number(balance.balance) * 1e8) === books.wallet_e8, [balance, books.wallet_e8]);
  const trades = await x.getAccountTrades({ symbol: SYMBOL });
  check('fills', trades.length === books.fills.length && trades.length === 2, trades);
  check('income', (await x.getIncomeHistory()).length > 0);
}

async function streams(x, keys) {
  const seen = [];
  const socket = new WebsocketClient({
    api_key: keys.api_key, api_secret: keys.secret, wsUrl: WS, restOptions: { baseUrl: REST, disableTimeSync: true },
    beautify: false,
  }, { trace() {}, info() {}, error() {} });
  socket.on('message', (message) => seen.push(message.data || message));
  socket.on('exception', (error) => check('stream exception', false, String(error && error.message)));
  await socket.subscribe(`${SYMBOL.toLowerCase()}@kline_1m`, 'usdmMarket').catch((e) => check('subscribe', false, e.message));
  await socket.subscribeUsdFuturesUserDataStream();
  await until(() => false, 1500);
  await x.submitNewOrder({ symbol: SYMBOL, side: 'BUY', type: 'MARKET', quantity: 0.01 });
  const names = () => new Set(seen.map((one) => one.e));
  await until(() => names().has('ORDER_TRADE_UPDATE') && names().has('kline'), 15000);
  check('kline stream', names().has('kline'), [...names()]);
  check('user stream', names().has('ORDER_TRADE_UPDATE') && names().has('ACCOUNT_UPDATE'), [...names()]);
  socket.closeAll(true);
}

async function main() {
  const keys = await control('account', { balance: '10000' });
  await control('tick', { symbol: SYMBOL, price: '50000' });
  const x = new USDMClient({ api_key: keys.api_key, api_secret: keys.secret, baseUrl: REST, disableTimeSync: true });
  try {
    const offset = (await (await fetch(`${REST}/fapi/v1/time`)).json()).serverTime - Date.now();
    x.setTimeOffset(offset);
    await rest(x, keys.account);
    await streams(x, keys);
    check('no client exception', true);
  } catch (error) {
    check('no client exception', false, error.message || error.body || error);
  }
  process.exit(failed ? 1 : 0);
}

main();
