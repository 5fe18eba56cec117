"""A Slack of this machine whose seconds last a tenth of one, and a site that may reach it."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from connectors.base.contract import Answer, Connection
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientConnection, ClientHttp
from tests.fakes.slack import FakeSlack
from tests.unit.connectors.standing import StandIn

SCALE = 0.1
HERE = Policy(allowed=("127.0.0.0/8",))


class Counted:
    """A connection that counts what comes over it."""

    def __init__(self, connection: ClientConnection, received: list[int]) -> None:
        self._connection, self._received = connection, received

    @property
    def received_bytes(self) -> int:
        return sum(self._received)

    async def receive(self) -> str | bytes:
        return await self._connection.receive()

    async def send(self, message: str | bytes) -> None:
        await self._connection.send(message)

    async def ping(self) -> None:
        await self._connection.ping()

    async def close(self, code: int = 1000) -> None:
        await self._connection.close(code)


class CountingHttp:
    """The HTTP client of sources; each WebSocket counts for itself."""

    def __init__(self, heard: Callable[[int], None]) -> None:
        self._heard = heard
        self._client = ClientHttp(HERE, heard=heard)

    def request(self, method: str, url: str, **options: Any) -> AbstractAsyncContextManager[Answer]:
        return self._client.request(method, url, **options)

    @asynccontextmanager
    async def websocket(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        max_message_bytes: int = 4 * 1024 * 1024,
        compress: bool = False,
        timeout_seconds: float = 30.0,
    ) -> AsyncIterator[Connection]:
        received: list[int] = []

        def heard(size_bytes: int) -> None:
            received.append(size_bytes)
            self._heard(size_bytes)

        async with ClientHttp(HERE, heard=heard) as client, client.websocket(url) as connection:
            yield Counted(connection, received)

    async def close(self) -> None:
        await self._client.close()


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    """It repeats nothing until a test lets it."""
    async with FakeSlack(scale=SCALE) as fake:
        fake.redelivers = False
        yield fake


@pytest.fixture
async def site() -> AsyncIterator[StandIn]:
    """Its time is real: sockets and Slack's timers are."""
    made = StandIn(real_time=True)
    http = CountingHttp(made.heard)
    made._http = http
    yield made
    await http.close()
