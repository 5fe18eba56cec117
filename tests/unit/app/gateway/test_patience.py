"""What ends a wait: its time, the client, the gateway."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request

from app.gateway.patience import patience


class Client:
    """The server's side of a client that has sent its body."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.asking = 0

    async def __call__(self) -> dict[str, Any]:
        self.asking += 1
        try:
            await self.gone.wait()
        finally:
            self.asking -= 1
        return {"type": "http.disconnect"}


async def time_runs_out(_client: Client, _stopping: asyncio.Event) -> None:
    return None


async def the_client_leaves(client: Client, _stopping: asyncio.Event) -> None:
    client.gone.set()


async def the_gateway_stops(_client: Client, stopping: asyncio.Event) -> None:
    stopping.set()


@pytest.mark.parametrize(
    ("seconds", "happens"), [(0.2, time_runs_out), (60, the_client_leaves), (60, the_gateway_stops)]
)
async def test_waiting_is_over_when(
    seconds: float, happens: Callable[[Client, asyncio.Event], Awaitable[None]]
) -> None:
    client, stopping = Client(), asyncio.Event()
    request = Request({"type": "http"}, client)
    with patience(request, seconds=seconds, stopping=stopping) as over:
        await asyncio.sleep(0)
        assert not over.done()
        await happens(client, stopping)
        async with asyncio.timeout(10):
            await over
    await asyncio.sleep(0)
    assert client.asking == 0, "nobody asks for a client that is answered"
