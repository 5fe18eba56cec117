"""An event stream that tells again what followed the id that it is given."""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from aiohttp import web

from tests.contract.outside import SECRET, Outside
from tests.unit.connectors.serving import serving


class Stream(Outside):
    kind = "http-stream"
    refusal = "unauthorized"
    edited: ClassVar[Mapping[str, Any]] = {"idle_timeout": 50}

    async def open(self) -> None:
        self._lets_in = True
        self._news: set[asyncio.Event] = set()
        """One for each connection."""
        self._at = await self.opened.enter_async_context(serving(self._answer))

    @property
    def options(self) -> Mapping[str, Any]:
        return {"url": f"http://{self._at}/", "headers": {"Authorization": f"Bearer {SECRET}"}}

    async def happen(self, number: int) -> None:
        self._tell_all()

    async def revoke(self) -> None:
        self._lets_in = False
        self._tell_all()

    async def restore(self) -> None:
        self._lets_in = True

    def _tell_all(self) -> None:
        for one in self._news:
            one.set()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if not self._lets_in or request.headers.get("Authorization") != f"Bearer {SECRET}":
            return web.Response(status=401)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 20\n\n")
        await self._stream(response, int(request.headers.get("Last-Event-ID") or 0))
        return response

    async def _stream(self, response: web.StreamResponse, told: int) -> None:
        news = asyncio.Event()
        self._news.add(news)
        try:
            while self._lets_in:
                news.clear()
                while told < self.happened:
                    told += 1
                    await response.write(f'id: {told}\ndata: {{"n": {told}}}\n\n'.encode())
                await news.wait()
        finally:
            self._news.discard(news)


OUTSIDES: Final = {"http-stream": Stream}
