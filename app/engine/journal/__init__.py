"""The journal's form of a partition: what a round changed, as records, and the state back from them.

commit.py                        the records of one round
entities.py restore.py           live entities as they are read; a state made of them
records.py waiting.py            outgoing records; waits, interests and heads, as entities
snapshot.py atrest.py packs.py   a state as a block of bytes; what rests in it; packed ids
"""
