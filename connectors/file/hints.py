"""Notifications of the system that something has changed in a folder: they bring the next scan forward, no more.

watchfiles reports neither the files in a folder that is moved in, nor that the folder itself is gone, nor what a queue
lost that ran over; network and overlay file systems often report nothing. So what it says is not even looked at.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final

_STOP_SECONDS: Final = 5.0
_DEBOUNCE_MS: Final = 200
_STEP_MS: Final = 100


class Hints:
    """Sets `changed` when the system reports something. `start` and `stop` are its owner's."""

    def __init__(self, folder: str, *, recursive: bool, in_thread: Callable[..., Awaitable[Any]]) -> None:
        self._folder, self._recursive, self._in_thread = folder, recursive, in_thread
        self.changed = asyncio.Event()
        self.failed: str | None = None
        """Why there are none, such as a limit of the system; None when nothing is wrong."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch, in a thread of its own: it waits for as long as the source lives."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._watch, args=(loop,), name=f"watch {self._folder}", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            await self._in_thread(self._thread.join, _STOP_SECONDS)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            import watchfiles

            for _ in watchfiles.watch(
                self._folder,
                watch_filter=None,
                debounce=_DEBOUNCE_MS,
                step=_STEP_MS,
                stop_event=self._stop,
                raise_interrupt=False,
                recursive=self._recursive,
                ignore_permission_denied=True,
            ):
                loop.call_soon_threadsafe(self.changed.set)
        except ImportError:
            self.failed = "watchfiles is not installed"
        except (OSError, RuntimeError) as error:
            self.failed = f"{type(error).__name__}: {error}"
