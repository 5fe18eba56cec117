"""What is read over HTTP and WebSockets: an event stream, an API, a feed, sockets, and a sender of webhooks."""

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.contract.outside import SECRET
from tests.contract.outsides import http_stream, poll, rss, websocket
from tests.e2e.fleet.world import World
from tests.unit.connectors.webhook.signing import mac

OURS: Final = "a server of this project"
SOCKETS: Final = "a server of the library websockets"


class Stream(World, http_stream.Stream):
    id = "stream"
    peer = OURS
    per_second = 20.0
    can_revoke = True


class Items(World, poll.Rest):
    id = "items"
    peer = OURS
    per_second = 10.0
    can_revoke = True
    page = 50
    more: ClassVar = {"interval": "200ms"}


class Feed(World, rss.Feed):
    """An item stays in it for a while; one that comes and goes while nobody reads is lost by the nature of feeds."""

    id = "feed"
    peer = OURS
    per_second = 2.0
    can_revoke = True
    newest = 600
    more: ClassVar = {"interval": "500ms", "emit_existing": True}


class Socket(World, websocket.Service):
    """What is told while nobody listens is lost."""

    id = "socket"
    peer = SOCKETS
    per_second = 20.0
    can_revoke = True


class RepeatingSocket(World, websocket.Repeating):
    """What was not acknowledged is told again to the next connection."""

    id = "socket-acks"
    peer = SOCKETS
    can_revoke = True


class ResumedSocket(World, websocket.GoingOn):
    """It tells what came after the number that is asked for."""

    id = "socket-resumes"
    peer = SOCKETS
    per_second = 10.0
    can_revoke = True


_KEY: Final = b"0123456789abcdef" + SECRET.encode()
_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds before a delivery is repeated; the last one again and again."""


class Hook(World):
    """A sender of Standard Webhooks: it repeats a delivery, signed anew under its id, until it is answered 2xx."""

    id = "hook"
    kind = "webhook"
    peer = "a sender of this project, to the real gateway"
    is_listed = False

    async def open(self) -> None:
        self._http = await self.opened.enter_async_context(ClientSession(timeout=ClientTimeout(total=20)))
        self._sending: set[asyncio.Task[None]] = set()
        self._answers: Counter[str] = Counter()

    @property
    def options(self) -> Mapping[str, Any]:
        secret = "whsec_" + base64.b64encode(_KEY).decode()
        return {"provider": "standard", "secret": secret, "publish": "body"}

    async def happen(self, number: int) -> None:
        task = asyncio.create_task(self._send(number))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def settle(self) -> None:
        await asyncio.gather(*self._sending)

    def details(self) -> Mapping[str, Any]:
        return {"answers": dict(sorted(self._answers.items()))}

    async def _send(self, number: int) -> None:
        pauses = iter(_PAUSES)
        while not (answer := await self._answer(number)).startswith("2"):
            self._answers[answer] += 1
            await asyncio.sleep(next(pauses, _PAUSES[-1]))
        self._answers[answer] += 1

    async def _answer(self, number: int) -> str:
        body, name, at = json.dumps({"n": number}).encode(), f"msg_{number}", str(int(time.time()))
        signature = base64.b64encode(mac(f"{name}.{at}.".encode() + body, _KEY)).decode()
        headers = {"webhook-id": name, "webhook-timestamp": at, "webhook-signature": f"v1,{signature}"}
        url = f"{self.place.gateway}/webhooks/standard/{self.id}"
        try:
            async with self._http.post(url, data=body, headers={"content-type": "application/json", **headers}) as told:
                return str(told.status)
        except (ClientError, TimeoutError):
            return "none"
