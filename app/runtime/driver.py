"""Drives authors' functions. A runner task calls one handler after the other until one of them waits; then the rest
gets another runner. So handlers that end at once share one task (a task each halves the rate, measured), and every
handler runs in a real task of its own while it waits, as `asyncio.timeout` and task groups need.
"""

import asyncio
import concurrent.futures
import contextvars
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from app.engine.inputs import Ended, Failure, Published
from app.engine.state import Run
from app.runtime.context import RunContext, StepLimits
from headgate.errors import Reject, RetryLater
from topics.codec import encode_data
from topics.malformed import Malformed

Report = Callable[[Published | Ended], None]
_Job = tuple[Run, Report]
_TRACEBACK_CHARS = 16_000
_MESSAGE_CHARS = 4_000


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
        jobs: deque[_Job] = deque()
        for run in runs:
            if run.workflow.id in self._waits or not run.workflow.is_async:
                self._spawn(deque(((run, report),)))
            else:
                jobs.append((run, report))
        while jobs:
            self._spawn(jobs)
            await asyncio.sleep(0)
        if self._waits:
            await asyncio.sleep(0)

    def cancel(self, runs: Sequence[Run]) -> None:
        """Stop the attempts of `runs`; nothing more is reported of them."""
        for run in runs:
            task = self._tasks.pop(run.id, None)
            if task is not None:
                task.cancel()

    def close(self) -> None:
        for task in self._runners:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _spawn(self, jobs: deque[_Job]) -> None:
        task = asyncio.create_task(self._run(jobs), name="workflow", context=contextvars.Context())
        self._runners.add(task)
        task.add_done_callback(self._runners.discard)

    async def _run(self, jobs: deque[_Job]) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks = self._tasks
        while jobs:
            run, report = jobs.popleft()
            tasks[run.id] = task
            left = len(jobs)
            ended = await self._attempt(run, report)
            if tasks.get(run.id) is not task:
                return  # cancelled: the engine counts the run as ended already
            del tasks[run.id]
            report(ended)
            if len(jobs) != left or task.cancelling() or contextvars.copy_context():
                # It waited, so others go on with the rest; or it left something behind that is not the next one's.
                self._waits.add(run.workflow.id)
                return

    async def _attempt(self, run: Run, report: Report) -> Ended:
        workflow = run.workflow
        attempt = run.attempt
        try:
            if not workflow.is_async:
                report = self._from_thread(report)
            context = RunContext(run, report, self._limits)
            if workflow.takes_payload:
                args: tuple[Any, ...] = (context, workflow.build_payload(run.events))
            else:
                args = (context,)
            if workflow.is_async:
                result = await workflow.fn(*args)
            else:
                loop = asyncio.get_running_loop()
                call = contextvars.copy_context().run
                result = await loop.run_in_executor(self._threads, call, workflow.fn, *args)
            context.close()
            return self._completed(run, attempt, result)
        except asyncio.CancelledError as error:
            if self._tasks.get(run.id) is not asyncio.current_task():
                raise
            return Ended(run.id, attempt, None, _failure(error))  # the author's own cancellation, not ours
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 also what an author derived from BaseException: the run must not hang
            return Ended(run.id, attempt, None, _failure(error))

    @staticmethod
    def _from_thread(report: Report) -> Report:
        """A plain function reports from its thread; what it reports comes before its end, as in an async one."""
        loop = asyncio.get_running_loop()

        def told(given: Published | Ended) -> None:
            loop.call_soon_threadsafe(report, given)

        return told

    def _completed(self, run: Run, attempt: int, result: Any) -> Ended:
        try:
            encoded = b"null" if result is None else encode_data(result, f"the result of workflow {run.workflow.id!r}")
        except (Malformed, orjson.JSONEncodeError) as error:
            failure = Failure("ResultNotJson", f"{error}; return what JSON can hold", None, final=True)
            return Ended(run.id, attempt, None, failure)
        if len(encoded) > self._limits.result_bytes:
            message = (
                f"the result of workflow {run.workflow.id!r} has {len(encoded)} bytes, more than the "
                f"{self._limits.result_bytes} of limits.result_bytes; return less, for example a reference"
            )
            return Ended(run.id, attempt, None, Failure("ResultTooLarge", message, None, final=True))
        return Ended(run.id, attempt, encoded)


def _failure(error: BaseException) -> Failure:
    message = str(error)[:_MESSAGE_CHARS]
    name = type(error).__name__
    if isinstance(error, Reject):
        return Failure(name, message, None, rejected=True)
    if isinstance(error, RetryLater):
        return Failure(name, message, None, retry_after_ms=int(error.delay_seconds * 1000))
    text = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
    return Failure(name, message, text)
