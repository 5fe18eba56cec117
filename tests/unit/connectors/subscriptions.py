"""A small Pub/Sub with one subscription, for tests of sources that pull from it. Its time is that of a site."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

from aiohttp import web

NAME = "projects/p/subscriptions/orders"


class Lent:
    """A message of the subscription."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.message, self.deliveries, self.until = message, 0, 0.0

    @property
    def handle(self) -> str:
        return f"{self.message['messageId']}:{self.deliveries}"


class PubSub:
    """One subscription, whose own deadline is 10 s. `hook` may answer in its place."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.at = ""
        self.messages: dict[str, Lent] = {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.hook: Callable[[str, dict[str, Any]], web.Response | None] = lambda _verb, _body: None
        self._now, self._changed = now, asyncio.Condition()
        self._count = 0

    async def publish(self, data: bytes, *, key: str = "", **attributes: str) -> None:
        self._count += 1
        message: dict[str, Any] = {
            "data": base64.b64encode(data).decode(),
            "messageId": f"m{self._count}",
            "publishTime": "2026-06-01T12:00:00.123456789Z",
        }
        if attributes:
            message["attributes"] = attributes
        if key:
            message["orderingKey"] = key
        self.messages[message["messageId"]] = Lent(message)
        await self.look()

    async def look(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def asked(self, verb: str) -> list[dict[str, Any]]:
        return [body for one, body in self.requests if one == verb]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        verb = request.path.rpartition(":")[2]
        assert request.path == f"/v1/{NAME}:{verb}"
        body = await request.json()
        self.requests.append((verb, body))
        instead = self.hook(verb, body)
        if instead is not None:
            return instead
        if verb == "pull":
            return web.json_response(await self._pull(body))
        for handle in body["ackIds"]:
            one = self.messages.get(handle.partition(":")[0])
            if one is None or one.handle != handle or one.until <= self._now():
                continue  # without exactly-once delivery nobody hears of it
            if verb == "acknowledge":
                del self.messages[one.message["messageId"]]
            else:
                one.until = self._now() + body["ackDeadlineSeconds"]
        await self.look()
        return web.json_response({})

    async def _pull(self, body: dict[str, Any]) -> dict[str, Any]:
        async with self._changed:
            if not body.get("returnImmediately"):
                await self._changed.wait_for(lambda: bool(self._free()))
            found = self._free()[: body["maxMessages"]]
            for one in found:
                one.deliveries += 1
                one.until = self._now() + 10
        received = [{"ackId": one.handle, "message": one.message} for one in found]
        return {"receivedMessages": received} if received else {}

    def _free(self) -> list[Lent]:
        return [one for one in self.messages.values() if one.until <= self._now()]
