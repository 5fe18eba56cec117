"""What has come and waits to be read on: bounded by count and size, with a rule for when it is full.

The reader of the socket puts, `Source.read` takes. That the reader waits for room says nothing about the link.
"""

import asyncio
from collections import deque
from enum import StrEnum

from connectors.base.contract import NotConnected


class Overflow(StrEnum):
    """What happens when messages come faster than the broker takes them, for longer than the buffer lasts."""

    BLOCK = "block"
    """Read no more until there is room: the other side is slowed down by TCP."""
    DROP_OLDEST = "drop_oldest"
    """Drop the oldest that wait, and count them as `dropped`."""
    DISCONNECT = "disconnect"
    """End the connection and begin anew."""


class Inbox:
    """One puts, one takes, in order; a failure comes after all that came before it."""

    def __init__(self, overflow: Overflow, *, max_messages: int, max_bytes: int) -> None:
        self._overflow, self._max_messages, self._max_bytes = overflow, max_messages, max_bytes
        self._waiting: deque[str | bytes] = deque()
        self._bytes = 0
        self._failure: BaseException | None = None
        self._changed: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self.came = self.taken = self.dropped = 0
        """Messages so far; those that were dropped are taken as well."""

    @property
    def blocked(self) -> bool:
        """Whether the reader waits for room."""
        return self._room is not None

    async def put(self, message: str | bytes) -> None:
        """Add a message. Waits for room, makes room or raises NotConnected, as the rule says."""
        if self._is_full and self._overflow is not Overflow.BLOCK:
            await asyncio.sleep(0)  # a burst comes in one go: whoever takes had no chance yet
        while self._is_full:
            match self._overflow:
                case Overflow.BLOCK:
                    self._room = asyncio.get_running_loop().create_future()
                    try:
                        await self._room
                    finally:
                        self._room = None
                case Overflow.DROP_OLDEST:
                    self._first()
                    self.dropped += 1
                case Overflow.DISCONNECT:
                    raise NotConnected(
                        f"{len(self._waiting)} messages wait for the broker, more are not kept", reason="overflow"
                    )
        self._waiting.append(message)
        self._bytes += len(message)
        self.came += 1
        if self._changed is not None:
            self._wake()

    @property
    def _is_full(self) -> bool:
        waiting = len(self._waiting)
        return waiting >= self._max_messages or (self._bytes >= self._max_bytes and waiting > 0)

    def fail(self, failure: BaseException) -> None:
        """Raise `failure` from `take`, once all that waits is taken. The first one counts."""
        if self._failure is None:
            self._failure = failure
            self._wake()

    async def take(self) -> str | bytes:
        """Return the next message. Raises what `fail` was given."""
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            self._changed = asyncio.get_running_loop().create_future()
            try:
                await self._changed
            finally:
                self._changed = None
        message = self._first()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        return message

    def _first(self) -> str | bytes:
        message = self._waiting.popleft()
        self._bytes -= len(message)
        self.taken += 1
        return message

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
