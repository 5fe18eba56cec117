"""What has come and waits for the broker: bounded by count and bytes, so that a slow broker slows down Discord."""

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

MAX_ITEMS: Final = 1_000
MAX_BYTES: Final = 32 * 1024 * 1024


class Inbox(Generic[Item]):
    """One puts, one gets."""

    def __init__(self, *, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self._max_items, self._max_bytes = max_items, max_bytes
        self._items: deque[tuple[Item, int]] = deque()
        self._bytes = 0
        self._failure: BaseException | None = None
        self._some, self._room = asyncio.Event(), asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_empty(self) -> bool:
        return not self._items

    @property
    def is_full(self) -> bool:
        return len(self._items) >= self._max_items or self._bytes >= self._max_bytes

    async def room(self) -> None:
        """Wait until there is room."""
        while self.is_full:
            self._room.clear()
            await self._room.wait()

    def put(self, item: Item, size_bytes: int = 0) -> None:
        """Put it in, whether there is room or not."""
        self._items.append((item, size_bytes))
        self._bytes += size_bytes
        self._some.set()

    def fail(self, failure: BaseException) -> None:
        """Raise `failure` to whoever gets, after all that is here."""
        self._failure = failure
        self._some.set()

    async def get(self) -> Item:
        """Wait for the next one and return it. Raises what `fail` was given."""
        while not self._items:
            if self._failure is not None:
                raise self._failure
            self._some.clear()
            await self._some.wait()
        item, size = self._items.popleft()
        self._bytes -= size
        self._room.set()
        return item
