"""What waits for a partition's next round: chunks of records in the order of their offsets, with a mark for "full"."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from app.pump.decode import Read
from topics.envelope import COMMA_BYTES, HEADER_BYTES

CHUNK_BYTES = 2 * 1024 * 1024
"""Chunks that would take more in memory are cut: a round takes whole ones."""


class Inbox:
    """Chunks of one topic of one partition. Knows which offset is next, so that what comes again is dropped.

    `full` asks the source to hold on; what it has fetched already is taken all the same. The mark is far above what a
    round takes, because aiokafka fetches nothing from a broker for 0.1 s while one partition is held back.
    """

    __slots__ = ("_chunks", "_most_bytes", "_size_bytes", "cleared", "next_offset")

    def __init__(self, next_offset: int, *, most_bytes: int) -> None:
        self.next_offset = next_offset
        self._most_bytes = most_bytes
        self._chunks: deque[tuple[Sequence[Read], int]] = deque()
        self._size_bytes = 0
        self.cleared = 0
        """How often `clear` was called: what was fetched before is not what is next after it."""

    def __bool__(self) -> bool:
        return bool(self._chunks)

    @property
    def full(self) -> bool:
        return self._size_bytes >= self._most_bytes

    def offer(self, records: Sequence[Read]) -> None:
        """Take a chunk, without what came before."""
        if records[-1].offset < self.next_offset:
            return
        if records[0].offset < self.next_offset:
            records = [one for one in records if one.offset >= self.next_offset]
        start = size = 0
        for at, one in enumerate(records):
            value = one.value
            # Counted up to the last one, which memrchr finds: behind it there may be a long text.
            weight = len(value) + COMMA_BYTES * value.count(b",", 0, value.rfind(b",") + 1) if value else 0
            if one.key:
                weight += len(one.key)
            for name, raw in one.headers:
                weight += HEADER_BYTES + len(name) + (len(raw) if raw else 0)
            if size and size + weight > CHUNK_BYTES:
                self._add(records[start:at], size)
                start, size = at, 0
            size += weight
        self._add(records[start:] if start else records, size)
        self.next_offset = records[-1].offset + 1

    async def offer_all(
        self, records: Sequence[Read], begin: int | None, read: Callable[[int, int], AsyncIterator[Sequence[Read]]]
    ) -> bool:
        """Take a chunk that holds all from offset `begin` on, None for that of its first record.

        What a chunk held that was dropped on its way here, as when the group changed, is read. Returns whether it was
        taken: not if it came before, or if the group changed meanwhile; then what is unread begins earlier now, and is
        fetched again.
        """
        expected, cleared = self.next_offset, self.cleared
        if records[-1].offset < expected:
            return False
        if (records[0].offset if begin is None else begin) > expected:
            async for missing in read(expected, records[0].offset):
                if self.cleared == cleared:
                    self.offer(missing)
            if self.cleared != cleared:
                return False
        self.offer(records)
        return True

    def _add(self, records: Sequence[Read], size: int) -> None:
        self._chunks.append((records, size))
        self._size_bytes += size

    def take(self) -> tuple[Sequence[Read], int]:
        """Return the oldest chunk and what it takes in memory."""
        chunk, size = self._chunks.popleft()
        self._size_bytes -= size
        return chunk, size

    def clear(self, next_offset: int) -> None:
        """Drop what waits: it will be read again from `next_offset`."""
        self._chunks.clear()
        self._size_bytes = 0
        self.cleared += 1
        self.next_offset = next_offset
