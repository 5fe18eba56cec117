"""What a partition knows: `state.py`, and its parts.

dedup.py matching.py keyed.py                  ids seen; which workflows an event triggers; which keys cancel runs
run.py runs.py room.py                         runs, those that go on and those at rest; how much of them there may be
recorded.py awaited.py                         steps of runs, and how far those that wait have come
wait.py openwaits.py registry.py arrivals.py   waits at their registry, interests, what was told lately
timers.py later.py                             deadlines, those far away packed
packed.py resting.py texts.py                  how what rests is packed
counters.py                                    what happened, for the metrics
"""
