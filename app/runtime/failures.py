"""Failures of attempts, of runs and of steps: made of what authors raise, and logged where they are tried again."""

import asyncio
import signal
import traceback
from typing import Final

from app.engine.inputs import Failure
from app.engine.runs.retry import delay_ms, may_retry
from app.engine.tables.run import Run
from app.engine.values.errors import words
from app.observe import logs
from app.runtime.limits import Misuse, StepLimit, StepLimits
from app.runtime.places import place_of
from headgate.errors import DuplicateStepKey, Reject, RetryLater
from topics.malformed import Malformed

_TRACEBACK_CHARS = 16_000
_MESSAGE_CHARS = 4_000
_LOGGED_CHARS = 400
_FINAL: Final = (Misuse, DuplicateStepKey, StepLimit, Malformed)
"""What no retry mends: wrong use of steps, and events that are none."""
_LOG = logs.get(__name__)


def failure_of(error: BaseException) -> Failure:
    """Return what an author's error means: of a group what the one of its errors means that decides."""
    one, others = _deciding(error)
    message = words(one)[:_MESSAGE_CHARS]
    if others:
        message += f" (and {others} other error{'s' if others > 1 else ''})"
    name = type(one).__name__
    told = isinstance(one, Reject | RetryLater) and one is error  # by an author, for whom its text is enough
    text = None if told else "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
    trace = None if text is None else text.encode(errors="replace").decode()
    if isinstance(one, RetryLater):
        return Failure(name, message, trace, retry_after_ms=int(one.delay_seconds * 1000))
    return Failure(name, message, trace, rejected=isinstance(one, Reject), final=isinstance(one, _FINAL))


def _deciding(error: BaseException) -> tuple[BaseException, int]:
    """Return which error of a group says what becomes of all, and how many others there are. No other one needs to be
    tried again where one cannot succeed; where all can, the one decides that wants to wait longest.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error, 0
    leaves: list[BaseException] = []
    left: list[BaseException] = [error]
    while left:
        one = left.pop()
        if isinstance(one, BaseExceptionGroup):
            left.extend(reversed(one.exceptions))
        else:
            leaves.append(one)
    later = sorted((one for one in leaves if isinstance(one, RetryLater)), key=lambda one: -one.delay_seconds)
    verdicts = [one for kind in (Reject, _FINAL) for one in leaves if isinstance(one, kind)]
    return (verdicts + later + leaves)[0], len(leaves) - 1


def not_awaited(run: Run, key: str, place: str) -> Failure:
    """Return what a run failed with that returned before its step had come to something."""
    message = (
        f"workflow {run.workflow.id!r} returned though nobody awaited its step {key!r} ({place}); write await in front "
        "of it"
    )
    return Failure("StepNotAwaited", message.encode(errors="replace").decode(), None, final=True)


def is_no_authors(error: BaseException, task: "asyncio.Task[None] | None") -> bool:
    """Say whether an error that left an author's function in `task` is none of theirs: somebody ends the process, or
    closes the coroutine of a task that is given up, which is none that goes on here."""
    if isinstance(error, GeneratorExit):
        try:
            return asyncio.current_task() is not task
        except RuntimeError:  # there is no loop any more
            return True
    return isinstance(error, KeyboardInterrupt) and is_ctrl_c()


def is_ctrl_c() -> bool:
    """Say whether a KeyboardInterrupt is Ctrl-C, as in tests, and not an author's own: a worker hears of Ctrl-C by a
    handler of its loop.
    """
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler


def log_retry(run: Run, attempt: int, error: BaseException, failure: Failure, limits: StepLimits) -> None:
    """Log an attempt that the engine will try again: its author may watch."""
    if failure.rejected or failure.final or not may_retry(attempt, max_retries=run.workflow.max_retries):
        return
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
        place=place_of(_deciding(error)[0], run.workflow.source_file),
        next_try_in_seconds=wait_ms / 1000,
    )


def log_abandoned(run: Run, key: str, place: str) -> None:
    """Log that a function that was called anew waits for a step on which it gave up when it was called before."""
    _LOG.warning(
        "waits_for_what_it_abandoned",
        workflow=run.workflow.id,
        run=run.id,
        step=key,
        place=place,
        remedy="the task that waited for it was cancelled then, and must be again: let what cancels it depend on "
        "steps alone, or cancel the run",
    )


def log_step_failure(run: Run, key: str, attempt: int, error: BaseException, failure: Failure) -> None:
    """Log a failed attempt of a step's function; whether there is another one the engine decides."""
    _LOG.info(
        "step_attempt_failed",
        workflow=run.workflow.id,
        run=run.id,
        step=key,
        attempt=attempt,
        error=f"{failure.type}: {failure.message[:_LOGGED_CHARS]}",
        place=place_of(_deciding(error)[0], run.workflow.source_file),
    )
