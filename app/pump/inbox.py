"""What waits for a partition's next round: chunks of records in the order of their offsets, bounded."""

import asyncio
from collections import deque
from collections.abc import Sequence

from app.pump.decode import Read

MAX_CHUNKS = 2
"""Chunks that may wait before the source is asked to hold on; a chunk is at most 1,000 records or 1 MiB."""


class Inbox:
    """Chunks of one topic of one partition. Knows which offset is next, so that what comes again is dropped."""

    __slots__ = ("_chunks", "_room", "next_offset")

    def __init__(self, next_offset: int) -> None:
        self.next_offset = next_offset
        self._chunks: deque[Sequence[Read]] = deque()
        self._room = asyncio.Event()
        self._room.set()

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def offer(self, records: Sequence[Read]) -> int | None:
        """Take a chunk. Return the offset it should have begun with when there is a gap before it, else None."""
        if records[-1].offset < self.next_offset:
            return None
        if records[0].offset < self.next_offset:
            records = [one for one in records if one.offset >= self.next_offset]
        gap = self.next_offset if records[0].offset > self.next_offset else None
        self._chunks.append(records)
        self.next_offset = records[-1].offset + 1
        if len(self._chunks) >= MAX_CHUNKS:
            self._room.clear()
        return gap

    def take(self) -> Sequence[Read]:
        chunk = self._chunks.popleft()
        if len(self._chunks) < MAX_CHUNKS:
            self._room.set()
        return chunk

    @property
    def full(self) -> bool:
        return len(self._chunks) >= MAX_CHUNKS

    async def room(self) -> None:
        """Wait until there is room for a chunk."""
        await self._room.wait()

    def clear(self, next_offset: int) -> None:
        """Drop what waits: it will be read again from `next_offset`."""
        self._chunks.clear()
        self._room.set()
        self.next_offset = next_offset
