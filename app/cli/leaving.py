"""How a process ends although functions of authors, or parsers of connectors, go on in its threads.

Python waits at its exit for every thread, and a plain function cannot be stopped: one that never returns would keep a
worker that was asked to stop until somebody kills it. Its run is in the journal, and goes on elsewhere.
"""

import asyncio
import os
import sys
import threading
import time
from typing import Final

from app.observe import logs

PATIENCE_SECONDS: Final = 1.0
"""For threads that have nothing to do any more and are about to end."""
_PYTHONS_OWN: Final = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 as frames spell it
_LOG = logs.get(__name__)


def close(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop whose main task has ended. asyncio.Runner would wait for threads of it, however long they take."""
    if tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=PATIENCE_SECONDS))
    loop.close()


def leave(error: Exception | None = None) -> None:
    """Return once there is no other thread that Python waits for; end the process where one goes on.

    It ends with 0, or with the words and the code of an error.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    left = [one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon]
    for thread in left:
        thread.join(max(0.0, until - time.monotonic()))
    left = [one for one in left if one.is_alive()]
    if not left:
        return
    for thread in left:
        _LOG.warning("thread_left_behind", thread=thread.name, place=_place_of(thread))
    code = 0
    if error is not None:
        from app.cli import main  # which knows all commands, this one's as well

        code = main.tell(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _place_of(thread: threading.Thread) -> str | None:
    """Return where a thread is, in the innermost function that is not Python's own."""
    frame = innermost = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_code.co_filename.startswith(_PYTHONS_OWN):
        frame = frame.f_back
    frame = innermost if frame is None else frame
    return None if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
