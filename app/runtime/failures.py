"""Failures of attempts, of runs and of steps: made of what authors raise, and logged where they are tried again."""

import asyncio
import traceback

from app.engine.inputs import Failure
from app.engine.runs.retry import delay_ms, may_retry
from app.engine.tables.run import Run
from app.engine.values.errors import words
from app.observe import logs
from app.runtime.limits import Misuse, StepLimits
from app.runtime.places import place_of
from headgate.errors import DuplicateStepKey, Reject, RetryLater

_TRACEBACK_CHARS = 16_000
_MESSAGE_CHARS = 4_000
_LOGGED_CHARS = 400
_LOG = logs.get(__name__)


def failure_of(error: BaseException) -> Failure:
    """Return what an author's error means."""
    message = words(error)[:_MESSAGE_CHARS]
    name = type(error).__name__
    if isinstance(error, Reject):
        return Failure(name, message, None, rejected=True)
    if isinstance(error, RetryLater):
        return Failure(name, message, None, retry_after_ms=int(error.delay_seconds * 1000))
    text = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
    final = isinstance(error, Misuse | DuplicateStepKey)
    return Failure(name, message, text.encode(errors="replace").decode(), final=final)


def is_no_authors(error: BaseException, task: "asyncio.Task[None] | None") -> bool:
    """Say whether an error that left an author's function in `task` is none of theirs: somebody ends the process, or
    closes the coroutine of a task that is given up, which is none that goes on here."""
    if isinstance(error, GeneratorExit):
        try:
            return asyncio.current_task() is not task
        except RuntimeError:  # there is no loop any more
            return True
    return isinstance(error, KeyboardInterrupt)


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
        place=place_of(error, run.workflow.source_file),
        next_try_in_seconds=wait_ms / 1000,
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
        place=place_of(error, run.workflow.source_file),
    )
