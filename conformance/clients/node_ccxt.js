// node ccxt: an order life against the ledger.
const ccxt = require('ccxt');

const REST = process.env.PERPDESK_REST;
const PAIR = 'BTC/USDT:USDT';
const CLIENT = 'node ccxt';
let failed = 0;

function check(name, truth, why = '') {
  if (!truth) failed += 1;
  const line = { client: CLIENT, check: name, ok: Boolean(truth), why: truth ? '' : String(JSON.stringify(why)).slice(0, 500) };
  console.log(JSON.stringify(line));
}

async function control(action, args = {}) {
  const answer = await fetch(`${REST}/control`, { method: 'POST', body: JSON.stringify({ do: action, ...args }) });
  return answer.json();
}

async function life(x, account) {
  await x.loadTimeDifference();
  await x.loadMarkets();
  check('ticker', (await x.fetchTicker(PAIR)).last === 50000);
  await x.setLeverage(10, PAIR);
  const limit = await x.createOrder(PAIR, 'limit', 'buy', 0.01, 49000);
  const open = await x.fetchOpenOrders(PAIR);
  check('open order', open.length === 1 && open[0].id === limit.id, open);
  await x.cancelOrder(limit.id, PAIR);
  const market = await x.createOrder(PAIR, 'market', 'buy', 0.02);
  check('market order', market.status === 'closed', market);
  const stop = await x.createOrder(PAIR, 'market', 'sell', 0.02, undefined, { stopLossPrice: 49500, reduceOnly: true });
  check('stop order', Boolean(stop.id), stop);
  await control('tick', { symbol: 'BTCUSDT', price: '49400', walk: true });
  check('stopped out', (await x.fetchPositions([PAIR])).length === 0);
  const books = await control('ledger', { account });
  const balance = await x.fetchBalance();
  check('balance', Math.round(balance.USDT.total * 1e8) === books.wallet_e8, [balance.USDT, books.wallet_e8]);
  check('fills', (await x.fetchMyTrades(PAIR)).length === books.fills.length);
}

async function main() {
  const keys = await control('account', { balance: '10000' });
  await control('tick', { symbol: 'BTCUSDT', price: '50000' });
  const x = new ccxt.binanceusdm({
    apiKey: keys.api_key,
    secret: keys.secret,
    options: { defaultType: 'swap', fetchCurrencies: false },
    urls: {
      api: {
        fapiPublic: `${REST}/fapi/v1`, fapiPublicV2: `${REST}/fapi/v2`, fapiPublicV3: `${REST}/fapi/v3`,
        fapiPrivate: `${REST}/fapi/v1`, fapiPrivateV2: `${REST}/fapi/v2`, fapiPrivateV3: `${REST}/fapi/v3`,
        fapiData: `${REST}/futures/data`, sapi: `${REST}/sapi/v1`, public: `${REST}/api/v3`, private: `${REST}/api/v3`,
      },
    },
  });
  try {
    await life(x, keys.account);
    check('no client exception', true);
  } catch (error) {
    check('no client exception', false, String(error && error.message));
  }
  process.exit(failed ? 1 : 0);
}

main();
