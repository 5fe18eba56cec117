"""The sockets of one source: one, and two while Slack replaces it. What comes over any of them is one stream.

A `disconnect` frame is routine: Slack replaces each socket after some hours. The next one is connected before the old
one ends, and the old one is read until Slack closes it, so that nothing comes while nobody listens.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from connectors.base.backoff import STEADY_SECONDS, Backoff, Reconnect
from connectors.base.closing import end
from connectors.base.contract import Connection, NotConnected, Refused, Site
from connectors.slack import frames

HELLO_SECONDS: Final = 30.0
"""How long a new socket may take to say `hello`."""
OVERLAP_SECONDS: Final = 60.0
"""How long an old socket is read beside its successor, if Slack does not close it before."""
SILENT_INTERVALS: Final = 2
"""Whole intervals between pings without any byte after which a socket is dead: three after the last byte at most."""
MOST_WAITING: Final = 256
"""Deliveries that may wait here; beyond that the sockets are not read, and Slack waits."""

_PAUSES: Final = Reconnect(max_seconds=30.0)
_LINK_DISABLED: Final = "link_disabled"
_TOO_MANY: Final = "too_many_websockets"
_REASONS: Final = frozenset({_LINK_DISABLED, _TOO_MANY, "warning", "refresh_requested"})
_SPENT: Final = frozenset({"unauthorized", "http_404", "http_410"})
"""How a handshake fails whose address was used before: the next one is asked for."""


class State(Enum):
    """How far a socket is."""

    PAUSED = auto()
    """The attempt before it failed; it waits before it connects."""
    CONNECTING = auto()
    READY = auto()
    LEAVING = auto()
    """Slack has said that it will close it; it still delivers."""


@dataclass(eq=False, slots=True, kw_only=True)
class _Link:
    state: State
    since: float
    """When it came into its state."""
    good: bool = False
    """It has delivered something."""
    blocked: bool = False
    """Its reader waits for room: that nothing comes says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A delivery, the socket to acknowledge it on, and when it came by the site's monotonic clock."""

    delivery: frames.Delivery
    connection: Connection
    at: float


class Links:
    """Reads the sockets of a source, from `open` to `close`. `url` asks Slack for the address of one new socket."""

    def __init__(self, site: Site, url: Callable[[], Awaitable[str]], *, ping_seconds: float) -> None:
        self._site, self._url, self._ping_seconds = site, url, ping_seconds
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._waiting: deque[Arrived] = deque()
        self._backoff = Backoff(_PAUSES)
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._connected = False
        self._why: Exception | None = None
        """Why there was no new socket the last time."""
        self._over: BaseException | None = None
        """What ends reading, whatever is still open."""

    def open(self) -> None:
        """Begin with the first socket."""
        self._begin(0.0)

    async def next(self) -> Arrived:
        """Return the next delivery. Raises NotConnected or Refused when no socket is left, after all that has come."""
        while not self._waiting:
            if self._over is not None:
                raise self._over
            if all(link.state is State.PAUSED for link in self._links):
                raise self._why or NotConnected(f"source {self._id!r} has no socket to Slack left")
            self._changed.clear()
            await self._changed.wait()
        arrived = self._waiting.popleft()
        self._room.set()
        return arrived

    async def close(self) -> None:
        """Close all sockets."""
        self._over = self._over or NotConnected("reading has ended")
        await end(list(self._links.values()))

    # ---- which sockets there are -------------------------------------------------------------------------------------

    def _begin(self, pause: float) -> None:
        link = _Link(state=State.PAUSED if pause > 0 else State.CONNECTING, since=self._site.monotonic())
        task = asyncio.create_task(self._live(link, pause))
        self._links[link] = task
        task.add_done_callback(lambda done: self._ended(link, done))

    def _replace(self, *, at_once: bool) -> None:
        """See that there is a socket that stays, unless one is on its way; after a pause if it is not the first."""
        if all(link.state is State.LEAVING for link in self._links):
            asked = self._why.retry_after_seconds if isinstance(self._why, NotConnected) else None
            self._begin(self._backoff.next(self._site.random(), retry_after_seconds=asked, at_once=at_once))

    def _ended(self, link: _Link, task: "asyncio.Task[None]") -> None:
        del self._links[link]
        error = None if task.cancelled() else task.exception()
        was_up = link.state in (State.READY, State.LEAVING)
        match error:
            case NotConnected() if link.state is not State.LEAVING or self._why is None:
                self._why = error
            case Refused() if not was_up:
                self._why = error
            case None | NotConnected():
                pass
            case _:
                self._over = error
        if self._links and self._over is None and not isinstance(self._why, Refused):
            self._replace(at_once=False)
        self._changed.set()

    def _enter(self, link: _Link, state: State) -> None:
        if link.state is State.READY and (link.good or self._lived(link) >= STEADY_SECONDS):
            self._backoff.good()
        link.state, link.since = state, self._site.monotonic()
        self._changed.set()

    def _lived(self, link: _Link) -> float:
        return self._site.monotonic() - link.since

    # ---- one socket --------------------------------------------------------------------------------------------------

    async def _live(self, link: _Link, pause: float) -> None:
        """Connect and read one socket until it ends. Returns when it was read long enough beside its successor."""
        if pause > 0:
            await self._site.sleep(pause)
        self._enter(link, State.CONNECTING)
        url = await self._url()
        async with AsyncExitStack() as opened:
            try:
                connection = await opened.enter_async_context(self._site.http.websocket(url))
            except Refused as error:
                if error.reason in _SPENT:
                    raise NotConnected(str(error), reason=error.reason) from None
                raise
            reading = asyncio.create_task(self._read(link, connection))
            reading.add_done_callback(_seen)
            try:
                await self._watch(link, connection, reading)
            finally:
                await end([reading])

    async def _read(self, link: _Link, connection: Connection) -> None:
        while True:
            frame = frames.parse(await connection.receive())
            match frame:
                case frames.Delivery():
                    await self._arrive(link, Arrived(delivery=frame, connection=connection, at=self._site.monotonic()))
                case frames.Hello():
                    self._greet(link)
                case frames.Disconnect():
                    self._leave(link, frame.reason)
                case frames.Other():
                    self._site.note("unknown_frames")

    async def _arrive(self, link: _Link, arrived: Arrived) -> None:
        link.good = True
        while len(self._waiting) >= MOST_WAITING:
            link.blocked = True
            self._room.clear()
            await self._room.wait()
        link.blocked = False
        self._waiting.append(arrived)
        self._changed.set()

    def _greet(self, link: _Link) -> None:
        if link.state is not State.CONNECTING:
            return
        self._enter(link, State.READY)
        self._why = None
        if self._connected:
            self._site.note("refreshed")
        else:
            self._connected = True
            self._site.connected()

    def _leave(self, link: _Link, reason: str) -> None:
        if reason == _LINK_DISABLED:
            raise Refused(
                f"Socket Mode of the app of source {self._id!r} is switched off; switch it on in the app's settings",
                reason=reason,
            )
        if reason == _TOO_MANY or link.state is State.CONNECTING:
            raise NotConnected(
                f"Slack turned a socket of source {self._id!r} away: {_named(reason)}",
                reason=_named(reason),
                at_once=reason != _TOO_MANY,
            )
        if link.state is State.READY:
            self._enter(link, State.LEAVING)
            self._replace(at_once=True)

    async def _watch(self, link: _Link, connection: Connection, reading: "asyncio.Task[None]") -> None:
        """Ping, until the reader ends or there is a reason to end it. Raises what the reader does."""
        before, silent = _received_bytes(connection), 0
        while True:
            sleeping = asyncio.create_task(self._site.sleep(self._ping_seconds))
            try:
                await asyncio.wait({reading, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await end([sleeping])
            if reading.done():
                return reading.result()
            received = _received_bytes(connection)
            silent = silent + 1 if received is not None and received == before and not link.blocked else 0
            before = received
            if silent >= SILENT_INTERVALS:
                raise NotConnected(f"nothing came over a socket of source {self._id!r} any more", reason="silent")
            if link.state is State.CONNECTING and self._lived(link) >= HELLO_SECONDS:
                raise NotConnected(f"Slack did not greet source {self._id!r} on its new socket", reason="no_hello")
            if link.state is State.LEAVING and self._lived(link) >= OVERLAP_SECONDS and self._has_successor():
                return None
            await self._ping(connection)

    async def _ping(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self._ping_seconds):
                await connection.ping()
        except TimeoutError:
            pass  # nothing can be written: then nothing comes either, and that is counted

    def _has_successor(self) -> bool:
        return any(link.state is State.READY for link in self._links)

    @property
    def _id(self) -> str:
        return self._site.instance_id


def _seen(task: "asyncio.Task[None]") -> None:
    """Keep asyncio from telling of an error that nobody asks for any more, at an end that came from elsewhere."""
    if not task.cancelled():
        task.exception()


def _received_bytes(connection: Connection) -> int | None:
    """Return how much came over this socket, pongs among it; None if the client does not count for each socket."""
    count = getattr(connection, "received_bytes", None)
    return count if isinstance(count, int) else None


def _named(reason: str) -> str:
    """Return a reason as metrics may have it: the other side does not decide how many labels there are."""
    return reason if reason in _REASONS else "unknown"
