"""The exchange on the wire: Binance USDⓈ-M REST and WebSocket on loopback.

options     what a server can be told
app         serve(): an async context manager around a running server
running     the running server: world, keys, limits, streams
call        one REST call and the table of endpoints
security    API keys, signatures, timestamps
limits      request weight and order counts
trading     order, batch, algo endpoints
accounting  account, position, settings, history endpoints
public      market data endpoints
candles     klines from minutes: recorded ones exactly, grown ones from trades
catalogue   exchangeInfo
details     kline columns and open interest from files
listen      listen keys
sockets     WebSocket connections and their subscriptions
publish     market streams
wsapi       the WebSocket API
control     the loopback channel: market, people and faults on command
garbling    broken answers
spot_*      the Spot half: the same of everything for pairs, order lists and the Alpha tokens
actor       a person with the app and the same account
heartbeat   pings and pongs
ratios      statistics of /futures/data
sources     where prices come from: scripted ticks or a tape
lockstep    a tape with the kernel's fills, stop by stop
pausing     waiting in machine time
"""

from perpdesk.exchange.server.app import serve
from perpdesk.exchange.server.options import ServeOptions
from perpdesk.exchange.server.running import RunningServer

__all__ = ["RunningServer", "ServeOptions", "serve"]
