"""A WebSocket server that others wrote (websockets), services on it, and a site that may reach them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers

from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from connectors.websocket import Config, Source
from tests.unit.connectors.standing import StandIn, reading

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def standing() -> AsyncIterator[StandIn]:
    """A site with a real clock and the real HTTP client."""
    site = StandIn(real_time=True)
    async with ClientHttp(Policy(allowed=("127.0.0.0/8",)), heard=site.heard) as site._http:
        yield site


@asynccontextmanager
async def serving(handler: Handler, **options: Any) -> AsyncIterator[Server]:
    """Serve WebSockets; those that are still open are closed at the end."""
    async with serve(handler, "127.0.0.1", 0, **{"ping_interval": None, "close_timeout": 0.2, **options}) as server:
        yield server


def url_of(server: Server) -> str:
    port = next(iter(server.sockets)).getsockname()[1]
    return f"ws://127.0.0.1:{port}/"


def source(url: str, site: StandIn, **options: Any) -> Source:
    return Source(Config.model_validate({"url": url, **options}), site)


async def ended(url: str, site: StandIn, **options: Any) -> Exception:
    async with reading(source(url, site, **options), site) as read:
        return await read.to_its_end()


def sends(*messages: str | bytes) -> Any:
    """A service that sends messages and keeps the connection open."""

    async def handle(connection: ServerConnection) -> None:
        for message in messages:
            await connection.send(message)
        await connection.wait_closed()

    return handle


class Scripted:
    """A service that keeps what it gets, and answers as a test wants."""

    def __init__(self, **answers: str) -> None:
        self.got: list[str | bytes] = []
        self.requests: list[tuple[str, Headers]] = []
        self.connections: list[ServerConnection] = []
        self._answers = answers

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.requests.append((connection.request.path, connection.request.headers))
        self.connections.append(connection)
        async for message in connection:
            self.got.append(message)
            if isinstance(message, str) and message in self._answers:
                await connection.send(self._answers[message])
