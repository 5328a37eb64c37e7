"""grid: find zones (4 h), wait for a volume-spread signal (15 m), run a grid of limit orders on it.

params      what can be told
snapshot    canonical JSON and hashes
profile     volume by price
box         four levels around the price
squeeze     volatility and confidence
clustering  exact k-means on a line, the second opinion
zones       what the scanner hands on
scanner     all of the above: scan()
vsa         volume-spread rules of one bar at one zone
trigger     zones and bars to signals: judge_bar()
plan        levels, quantities, stops, refusals: make_plan()
stops       what a run is worth and where it must end
machine     states of a grid and of a level
strategy    the executor's half inside the compiled step

See docs/strategies/grid.md, also for what is not driven by a command yet.
"""
