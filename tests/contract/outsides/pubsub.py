"""A subscription of the small Pub/Sub of the unit tests, and who gives tokens for it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final

from aiohttp import web

from connectors.base.closing import end
from connectors.base.contract import Site
from tests.contract.outside import SECRET, Outside, hurried
from tests.contract.outsides.sqs import SPEED, now
from tests.unit.connectors.serving import serving
from tests.unit.connectors.subscriptions import NAME, PubSub


class Google(Outside):
    """An API of Google: what is revoked is the token, and what it is made of."""

    refusal = "credentials"

    async def open(self) -> None:
        self._lets_in = True
        self.at = await self.opened.enter_async_context(serving(self._answer))

    @property
    def options(self) -> Mapping[str, Any]:
        user = {"type": "authorized_user", "client_id": "me", "token_uri": f"http://{self.at}/token"}
        credentials = json.dumps({**user, "client_secret": SECRET, "refresh_token": SECRET})
        return {"credentials": credentials, "endpoint_url": f"http://{self.at}"}

    async def revoke(self) -> None:
        self._lets_in = False

    async def restore(self) -> None:
        self._lets_in = True

    def site(self, site: Site) -> Site:
        return hurried(site, speed=SPEED)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request whose token is right."""
        raise NotImplementedError

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/token":
            if self._lets_in and SECRET in await request.text():
                return web.json_response({"access_token": f"token-{SECRET}", "expires_in": 3600})
            return web.json_response({"error": "invalid_grant"}, status=400)
        if not self._lets_in or request.headers.get("Authorization") != f"Bearer token-{SECRET}":
            return web.json_response({"error": {"code": 401, "status": "UNAUTHENTICATED"}}, status=401)
        return await self.answer(request)


class Subscription(Google):
    kind = "pubsub"
    acknowledges = True
    edited: ClassVar[Mapping[str, Any]] = {"lease": 21}

    async def open(self) -> None:
        self.pubsub = PubSub(now)
        await super().open()
        await self.opened.enter_async_context(_passing(self.pubsub))

    @property
    def options(self) -> Mapping[str, Any]:
        return {**super().options, "subscription": NAME, "lease": 20}

    async def happen(self, number: int) -> None:
        await self.pubsub.publish(json.dumps({"n": number}).encode())

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["body"]["n"])

    def acknowledged(self) -> set[int]:
        there = {int(name.removeprefix("m")) for name in self.pubsub.messages}
        return {*range(1, self.happened + 1)} - there

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return await self.pubsub.answer(request)


@asynccontextmanager
async def _passing(pubsub: PubSub) -> AsyncIterator[None]:
    """Let those who wait for messages notice that a lease has run out."""

    async def look() -> None:
        while True:
            await asyncio.sleep(0.05)
            await pubsub.look()

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        await end([looking])


OUTSIDES: Final = {"pubsub": Subscription}
