"""A feed that is polled: what happens is a new item in it."""

import base64
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from aiohttp import web

from tests.contract.outside import SECRET, Outside
from tests.unit.connectors.serving import serving

_LOGIN: Final = "Basic " + base64.b64encode(f"reader:{SECRET}".encode()).decode()


class Feed(Outside):
    kind = "rss"
    begins_with_position = True
    refusal = "http_401"
    edited: ClassVar[Mapping[str, Any]] = {"maxItems": 500}
    newest = 1_000
    """Items that are in it."""

    async def open(self) -> None:
        self._lets_in = True
        self._at = await self.opened.enter_async_context(serving(self._answer))

    @property
    def options(self) -> Mapping[str, Any]:
        url = f"http://reader:{SECRET}@{self._at}/feed?key={SECRET}"
        return {"url": url, "headers": {"X-Api-Key": SECRET}, "interval": 0.02}

    async def happen(self, number: int) -> None:
        pass

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["title"])

    async def revoke(self) -> None:
        self._lets_in = False

    async def restore(self) -> None:
        self._lets_in = True

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        proofs = request.headers.get("Authorization"), request.headers.get("X-Api-Key")
        if not self._lets_in or proofs != (_LOGIN, SECRET):
            return web.Response(status=401)
        tag = f'"{self.happened}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304)
        items = "".join(
            f"<item><guid isPermaLink='false'>item-{number}</guid><title>{number}</title></item>"
            for number in range(self.happened, max(0, self.happened - self.newest), -1)
        )
        text = f"<?xml version='1.0'?><rss version='2.0'><channel><title>Outside</title>{items}</channel></rss>"
        return web.Response(text=text, content_type="application/rss+xml", headers={"ETag": tag})


OUTSIDES: Final = {"rss": Feed}
