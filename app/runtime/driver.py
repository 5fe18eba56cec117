"""Drives authors' functions. A runner task calls one handler after the other until one of them waits; then the rest
gets another runner. So handlers that end at once share one task (a task each halves the rate, measured), and every
handler runs in a real task of its own while it waits, as `asyncio.timeout` and task groups need.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import orjson

from app.engine.effects import After, Go, Judge, Resolve, Rise
from app.engine.inputs import Ended, Failure
from app.engine.tables.run import Run
from app.engine.values.errors import words
from app.runtime import failures, fragments
from app.runtime.context import RunContext
from app.runtime.limits import StepLimits
from app.runtime.live import Live, Report, wall_clock_ms
from app.runtime.replay import History
from app.runtime.threads import Threads
from app.runtime.waiting import let_tasks_take_steps
from app.runtime.watchdog import Watchdog
from headgate.conditions import Met
from headgate.errors import Pause
from topics.codec import encode_data
from topics.malformed import Malformed

_RESULT = "the result"


class Driver:
    """Runs the attempts of all partitions of a worker.

    `threads`: how many plain functions run at once. `now_ms`: the clock of `ctx.step`. `blocked_seconds`: how long a
    coroutine may hold up the loop before it is named in the log, None for as long as it likes.
    """

    def __init__(
        self,
        *,
        limits: StepLimits,
        threads: int,
        now_ms: Callable[[], int] = wall_clock_ms,
        blocked_seconds: float | None = None,
    ) -> None:
        self._limits = limits
        self._threads = Threads(threads)
        self._live = Live(limits, self._threads, now_ms)
        self._tasks = self._live.tasks
        self._runners: set[asyncio.Task[None]] = set()
        self._waits: set[str] = set()
        """Workflows whose handlers were seen waiting: each of their runs gets a task at once."""
        self._histories: dict[str, History] = {}
        """Of runs that are called anew and have not begun yet."""
        self._watchdog = None if blocked_seconds is None else Watchdog(blocked_seconds, self._tasks)

    async def start(self, runs: Sequence[Run], report: Report) -> None:
        """Start an attempt of each run; return once those that need not wait have ended."""
        jobs: list[Run] = []
        alone = False
        self._begin()
        for run in runs:
            if not run.workflow.is_async:
                alone = True
                self._spawn(self._run_in_thread(run, report), contextvars.Context())
            elif run.workflow.id in self._waits:
                alone = True
                self._spawn_runner([run], report)
            else:
                jobs.append(run)
        jobs.reverse()
        while jobs:
            self._spawn_runner(jobs, report)
            await asyncio.sleep(0)
        if alone:  # those have begun when we return, so that `cancel` finds them
            await asyncio.sleep(0)

    def go_on(self, after: Sequence[After], report: Report) -> None:
        """Do what follows a round, now that it is durable.

        What is for a run that is not in hand is dropped: it crossed with its eviction or its end, and is told anew.
        """
        self._begin()
        for one in after:
            run_id = one.run.id
            if isinstance(one, Rise):
                if run_id in self._tasks:  # what is there counts no more
                    self.cancel([one.run])
                steps = one.run.steps
                self._histories[run_id] = History(one.recorded, concurrent=steps is not None and steps.par)
                variables = contextvars.Context()
                self._spawn(self._run_anew(one.run, report, variables), variables)
                continue
            attempt = self._live.attempts.get(run_id)
            if attempt is None:
                history = self._histories.get(run_id)
                if history is not None and isinstance(one, Resolve):
                    history.ended(one.key, one.outcome)
            elif isinstance(one, Resolve):
                attempt.resolve(one.key, one.outcome)
            elif isinstance(one, Go):
                attempt.go(one.key, one.attempt)
            elif isinstance(one, Judge):
                attempt.judge(one.key, one.condition, one.envelope)

    def spare(self) -> int:
        """Return how many functions more that wait for a time which is near would be kept in memory."""
        return self._live.spare

    def cancel(self, runs: Sequence[Run]) -> None:
        """Stop the attempts of `runs`; nothing more is reported of them."""
        for run in runs:
            self._histories.pop(run.id, None)
            task = self._tasks.pop(run.id, None)
            if task is not None:
                self._stop(run, task)

    def beside(self, resting_bytes: int) -> None:
        """Keep as many functions that wait as there is room for beside what rests in memory without one."""
        self._live.beside(resting_bytes)

    def close(self) -> None:
        """Stop everything; nothing more is reported."""
        self._tasks.clear()
        if self._watchdog is not None:
            self._watchdog.stop()
        for attempt in list(self._live.attempts.values()):
            attempt.pause()
        for task in self._runners:
            task.cancel()
        self._threads.close()

    def _begin(self) -> None:
        if self._live.loop is None:
            self._live.loop = asyncio.get_running_loop()
            let_tasks_take_steps(self._live.loop)
            if self._watchdog is not None:
                self._watchdog.start(self._live.loop)

    def _stop(self, run: Run, task: asyncio.Task[None]) -> None:
        attempt = self._live.attempts.get(run.id)
        if run.workflow.is_async:
            task.cancel()
        if attempt is not None:
            attempt.pause()

    def _spawn_runner(self, jobs: list[Run], report: Report) -> None:
        variables = contextvars.Context()
        self._spawn(self._run(jobs, report, variables), variables)

    def _spawn(self, running: Coroutine[Any, Any, None], variables: contextvars.Context) -> None:
        task = asyncio.create_task(running, name="workflow", context=variables)
        self._runners.add(task)
        task.add_done_callback(self._runners.discard)

    async def _run(self, jobs: list[Run], report: Report, variables: contextvars.Context) -> None:
        """Call the handlers of `jobs` one after the other, the last one first, until one of them waits and others go on
        with the rest.

        `variables` are the runner's own, empty at first. A list, which is a tenth of an empty deque: while a handler
        waits, its runner holds it.
        """
        task = asyncio.current_task()
        assert task is not None
        tasks = self._tasks
        live = self._live
        histories = self._histories
        while jobs:
            run = jobs.pop()
            tasks[run.id] = task
            left = len(jobs)
            attempt = run.attempt
            workflow = run.workflow
            context = RunContext(run, report, live, task, histories.pop(run.id, None) if histories else None)
            try:
                if workflow.takes_payload:
                    result = await workflow.fn(context, workflow.build_payload(run.events))
                else:
                    result = await workflow.fn(context)
                ended = self._completed(run, attempt, context, result)
            except BaseException as error:  # also sys.exit(): an author's event must not end the worker
                if failures.is_no_authors(error, task):
                    raise
                if self._is_left(run, context, task, error):
                    return
                ended = self._failed(run, attempt, context, error)
            if tasks.get(run.id) is not task:
                return  # cancelled: the engine counts the run as ended already
            del tasks[run.id]
            report(ended)
            if len(jobs) != left or task.cancelling() or len(variables):
                # It waited, so others went on with the rest; or it left something behind that is not the next one's.
                self._waits.add(workflow.id)
                return

    async def _run_anew(self, run: Run, report: Report, variables: contextvars.Context) -> None:
        if run.id not in self._histories:
            return  # cancelled before it could begin
        if run.workflow.is_async:
            await self._run([run], report, variables)
        else:
            await self._run_in_thread(run, report)

    async def _run_in_thread(self, run: Run, report: Report) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks[run.id] = task
        attempt = run.attempt
        workflow = run.workflow
        context = RunContext(run, report, self._live, task, self._histories.pop(run.id, None))

        def call(args: tuple[Any, ...]) -> Any:
            if self._tasks.get(run.id) is not task:  # it was stopped while it waited for a thread
                raise Pause
            return workflow.fn(*args)

        try:
            args = (context, workflow.build_payload(run.events)) if workflow.takes_payload else (context,)
            inside = contextvars.copy_context()
            calling = self._threads.call_workflow(lambda: inside.run(call, args))
            self._live.make_room()
            result, error = await calling
            if error is None:
                ended = self._completed(run, attempt, context, result)
            elif self._is_left(run, context, task, error):
                return
            else:
                ended = self._failed(run, attempt, context, error)
        except BaseException as error:  # as above
            if failures.is_no_authors(error, task):
                raise
            if self._is_left(run, context, task, error):
                return
            ended = self._failed(run, attempt, context, error)
        if self._tasks.get(run.id) is task:
            del self._tasks[run.id]
            report(ended)

    def _is_left(self, run: Run, context: RunContext, task: asyncio.Task[None], error: BaseException) -> bool:
        """Whether nobody is told what an attempt ended with: its run was cancelled, or goes on from the journal later.

        Then nothing is made of the error: of a million runs that come to rest each function is left by one.
        """
        if self._tasks.get(run.id) is task:
            return False
        context.close(returned=False)
        error.__traceback__ = None
        return True

    def _failed(self, run: Run, attempt: int, context: RunContext, error: BaseException) -> Ended:
        """Return how an attempt ended by an error, and log what the engine will try again: its author may watch."""
        failure = context.close(returned=False)
        if failure is None:
            failure = failures.failure_of(error)
            failures.log_retry(run, attempt, error, failure, self._limits)
        error.__traceback__ = None  # whoever has the error need not have all that the function had
        return Ended(run.id, attempt, None, failure)

    def _completed(self, run: Run, attempt: int, context: RunContext, result: Any) -> Ended:
        failure = context.close(returned=True)
        if failure is not None:
            return Ended(run.id, attempt, None, failure)
        try:
            encoded = b"null" if result is None else encode_data(fragments.checked(result, _RESULT), _RESULT)
        except (Malformed, orjson.JSONEncodeError) as error:
            reason = f"workflow {run.workflow.id!r}: {words(error)}; return {_remedy(result)}"
            return Ended(run.id, attempt, None, Failure("ResultNotJson", reason, None, final=True))
        if len(encoded) > self._limits.result_bytes:
            message = (
                f"the result of workflow {run.workflow.id!r} has {len(encoded)} bytes, more than the "
                f"{self._limits.result_bytes} of limits.result_bytes; return less, for example a reference"
            )
            return Ended(run.id, attempt, None, Failure("ResultTooLarge", message, None, final=True))
        return Ended(run.id, attempt, encoded)


def _remedy(result: Any) -> str:
    """Return what to return in the place of what JSON cannot hold."""
    if isinstance(result, Met):
        return "its parts, for example met.event.data or met.number"
    return "what JSON can hold"
