"""Plain functions: workflows and steps run in threads, and the steps of a plain workflow wait in its thread.

Steps have threads of their own, for a workflow holds its thread while it waits for them.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """The threads of a worker: `count` for workflows, as many for steps. `wanted`: calls of workflows not yet over."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.wanted = 0
        self._counting = threading.Lock()
        self._workflows = concurrent.futures.ThreadPoolExecutor(count, thread_name_prefix="workflow")
        self._steps = concurrent.futures.ThreadPoolExecutor(count, thread_name_prefix="step")

    def call_workflow(self, call: Callable[[], T]) -> "asyncio.Future[tuple[T | None, BaseException | None]]":
        """Return what `call` will have returned in a thread, or raised: no coroutine can raise a StopIteration."""
        with self._counting:
            self.wanted += 1
        counted, began = True, False

        def over() -> None:
            nonlocal counted
            with self._counting:
                self.wanted -= counted
                counted = False

        def called() -> tuple[T | None, BaseException | None]:
            nonlocal began
            began = True
            try:
                return _guarded(call)
            finally:
                over()

        future = asyncio.get_running_loop().run_in_executor(self._workflows, called)
        # One that was cancelled before it began wants no thread; one that goes on unheard keeps its thread.
        future.add_done_callback(lambda _done: None if began else over())
        return future

    async def call_step(self, call: Callable[[], Any]) -> Any:
        """Return what the function of a step returned in a thread, or raise what it raised."""
        result, error = await asyncio.get_running_loop().run_in_executor(self._steps, _guarded, call)
        if error is not None:
            raise error
        return result

    @property
    def short(self) -> int:
        """How many workflows wait for a thread."""
        return max(0, self.wanted - self.count)

    def close(self) -> None:
        """Begin nothing more."""
        self._workflows.shutdown(wait=False, cancel_futures=True)
        self._steps.shutdown(wait=False, cancel_futures=True)


def wait_for(loop: asyncio.AbstractEventLoop, begin: Callable[[], "asyncio.Future[T]"]) -> T:
    """Call `begin` in the loop's thread, wait in this one for what it returns to be done, and return its result."""
    waiting: concurrent.futures.Future[T] = concurrent.futures.Future()

    def done(future: "asyncio.Future[T]") -> None:
        if future.cancelled():
            waiting.cancel()
            waiting.set_running_or_notify_cancel()
            return
        error = future.exception()
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(future.result())

    def enter() -> None:
        try:
            future = begin()
            told = getattr(loop, "thread_waits", None)  # a virtual clock stands still for threads that do more
            if told is not None:
                told(future)
            future.add_done_callback(done)
        except BaseException as error:  # noqa: BLE001 it is raised in the thread that waits
            waiting.set_exception(error)

    loop.call_soon_threadsafe(enter)
    return waiting.result()


def _guarded(call: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """Return what `call` returned, or raised: a future cannot carry a StopIteration, and would never be done."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 whatever an author raises is a failure of the run
        return None, error
