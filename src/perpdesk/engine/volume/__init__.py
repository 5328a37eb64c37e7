"""The runner of volume_target: the pure state machines of ``strategies.volume_target`` over real waits.

venue     what a venue with order lists must offer
ledger    what is stored, for many users in one commit, durable before the wire
records   state machines as rows, and back
timers    one alarm clock for everybody
market    one token's prices, read once for all who trade it
lanes     the self-trade guard: who may quote what on a token
purse     losses and claims that users share
requests  one user's requests, each in a task of its own, answers as events
user      one user's run and pair: events in, rows and requests out
desk      all strategies and users under one supervisor
status    documents of what goes on, from the ledger
terms     the notice about venue rules

Engines know no venue: ``perpdesk.volume_run`` puts this together with the simulated market or an exchange.
"""
