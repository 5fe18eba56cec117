"""What was read and waits for the broker: bounded, so that a source is read no faster than Kafka takes its events."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from connectors.base.contract import Item

MOST: Final = 2_000
"""Items that may wait."""
AT_ONCE: Final = 1_000
"""Items that are published together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Something that was read: `at` on the monotonic clock, `at_ms` on the wall's."""

    item: Item
    at: float
    at_ms: int


class Buffer:
    """One reader puts, one publisher takes. Once closed, nothing is put any more, and `take` ends when it is empty."""

    def __init__(self) -> None:
        self._waiting: deque[Read] = deque()
        self._in_hand = 0
        self._closed = False
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + self._in_hand

    async def put(self, read: Read) -> None:
        """Add one, when there is room. Waits for ever once it is closed: what was not read will be read again."""
        while self._closed or len(self._waiting) >= MOST:
            await self._change()
        self._waiting.append(read)
        self._changed.set()

    async def take(self) -> list[Read]:
        """Return what waits, in order; nothing once it is closed and empty."""
        while not self._waiting:
            if self._closed:
                return []
            await self._change()
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), AT_ONCE))]
        self._in_hand = len(batch)
        self._changed.set()
        return batch

    def done(self) -> None:
        """What was taken is published and acknowledged."""
        self._in_hand = 0
        self._changed.set()

    def close(self) -> None:
        """Take nothing more in."""
        self._closed = True
        self._changed.set()

    async def empty(self) -> None:
        """Return once nothing waits and nothing is in hand."""
        while len(self):
            await self._change()

    async def _change(self) -> None:
        """Wait for the next change; each waiter looks for itself whether it is the one it waits for."""
        changed = self._changed
        if changed.is_set():
            self._changed = changed = asyncio.Event()
        await changed.wait()
