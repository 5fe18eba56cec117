"""A bucket of Cloud Storage: told of by notifications through a subscription, or found by listing it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from aiohttp import web

from tests.contract.outsides.pubsub import Google, Subscription
from tests.unit.connectors.gcs.test_notifications import ATTRIBUTES
from tests.unit.connectors.gcs.test_source import Storage
from tests.unit.connectors.subscriptions import NAME


class Notified(Subscription):
    kind = "gcs"

    @property
    def options(self) -> Mapping[str, Any]:
        place = {"pubsub_endpoint_url": f"http://{self.at}", "subscription": NAME}
        return {**Google.options.fget(self), "mode": "queue", "lease": 20, **place}  # type: ignore[attr-defined]

    async def happen(self, number: int) -> None:
        await self.pubsub.publish(b"", **{**ATTRIBUTES, "objectId": f"in/{number}", "objectGeneration": str(number)})

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["key"].removeprefix("in/"))


class Listed(Google):
    kind = "gcs"
    begins_with_position = True
    edited: ClassVar[Mapping[str, Any]] = {"max_content_bytes": 1000}

    async def open(self) -> None:
        self._storage = Storage()
        await super().open()

    @property
    def options(self) -> Mapping[str, Any]:
        return {**super().options, "mode": "list", "bucket": "uploads", "interval": 1}

    async def happen(self, number: int) -> None:
        self._storage.objects[f"in/{number:04}"] = (number, 1, b"abc")

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["key"].removeprefix("in/"))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return await self._storage.answer(request)


OUTSIDES: Final = {"gcs by notifications": Notified, "gcs by listing": Listed}
