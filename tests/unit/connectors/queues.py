"""A small SQS that speaks its JSON protocol, for tests of sources that read queues. Its time is that of a site."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.unit.connectors.serving import serving

KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "canary-secret"}


@dataclass
class Stored:
    """A message of the queue."""

    id: str
    body: str
    attributes: dict[str, Any] = field(default_factory=dict)
    system: dict[str, str] = field(default_factory=dict)
    receives: int = 0
    hidden_until: float = 0.0

    @property
    def handle(self) -> str:
        return f"{self.id}#{self.receives}"

    @property
    def group(self) -> str | None:
        return self.system.get("MessageGroupId")


class Sqs:
    """One queue. `hook` may answer a request in its place, such as with an error."""

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        self.messages: dict[str, Stored] = {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.attributes = {"QueueArn": "arn:aws:sqs:eu-west-1:1:q"}
        self.hook: Callable[[str, dict[str, Any]], web.Response | None] = lambda _action, _body: None
        self.url = ""
        self._now = now
        self._changed = asyncio.Condition()

    @property
    def config(self) -> dict[str, Any]:
        """What options of a source need for this queue."""
        return {"queue_url": self.url, "region": "eu-west-1", **KEYS}

    async def send(self, body: str, *, system: dict[str, str] | None = None, **attributes: str) -> str:
        """Put a message into the queue; returns its id."""
        one = Stored(
            id=f"m{len(self.messages) + sum(action == 'Deleted' for action, _ in self.requests) + 1}",
            body=body,
            attributes={name: {"DataType": "String", "StringValue": text} for name, text in attributes.items()},
            system={"SentTimestamp": "1780000000000", **(system or {})},
        )
        self.messages[one.id] = one
        await self.look()
        return one.id

    async def look(self) -> None:
        """Let those who wait look again, after the time has passed."""
        async with self._changed:
            self._changed.notify_all()

    def asked(self, action: str) -> list[dict[str, Any]]:
        return [body for one, body in self.requests if one == action]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        action = request.headers.get("X-Amz-Target", "").partition(".")[2]
        body = json.loads(await request.text() or "{}")
        self.requests.append((action, body))
        instead = self.hook(action, body)
        if instead is not None:
            return instead
        return said(await getattr(self, f"_{action}")(body))

    async def _ReceiveMessage(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 named by AWS
        async with self._changed:
            if body.get("WaitTimeSeconds", 0):
                await self._changed.wait_for(lambda: bool(self._visible()))
            taken = self._visible()[: body["MaxNumberOfMessages"]]
            for one in taken:
                one.receives += 1
                one.hidden_until = self._now() + body["VisibilityTimeout"]
        return {
            "Messages": [
                {
                    "MessageId": one.id,
                    "ReceiptHandle": one.handle,
                    "Body": one.body,
                    "Attributes": {**one.system, "ApproximateReceiveCount": str(one.receives)},
                    "MessageAttributes": one.attributes,
                }
                for one in taken
            ]
        }

    async def _DeleteMessageBatch(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        def delete(one: Stored, _entry: dict[str, Any]) -> None:
            del self.messages[one.id]
            self.requests.append(("Deleted", {"id": one.id}))

        return await self._each(body, delete)

    async def _ChangeMessageVisibilityBatch(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        def hide(one: Stored, entry: dict[str, Any]) -> None:
            one.hidden_until = self._now() + entry["VisibilityTimeout"]

        return await self._each(body, hide)

    async def _GetQueueAttributes(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Attributes": self.attributes}

    async def _SetQueueAttributes(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.attributes.update(body["Attributes"])
        return {}

    async def _each(self, body: dict[str, Any], do: Callable[[Stored, dict[str, Any]], None]) -> dict[str, Any]:
        failed, good = [], []
        for entry in body["Entries"]:
            one = self.messages.get(entry["ReceiptHandle"].partition("#")[0])
            if one is None or one.handle != entry["ReceiptHandle"] or one.hidden_until <= self._now():
                failed.append({"Id": entry["Id"], "SenderFault": True, "Code": "ReceiptHandleIsInvalid"})
            else:
                do(one, entry)
                good.append({"Id": entry["Id"]})
        await self.look()
        return {"Successful": good, "Failed": failed}

    def _visible(self) -> list[Stored]:
        hidden = {one.group for one in self.messages.values() if one.group and one.hidden_until > self._now()}
        return [one for one in self.messages.values() if one.hidden_until <= self._now() and one.group not in hidden]


def said(body: Any, *, status: int = 200) -> web.Response:
    return web.json_response(body, status=status, content_type="application/x-amz-json-1.0")


def error(code: str, *, status: int = 400) -> web.Response:
    return said({"__type": f"com.amazonaws.sqs#{code}", "message": "canary-secret"}, status=status)


@asynccontextmanager
async def queue(now: Callable[[], float] = lambda: 0.0) -> AsyncIterator[Sqs]:
    """Serve a queue."""
    one = Sqs(now)
    async with serving(one.answer) as at:
        one.url = f"http://{at}/1/orders"
        yield one
