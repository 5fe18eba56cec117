"""Packed ids, taken into tables while a journal is still being read. Used by standbys.

Tables are what takes the time of a restore: 0.3 us an id, so 1 s for the ids of an hour at 1,000 events/s. Who has
them before the takeover has nothing left to do at it.
"""

from collections.abc import Iterable

from app.engine.journal.entities import Entities
from app.engine.journal.snapshot import Remembered
from app.engine.tables.dedup import DIGEST_BYTES, Dedup, DedupPolicy, split
from topics import journal

PREFIX = b"pack:"


def nothing(policy: DedupPolicy) -> Remembered:
    """Return what is remembered before anything was read: no ids, of no round, and no tail."""
    return Remembered(round=-1, dedup=Dedup(policy), tail_ids=(), tail_generation=-1, tail_slots=0, tail_from=-1)


def ripe(entities: Entities, keys: Iterable[bytes]) -> list[bytes]:
    """Return which packs of `keys` are committed, and of a generation that counts. Raises UnreadableJournal.

    The others stay entities: they were written ahead of a commit that may never come, or are about to be removed.
    """
    if journal.HEAD not in entities.others:
        return []
    head = journal.decode(journal.HEAD, entities.others[journal.HEAD])
    found: list[bytes] = []
    for key in keys:
        value = entities.others.get(key)
        counts = value is not None and str(_generation(key)) in head["generations"]
        if value is not None and counts and journal.decode(key, value)["r"] <= head["r"]:
            found.append(key)
    return found


def fold(entities: Entities, remembered: Remembered, key: bytes) -> None:
    """Move one ripe pack from the entities into the tables. Raises UnreadableJournal, ValueError, LookupError."""
    head = journal.decode(journal.HEAD, entities.others[journal.HEAD])
    found = journal.decode(key, entities.others[key])
    number = _generation(key)
    dedup = remembered.dedup
    digests = journal.unpack_digests(found["d"], DIGEST_BYTES)
    table = next((one for one in dedup.generations if one.number == number), None)
    if table is not None and remembered.tail_ids:  # of a snapshot: the pack repeats what was the tail then
        digests = b"".join([one for one in split(digests) if not table.holds(one)])
    dedup.restore(number, head["generations"][str(number)], digests, packed=True)
    entities.remove(key)


def forget(entities: Entities, remembered: Remembered) -> None:
    """Drop the tables of generations that the journal has forgotten."""
    if journal.HEAD not in entities.others:
        return
    known = journal.decode(journal.HEAD, entities.others[journal.HEAD])["generations"]
    dedup = remembered.dedup
    dedup.generations = [one for one in dedup.generations if str(one.number) in known]
    dedup.count = sum(one.count for one in dedup.generations)


def _generation(key: bytes) -> int:
    return int(key.split(b":")[1])
