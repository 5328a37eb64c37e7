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
sources     where prices come from: scripted ticks or a tape
"""

from perpdesk.exchange.server.app import serve
from perpdesk.exchange.server.options import ServeOptions
from perpdesk.exchange.server.running import RunningServer

__all__ = ["RunningServer", "ServeOptions", "serve"]
