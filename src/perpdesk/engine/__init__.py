"""The asyncio shell around the step. It talks to ports only.

engine      message → settle → react → execute; the gate at the end of a step
sleeve      one strategy version's share of an account
executor    wanted slots against open orders
ids         client order ids that explain themselves
steps       single bars → complete steps, with a deadline
recorder    what the engine tells whoever keeps records
recording   from those facts to the store's rows
"""
