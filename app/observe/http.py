"""The worker's own small HTTP server: /healthz, /readyz, /metrics. Read only, no bodies, no dependencies."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from app.observe.health import Report

_REQUEST_BYTES: Final = 8 * 1024
_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 0.5


class HealthServer:
    """Serves health and metrics on `host`:`port` from `start` to `close`."""

    def __init__(self, registry: CollectorRegistry, report: Callable[[], Report]) -> None:
        self._registry = registry
        self._report = report
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._serve, host.strip("[]"), port, limit=_REQUEST_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            # From Python 3.12 on this waits for connections too, and a client need not read what it asked for.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), CLOSE_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _SECONDS)
            line = head.split(b"\r\n", 1)[0].split(b" ")
            status, kind, body = self._answer(line)
            writer.write(
                b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
                % (status, kind, len(body))
            )
            if line[0] != b"HEAD":
                writer.write(body)
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # a client that speaks no HTTP, or left: nothing to tell it
        finally:
            writer.close()

    def _answer(self, line: list[bytes]) -> tuple[bytes, bytes, bytes]:
        json = b"application/json"
        if len(line) != 3 or line[0] not in (b"GET", b"HEAD"):
            return b"405 Method Not Allowed", json, b'{"error":"only GET and HEAD"}'
        path = line[1].split(b"?", 1)[0]
        if path == b"/healthz":
            return b"200 OK", json, b'{"alive":true}'
        if path == b"/readyz":
            report = self._report()
            return (b"200 OK" if report.ready else b"503 Service Unavailable"), json, orjson.dumps(report.record())
        if path == b"/metrics":
            return b"200 OK", CONTENT_TYPE_LATEST.encode(), generate_latest(self._registry)
        return b"404 Not Found", json, b'{"error":"there are /healthz, /readyz and /metrics"}'
