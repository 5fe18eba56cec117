"""A WebSocket server that others wrote (websockets), and a site that may reach it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve

from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from connectors.websocket import Config, Source
from tests.unit.connectors.standing import StandIn

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
