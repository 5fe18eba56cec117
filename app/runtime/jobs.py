"""The function of a step: what the runtime calls when the engine says so, and how it is called."""

import asyncio
import contextlib
import contextvars
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.engine.values.asks import Execute
from app.runtime import spans
from app.runtime.functions import IDEMPOTENCY, traits_of
from app.runtime.limits import Misuse
from app.runtime.threads import Threads
from headgate.definition import MAX_RETRIES, Workflow

INSIDE: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("headgate_step")
"""The key of the step whose function runs here: steps within steps are refused."""


RETRIES: Final = 2
BASE_DELAY: Final = 1.0
MAX_DELAY: Final = 10.0
_USUAL: Final = Execute(max_retries=RETRIES, base_delay_ms=1_000, max_delay_ms=10_000)
"""What a step asks for that says nothing of retries: looked at once."""


class StepTimeout(Exception):
    """An attempt of a step's function took longer than its `timeout`."""


@dataclass(slots=True, kw_only=True)  # frozen, its making takes 1 us longer
class Job:
    """A function with its arguments, and the context variables of where the step was called. Never changed."""

    key: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    timeout_seconds: float | None
    is_async: bool
    context: contextvars.Context

    def start(self, running: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that will call `run`, with the context variables of the step's caller."""
        context = self.context.copy()
        context.run(INSIDE.set, self.key)
        return asyncio.Task(running, name="step", context=context)  # one for each step: create_task takes 1 us longer

    async def run(self, threads: Threads) -> Any:
        """Call the function, a plain one in a thread, and return what it returned. Raises what it raised.

        Its time begins with it: a plain one may have to wait for a thread.
        """
        if self.timeout_seconds is None:
            return await (self.fn(*self.args, **self.kwargs) if self.is_async else self._call_in_thread(threads))
        try:
            async with asyncio.timeout(self.timeout_seconds if self.is_async else None) as limit:
                if self.is_async:
                    return await self.fn(*self.args, **self.kwargs)
                return await self._call_in_thread(threads, limit)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise StepTimeout(f"it took longer than its timeout of {self.timeout_seconds:g} s") from error

    async def _call_in_thread(self, threads: Threads, limit: asyncio.Timeout | None = None) -> Any:
        call = functools.partial(contextvars.copy_context().run, self.fn, *self.args, **self.kwargs)
        if limit is not None:
            call = functools.partial(self._begin, asyncio.get_running_loop(), limit, call)
        result = await threads.call_step(call)
        return await result if inspect.isawaitable(result) else result

    def _begin(self, loop: asyncio.AbstractEventLoop, limit: asyncio.Timeout, call: Callable[[], Any]) -> Any:
        """Call the function; from now on its time counts. In its thread."""

        def count() -> None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                limit.reschedule(loop.time() + (self.timeout_seconds or 0))

        loop.call_soon_threadsafe(count)
        return call()


def job_of(
    key: str,
    fn: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    run_id: str,
    timeout_seconds: float | None,
) -> Job:
    """Return the job of a step. Raises Misuse when `fn` is nothing that can be called again."""
    if isinstance(fn, Workflow):
        raise Misuse(f"step {key!r} was given workflow {fn.id!r}; call ctx.step.invoke_and_wait({key!r}, {fn.id})")
    if not callable(fn):
        if isinstance(fn, Awaitable):
            if inspect.iscoroutine(fn):
                fn.close()
            name = getattr(fn, "__name__", "fn")
            raise Misuse(
                f"step {key!r} was given a call of {name}, which could not be made again; give the function and its "
                f"arguments: ctx.step.run({key!r}, {name}, ...)"
            )
        raise Misuse(f"step {key!r} was given {fn!r}; give a function and its arguments")
    is_async, signature = traits_of(fn)
    if signature is not None and IDEMPOTENCY not in kwargs and _takes_key(signature, args, kwargs):
        kwargs = kwargs | {IDEMPOTENCY: f"{run_id}:{key}"}
    return Job(
        key=key,
        fn=fn,
        args=args,
        kwargs=kwargs,
        timeout_seconds=timeout_seconds,
        is_async=is_async,
        context=contextvars.copy_context(),
    )


def execution(key: str, max_retries: Any, base_delay: Any, max_delay: Any) -> Execute:
    """Return what is asked of the engine for a step with a function. Raises Misuse."""
    if max_retries is RETRIES and base_delay is BASE_DELAY and max_delay is MAX_DELAY:
        return _USUAL
    if type(max_retries) is not int or not 0 <= max_retries <= MAX_RETRIES:
        raise Misuse(f"max_retries of step {key!r} is {max_retries!r}; give a number from 0 to {MAX_RETRIES}")
    return Execute(
        max_retries=max_retries,
        base_delay_ms=spans.span_ms(base_delay, "base_delay"),
        max_delay_ms=spans.span_ms(max_delay, "max_delay"),
    )


def _takes_key(signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Say whether these arguments leave `idempotency_key` open."""
    try:
        return IDEMPOTENCY not in signature.bind_partial(*args, **kwargs).arguments
    except TypeError:  # it takes no such arguments: the call itself will tell
        return False
