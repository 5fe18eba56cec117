"""One attempt of one run, between its author's function and the engine: what it asks for, and what becomes of that.

Everything here happens in the loop's thread, but for what a plain function calls: it enters the loop, and waits.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from app.engine.inputs import Failure, Judged, StepAsked, StepEnded
from app.engine.tables.run import Run
from app.engine.values.asks import ABANDONED, Ask, Kind, Note, Outcome, Recorded, until_ms
from app.engine.values.errors import words
from app.engine.values.outgoing import Record
from app.observe import logs
from app.runtime import failures, limits, threads, values
from app.runtime.jobs import INSIDE, Job
from app.runtime.limits import Misuse, StepLimit, checked_key
from app.runtime.live import Live, Report, Task
from app.runtime.places import caller
from app.runtime.replay import History
from app.runtime.waiting import Asked, Filter, Left, Step
from headgate.errors import DuplicateStepKey, HeadgateError, HistoryMismatch, Pause
from headgate.event import Event
from headgate.filters import passes
from topics.envelope import Envelope
from topics.fields import MAX_KEY

_LOG = logs.get(__name__)
_ACTIVE: Final = (Kind.RUN, Kind.NOTE)
"""Steps that end without anything from outside: a run with one of these open does more than wait."""
MOST_PUBLISHED: Final = 4 * 1024 * 1024  # bytes of events that a run publishes before it waits for the journal
_PATIENCE_SECONDS, _MOST_WRONG = 1.0, 10  # between refusals, once there were so many
_CURIOUS_SECONDS: Final = 65.0  # until it is said that one waits for what it had abandoned; longer than a usual limit


class Attempt:
    """What `ctx.step` works on, and what the driver hands on to."""

    __slots__ = (
        "_abandoned",
        "_history",
        "_left",
        "_live",
        "_open",
        "_places",
        "_published_bytes",
        "_refused",
        "_stopped",
        "_task",
        "_told",
        "_unheeded",
        "_wrong",
        "appended_ms",
        "closed",
        "limits",
        "mismatch",
        "number",
        "plain",
        "report",
        "run",
        "weight",
    )

    def __init__(self, run: Run, number: int, report: Report, live: Live, task: Task, history: History | None) -> None:
        self.run = run
        self.number = number
        self.report = report
        self.limits = live.limits
        self.plain = not run.workflow.is_async
        self.closed = False
        self.weight = 0
        """Of the run's events, once it has waited."""
        self.mismatch: HeadgateError | None = None
        """Why the code does not fit what is recorded, whatever the author's function made of it."""
        self.appended_ms: dict[str, int] = {}
        """When the events that the run received were appended, by their sequence ids."""
        self._published_bytes = 0
        """Of events that were published since something of the run was last known to be durable."""
        self._live = live
        self._task = task
        self._history = history
        self._open: dict[str, Step] = {}
        self._abandoned: list[Asked] = []
        self._left: Left | None = None
        self._places: dict[str, str] = {}
        self._unheeded: dict[str, str] = {}
        self._refused = False
        self._stopped = False
        self._told = False
        self._wrong = 0
        if history is not None:
            live.attempts[run.id] = self

    # --- what steps call --------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return self._live.now_ms()

    def enter(self, key: str, place: str | None = None) -> Asked | None:
        """Take the key of a step that begins. Raises what speaks against it; returns what to await after refusals."""
        place = place or caller()
        try:
            return self._enter(key, place)
        except HeadgateError as error:
            self._wrong += 1
            if self.plain or self._wrong <= _MOST_WRONG:
                raise
            return Asked(key, {}, loop=asyncio.get_running_loop()).fail_later(error, _PATIENCE_SECONDS)  # see _refuse

    def _enter(self, key: str, place: str) -> Asked | None:
        if self._live.tasks.get(self.run.id) is not self._task and not self.closed:
            self.pause()  # it was stopped before it asked for anything, so nobody knew of it; now another may go on
        if self.closed:
            return self._refuse(key, place)
        if self.mismatch is not None:
            raise self.mismatch
        outer = INSIDE.get(None)
        if outer is not None:
            raise limits.inside_another(key, place, outer)
        if type(key) is not str or not 0 < len(key) <= MAX_KEY or not key.isascii():
            checked_key(key, place)
        if key in self._places:
            raise DuplicateStepKey(key, self._places[key], place)
        if len(self._places) >= self.limits.steps:
            raise limits.too_many_steps(self.run.id, self.limits.steps)
        self._places[key] = place
        if self._left is not None:
            self._left.flush()
        return None

    def ask(
        self,
        key: str,
        kind: Kind,
        about: str,
        make: Callable[[Recorded | None], Ask],
        decode: Callable[[Outcome], Any],
        *,
        job: Callable[[], Job] | None = None,
        filters: tuple[Filter | None, ...] = (),
    ) -> Any:
        """Ask for a step; return what to await, in a plain function its result.

        `make` makes what is asked of the engine; it gets what is recorded of the step, None for a new one. `decode`
        turns the outcome into the step's result, or raises. Both are called only where they are needed.
        """
        place = caller()
        made = None if job is None else job()
        if self.plain:
            loop = self._live.loop
            assert loop is not None
            if INSIDE.get(None) is not None:
                self.enter(key, place)  # it raises; in the loop's context it would not know
            return threads.wait_for(loop, lambda: self._ask(key, kind, about, make, decode, made, filters, place))
        return self._ask(key, kind, about, make, decode, made, filters, place)

    def noted(self, key: str, about: str) -> Outcome | None:
        """Return what is recorded of a step that nobody waits for, None for a new one. Raises HistoryMismatch."""
        recorded = self._visit(key, Kind.NOTE, about)
        return None if recorded is None else recorded.outcome

    @property
    def published_much(self) -> bool:
        """Whether the next event is published by a step that waits for the journal: rounds are held in memory."""
        return self._published_bytes > MOST_PUBLISHED

    def published(self, record: Record) -> Record:
        """Count an event that is published now. Raises StepLimit where nothing was awaited for too long."""
        most = self.limits.run_bytes
        if self._published_bytes > most:
            raise StepLimit(
                f"run {self.run.id!r} published {self._published_bytes} bytes at once, more than the {most} that a run "
                "may: await each publish_event before the next one"
            )
        self._published_bytes += len(record.value or b"")
        return record

    def note(self, key: str, about: str, value: bytes, records: tuple[Record, ...]) -> None:
        """Report a step that nobody waits for: its value (JSON), and what goes out."""
        asked = StepAsked(self.run.id, self.number, key, about, Note(value, records, quiet=True))
        if self.plain:
            assert self._live.loop is not None
            self._live.loop.call_soon_threadsafe(self.report, asked)
        else:
            asked.aside = self._is_aside(key)
            self.report(asked)

    # --- what the driver calls --------------------------------------------------------------------------------------

    @property
    def is_passive(self) -> bool:
        """Whether steps are open that wait for something from outside, and no others."""
        for one in self._open.values():
            if one.kind in _ACTIVE:
                return False
        return bool(self._open)

    @property
    def until_ms(self) -> int | None:
        """When the first of the open steps is over at the latest; None where nobody knows."""
        return min([one.until_ms for one in self._open.values() if one.until_ms is not None], default=None)

    def resolve(self, key: str, outcome: Outcome) -> None:
        """A step has ended, durably."""
        self._published_bytes = 0
        step = self._open.get(key)
        if step is None:
            if self._history is not None:
                self._history.ended(key, outcome)
            return
        self._settle(key, step, outcome)
        self._park()

    def go(self, key: str, attempt: int) -> None:
        """Call the function of a step. One that goes on already, or was not asked for yet, is left alone."""
        step = self._open.get(key)
        if step is not None and step.job is not None and step.task is None:
            step.task = step.job.start(self._execute(key, step, step.job, attempt))

    def judge(self, key: str, condition: int, envelope: Envelope) -> None:
        """Ask the filter of a condition. One that raises fails the step: to go on would lose what it cannot judge."""
        step = self._open.get(key)
        judge = step.filters[condition] if step is not None and condition < len(step.filters) else None
        if judge is None:
            return  # it was called anew and did not ask for the step yet; then the engine asks again
        try:
            passed = passes(judge(Event(envelope.payload())))
        except BaseException as error:  # an author's filter: also sys.exit() concerns its step alone
            if isinstance(error, KeyboardInterrupt) and failures.is_ctrl_c():
                raise
            failure = failures.failure_of(error)
            failures.log_step_failure(self.run, key, 1, error, failure)
            message = f"its filter failed on event {envelope.id!r} of {envelope.topic!r}: {failure.message}"
            failed = Failure(failure.type, message, failure.traceback, final=True)
            self.report(StepEnded(self.run.id, self.number, key, None, failed))
        else:
            self.report(Judged(self.run.id, self.number, key, condition, passed))

    def close(self, *, returned: bool) -> Failure | None:
        """The function ended: steps that it left behind come too late. Say what was wrong with it as a whole."""
        self._end()
        unheeded = next(iter(self._unheeded.items()), None)
        for asked in (*self._abandoned, *(one.asked for one in self._open.values())):
            asked.cancel()
        self._abandoned.clear()
        self._open.clear()  # what a step raised holds the function's frames, and these hold this
        if self.mismatch is None and returned and self._history is not None:
            try:
                self._history.end()
            except HistoryMismatch as error:
                self.mismatch = error
        if self.mismatch is not None:
            return Failure(type(self.mismatch).__name__, words(self.mismatch), None, stuck=True)
        if returned and unheeded is not None:
            return failures.not_awaited(self.run, *unheeded)
        return None

    def pause(self) -> None:
        """Unwind the function: what it waits for raises Pause. Nothing more is reported of it."""
        self._stopped = True
        self._end()
        for asked in (*self._abandoned, *(one.asked for one in self._open.values())):
            if not asked.done():
                self._told = True
                asked.fail(Pause())

    # --- inside -----------------------------------------------------------------------------------------------------

    def _ask(
        self,
        key: str,
        kind: Kind,
        about: str,
        make: Callable[[Recorded | None], Ask],
        decode: Callable[[Outcome], Any],
        job: Job | None,
        filters: tuple[Filter | None, ...],
        place: str,
    ) -> Asked:
        refused = self.enter(key, place)
        if refused is not None:
            return refused
        aside = not self.plain and self._is_aside(key)
        assert self._live.loop is not None
        recorded = self._visit(key, kind, about)
        asked = Asked(key, self._unheeded, loop=self._live.loop)
        if kind is Kind.AWAIT:
            asked.left = self._leave
        step = Step(asked, kind, decode, job, filters, None)
        if recorded is not None and recorded.outcome is not None:
            self._settle(key, step, recorded.outcome)
        else:
            ask = (recorded.ask if recorded else None) or make(recorded)  # what was journaled holds
            step.until_ms = until_ms(ask) if recorded is None or recorded.ask else recorded.until_ms
            self._open[key] = step
            self._live.attempts[self.run.id] = self
            self.report(StepAsked(self.run.id, self.number, key, about, ask, aside))
            self._park()
        self._unheeded[key] = place
        return asked

    def _is_aside(self, key: str) -> bool:
        """Say whether another task than the function's asks. Raises Misuse in another thread."""
        try:
            return self._task is not None and asyncio.current_task() is not self._task
        except RuntimeError:
            raise Misuse(
                f"step {key!r} was called at {self._places[key]} in another thread than its workflow's; call it in the "
                "workflow and hand its result to the thread"
            ) from None

    def _visit(self, key: str, kind: Kind, about: str) -> Recorded | None:
        """Return what is recorded of a step, None for a new one. Raises HistoryMismatch."""
        if self._history is None:
            return None
        try:
            return self._history.visit(key, kind, about)
        except HistoryMismatch as error:
            self.mismatch = error
            raise

    def _leave(self, key: str) -> None:
        """The author cancelled a task that waited for events, as a timeout of asyncio does."""
        if self._left is None:
            assert self._live.loop is not None
            self._left = Left(self._live.loop, self._abandon)
        self._left.add(key)

    def _abandon(self, key: str, known: bool) -> None:  # noqa: FBT001 told by Left
        """Its function goes on without it. One that fails instead waits for it in its next attempt."""
        going_on = self.mismatch is None and not self.closed and self._live.tasks.get(self.run.id) is self._task
        if key in self._open and going_on:
            why = f"nobody waits for step {key!r} any more: the task that did was cancelled"
            self.report(StepEnded(self.run.id, self.number, key, None, Failure(ABANDONED, why, None, final=known)))

    def _settle(self, key: str, step: Step, outcome: Outcome) -> None:
        self._open.pop(key, None)
        if step.asked.done():
            return
        if step.kind is Kind.AWAIT and outcome.fault is not None and outcome.fault.type == ABANDONED:
            self._abandoned.append(step.asked)  # who is called anew waits for it until it cancels that again
            step.asked.later(lambda: failures.log_abandoned(self.run, key, self._places[key]), _CURIOUS_SECONDS)
            return
        try:
            result = step.decode(outcome)
        except values.NotStorable as error:
            self.mismatch = error
            step.asked.fail(error)
        except Exception as error:  # noqa: BLE001 what the step raises
            step.asked.fail(error)
        else:
            step.asked.set_result(result)

    def _park(self) -> None:
        if self.is_passive:
            self._live.park(self)
        else:
            self._live.unpark(self)

    async def _execute(self, key: str, step: Step, job: Job, attempt: int) -> None:
        what = f"the result of step {key!r}"
        try:
            value = await job.run(self._live.threads)
            written = values.codec_of(job.fn).encode(
                value, self.run.workflow.fn, what, most_bytes=self.limits.result_bytes
            )
            ended = StepEnded(self.run.id, self.number, key, written)
        except BaseException as error:  # whatever an author raises is a failure of the step
            if failures.is_no_authors(error, step.task):
                raise
            if self.closed:
                return
            failure = failures.failure_of(error)
            failures.log_step_failure(self.run, key, attempt, error, failure)
            ended = StepEnded(self.run.id, self.number, key, None, failure)
        step.task = None
        if not self.closed:
            self.report(ended)

    def _end(self) -> None:
        self.closed = True
        self._live.leave(self)
        for step in self._open.values():
            if step.task is not None:
                step.task.cancel()

    def _refuse(self, key: str, place: str) -> Asked:
        """Raise, once, that the run goes on no more here. Who asks again may do so for ever: an async function has to
        wait then, for a loop that never waits holds up everything else.
        """
        if self._stopped and self.plain and not self._told:  # it was busy elsewhere until now
            self._told = True
            raise Pause
        again, self._refused = self._refused, True
        late = f"step {key!r} was called after run {self.run.id!r} had returned; await every step before returning"
        if again and self.plain and self._stopped:
            raise Pause
        if again and not self.plain:
            assert self._live.loop is not None
            asked = Asked(key, {}, loop=self._live.loop)
            return asked if self._stopped else asked.fail_later(HeadgateError(late), _PATIENCE_SECONDS)
        if not self._stopped:
            raise HeadgateError(late)
        _LOG.warning("pause_swallowed", workflow=self.run.workflow.id, run=self.run.id, step=key, place=place)
        raise HeadgateError(
            f"step {key!r} was called at {place} after run {self.run.id!r} was stopped here; let Pause and "
            "CancelledError through: catch Exception, not BaseException, and call no steps in `finally`"
        )
