"""The world outside, for sources: a server whose events are numbered, come at a steady rate, and can be read again.

    GET /stream              an event stream; event n has the id n; goes on after Last-Event-ID
    GET /items?after=n       the next items after n, at most 100, as JSON
    GET /feed                RSS of the newest items

Event n is there as soon as n / rate seconds have passed: nothing is kept, so nothing can be lost here.
"""

import asyncio
import threading
import time
from types import TracebackType
from typing import Final, Self

from aiohttp import web

PAGE: Final = 100
FEED_ITEMS: Final = 200


class Outside:
    """The server, in a thread of its own. `hold` lets no more events come."""

    def __init__(self, *, per_second: float = 50.0) -> None:
        self._rate = per_second
        self._began = time.monotonic()
        self._held: int | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="outside", daemon=True)
        self._started, self._ending = threading.Event(), asyncio.Event()
        self.authorized = True
        """False: every request is answered 401."""
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(10)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.authorized = False  # streams end
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(10)

    def count(self) -> int:
        """Return how many events there have been; the last is number `count()`."""
        return self._held if self._held is not None else int((time.monotonic() - self._began) * self._rate)

    def hold(self) -> int:
        """Let no more come; return how many there have been."""
        self._held = self.count()
        return self._held

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.close()

    async def _listen(self) -> None:
        app = web.Application()
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/items", self._items)
        app.router.add_get("/feed", self._feed)
        runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._started.set()
        await self._ending.wait()
        await runner.cleanup()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if not self.authorized:
            return web.Response(status=401)
        number = int(request.headers.get("Last-Event-ID") or 0)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 100\n\n")
        while self.authorized:
            lines: list[str] = []
            while number < self.count() and len(lines) < PAGE:
                number += 1
                lines.append(f'id: {number}\nevent: tick\ndata: {{"n": {number}}}\n\n')
            try:
                await response.write("".join(lines).encode() or b": still here\n\n")
            except (ConnectionError, RuntimeError):
                break
            await asyncio.sleep(0.02)
        return response

    async def _items(self, request: web.Request) -> web.Response:
        if not self.authorized:
            return web.Response(status=401)
        after = int(request.query.get("after") or 0)
        numbers = range(after + 1, min(self.count(), after + PAGE) + 1)
        return web.json_response([{"id": number, "n": number} for number in numbers])

    async def _feed(self, request: web.Request) -> web.Response:
        if not self.authorized:
            return web.Response(status=401)
        newest = self.count()
        items = "".join(
            f"<item><guid isPermaLink='false'>{number}</guid><title>{number}</title></item>"
            for number in range(newest, max(0, newest - FEED_ITEMS), -1)
        )
        text = f"<?xml version='1.0'?><rss version='2.0'><channel><title>Outside</title>{items}</channel></rss>"
        return web.Response(text=text, content_type="application/rss+xml")
