"""Ends what must not hold up an end: tasks and clients that take their time, or swallow a cancellation."""

import asyncio
import math
from collections.abc import Coroutine, Iterable
from typing import Any, Final

CLOSE_SECONDS: Final = 5.0
_ASK_AGAIN_SECONDS: Final = 1.0
_left_behind: Final[set["asyncio.Task[Any]"]] = set()
"""Ends that nobody waits for any more: a loop itself holds its tasks only weakly."""


async def close(stopping: Coroutine[Any, Any, Any]) -> None:
    """Await a client's own end for a while, then go on without it. Its errors and its own cancellations are nobody's.

    It goes on by itself: a producer whose broker is away ends once that is back, and not before; cut short, it would
    stay with its connections for ever.

    aiokafka's `stop` awaits tasks that it has cancelled, and may raise their CancelledError to whoever waits. Who waits
    here and is cancelled itself waits on all the same: connections left half closed would stay open.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(stopping)
    until = loop.time() + CLOSE_SECONDS
    cancelled: asyncio.CancelledError | None = None
    while not task.done() and (left := until - loop.time()) > 0:
        try:
            await asyncio.wait([task], timeout=left)
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.done():
        _left_behind.add(task)
    task.add_done_callback(_forget)
    if cancelled is not None:
        raise cancelled


async def start(starting: Coroutine[Any, Any, None]) -> None:
    """Await a client's start, also when cancelled meanwhile: aiokafka forgets connections that are half open."""
    task = asyncio.ensure_future(starting)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=CLOSE_SECONDS)
        task.add_done_callback(_forget)
        if not task.done():
            task.cancel()
        raise


async def end(tasks: Iterable["asyncio.Task[Any]"], *, within_seconds: float = math.inf) -> "set[asyncio.Task[Any]]":
    """Cancel tasks until they have ended; a library may swallow a cancellation, so they are asked again.

    Returns those that had not after `within_seconds`: they are left behind.
    """
    loop = asyncio.get_running_loop()
    waiting = {task for task in tasks if not task.done()}
    cancelled: asyncio.CancelledError | None = None
    ask_at = loop.time()
    until = ask_at + within_seconds
    while waiting and loop.time() < until:
        if (left := ask_at - loop.time()) <= 0:
            for task in waiting:
                task.cancel()
            ask_at, left = loop.time() + _ASK_AGAIN_SECONDS, _ASK_AGAIN_SECONDS
        try:
            await asyncio.wait(waiting, timeout=min(left, until - loop.time()))
        except asyncio.CancelledError as error:
            # Whoever waits here owns them: it goes after them. It may be asked again and again itself, and asks on.
            cancelled = error
        waiting = {task for task in waiting if not task.done()}
    for task in waiting:
        _left_behind.add(task)
        task.add_done_callback(_forget)
    if cancelled is not None:
        raise cancelled
    return waiting


def _forget(task: "asyncio.Task[Any]") -> None:
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()
