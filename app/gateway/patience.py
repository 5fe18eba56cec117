"""How long a request is kept waiting: its time, and not when its client has left or the gateway stops."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request


@contextmanager
def patience(request: Request, *, seconds: float, stopping: asyncio.Event) -> Iterator["asyncio.Future[None]"]:
    """Give a future that is done when waiting is over. The request's body must have been read."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def end(_task: object = None) -> None:
        if not over.done():
            over.set_result(None)

    timer = loop.call_later(seconds, end)
    watching = [asyncio.create_task(_left(request)), asyncio.create_task(stopping.wait())]
    for one in watching:
        one.add_done_callback(end)
    try:
        yield over
    finally:
        timer.cancel()
        for one in watching:
            one.cancel()


async def _left(request: Request) -> None:
    """Return when the client is gone: after the body, a server tells nothing else."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
