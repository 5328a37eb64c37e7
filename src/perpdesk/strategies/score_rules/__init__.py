"""What all scorer versions share: rules that are no scorer, as pure functions of numbers, compiled.

params     what every version can be told, and how it is checked
scan       the scan grid, one attempt for each bar, the proposal
waiting    entries that wait: closes before a signal, a 5-minute bar that confirms it
confirm    which 5-minute bar confirms
ratings    how a symbol's record moves its level, and what a level means
"""
