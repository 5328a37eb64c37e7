"""Deterministic simulation: the desk's own code, its store and the simulated exchange on one seeded clock.

loop        the event loop: virtual time, shuffled steps, processes that die at a chosen step
clock       a ports.Clock of one process, which can be wrong
trace       what happened, as a digest
database    the real store on SQLite inside the loop, with faults
network     REST and sockets between the real client and the real simulated exchange
weather     which faults a seed has, and when
market      prices of the world
actors      a person with the app
attribution whose fills are whose, by client id, from the exchange's own history
protection  what stands uncovered, and for how long
observer    the invariants, checked on the exchange
books       the invariants of the database
subject     the system under test
run         one seed
swarm       many seeds
matrix      a crash at every step of every path
planted     faults of ours that the simulation must find
report      what all of it found
"""
