"""What a run was worth.

round_trips  fills → round trips
result       the figures of one run, as JSON and as tables
"""
