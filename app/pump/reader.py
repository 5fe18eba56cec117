"""Reads a partition's journal: to its end, and on from there later. Used by takeovers, and ahead of them by standbys.

What was read is a cache of the journal up to an offset. It stays one only as long as the log is still the one that was
read: so every further reading begins with the last record of the one before, and compares it.
"""

import asyncio
from contextlib import aclosing
from typing import Any, NamedTuple

from app.engine.journal import packs
from app.engine.journal.entities import Entities
from app.engine.journal.snapshot import Remembered, Snapshot
from app.engine.tables.dedup import DedupPolicy
from app.kafka.log import LogError, LogRecord, PartitionLog
from topics import journal


class Diverged(LogError):
    """The journal is not the one that was read before: it lost its end, or was made anew."""


class _Last(NamedTuple):
    """The record that was read last, to be found again."""

    offset: int
    timestamp: int
    key: bytes | None
    digest: int

    @classmethod
    def of(cls, one: LogRecord) -> "_Last":
        return cls(one.offset, one.timestamp, one.key, hash(one.value))


class Reader:
    """The journal's entities as far as they were read. One task at a time; whoever cancels it may read on.

    `journal_id` is the id of the topic that is read. `fresh_ms`: when what is here was at the end of the journal, or
    its reading began: nothing that was removed before is missing from it.
    """

    def __init__(
        self, log: PartitionLog, *, journal_id: str, policy: DedupPolicy, fresh_ms: int, at_hand_bytes: int | None
    ) -> None:
        self.log = log
        self.journal_id = journal_id
        self.fresh_ms = fresh_ms
        self.entities = Entities(most_bytes=at_hand_bytes)
        self.next_offset = 0
        self.claim: dict[str, Any] | None = None
        self.claim_ms = 0
        self.claim_offset = -1
        self.claimants: set[int] = set()
        """Producer ids of the claims that were read."""
        self.remembered: Remembered | None = None
        self._policy = policy
        self._unkept: int | None = None
        self._last: _Last | None = None
        self._packs: set[bytes] = set()
        """Keys of packs that may be folded."""

    async def begin_with(self, snapshot: Snapshot) -> None:
        """Take a snapshot for what stands before its offset, if the journal is that long."""
        end = await self.log.end("journal")
        if snapshot.next_offset <= end:
            self.entities = snapshot.entities
            self._unkept = 0 if len(self.entities.at_hand) < len(self.entities.bodies) else None
            self.next_offset = snapshot.next_offset
            self.claim = snapshot.about["claim"]
            self.remembered = snapshot.remembered
            self.fresh_ms = snapshot.about["at"]

    @property
    def first_unkept(self) -> int:
        """No body that is not at hand stands before this offset."""
        return self.next_offset if self._unkept is None else self._unkept

    @property
    def weight(self) -> int:
        """What was read takes so much memory, by estimate."""
        return self.entities.weight + (0 if self.remembered is None else self.remembered.dedup.weight)

    async def read_on(self, *, end: int | None = None, most_bytes: int | None = None, sure: bool = False) -> int:
        """Read to `end`, without it to the present end of the journal; no further than needed for `most_bytes`.

        Return how many bytes there were.

        `sure`: where compaction has taken the record to compare, nothing else is trusted either. Raises Diverged.
        """
        start = 0
        if end is None:
            start, end = await self.log.bounds("journal")
        if end < self.next_offset:
            raise self._diverged(f"it ends at offset {end}")
        if end == self.next_offset:
            return 0
        last = self._last
        begin = self.next_offset if last is None else last.offset
        reading: Any = self.log.read("journal", max(start, begin), end)
        taken = 0
        async with aclosing(reading):
            async for records in reading:
                for one in records:
                    if last is not None:
                        self._compare(last, one, sure=sure)
                        last = None
                    if one.offset >= self.next_offset:
                        self._take(one)
                        taken += len(one.key or b"") + len(one.value or b"")
                if records and records[-1].offset >= self.next_offset:
                    self._last = _Last.of(records[-1])
                    self.next_offset = records[-1].offset + 1
                if most_bytes is not None and taken >= most_bytes:
                    break
            else:
                if last is not None and sure:
                    raise self._diverged("nothing of it is left")
                self.next_offset = end
        if self._unkept is not None and len(self.entities.at_hand) == len(self.entities.bodies):
            self._unkept = None
        return taken

    async def fold(self) -> None:
        """Take the packed ids into tables, a few at a time: others have their turn between."""
        ready = packs.ripe(self.entities, self._packs)
        if not ready:
            return
        if self.remembered is None:
            self.remembered = packs.nothing(self._policy)
        packs.forget(self.entities, self.remembered)
        for key in ready:
            packs.fold(self.entities, self.remembered, key)
            self._packs.discard(key)
            await asyncio.sleep(0)

    def _compare(self, last: _Last, one: LogRecord, *, sure: bool) -> None:
        if one.offset == last.offset:
            if _Last.of(one) != last:
                raise self._diverged(f"offset {one.offset} holds another record than before")
        elif sure:
            raise self._diverged(f"offset {last.offset} was read, and is there no more")

    def _diverged(self, reason: str) -> Diverged:
        return Diverged(f"journal-{self.log.partition}: read up to offset {self.next_offset}, but {reason}")

    def _take(self, one: LogRecord) -> None:
        if one.key is None or is_kill(one):
            return
        if one.value is None:
            self.entities.remove(one.key)
            self._packs.discard(one.key)
            return
        if one.key == journal.CLAIM:
            self.claim = journal.decode(one.key, one.value)
            self.claimants.add(self.claim["producer_id"])
            self.claim_ms = one.timestamp
            self.claim_offset = one.offset
        elif not self.entities.put(one.key, one.value, one.offset) and self._unkept is None:
            self._unkept = one.offset
        elif one.key.startswith(packs.PREFIX):
            self._packs.add(one.key)


def is_kill(one: LogRecord) -> bool:
    """Whether a record only shuts out an older owner."""
    return bool(one.headers) and any(name == journal.FENCE_HEADER for name, _ in one.headers)
