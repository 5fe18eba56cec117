"""Services over WebSockets: one that tells whoever is there, one that repeats until it hears, one that goes on."""

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from connectors.base.closing import end
from connectors.base.contract import Delivery
from tests.contract.outside import SECRET, Outside
from tests.unit.connectors.websocket.peer import serving, url_of


class Service(Outside):
    """What happens while nobody is there is lost."""

    kind = "websocket"
    refusal = "unauthorized"
    edited: ClassVar[Mapping[str, Any]] = {"idle_timeout": 50}

    async def open(self) -> None:
        self._lets_in = True
        self.there: set[ServerConnection] = set()
        server = await self.opened.enter_async_context(serving(self._serve, process_request=self._let_in))
        self._url = url_of(server)

    @property
    def options(self) -> Mapping[str, Any]:
        return {"url": f"{self._url}?key={SECRET}", "headers": {"Authorization": f"Bearer {SECRET}"}}

    async def happen(self, number: int) -> None:
        for connection in list(self.there):
            await self._send(connection, number)

    async def revoke(self) -> None:
        self._lets_in = False
        for connection in list(self.there):
            await connection.close()

    async def restore(self) -> None:
        self._lets_in = True

    async def greet(self, connection: ServerConnection) -> None:
        """Tell a new connection what it has missed."""

    async def hear(self, connection: ServerConnection, message: Any) -> None:
        """Take what a connection says."""

    async def _send(self, connection: ServerConnection, number: int) -> None:
        try:
            await connection.send(json.dumps({"n": number}))
        except ConnectionClosed:
            self.there.discard(connection)

    def _let_in(self, connection: ServerConnection, request: Request) -> Response | None:
        if self._lets_in and request.headers.get("Authorization") == f"Bearer {SECRET}":
            return None
        return connection.respond(HTTPStatus.UNAUTHORIZED, "no")

    async def _serve(self, connection: ServerConnection) -> None:
        await self.greet(connection)
        self.there.add(connection)
        try:
            async for message in connection:
                await self.hear(connection, json.loads(message))
        finally:
            self.there.discard(connection)


class Repeating(Service):
    delivery = Delivery.AT_LEAST_ONCE
    acknowledges = True

    async def open(self) -> None:
        self._heard: set[int] = set()
        await super().open()

    @property
    def options(self) -> Mapping[str, Any]:
        return {**super().options, "id_pointer": "/n", "ack": {"ack": "{{ data.n }}"}}

    def acknowledged(self) -> set[int]:
        return self._heard

    async def greet(self, connection: ServerConnection) -> None:
        for number in range(1, self.happened + 1):
            if number not in self._heard:
                await self._send(connection, number)

    async def hear(self, connection: ServerConnection, message: Any) -> None:
        self._heard.add(message["ack"])


class GoingOn(Service):
    """It tells what came after the number that is asked for."""

    delivery = Delivery.EXACTLY_ONCE

    @property
    def options(self) -> Mapping[str, Any]:
        asking = [{"message": {"since": "{{ position }}", "all": True}}]
        return {**super().options, "id_pointer": "/n", "resume": {"pointer": "/n"}, "subscribe": asking}

    async def happen(self, number: int) -> None:
        async with self._news:
            self._news.notify_all()

    async def open(self) -> None:
        self._news = asyncio.Condition()
        self._telling: set[asyncio.Task[None]] = set()
        self.opened.push_async_callback(lambda: end(list(self._telling)))
        await super().open()

    async def hear(self, connection: ServerConnection, message: Any) -> None:
        task = asyncio.create_task(self._tell(connection, message.get("since", 0)))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, connection: ServerConnection, told: int) -> None:
        while connection in self.there:
            while told < self.happened:
                told += 1
                await self._send(connection, told)
            async with self._news:
                await self._news.wait_for(partial(self._is_news, connection, told))

    def _is_news(self, connection: ServerConnection, told: int) -> bool:
        return self.happened > told or connection not in self.there


OUTSIDES: Final = {
    "websocket": Service,
    "websocket that repeats": Repeating,
    "websocket that goes on": GoingOn,
}
