"""An event loop in a thread of its own, for servers that a test without one talks to."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self, TypeVar

Answer = TypeVar("Answer")
_SECONDS: Final = 30.0


class Aside:
    """The loop. What was entered is left when the block ends."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="aside", daemon=True)
        self._stack = AsyncExitStack()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        try:
            self.run(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_SECONDS)
            self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, Answer], *, seconds: float = _SECONDS) -> Answer:
        """Run it there, and return its answer. Raises TimeoutError."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def call(self, function: Callable[[], Answer]) -> Answer:
        """Call a plain function there, between two turns of the servers."""

        async def called() -> Answer:
            return function()

        return self.run(called())

    def enter(self, manager: AbstractAsyncContextManager[Answer]) -> Answer:
        """Enter a context there until the end."""
        return self.run(self._stack.enter_async_context(manager))
