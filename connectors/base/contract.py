"""What a kind of source is to the frame, and the frame to it. Everybody here imports this; it imports nobody.

A module `connectors/<kind>.py` has five names:

    EXAMPLE: options as a user writes them; printed in the docs, loaded by the contract suite
    DELIVERY: a `Delivery`, what its users can count on
    EMITS: a text that says which types its events have, what is in their data, and what their key is
    Config: its options, a subclass of `connectors.base.options.Options`
    Source: `Source(config, site)`, which reads

One whose Source sends as well has SENDS, a text that says what. The docstring of the module is the kind's text in the
reference; a paragraph of it that begins with `Modules:` is for those who read the code.

The frame calls `read` again after every failure; the same object lives until the source is removed, changed or moved.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, Final, Protocol, runtime_checkable


class Delivery(StrEnum):
    """What becomes of events when a process dies, by the nature of their source."""

    EXACTLY_ONCE = "exactly-once"
    """The source can be read again from a position; a repetition has the same ids and is dropped."""
    AT_LEAST_ONCE = "at-least-once"
    """The source repeats what was not acknowledged, under the same id."""
    BEST_EFFORT = "best-effort"
    """What came while nobody listened is lost: the source cannot be asked again."""


# ---- why reading ends ------------------------------------------------------------------------------------------------


class NotConnected(Exception):
    """The link broke, or could not be made: the frame connects again after a pause.

    `reason` is a short label for metrics (`closed`, `refused`, `timeout`, `http_503`), `retry_after_seconds` what the
    other side asks for. `at_once` says that the other side asked for a new connection: the first one is made without a
    pause.
    """

    def __init__(
        self, message: str, *, reason: str = "closed", retry_after_seconds: float | None = None, at_once: bool = False
    ) -> None:
        super().__init__(message)
        self.reason, self.retry_after_seconds, self.at_once = reason, retry_after_seconds, at_once


class Refused(Exception):
    """Trying again does not help until somebody mends it: wrong credentials, an address that is not allowed.

    The source is `failed`; the frame still looks again at long intervals (`reconnect.failed_seconds`).
    """

    def __init__(self, message: str, *, reason: str = "refused") -> None:
        super().__init__(message)
        self.reason = reason


class Ended(Exception):
    """The source has said that there will be no more, such as HTTP 204 to an event stream: it is `paused` for good."""


# ---- what is read ----------------------------------------------------------------------------------------------------

Ack = Callable[[], Awaitable[None]]


class Unmoved(Enum):
    """The type of UNMOVED, which None cannot be: a position may be null."""

    UNMOVED = "unmoved"


UNMOVED: Final = Unmoved.UNMOVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One event. `id` is derived from the source, never random: equal ids of one source are one event."""

    id: str
    event_type: str
    data: Any
    """JSON: None, bool, int, float, str, list, dict."""
    key: str | None = None
    created_at: datetime | None = None
    """Aware; when it happened, if the source says so."""
    ack: Ack | None = None
    """Awaited once the broker has the event (or it was filtered out, or is a dead letter)."""
    ack_within_seconds: float | None = None
    """Seconds after reading beyond which `ack` is not called any more: the source repeats the event by itself."""
    position: Any = UNMOVED
    """JSON: where reading goes on once this event and all before it are durable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Something came that is no event. It becomes a dead letter with its bytes, and is acknowledged like an event."""

    id: str
    reason: str
    raw: bytes
    ack: Ack | None = None
    ack_within_seconds: float | None = None
    position: Any = UNMOVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The position moved without an event: stored once all events before it are durable."""

    position: Any


Item = Received | Unreadable | Moved


class Source(Protocol):
    """Reads one source. Made once for an instance; `read` is called for each connection, never twice at a time."""

    def read(self) -> AsyncIterator[Item]:
        """Connect, call `site.connected()`, and yield what comes, in order.

        Raises NotConnected, Refused or Ended; to return is NotConnected. Anything else that is raised is a mistake in
        its code: this source has failed and is made anew after the longest pause (`reconnect.max_seconds`), the log has
        the trace, and no other source hears of it.
        It is cancelled when the source stops; then it closes what it has opened.
        """
        ...


@runtime_checkable
class Sends(Protocol):
    """A source through which messages can be sent as well (`event.send`)."""

    async def send(self, message: Mapping[str, Any], *, key: str) -> Mapping[str, Any] | None:
        """Send one message; `key` is the idempotency key of it, the same at every repetition.

        Returns what the other side answered, if it does. Raises NotConnected to be tried again, Refused to give up.
        """
        ...


@runtime_checkable
class Closes(Protocol):
    """A source that keeps something from one connection to the next."""

    async def close(self) -> None:
        """Called once, when it is read no more: it was removed, changed or moved, or is made anew."""
        ...


# ---- what the frame gives to a source --------------------------------------------------------------------------------


class Answer(Protocol):
    """The answer to a request: its status and headers, and the body as long as the `async with` lasts."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]:
        """Case-insensitive."""
        ...

    @property
    def url(self) -> str:
        """Where it came from, after redirects."""
        ...

    @property
    def moved_to(self) -> str | None:
        """The address that only permanent redirects (301, 308) led to, which is to be asked from now on."""
        ...

    async def body(self, max_bytes: int = ...) -> bytes:
        """Read all of it. Raises Refused when it is larger, NotConnected when it breaks off."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, unbounded. Raises NotConnected when it breaks off."""
        ...

    def retry_after(self) -> float | None:
        """Seconds that the header Retry-After asks for, as a number or a date; None without one."""
        ...


class Connection(Protocol):
    """A WebSocket. Frames of binary data are bytes, those of text str."""

    @property
    def received_bytes(self) -> int:
        """How many bytes came over it so far, pongs and parts of messages among them: it grows while it lives."""
        ...

    async def receive(self) -> str | bytes:
        """Return the next message. Raises Closed, or NotConnected when the link broke without a close frame."""
        ...

    async def send(self, message: str | bytes) -> None:
        """Raises Closed or NotConnected."""
        ...

    async def ping(self) -> None:
        """Send a ping; the pong counts as a received byte (`site.heard`)."""
        ...

    async def close(self, code: int = 1000) -> None: ...


class Closed(NotConnected):
    """The other side closed a WebSocket with a code (RFC 6455, 7.4); `code` is 1006 where there was none."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"the other side closed the WebSocket with code {code}{f' ({text})' if text else ''}")
        self.code, self.text = code, text
        self.reason = f"close_{code}"


class Http(Protocol):
    """HTTP and WebSocket under the egress policy: each address is checked, each redirect anew (base.reach.egress).

    Raises Refused for an address that is not allowed, NotConnected where nothing answers in time. A status is no error.
    """

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
        timeout_seconds: float | None = 30.0,
        idle_seconds: float | None = None,
    ) -> AbstractAsyncContextManager[Answer]:
        """Ask, following at most 5 redirects. `timeout_seconds` is for all of it, `idle_seconds` between two bytes."""
        ...

    def websocket(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        max_message_bytes: int = 4 * 1024 * 1024,
        compress: bool = False,
        timeout_seconds: float = 30.0,
    ) -> AbstractAsyncContextManager[Connection]:
        """Connect. Raises NotConnected or Refused by the status that answered the handshake."""
        ...


class Site(Protocol):
    """Where a source stands: what it may know and use. Time and chance come from here alone."""

    @property
    def instance_id(self) -> str: ...
    @property
    def position(self) -> Any:
        """Where reading goes on: all before it is durable. None at the very beginning. Read it anew in each `read`.

        It is stored a moment later: an owner that dies meanwhile has its successor go on from `stored_position`.
        """
        ...

    @property
    def stored_position(self) -> Any:
        """The last position that Kafka has, None for none: for what must not happen before a restart knows of it."""
        ...

    @property
    def epoch(self) -> str:
        """Names this connection among all of this instance, over restarts and owners: for ids where nothing else is."""
        ...

    @property
    def http(self) -> Http: ...

    async def resolve(self, host: str, port: int) -> Sequence[tuple[str, int]]:
        """Return the addresses of a host under the egress policy, for clients that connect by themselves.

        Raises Refused when one of them is not allowed, NotConnected when there is none.
        """
        ...

    def permit(self, path: str) -> None:
        """Raise Refused for a file or folder of this machine that sources may not read."""
        ...

    def may_use(self, variable: str) -> bool:
        """Whether sources may use an environment variable of this process, also one that a client finds by itself."""
        ...

    def connected(self) -> None:
        """The link stands: the status says so, and back-off begins anew once it has lived or delivered."""
        ...

    def heard(self, size_bytes: int) -> None:
        """So many bytes came from the other side just now, whatever they mean."""
        ...

    def note(self, what: str, count: int = 1) -> None:
        """Count something by name, such as `dropped`, `redelivered`, `missed`: shown in metrics and status."""
        ...

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that only goes forward."""
        ...

    def random(self) -> float:
        """A number of [0, 1)."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    async def in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call something that blocks, such as a parser, in a thread."""
        ...

    def say(self, event: str, **fields: Any) -> None:
        """Log a warning: an event's name and fields, no secrets."""
        ...
