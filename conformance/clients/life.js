// What the node clients' scripts need: the counterpart of life.py.
const REST = process.env.PERPDESK_REST;
const WS = process.env.PERPDESK_WS;
const SYMBOL = 'BTCUSDT';
const HOUR_MS = 3600000;

async function control(action, args = {}) {
  const answer = await fetch(`${REST}/control`, { method: 'POST', body: JSON.stringify({ do: action, ...args }) });
  return answer.json();
}

const price = (text, walk = false) => control('tick', { symbol: SYMBOL, price: text, walk });
const thinBook = () => control('book', { symbol: SYMBOL, levels: { '50000.1': '0.004', '50000': '0.004', '51000': '1' } });
const fullBook = () => control('book', { symbol: SYMBOL, levels: null });

// An hour passes and funding is settled; the server's clock then shows what it showed before.
async function fundingHour() {
  await control('funding', { symbol: SYMBOL, rate: '0.0001', hours: 1 });
  await control('skip_time', { ms: HOUR_MS });
  await control('clock', { ms: -HOUR_MS });
  await control('funding', { symbol: SYMBOL, rate: '0', hours: 8 });
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

async function until(condition, ms) {
  const end = Date.now() + ms;
  while (!condition() && Date.now() < end) await pause(50);
  return condition();
}

class Report {
  constructor(client) {
    this.client = client;
    this.part = 'market data';
    this.failed = 0;
  }

  check(name, truth, why = '') {
    if (!truth) this.failed += 1;
    const said = truth ? '' : String(JSON.stringify(why)).slice(0, 500);
    console.log(JSON.stringify({ client: this.client, part: this.part, check: name, ok: Boolean(truth), why: said }));
  }

  async holds(name, account, ...expected) {
    const rows = (await control('ledger', { account })).positions;
    const found = rows.map((row) => `${row.side} ${Number(row.qty)}`).sort();
    this.check(name, JSON.stringify(found) === JSON.stringify(expected.sort()), rows);
  }

  // wallet: a number; positions: "SIDE quantity"; fills: [id, price, quantity, commission] as numbers.
  async books(account, wallet, positions, fills) {
    const books = await control('ledger', { account });
    this.check('wallet', Math.round(Number(wallet) * 1e8) === books.wallet_e8, [wallet, books.wallet_e8]);
    const held = books.positions.map((row) => `${row.side} ${Number(row.qty)}`).sort();
    this.check('positions', JSON.stringify(held) === JSON.stringify([...positions].sort()), [held, positions]);
    const line = (one) => one.map(Number).join(' ');
    const told = books.fills.map((row) => line([row.id, row.price, row.qty, row.commission])).sort();
    const mine = fills.map(line).sort();
    this.check('fills', JSON.stringify(told) === JSON.stringify(mine), [told.length, mine.length]);
    const missing = (await control('fired')).unknown_paths;
    this.check('every endpoint was there', missing.length === 0, missing);
  }
}

module.exports = { REST, WS, SYMBOL, control, price, thinBook, fullBook, fundingHour, pause, until, Report };
