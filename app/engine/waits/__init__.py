"""Waits and the events that they meet. P has the run, T is the registry of the topic, p is any partition (ADR 0010).

wanted.py             at P: what it asks of registries
waits.py streams.py   at T: waits, and those whose filter decides
restored.py           at T: both, back from the journal
interests.py          at p: which events are to be told, and to whom
flushes.py            at T and p: whether what came in time was told
lookbacks.py          what is read back from the log, between engine and pump
"""
