"""A queue of the small SQS of the unit tests; its time runs as fast as that of the source."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final

from aiohttp import web

from connectors.base.closing import end
from connectors.base.contract import Site
from tests.contract.outside import SECRET, Outside, hurried
from tests.unit.connectors import queues
from tests.unit.connectors.queues import Sqs
from tests.unit.connectors.serving import serving

SPEED: Final = 40
KEYS: Final = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": SECRET}


def now() -> float:
    return asyncio.get_running_loop().time() * SPEED


class Queue(Outside):
    """What is revoked is the key. What was sent is acknowledged when it is deleted."""

    kind = "sqs"
    acknowledges = True
    refusal = "InvalidClientTokenId"
    edited: ClassVar[Mapping[str, Any]] = {"visibility": 21}

    async def open(self) -> None:
        self.sqs = Sqs(now)
        self._sent: dict[str, int] = {}
        self.at = await self.opened.enter_async_context(serving(self.answer))
        self.sqs.url = f"http://{self.at}/1/orders"
        await self.opened.enter_async_context(_passing(self.sqs))

    @property
    def options(self) -> Mapping[str, Any]:
        return {**self.sqs.config, **KEYS, "visibility": 20}

    def body(self, number: int) -> str:
        return json.dumps({"n": number})

    async def happen(self, number: int) -> None:
        self._sent[await self.sqs.send(self.body(number))] = number

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["body"]["n"])

    def acknowledged(self) -> set[int]:
        return {number for name, number in self._sent.items() if name not in self.sqs.messages}

    async def revoke(self) -> None:
        self.sqs.hook = lambda _action, _body: queues.error("InvalidClientTokenId", status=403)

    async def restore(self) -> None:
        self.sqs.hook = lambda _action, _body: None

    def site(self, site: Site) -> Site:
        return hurried(site, speed=SPEED)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return await self.sqs.answer(request)


@asynccontextmanager
async def _passing(sqs: Sqs) -> AsyncIterator[None]:
    """Let those who wait for messages notice that a lease has run out."""

    async def look() -> None:
        while True:
            await asyncio.sleep(0.05)
            await sqs.look()

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        await end([looking])


OUTSIDES: Final = {"sqs": Queue}
