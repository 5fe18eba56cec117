"""Servers of this machine that answer with bytes as they are, and what is asked of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HERE = Policy(allowed=("127.0.0.0/8",))
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def http() -> AsyncIterator[ClientHttp]:
    async with ClientHttp(HERE, now=lambda: NOW) as client:
        yield client


async def mirror(request: web.Request) -> web.StreamResponse:
    body = await request.text()
    return web.json_response(
        {"method": request.method, "path": request.path_qs, "body": body, "headers": dict(request.headers)}
    )


@asynccontextmanager
async def raw(talk: Raw | bytes) -> AsyncIterator[str]:
    """Answer each connection with bytes as they are, or by a coroutine."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            if isinstance(talk, bytes):
                writer.write(talk)
                await writer.drain()
            else:
                await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def body_of(http: ClientHttp, url: str, **options: Any) -> bytes:
    async with http.request("GET", url, **options) as answer:
        return await answer.body()
