"""A bucket into which objects are put: told of by notifications through a queue, or found by listing it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from aiohttp import web

from tests.contract.outsides.sqs import KEYS, Queue
from tests.unit.connectors.s3.test_notifications import body, record
from tests.unit.connectors.s3.test_source import Aws


class Notified(Queue):
    kind = "s3"
    deaths = 8  # the world of sqs has the same reader

    @property
    def options(self) -> Mapping[str, Any]:
        return {**super().options, "mode": "queue"}

    def body(self, number: int) -> str:
        return body(record(key=f"in/{number}", eTag=f"e{number}", sequencer=f"{number:04}"))

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["key"].removeprefix("in/"))


class Listed(Queue):
    kind = "s3"
    acknowledges = False
    edited: ClassVar[Mapping[str, Any]] = {"max_content_bytes": 1000}
    deaths = 12  # that of gcs has it
    begins_with_position = True

    async def open(self) -> None:
        self._aws = Aws()
        await super().open()

    @property
    def options(self) -> Mapping[str, Any]:
        place = {"bucket": "uploads", "endpoint_url": f"http://{self.at}", "region": "eu-west-1"}
        return {"mode": "list", "interval": 1, **place, **KEYS}

    async def happen(self, number: int) -> None:
        self._aws.objects[f"in/{number:04}"] = (f"e{number}", b"abc")

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["key"].removeprefix("in/"))

    async def revoke(self) -> None:
        self._aws.error = (403, "InvalidClientTokenId")

    async def restore(self) -> None:
        self._aws.error = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        return await self._aws.answer(request)


OUTSIDES: Final = {"s3 by notifications": Notified, "s3 by listing": Listed}
