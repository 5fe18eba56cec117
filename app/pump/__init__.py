"""One partition's loop, and all that it needs beside it.

pump.py                            drain, apply, append, deliver: read this file first
partitions.py                      takes partitions over, keeps their pumps going, lets them go
takeover.py reader.py              read, fence, close the outputs, claim, read on, deliver again
standby.py                         journals of partitions that others own, read ahead
decode.py inbox.py room.py         bytes into the engine's inputs; what waits for a round; how much may
recall.py lookback.py              what left memory, back from the journal; what came before a wait
entries.py delivery.py parked.py   what is appended; what is sent after it; records for topics that are away
upkeep.py snapshots.py             claims renewed, caches written
around.py                          what a pump needs around it, as protocols
"""
