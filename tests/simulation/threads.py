"""Threads for plain functions, one at a time: whoever has the turn goes on, everything else stands still.

A function that waits for a step gives the turn back to the loop; what it waits for gives it the turn again. So a seed
replays exactly. It stands for `concurrent.futures` in `app.runtime.threads`.
"""

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, Final


class Abandoned(BaseException):
    """The process of a function that waits is gone."""


class Turn:
    """A thread, while it has something to call."""

    def __init__(self) -> None:
        self._mine, self._theirs = threading.Semaphore(0), threading.Semaphore(0)
        self._call: Callable[[], None] | None = None
        self._abandoned = False
        threading.Thread(target=self._run, name="simulated", daemon=True).start()

    def call(self, call: Callable[[], None]) -> None:
        """Let the thread call this; return when it has, or waits."""
        self._call = call
        self.go_on()

    def go_on(self) -> None:
        """Give it the turn; return when it has given it back."""
        self._mine.release()
        self._theirs.acquire()
        if self._call is None:
            _IDLE.append(self)

    def abandon(self) -> None:
        """Let what waits in it raise, so that it is over."""
        self._abandoned = True
        while self._call is not None:
            self.go_on()

    def wait(self) -> None:
        """Called in the thread: give the turn back until it comes again."""
        self._theirs.release()
        self._mine.acquire()
        if self._abandoned:
            raise Abandoned

    def _run(self) -> None:
        _HERE.turn = self
        while True:
            self._mine.acquire()
            assert self._call is not None
            try:
                self._call()
            except Abandoned:
                pass
            self._call, self._abandoned = None, False
            self._theirs.release()


_HERE: Final = threading.local()
_IDLE: Final[list[Turn]] = []
"""Threads without work, of all scenarios: to start one takes longer than most seeds have."""


class Waited(concurrent.futures.Future[Any]):
    """What a function in a thread waits for."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: Turn | None = None

    def result(self, timeout: float | None = None) -> Any:
        turn: Turn | None = getattr(_HERE, "turn", None)
        if turn is not None and not self.done():
            self._waiting = turn
            while not self.done():
                turn.wait()
            self._waiting = None
        return super().result(timeout)

    def set_result(self, result: Any) -> None:
        super().set_result(result)
        self._wake()

    def set_exception(self, exception: BaseException | None) -> None:
        super().set_exception(exception)
        self._wake()

    def cancel(self) -> bool:
        cancelled = super().cancel()
        self._wake()
        return cancelled

    def _wake(self) -> None:
        if self._waiting is not None:
            asyncio.get_running_loop().call_soon(self._waiting.go_on)


class Pool:
    """So many threads; what is called in those for steps never waits, and needs none."""

    def __init__(self, count: int, thread_name_prefix: str) -> None:
        self._free = count
        self._may_wait = thread_name_prefix == "workflow"
        self._queue: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._turns: dict[int, Turn] = {}

    @property
    def waiting(self) -> int:
        """How many functions wait in a thread."""
        return len(self._turns)

    def submit(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], call: Callable[[], Any]) -> None:
        """Call `call` once a thread is free, unless `future` was cancelled by then, which gets what it returned."""
        self._queue.append((loop, future, call))
        self._next()

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Begin nothing more."""
        assert cancel_futures
        assert not wait
        self._queue.clear()

    def abandon(self) -> None:
        """Let functions that wait be over."""
        self.shutdown(wait=False, cancel_futures=True)
        for turn in list(self._turns.values()):
            turn.abandon()

    def _next(self) -> None:
        while self._free and self._queue:
            loop, future, call = self._queue.popleft()
            if future.cancelled():
                continue
            self._free -= 1
            if not self._may_wait:
                self._over(loop, future, call())
                continue
            turn = _IDLE.pop() if _IDLE else Turn()
            self._turns[id(turn)] = turn
            turn.call(partial(self._call, turn, loop, future, call))

    def _call(
        self, turn: Turn, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], call: Callable[[], Any]
    ) -> None:
        result = call()
        del self._turns[id(turn)]
        self._over(loop, future, result)

    def _over(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: Any) -> None:
        self._free += 1
        loop.call_soon(lambda: None if future.done() else future.set_result(result))
        loop.call_soon(self._next)


CONCURRENT: Final = SimpleNamespace(futures=SimpleNamespace(Future=Waited, ThreadPoolExecutor=Pool))
"""In the place of the module `concurrent`."""
