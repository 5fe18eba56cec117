"""Drives authors' functions. A runner task calls one handler after the other until one of them waits; then the rest
gets another runner. So handlers that end at once share one task (a task each halves the rate, measured), and every
handler runs in a real task of its own while it waits, as `asyncio.timeout` and task groups need.
"""

import asyncio
import concurrent.futures
import contextvars
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import orjson

from app.engine.errors import words
from app.engine.inputs import Ended, Failure, Published
from app.engine.retry import delay_ms, may_retry
from app.engine.state import Run
from app.observe import logs
from app.runtime import fragments
from app.runtime.context import NoSuchStep, RunContext, StepLimits
from headgate.errors import Reject, RetryLater
from topics.codec import encode_data
from topics.malformed import Malformed

Report = Callable[[Published | Ended], None]
_TRACEBACK_CHARS = 16_000
_MESSAGE_CHARS = 4_000
_RESULT = "the result"
_LOGGED_CHARS = 400
_LOG = logs.get(__name__)


class Driver:
    """Runs the attempts of all partitions of a worker. `threads`: how many plain functions run at once."""

    def __init__(self, *, limits: StepLimits, threads: int) -> None:
        self._limits = limits
        self._threads = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="workflow")
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._runners: set[asyncio.Task[None]] = set()
        self._waits: set[str] = set()
        """Workflows whose handlers were seen waiting: each of their runs gets a task at once."""

    async def start(self, runs: Sequence[Run], report: Report) -> None:
        """Start an attempt of each run; return once those that need not wait have ended."""
        jobs: deque[Run] = deque()
        alone = False
        for run in runs:
            if not run.workflow.is_async:
                alone = True
                self._spawn(self._run_in_thread(run, report), contextvars.Context())
            elif run.workflow.id in self._waits:
                alone = True
                self._spawn_runner(deque((run,)), report)
            else:
                jobs.append(run)
        while jobs:
            self._spawn_runner(jobs, report)
            await asyncio.sleep(0)
        if alone:  # those have begun when we return, so that `cancel` finds them
            await asyncio.sleep(0)

    def cancel(self, runs: Sequence[Run]) -> None:
        """Stop the attempts of `runs`; nothing more is reported of them."""
        for run in runs:
            task = self._tasks.pop(run.id, None)
            if task is not None:
                task.cancel()

    def close(self) -> None:
        """Stop everything; nothing more is reported."""
        self._tasks.clear()
        for task in self._runners:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _spawn_runner(self, jobs: deque[Run], report: Report) -> None:
        variables = contextvars.Context()
        self._spawn(self._run(jobs, report, variables), variables)

    def _spawn(self, running: Coroutine[Any, Any, None], variables: contextvars.Context) -> None:
        task = asyncio.create_task(running, name="workflow", context=variables)
        self._runners.add(task)
        task.add_done_callback(self._runners.discard)

    async def _run(self, jobs: deque[Run], report: Report, variables: contextvars.Context) -> None:
        """Call the handlers of `jobs` one after the other, until one of them waits and others go on with the rest.

        `variables` are the runner's own, empty at first.
        """
        task = asyncio.current_task()
        assert task is not None
        tasks = self._tasks
        limits = self._limits
        while jobs:
            run = jobs.popleft()
            tasks[run.id] = task
            left = len(jobs)
            attempt = run.attempt
            workflow = run.workflow
            context = RunContext(run, report, limits)
            try:
                if workflow.takes_payload:
                    result = await workflow.fn(context, workflow.build_payload(run.events))
                else:
                    result = await workflow.fn(context)
                ended = self._completed(run, attempt, context, result)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001 also sys.exit(): an author's event must not end the worker
                context.close()
                ended = self._failed(run, attempt, task, error)
            if tasks.get(run.id) is not task:
                return  # cancelled: the engine counts the run as ended already
            del tasks[run.id]
            report(ended)
            if len(jobs) != left or task.cancelling() or len(variables):
                # It waited, so others went on with the rest; or it left something behind that is not the next one's.
                self._waits.add(workflow.id)
                return

    async def _run_in_thread(self, run: Run, report: Report) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[run.id] = task
        attempt = run.attempt
        workflow = run.workflow
        context = RunContext(run, self._from_thread(report), self._limits)
        try:
            args = (context, workflow.build_payload(run.events)) if workflow.takes_payload else (context,)
            loop = asyncio.get_running_loop()
            result, error = await loop.run_in_executor(
                self._threads, contextvars.copy_context().run, _call, workflow.fn, args
            )
            if error is None:
                ended = self._completed(run, attempt, context, result)
            else:
                context.close()
                ended = self._failed(run, attempt, task, error)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 as above
            context.close()
            ended = self._failed(run, attempt, task, error)
        if self._tasks.get(run.id) is task:
            del self._tasks[run.id]
            report(ended)

    @staticmethod
    def _from_thread(report: Report) -> Report:
        """A plain function reports from its thread; what it reports comes before its end, as in an async one."""
        loop = asyncio.get_running_loop()

        def told(given: Published | Ended) -> None:
            loop.call_soon_threadsafe(report, given)

        return told

    def _failed(self, run: Run, attempt: int, task: asyncio.Task[None], error: BaseException) -> Ended:
        """Return how an attempt ended by an error, and log what the engine will try again: its author may watch."""
        failure = _failure(error)
        again = not failure.rejected and not failure.final and may_retry(attempt, max_retries=run.workflow.max_retries)
        if again and self._tasks.get(run.id) is task:  # else it was cancelled, and counts as ended
            limits = self._limits
            wait_ms = failure.retry_after_ms
            if wait_ms is None:
                wait_ms = delay_ms(run.id, attempt, base_ms=limits.retry_base_ms, max_ms=limits.retry_max_ms)
            _LOG.info(
                "attempt_failed",
                workflow=run.workflow.id,
                run=run.id,
                attempt=attempt,
                attempts_left=run.workflow.max_retries + 1 - attempt,
                error=f"{failure.type}: {failure.message[:_LOGGED_CHARS]}",
                place=_place(error, run.workflow.source_file),
                next_try_in_seconds=wait_ms / 1000,
            )
        return Ended(run.id, attempt, None, failure)

    def _completed(self, run: Run, attempt: int, context: RunContext, result: Any) -> Ended:
        context.close()
        try:
            encoded = b"null" if result is None else encode_data(fragments.checked(result, _RESULT), _RESULT)
        except (Malformed, orjson.JSONEncodeError) as error:
            reason = f"workflow {run.workflow.id!r}: {words(error)}; return what JSON can hold"
            return Ended(run.id, attempt, None, Failure("ResultNotJson", reason, None, final=True))
        if len(encoded) > self._limits.result_bytes:
            message = (
                f"the result of workflow {run.workflow.id!r} has {len(encoded)} bytes, more than the "
                f"{self._limits.result_bytes} of limits.result_bytes; return less, for example a reference"
            )
            return Ended(run.id, attempt, None, Failure("ResultTooLarge", message, None, final=True))
        return Ended(run.id, attempt, encoded)


def _call(fn: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    """Return what `fn` returned, or raised: a future cannot carry a StopIteration, and would never be done."""
    try:
        return fn(*args), None
    except BaseException as error:  # noqa: BLE001 whatever an author raises is a failure of the run
        return None, error


def _failure(error: BaseException) -> Failure:
    message = words(error)[:_MESSAGE_CHARS]
    name = type(error).__name__
    if isinstance(error, Reject):
        return Failure(name, message, None, rejected=True)
    if isinstance(error, RetryLater):
        return Failure(name, message, None, retry_after_ms=int(error.delay_seconds * 1000))
    text = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
    return Failure(name, message, text.encode(errors="replace").decode(), final=isinstance(error, NoSuchStep))


def _place(error: BaseException, source_file: str) -> str | None:
    """Return where an error arose, in the workflow's own file if it passed there."""
    place = None
    own = False
    trace = error.__traceback__
    while trace is not None:
        here = trace.tb_frame.f_code.co_filename == source_file
        if here or not own:
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        own = own or here
        trace = trace.tb_next
    return place
