"""What a step returns to an async function, and whether a task waits for such things alone."""

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from app.engine.values.asks import Kind, Outcome
from app.runtime.jobs import Job
from headgate.event import Event


class Asked(asyncio.Future[Any]):
    """What a step came to, once it is durable. `unheeded`: the keys of the run's steps that nobody waited for yet."""

    __slots__ = ("_unheeded", "key", "left")

    def __init__(self, key: str, unheeded: dict[str, str], *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.key = key
        self.left: Callable[[str], None] | None = None
        """Told the key when whoever waits was cancelled."""
        self._unheeded = unheeded

    def cancel(self, msg: Any = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled and self.left is not None:
            self._unheeded.pop(self.key, None)
            self.left(self.key)
        return cancelled

    def __await__(self) -> Generator[Any, None, Any]:
        self._unheeded.pop(self.key, None)
        return super().__await__()

    __iter__ = __await__

    def add_done_callback(self, fn: Callable[[Any], object], *, context: Context | None = None) -> None:
        self._unheeded.pop(self.key, None)
        super().add_done_callback(fn, context=context)

    def fail(self, error: BaseException) -> None:
        """Raise `error` where this is awaited; where it is not, nobody needs to be told of it.

        Its traceback begins there: a frame of ours in it would hold this, and this the error, for the cyclic collector.
        """
        error.__traceback__ = None
        self.set_exception(error)
        self.exception()

    def fail_later(self, error: BaseException, seconds: float) -> Self:
        """Raise `error` once so much time is over, where this is still awaited then."""
        self.later(lambda: self.fail(error), seconds)
        return self

    def later(self, call: Callable[[], None], seconds: float) -> None:
        """Call something once so much time is over, where this is still awaited then."""
        # Also where the time is over in the turn in which this ended: that the handle is cancelled comes a turn later.
        handle = self.get_loop().call_later(seconds, lambda: None if self.done() else call())
        super().add_done_callback(lambda _: handle.cancel())


class Left:
    """Waits that were cancelled, until it is known that their function goes on: `tell` is told of each then.

    It is once the function asks for its next step, and `tell` is told that it is known; or, as far as one can tell,
    once it had its turns, in which it ends if it fails because of what cancelled them, as with a TaskGroup.
    """

    __slots__ = ("_keys", "_loop", "_tell")

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[[str, bool], None]) -> None:
        self._loop, self._tell = loop, tell
        self._keys: list[str] = []

    def add(self, key: str) -> None:
        self._keys.append(key)
        self._loop.call_soon(self._turn, _TURNS)

    def flush(self, *, known: bool = True) -> None:
        keys, self._keys = self._keys, []
        for key in keys:
            self._tell(key, known)

    def _turn(self, left: int) -> None:
        if left and self._keys:
            self._loop.call_soon(self._turn, left - 1)
        else:
            self.flush(known=False)


_TURNS: Final = 20
Filter = Callable[[Event[Any]], bool]


@dataclass(slots=True)
class Step:
    """A step that was asked for and has not ended."""

    asked: Asked
    kind: Kind
    decode: Callable[[Outcome], Any]
    job: Job | None
    filters: tuple[Filter | None, ...]
    until_ms: int | None
    """When it is over at the latest; None where nobody knows."""
    task: "asyncio.Task[None] | None" = None


class Done(str):
    """A step's value that is there already: awaited in async functions, used as it is in plain ones."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, str]:
        yield from ()
        return str(self)


class DoneNumber(float):
    """As `Done`."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, float]:
        yield from ()
        return float(self)


async def _awaited(step: Any) -> Any:
    return await step


_AWAITED: Final = _awaited.__code__


_STEPS: Final = frozenset({Asked, Done, DoneNumber})


def let_tasks_take_steps(loop: asyncio.AbstractEventLoop) -> None:
    """Let `asyncio.create_task` and `TaskGroup.create_task` take steps in `loop`.

    They take nothing but coroutines, and `asyncio.wait` takes everything else: so a step is none, and gets one here.
    """
    before = loop.get_task_factory()
    if before is None:
        loop.set_task_factory(_task)
    elif before is not _task and getattr(before, "func", None) is not _through:  # several drivers may have one loop
        loop.set_task_factory(partial(_through, before))


def _task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
    if type(coro) not in _STEPS:
        return asyncio.Task(coro, loop=loop, **options)
    return _of_step(asyncio.Task(_awaited(coro), loop=loop, **options), coro)


def _through(before: Callable[..., Any], loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
    if type(coro) not in _STEPS:
        return before(loop, coro, **options)
    return _of_step(before(loop, _awaited(coro), **options), coro)


def _of_step(task: "asyncio.Task[Any]", step: Any) -> "asyncio.Task[Any]":
    """Cancel the step with its task, also with one that never began."""
    if isinstance(step, Asked):
        task.add_done_callback(lambda done: done.cancelled() and step.cancel())
    return task


def waits_only(task: "asyncio.Task[Any]") -> bool:
    """Say whether a task, with those that it waits for, waits for steps and for nothing else.

    It looks into asyncio's gather and TaskGroup. Whatever it does not know counts as something else: such a run stays.
    """
    return _waits(task, depth=0)


def _waits(one: Any, depth: int) -> bool:
    if isinstance(one, Asked) or one.done():
        return True
    if depth > 8:
        return False
    children = getattr(one, "_children", None)  # of a gather
    if children is not None:
        return all(_waits(child, depth + 1) for child in children)
    if not isinstance(one, asyncio.Task):
        return False
    awaited = getattr(one, "_fut_waiter", None)
    if awaited is not None and awaited.done():
        return False  # it is about to go on
    if getattr(one.get_coro(), "cr_code", None) is _AWAITED:
        return True  # also one that has not begun: its step has
    if awaited is None:
        return False
    tasks = _tasks_of_group(one)
    if tasks is not None:  # of one that has ended the group is about to hear
        return not any(child.done() for child in tasks) and all(_waits(child, depth + 1) for child in tasks)
    return _waits(awaited, depth + 1)


def _tasks_of_group(task: "asyncio.Task[Any]") -> list[Any] | None:
    """Return the tasks of the TaskGroup at whose end a task waits, None where it waits for something else."""
    coroutine: Any = task.get_coro()
    while getattr(getattr(coroutine, "cr_await", None), "cr_frame", None) is not None:
        coroutine = coroutine.cr_await
    frame = getattr(coroutine, "cr_frame", None)
    if frame is None or frame.f_code.co_filename != asyncio.taskgroups.__file__:
        return None
    group = frame.f_locals.get("self")
    tasks = getattr(group, "_tasks", None)
    return None if tasks is None else list(tasks)
