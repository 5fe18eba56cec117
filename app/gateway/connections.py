"""What bounds a connection before there is a request: bytes of its head, time, and how many are open.

uvicorn's protocol waits for a client as long as the client likes and keeps all it sends. This one counts bytes where
they arrive, and notes by when the next step must be done; `sweep` looks after all connections a few times a second,
which costs a request less than a timer of its own.
"""

import asyncio
import ipaddress
import math
import resource
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from app.gateway.errors import JSON, Problem
from app.observe import logs


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The same for every gateway; tests shorten them."""

    connections: int = 4096
    per_address: int = 1024
    """Of one remote address; this machine's own are not counted, for a proxy in front may run here."""
    head_bytes: int = 64 * 1024
    head_lines: int = 100
    pipelined: int = 64
    """Requests that wait behind one being answered on the same connection."""
    head_seconds: float = 10
    body_seconds: float = 30
    body_bytes_per_second: int = 64 * 1024
    """Each second's worth of a body adds a second to `body_seconds`: a large body may take longer, a slow one not."""
    idle_seconds: float = 75
    """Between an answer and the next request: proxies end an idle connection after 60 s, and a request that leaves
    while the server ends it is lost."""
    crowded_idle_seconds: float = 5
    """The same while more than half of the connections are open."""
    answer_seconds: float = 60
    """For the client to take what was written to it."""
    linger_seconds: float = 2
    """For the client to read why it is refused, before the connection is cut."""
    sweep_seconds: float = 0.5


log = logs.get(__name__)

DEFAULT: Final = Bounds()
OTHER_FILES: Final = 256
"""Files that are no client's connection: Kafka's, the read model's."""

_IDLE: Final = 0
_HEAD: Final = 1
_BODY: Final = 2


class _Refused(Exception):
    """Stops the parser from within."""


class Protocol(HttpToolsProtocol):
    """One connection. Its class is made by `bounded`, because uvicorn takes a class."""

    bounds = DEFAULT
    refused: Callable[[str], None] = staticmethod(lambda _code: None)
    """Hears the code of each refusal: there is no request yet that the metrics could count."""
    by_address: ClassVar[Counter[str]] = Counter()
    """How many connections each remote address has open."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._now: Callable[[], float] = self.loop.time
        self._step = _HEAD
        self._due = self._now() + self.bounds.head_seconds
        self._write_due = math.inf
        # Bytes since the last progress: the head's, or those that frame a chunked body.
        self._unread = 0
        self._most = 0
        # Why the parser was stopped, and a refusal that waits for the answers to earlier requests.
        self._reason: Problem | None = None
        self._later: Problem | None = None
        self._over = False
        self._address: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        full = None
        if len(self.connections) >= self.bounds.connections:
            full = _full(self.bounds.connections)
        self._address = counted_as(transport.get_extra_info("peername"))
        if self._address is not None:
            if full is None and self.by_address[self._address] >= self.bounds.per_address:
                full = _full_for(self._address, self.bounds.per_address)
            self.by_address[self._address] += 1
        super().connection_made(transport)
        if full is not None:
            self._over = True
            self.refused(full.code)
            transport.write(_answer(full))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._address is not None:
            self.by_address[self._address] -= 1
            if not self.by_address[self._address]:
                del self.by_address[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        if self._step == _IDLE:
            self._step, self._due = _HEAD, self._now() + self.bounds.head_seconds
        # A head that becomes whole in here is not larger than this.
        self._most = self._unread = self._unread + len(data)
        super().data_received(data)
        if self._unread > self.bounds.head_bytes:
            self._refuse(_head_too_large(self.bounds))

    def on_message_begin(self) -> None:
        if self._step == _IDLE:
            self._step, self._due = _HEAD, self._now() + self.bounds.head_seconds
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        bounds = self.bounds
        # The exact size is summed up only where what arrived with the head leaves it open.
        if len(self.headers) > bounds.head_lines or (
            self._most > bounds.head_bytes and self._head_bytes() > bounds.head_bytes
        ):
            self._reason = _head_too_large(bounds)
            raise _Refused
        if len(self.pipeline) >= bounds.pipelined:
            self._reason = _too_many_waiting(bounds)
            raise _Refused
        super().on_headers_complete()
        self._step, self._due, self._unread = _BODY, self._now() + bounds.body_seconds, 0

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        if not self.cycle.response_complete:
            self._due += len(body) / self.bounds.body_bytes_per_second
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._step, self._unread = _IDLE, 0
        self._due = self._now() + self.bounds.idle_seconds if self.cycle.response_complete else math.inf

    def on_response_complete(self) -> None:
        last = not self.pipeline
        super().on_response_complete()
        if not last:
            return
        if self._later is not None:
            self._say(self._later)
        elif self._step == _IDLE:
            self._due = self._now() + self.bounds.idle_seconds

    def pause_writing(self) -> None:
        self._write_due = self._now() + self.bounds.answer_seconds
        super().pause_writing()

    def resume_writing(self) -> None:
        self._write_due = math.inf
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  the message says less than the reason does
        """What uvicorn calls when the parser has stopped."""
        self._refuse(self._reason or _not_http())

    def look_after(self, now: float, *, crowded: bool = False) -> None:
        """End the connection if its next step is overdue; `crowded`: there are many, and none may be idle for long."""
        due = self._due
        if crowded and self._step == _IDLE:
            due -= max(0, self.bounds.idle_seconds - self.bounds.crowded_idle_seconds)
        if self._write_due <= now or (self._over and self._due <= now):
            self.transport.abort()
        elif self.transport.is_closing():
            # Closed, but not gone: the client has not taken all that was written to it.
            self._write_due = min(self._write_due, now + self.bounds.answer_seconds)
        elif due <= now:
            self._overdue(now)

    def _overdue(self, now: float) -> None:
        cycle: Any = self.cycle  # None before the first request
        answering = cycle is not None and not cycle.response_complete
        if self.flow.read_paused or (answering and self._step == _HEAD):
            # It is the gateway that lets the client wait.
            self._due = now + self.bounds.head_seconds
        elif self._step == _IDLE:
            self.transport.close()
        else:
            self._refuse(_too_slow("head" if self._step == _HEAD else "body"))

    def _refuse(self, problem: Problem) -> None:
        """Take nothing more, say why, and close. What was asked for earlier on this connection is answered first."""
        if self._over:
            return
        self._over, self._due = True, math.inf
        self.refused(problem.code)
        cycle: Any = self.cycle  # None before the first request
        if self._step == _BODY:
            if cycle.response_started:
                # It has its answer, or a part of it.
                self.transport.abort()
                return
            earlier = bool(self.pipeline)
            if earlier:
                self.pipeline.popleft()
            # The application sees a client that left, and what it answers goes nowhere.
            cycle.disconnected = True
            cycle.message_event.set()
        else:
            earlier = cycle is not None and not cycle.response_complete
        if earlier:
            self._later = problem
        else:
            self._say(problem)

    def _say(self, problem: Problem) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._due = self._now() + self.bounds.linger_seconds
        self.flow.resume_reading()
        self.transport.write(_answer(problem))
        # Closing with bytes unread would reset the connection, and the client might lose the answer.
        self.transport.write_eof()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)


def bounded(bounds: Bounds, refused: Callable[[str], None]) -> type[Protocol]:
    """The protocol with other bounds; `refused` hears the code of each refusal."""
    return type("Bounded", (Protocol,), {"bounds": bounds, "refused": staticmethod(refused), "by_address": Counter()})


def for_this_process(per_address: int | None = None) -> Bounds:
    """The bounds, with no more connections than there may be open files, and a quarter of them for one address."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DEFAULT.connections
    if soft != resource.RLIM_INFINITY:
        most = min(most, max(soft - OTHER_FILES, soft // 2))
    return replace(DEFAULT, connections=most, per_address=per_address or max(1, most // 4))


def counted_as(peer: object) -> str | None:
    """Return the address under which a peer is counted, None for one that is not: this machine, or nobody knows.

    Of IPv6 the network counts, because whoever has one address has 2^64 of them (RFC 6177).
    """
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])  # type: ignore[index]
    except (TypeError, IndexError, ValueError):
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return None if address.is_loopback else str(ipaddress.ip_network((address, 64), strict=False))
        address = address.ipv4_mapped
    return None if address.is_loopback else str(address)


async def sweep(connections: Iterable[Any], bounds: Bounds) -> None:
    """Look after the connections until cancelled."""
    now = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(bounds.sweep_seconds)
        all_ = tuple(connections)
        crowded = 2 * len(all_) > bounds.connections
        for one in all_:
            try:
                one.look_after(now(), crowded=crowded)
            except Exception as error:  # noqa: BLE001  the others must be looked after all the same
                log.error("connection_not_ended", error=repr(error))
                one.transport.abort()


def _answer(problem: Problem) -> bytes:
    body = problem.body()
    lines = {"content-type": JSON, "content-length": str(len(body)), "connection": "close"} | problem.headers
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return STATUS_LINE[problem.status] + head.encode() + b"\r\n" + body


def _full(connections: int) -> Problem:
    return Problem(
        503,
        "gateway_full",
        f"{connections} connections are open already.",
        remedy="Repeat the request after the seconds in Retry-After, keep connections open less, or run more gateways.",
        headers={"Retry-After": "1"},
    )


def _full_for(address: str, connections: int) -> Problem:
    return Problem(
        503,
        "address_full",
        f"{address} has {connections} connections open already.",
        remedy="Keep connections open less, send lists of events, or raise gateway.connections_per_address: behind a "
        "proxy all clients have its address.",
        headers={"Retry-After": "1"},
    )


def _head_too_large(bounds: Bounds) -> Problem:
    return Problem(
        431,
        "head_too_large",
        f"The request line and headers exceed {bounds.head_bytes} bytes or {bounds.head_lines} lines.",
        remedy="Send fewer and shorter headers; what an event says belongs in its data.",
    )


def _too_slow(part: str) -> Problem:
    return Problem(
        408,
        "too_slow",
        f"The {part} of the request was not whole in time.",
        remedy="Send the request without pauses; send a long list of events in several requests.",
    )


def _too_many_waiting(bounds: Bounds) -> Problem:
    return Problem(
        400,
        "too_many_pipelined",
        f"More than {bounds.pipelined} requests wait on one connection.",
        remedy="Read answers before sending more, or use several connections.",
    )


def _not_http() -> Problem:
    return Problem(
        400, "not_http", "What was sent is no HTTP/1.1 request.", remedy="Use an HTTP client, and http:// in its URL."
    )
