"""How long a request is kept waiting: its time, and not when its client has left or the gateway stops."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.requests import Request

WATCH_AFTER_SECONDS: Final = 0.1
"""Who waits no longer than this is not watched: as a rule an answer comes sooner, and watching costs two tasks."""


@contextmanager
def patience(request: Request, *, seconds: float, stopping: asyncio.Event) -> Iterator["asyncio.Future[None]"]:
    """Give a future that is done when waiting is over. The request's body must have been read."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    timers: list[asyncio.TimerHandle] = []
    watching: list[asyncio.Task[object]] = []

    def end(_task: object = None) -> None:
        if not over.done():
            over.set_result(None)

    def watch() -> None:
        timers.append(loop.call_later(seconds - WATCH_AFTER_SECONDS, end))
        watching.extend((loop.create_task(_left(request)), loop.create_task(stopping.wait())))
        for one in watching:
            one.add_done_callback(end)

    short = seconds <= WATCH_AFTER_SECONDS
    timers.append(loop.call_later(seconds if short else WATCH_AFTER_SECONDS, end if short else watch))
    try:
        yield over
    finally:
        for timer in timers:
            timer.cancel()
        for one in watching:
            one.cancel()


async def _left(request: Request) -> None:
    """Return when the client is gone: after the body, a server tells nothing else."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
