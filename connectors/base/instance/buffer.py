"""What was read and waits for the broker: bounded, so that a source is read no faster than Kafka takes its events."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from connectors.base.contract import Item, Received, Unreadable

MOST: Final = 2_000
"""Items that may wait."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""Memory that items of one source may take while they wait; one that is larger waits alone."""
ROOM_BYTES: Final = 256 * 1024 * 1024
"""Memory that items of all sources of a process may take; beyond it each may have one that waits."""
AT_ONCE: Final = 1_000
"""Items that are published together."""
AT_ONCE_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Something that was read: `at` on the monotonic clock, `at_ms` on the wall's."""

    item: Item
    at: float
    at_ms: int


class Room:
    """The memory that all sources of a process share."""

    def __init__(self, most_bytes: int = ROOM_BYTES) -> None:
        self._most = most_bytes
        self._used = 0
        self._freed = asyncio.Event()

    @property
    def used_bytes(self) -> int:
        """What is taken now."""
        return self._used

    def has(self, size: int) -> bool:
        """Whether there is room for so much more."""
        return self._used + size <= self._most

    def take(self, size: int) -> None:
        """Use so much more."""
        self._used += size

    def give_back(self, size: int) -> None:
        """So much is free again: whoever waits looks."""
        self._used -= size
        if size:
            self._freed.set()
            self._freed = asyncio.Event()

    async def freed(self) -> None:
        """Return when something has been given back after now."""
        await self._freed.wait()


class Buffer:
    """One reader puts, one publisher takes. Once closed, nothing is put any more, and `take` ends when it is empty."""

    def __init__(self, room: Room | None = None) -> None:
        self._room = Room() if room is None else room
        self._waiting: deque[tuple[Read, int]] = deque()
        self._in_hand: list[Read] = []
        self._in_hand_bytes = self._bytes = 0
        self._closed = False
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_hand)

    async def put(self, read: Read) -> None:
        """Add one, when there is room. Waits for ever once it is closed: what was not read will be read again."""
        size = weight(read.item)
        while True:
            if self._closed or self._is_full(size):
                await self._change()
            elif self._waiting and not self._room.has(size):
                await self._room.freed()
            else:
                break
        self._room.take(size)
        self._bytes += size
        self._waiting.append((read, size))
        self._changed.set()

    async def take(self) -> list[Read]:
        """Return what waits, in order; nothing once it is closed and empty."""
        while not self._waiting:
            if self._closed:
                return []
            await self._change()
        batch: list[Read] = []
        taken = 0
        while self._waiting and len(batch) < AT_ONCE and (not batch or taken + self._waiting[0][1] <= AT_ONCE_BYTES):
            read, size = self._waiting.popleft()
            batch.append(read)
            taken += size
        self._in_hand, self._in_hand_bytes = batch, taken
        self._bytes -= taken
        self._changed.set()
        return batch

    def done(self) -> None:
        """What was taken is published and acknowledged."""
        self._room.give_back(self._in_hand_bytes)
        self._in_hand, self._in_hand_bytes = [], 0
        self._changed.set()

    def close(self) -> None:
        """Take nothing more in."""
        self._closed = True
        self._changed.set()

    def discard(self) -> list[Read]:
        """Forget what is in it, and return that: nobody will take it any more, and most kinds will read it again."""
        left = [*self._in_hand, *(read for read, _ in self._waiting)]
        self.close()
        self._room.give_back(self._bytes)
        self._bytes = 0
        self._waiting.clear()
        self.done()
        return left

    async def empty(self) -> None:
        """Return once nothing waits and nothing is in hand."""
        while len(self):
            await self._change()

    def _is_full(self, size: int) -> bool:
        return len(self._waiting) >= MOST or bool(self._waiting and self._bytes + size > MOST_BYTES)

    async def _change(self) -> None:
        """Wait for the next change; each waiter looks for itself whether it is the one it waits for."""
        changed = self._changed
        if changed.is_set():
            self._changed = changed = asyncio.Event()
        await changed.wait()


def weight(item: Item) -> int:
    """Return about how many bytes of memory an item takes."""
    if isinstance(item, Unreadable):
        return len(item.raw)
    if not isinstance(item, Received):
        return 0
    total = 0
    values: list[Any] = [item.data]
    while values:
        value = values.pop()
        kind = type(value)
        if kind is str or kind is bytes:
            total += 50 + len(value)
        elif kind is dict:
            total += 64 + 50 * len(value) + _named(value)
            values += value.values()
        elif kind is list or kind is tuple:
            total += 56 + 8 * len(value)
            values += value
        else:
            total += 32
    return total


def _named(value: dict[Any, Any]) -> int:
    try:
        return sum(map(len, value))
    except TypeError:  # a name that is no text: it makes a dead letter of the event
        return 0
