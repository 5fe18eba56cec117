"""Keep-alive HTTP/1.1 connections that cost the driver little: whole requests out, whole answers in."""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

PATIENCE_SECONDS = 60.0
"""How long a side that starts may take until it listens."""

Answered = Callable[[int, bytes], None]


class Connection(asyncio.Protocol):
    """One request at a time; `ask` is free to be called again once its answer has come."""

    def __init__(self, released: Callable[["Connection"], None]) -> None:
        self._released = released
        self._parser: httptools.HttpResponseParser | None = None
        self._body = b""
        self._answered: Answered | None = None
        self.closed = asyncio.Event()

    def ask(self, request: bytes, answered: Answered) -> None:
        """Send a request; `answered` gets status and body, status 0 when the connection was lost."""
        self._body, self._answered = b"", answered
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    def close(self) -> None:
        """Close it."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if self._parser is not None:
            self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.closed.set()
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(0, repr(exc).encode())

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body += body

    def on_message_complete(self) -> None:
        """Called by the parser: hand the answer over, then this connection back, which may begin its next request."""
        assert self._parser is not None
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(int(self._parser.get_status_code()), self._body)
        self._released(self)


class Pool:
    """As many connections as there are requests in flight, at most `size`; further requests wait in line."""

    def __init__(self, host: str, port: int, *, size: int) -> None:
        self._host, self._port, self._size = host, port, size
        self._free: list[Connection] = []
        self._line: list[tuple[bytes, Answered]] = []
        self._opening: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Open all connections, once somebody listens: none is opened while time is taken."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_SECONDS
        while len(self._free) < self._size:
            try:
                _, connection = await loop.create_connection(lambda: Connection(self._release), self._host, self._port)
            except ConnectionRefusedError:
                if loop.time() > until:
                    raise
                await asyncio.sleep(0.01)
                continue
            self._free.append(connection)

    def ask(self, request: bytes, answered: Answered) -> None:
        """Send a request at once if a connection is free; one that the server has closed while it was is replaced."""
        while self._free:
            connection = self._free.pop()
            if not connection.closed.is_set():
                connection.ask(request, answered)
                return
            task = asyncio.create_task(self._open_one())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        self._line.append((request, answered))

    async def _open_one(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self._release), self._host, self._port)
        self._release(connection)

    def close(self) -> None:
        """Close what is free."""
        for connection in self._free:
            connection.close()

    def _release(self, connection: Connection) -> None:
        if self._line:
            connection.ask(*self._line.pop(0))
        else:
            self._free.append(connection)


def post(host: str, port: int, path: str, headers: str, body: bytes) -> bytes:
    """Return a POST of a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n{headers}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
