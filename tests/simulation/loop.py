"""An event loop without time and chance of its own: virtual seconds, and a seeded choice of which process goes on.

Within one simulated process callbacks run in their order, as asyncio promises; between processes anything may happen.
A process can be frozen (its callbacks wait) and killed (they never run again).
"""

import asyncio
import heapq
import random
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, Final

from tests.simulation.threads import Pool

MAX_STEPS: Final = 400_000


class Process:
    """Something that runs, stops and dies as a whole: a worker, the cluster, whoever makes trouble."""

    __slots__ = ("dead", "frozen", "name", "ready")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[asyncio.Handle] = deque()
        self.frozen = False
        self.dead = False


class SimTask(asyncio.Task[Any]):
    """A task that knows its process."""

    process: Process


class Stuck(AssertionError):
    """The simulation does not come to an end."""


def _made(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> SimTask:
    return SimTask(coro, loop=loop, **options)


class SimLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as the code under test asks for."""

    def __init__(self, seed: int) -> None:
        self._now = 0.0
        self._random = random.Random(seed).random
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Process]] = []
        self._count = 0
        self._active: list[Process] = []
        self._running = False
        self._tasks: list[SimTask] = []
        self._factory: Callable[..., asyncio.Task[Any]] = _made
        self._pools: dict[int, Pool] = {}
        self._doomed: dict[Process, tuple[int, Callable[[], None]]] = {}
        self.steps = 0
        self.root = Process("root")
        self.current = self.root
        self.problems: list[str] = []
        """What callbacks raised, which nobody else hears of."""

    # --- what asyncio asks for --------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override] # narrower than typeshed's: eager starts are not needed
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        process = self.current
        # The first step is scheduled while the task is made, when it cannot say yet whose it is: `current` says it.
        task = self._factory(self, coro, name=name, context=context)
        assert isinstance(task, SimTask)
        task.process = process
        task._log_destroy_pending = False  # type: ignore[attr-defined] # killed processes leave such tasks
        self._tasks.append(task)
        return task

    def get_task_factory(self) -> Any:
        return self._factory

    def set_task_factory(self, factory: Any) -> None:
        self._factory = factory

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        handle = asyncio.Handle(callback, args, self, context)
        owner = getattr(callback, "__self__", None)
        process = getattr(owner, "process", self.current) if type(owner) is SimTask else self.current
        self._enqueue(process, handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment] # there are no threads

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at_in(self.current, when, callback, *args, context=context)

    def call_at_in(
        self,
        process: Process,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back in `process`."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle, process))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Call `func` as a thread would: a while later, in the process that asked."""
        future = self.create_future()
        after = 0.001 + self._random() * 0.01
        if executor is None:
            self.call_later(after, self._call, future, partial(func, *args))
        else:
            self._pools[id(executor)] = executor
            self.call_later(after, executor.submit, self, future, partial(func, *args))
        return future

    def _call(self, future: asyncio.Future[Any], func: Callable[[], Any]) -> None:
        try:
            result = func()
        except Exception as error:  # noqa: BLE001 as an executor does
            outcome: Callable[[], None] = partial(future.set_exception, error)
        else:
            outcome = partial(future.set_result, result)
        self.call_soon(lambda: None if future.done() else outcome())

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        message = str(context.get("message"))
        if not self.current.dead and "never retrieved" not in message:
            self.problems.append(f"{message}: {context.get('exception')!r}")

    # --- running ----------------------------------------------------------------------------------------------------

    def spawn(self, process: Process, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task in `process`."""
        before, self.current = self.current, process
        try:
            return self.create_task(coro)
        finally:
            self.current = before

    def freeze(self, process: Process) -> None:
        process.frozen = True

    def thaw(self, process: Process) -> None:
        if process.frozen:
            process.frozen = False
            if process.ready and process not in self._active:
                self._active.append(process)

    def kill_after(self, process: Process, steps: int, kill: Callable[[], None]) -> None:
        """Call `kill` once `process` has made so many more steps."""
        self._doomed[process] = (steps, kill)

    def _enqueue(self, process: Process, handle: asyncio.Handle) -> None:
        if not process.ready and not process.frozen:
            self._active.append(process)
        process.ready.append(handle)

    def run(self, finished: Callable[[], bool]) -> None:
        """Run until `finished`, which is asked at every tick of time. Raises Stuck."""
        self._running = True
        events._set_running_loop(self)
        try:
            self._run_ready()
            while not finished():
                self._advance()
                self._run_ready()
        finally:
            events._set_running_loop(None)
            self._running = False

    def _run_ready(self) -> None:
        active = self._active
        chance = self._random
        while active:
            at = int(chance() * len(active)) if len(active) > 1 else 0
            process = active[at]
            ready = process.ready
            if process.dead or process.frozen or not ready:
                active[at] = active[-1]
                active.pop()
                if process.dead:
                    ready.clear()
                continue
            handle = ready.popleft()
            if not ready:
                active[at] = active[-1]
                active.pop()
            if handle.cancelled():
                continue
            self.current = process
            self.steps += 1
            if self._doomed and process in self._doomed:
                self._count_down(process)
                if not process.dead:
                    handle._run()
            else:
                handle._run()
            if self.steps > MAX_STEPS:
                raise Stuck(f"no end after {MAX_STEPS} steps, at {self._now:.3f} s; last in {process.name}")
        self.current = self.root

    def _count_down(self, process: Process) -> None:
        steps, kill = self._doomed[process]
        if steps > 0:
            self._doomed[process] = (steps - 1, kill)
        else:
            del self._doomed[process]
            self.current = self.root
            kill()

    def _advance(self) -> None:
        timers = self._timers
        while timers and (timers[0][2].cancelled() or timers[0][3].dead):
            heapq.heappop(timers)
        if not timers:
            raise Stuck(f"nothing will ever happen again, at {self._now:.3f} s")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            _, _, handle, process = heapq.heappop(timers)
            if not handle.cancelled() and not process.dead:
                self._enqueue(process, handle)

    def dispose(self) -> None:
        """Take apart what still runs, so that no finalizer does it later, at a moment of its own."""
        for process in {one.process for one in self._tasks}:
            process.dead = True
        for pool in self._pools.values():
            pool.abandon()
        for task in self._tasks:
            coro = task.get_coro()
            for _ in range(5):
                try:
                    if coro is not None:
                        coro.close()
                    break
                except BaseException:  # noqa: BLE001 a `finally` that awaits, or whatever it does without its loop
                    continue
        self._tasks.clear()
        self._timers.clear()
        self._active.clear()
