"""Keeps what a queue has lent: extended while it waits for the broker, settled once it is there, else given back.

Used by the readers of SQS and Pub/Sub (connectors.base.services.sqs, connectors.base.services.pubsub).
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from connectors.base.closing import end
from connectors.base.contract import NotConnected, Refused, Site

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

EXTEND_AT: Final = 0.5
"""The part of a lease after which it is extended: the other half is for requests that have to be repeated."""
ATTEMPTS: Final = 5
CLOSE_SECONDS: Final = 3.0
_RETURNS_AT_ONCE: Final = 8


class Failed(Enum):
    """What became of one handle in a request that went well as a whole."""

    LOST = "lost"
    """The lease is over: the queue gives the message again, to whoever asks."""
    AGAIN = "again"
    """The queue could not do it now."""


class Lender(Protocol):
    """A queue that lends messages. Both methods return the handles that failed, and raise NotConnected or Refused."""

    @property
    def at_once(self) -> int:
        """The most handles in one request."""
        ...

    async def settle(self, handles: Sequence[str]) -> Mapping[str, Failed]:
        """The messages are done: the queue forgets them."""
        ...

    async def extend(self, handles: Sequence[str], seconds: int) -> Mapping[str, Failed]:
        """The messages are kept for so many seconds from now; 0 gives them back."""
        ...


class State(Enum):
    """Where a lease stands."""

    WAITING = "waiting"  # nobody has the message yet
    STARTED = "started"  # it was handed on, and may be published at any time
    DONE = "done"  # the broker has it
    GONE = "gone"  # settled, given back, or lost


class Lease:
    """One message that is lent. Messages of one group are settled in order, and one that is lost stops its group."""

    __slots__ = ("group", "handle", "size_bytes", "state", "until")

    def __init__(self, *, handle: str, group: str | None, size_bytes: int, until: float) -> None:
        self.handle, self.group, self.size_bytes, self.until = handle, group, size_bytes, until
        self.state = State.WAITING


class Receive(Protocol[Result_co]):
    """Waits for messages of a queue, and begins their leases; the first time it only looks."""

    def __call__(self, *, first: bool) -> Coroutine[Any, Any, Sequence[tuple[Result_co, Lease]]]: ...


class Leases:
    """All leases of one connection; a context that has a task of its own."""

    def __init__(self, lender: Lender, site: Site, *, seconds: int, most: int, most_bytes: int | None = None) -> None:
        self._lender, self._site, self._seconds = lender, site, seconds
        self._most, self._most_bytes = most, most_bytes
        # By handle, in the order in which they run out: an extension puts a lease at the end.
        self._held: dict[str, Lease] = {}
        self._groups: dict[str, deque[Lease]] = {}
        self._done: deque[Lease] = deque()
        self._back: list[str] = []
        self._bytes = 0
        self._wake, self._room = asyncio.Event(), asyncio.Event()
        self._closed = False

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        broken = self._keeper.done()
        await end([self._keeper])
        if not broken:
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._give_back()
            except (NotConnected, Refused, TimeoutError):
                self._site.note("not_given_back", len(self._held))
        elif not isinstance(self._keeper.exception(), NotConnected | Refused):
            self._keeper.result()

    # ---- what a reader calls ---------------------------------------------------------------------------------------

    def take(self, handle: str, *, since: float, group: str | None = None, size_bytes: int = 0) -> Lease:
        """Begin a lease. `since` is the time since which the queue hides the message, at the latest known to us."""
        if handle in self._held:
            self._forget(self._held[handle])
        lease = Lease(handle=handle, group=group, size_bytes=size_bytes, until=since + self._seconds)
        self._held[handle] = lease
        self._bytes += size_bytes
        if group is not None:
            self._groups.setdefault(group, deque()).append(lease)
        self._wake.set()
        return lease

    def start(self, lease: Lease) -> bool:
        """Tell whether a message may be handed on now; after that it is published at any time."""
        if lease.state is not State.WAITING:
            return False
        lease.state = State.STARTED
        return True

    async def done(self, lease: Lease) -> None:
        """The broker has the message: it is settled soon, in its group's order."""
        if lease.state is not State.STARTED or self._closed:
            return
        lease.state = State.DONE
        if lease.group is None:
            self._done.append(lease)
        else:
            self._settle_in_order(lease.group)
        self._wake.set()

    async def ahead(self, receive: "Receive[Result]") -> AsyncGenerator[Result, None]:
        """Yield what `receive` takes, which is called again while that is handed on.

        The site is told that it is connected once something, or nothing, has come. Raises what `receive` raises, and
        what ends the leases; to be closed.
        """
        coming = asyncio.create_task(receive(first=True))
        try:
            batch = await self.beside(coming)
            self._site.connected()
            while True:
                coming = asyncio.create_task(receive(first=False))
                for message, lease in batch:
                    if self.start(lease):
                        yield message
                batch = await self.beside(coming)
        finally:
            await end([coming])
            if not coming.cancelled():
                coming.exception()  # nobody asks for it any more

    @property
    def free(self) -> int:
        """How many more may be taken; `room` waits until there are some."""
        return max(0, self._most - len(self._held))

    async def room(self) -> None:
        """Wait until more may be taken. Raises what has ended the leases."""
        while self._full():
            self._room.clear()
            await self.beside(asyncio.ensure_future(self._room.wait()))

    async def beside(self, task: "asyncio.Future[Result]") -> Result:
        """Await something, but not longer than the leases are kept. Raises what has ended them."""
        try:
            either: set[asyncio.Future[Any]] = {task, self._keeper}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._keeper.done():
                self._keeper.result()
            return await task
        finally:
            if not task.done():
                task.cancel()

    # ---- the keeper ------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        failures = 0
        while True:
            await self._something()
            try:
                await self._settle()
                await self._extend()
                failures = 0
            except NotConnected:
                failures += 1
                if failures == ATTEMPTS:
                    raise
                await self._site.sleep(2**failures * self._site.random())

    async def _something(self) -> None:
        """Wait until a message is done, or a lease is to be extended."""
        while not self._done:
            self._wake.clear()
            first = next(iter(self._held.values()), None)
            if first is None:
                await self._wake.wait()
                continue
            left = self._extended_at(first) - self._site.monotonic()
            if left <= 0:
                return
            either = [asyncio.ensure_future(self._site.sleep(left)), asyncio.ensure_future(self._wake.wait())]
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await end(either)

    async def _settle(self) -> None:
        while self._done:
            leases = [self._done.popleft() for _ in range(min(len(self._done), self._lender.at_once))]
            leases = [lease for lease in leases if lease.state is State.DONE]
            try:
                failed = await self._lender.settle([lease.handle for lease in leases])
            except BaseException:
                self._done.extendleft(reversed(leases))
                raise
            again = [lease for lease in leases if failed.get(lease.handle) is Failed.AGAIN]
            for lease in leases:
                if failed.get(lease.handle) is Failed.LOST:
                    self._lose(lease)
                elif lease not in again:
                    self._forget(lease)
            if again:
                self._done.extendleft(reversed(again))
                raise NotConnected(f"{len(again)} messages could not be settled", reason="settle")

    async def _extend(self) -> None:
        while leases := self._due():
            since = self._site.monotonic()
            failed = await self._lender.extend([lease.handle for lease in leases], self._seconds)
            for lease in leases:
                if failed.get(lease.handle) is Failed.LOST:
                    self._lose(lease)
                elif lease.handle not in failed and lease.state is not State.GONE:
                    lease.until = since + self._seconds
                    self._held[lease.handle] = self._held.pop(lease.handle)
            if Failed.AGAIN in failed.values():
                raise NotConnected("leases of messages could not be extended", reason="extend")
        while self._back:
            await self._lender.extend(self._back[: self._lender.at_once], 0)
            del self._back[: self._lender.at_once]

    def _due(self) -> list[Lease]:
        now = self._site.monotonic()
        due: list[Lease] = []
        for lease in self._held.values():
            if self._extended_at(lease) > now or len(due) == self._lender.at_once:
                break
            due.append(lease)
        return due

    def _extended_at(self, lease: Lease) -> float:
        return lease.until - self._seconds * (1 - EXTEND_AT)

    # ---- the ends of leases ----------------------------------------------------------------------------------------

    def _lose(self, lease: Lease) -> None:
        """The queue gives this message again: those behind it in its group that nobody has yet must not overtake it."""
        if lease.state is State.GONE:
            return
        self._site.note("lease_lost")
        overtaken = lease.state is State.WAITING
        self._forget(lease)
        if lease.group is not None and overtaken:
            for other in [one for one in self._groups.get(lease.group, ()) if one.state is State.WAITING]:
                self._forget(other)
                self._back.append(other.handle)

    def _forget(self, lease: Lease) -> None:
        lease.state = State.GONE
        del self._held[lease.handle]
        self._bytes -= lease.size_bytes
        if lease.group is not None and lease in self._groups.get(lease.group, ()):
            self._groups[lease.group].remove(lease)
            self._settle_in_order(lease.group)
        if not self._full():
            self._room.set()

    def _settle_in_order(self, group: str) -> None:
        """What is done, and before which nothing of its group is left, can be settled."""
        leases = self._groups[group]
        while leases and leases[0].state is State.DONE:
            self._done.append(leases.popleft())
        if not leases:
            del self._groups[group]

    def _full(self) -> bool:
        return len(self._held) >= self._most or (self._most_bytes is not None and self._bytes >= self._most_bytes)

    async def _give_back(self) -> None:
        """Settle what is done, and let others have the rest now, not when its leases run out."""
        await self._settle()
        handles = [*self._back, *self._held]
        size = self._lender.at_once
        parts = [handles[at : at + size] for at in range(0, len(handles), size)]
        for at in range(0, len(parts), _RETURNS_AT_ONCE):
            returns: list[Awaitable[Mapping[str, Failed]]] = [
                self._lender.extend(part, 0) for part in parts[at : at + _RETURNS_AT_ONCE]
            ]
            await asyncio.gather(*returns)
