"""Ends what must not hold up an end: tasks and clients that take their time, or swallow a cancellation."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final

CLOSE_SECONDS: Final = 5.0
_ASK_AGAIN_SECONDS: Final = 1.0


async def close(stopping: Coroutine[Any, Any, Any]) -> None:
    """Await a client's own end for a while, then go on without it. Its errors and its own cancellations are nobody's.

    aiokafka's `stop` awaits tasks that it has cancelled, and may raise their CancelledError to whoever waits.
    """
    task = asyncio.ensure_future(stopping)
    try:
        await asyncio.wait([task], timeout=CLOSE_SECONDS)
    finally:
        if not task.done():
            task.cancel()
        task.add_done_callback(_forget)


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks until they have ended; a library may swallow a cancellation, so they are asked again."""
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=_ASK_AGAIN_SECONDS)


def _forget(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()
