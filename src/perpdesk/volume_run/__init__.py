"""volume_target put together: the runner of ``engine.volume`` with a venue.

sim     the simulated market in this process, on a clock of its own
spot    an exchange's Spot order lists, or the simulated exchange over HTTP
start   desks with either, for commands, tests and the Python API
"""

from perpdesk.volume_run.sim import SimulatedMarket, drive
from perpdesk.volume_run.start import sim_configs, sim_desk

__all__ = ["SimulatedMarket", "drive", "sim_configs", "sim_desk"]
