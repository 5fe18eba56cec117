"""`ctx` and `ctx.step`: what an author's function holds of its run. Everything it does becomes a report to the pump."""

import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NoReturn

from app.engine.inputs import Published
from app.engine.outgoing import Record
from app.engine.state import Run
from app.observe import logs
from app.runtime import fragments
from headgate.errors import DuplicateStepKey, HeadgateError
from headgate.event import Event
from topics import codec, keys


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLimits:
    """What the steps of a run may use. `partitions`: of `events`, for the home of what is published."""

    partitions: int
    steps: int = 1_000
    event_bytes: int = 1024 * 1024
    result_bytes: int = 1024 * 1024
    retry_base_ms: int = 1_000
    retry_max_ms: int = 60_000
    """Those of the engine's limits, which decide: here they are for the log alone."""


class StepLimit(HeadgateError):
    """A run has more steps, or a larger one, than a limit allows."""


class NoSuchStep(HeadgateError, AttributeError):
    """A step that does not exist, or not yet: no retry mends it."""


_DURABLE: Final = (
    *("run", "send", "wait_for_event", "wait_for_any", "sleep", "sleep_until", "wait_for", "wait_until", "uuid", "now"),
    *("random", "invoke", "invoke_and_wait", "batch_invoke", "batch_invoke_and_wait", "suspend", "resume", "trace"),
)
"""Steps that are promised for later."""


class RunContext:
    """One attempt of one run, as its author sees it (headgate.Context)."""

    __slots__ = ("__dict__", "_limits", "_report", "_run", "_steps", "attempt")

    def __init__(self, run: Run, report: Callable[[Published], None], limits: StepLimits) -> None:
        self._run = run
        self._report = report
        self._limits = limits
        self._steps: Steps | None = None
        self.attempt = run.attempt

    @property
    def run_id(self) -> str:
        return self._run.id

    @property
    def workflow_id(self) -> str:
        return self._run.workflow.id

    @cached_property
    def events(self) -> tuple[Event[Any], ...]:
        return tuple(self._run.workflow.build_payload(self._run.events)["events"])

    @cached_property
    def log(self) -> "AuthorLog":
        return AuthorLog(self._run.id, self._run.workflow.id, self.attempt)

    @property
    def step(self) -> "Steps":
        if self._steps is None:
            self._steps = Steps(self._run, self.attempt, self._report, self._limits)
        return self._steps

    def close(self) -> None:
        """The function returned: steps that it left behind in other tasks come too late."""
        if self._steps is not None:
            self._steps.closed = True


class AuthorLog:
    """An author's logger (headgate.context.Log): every line says which run wrote it."""

    __slots__ = ("_run",)

    def __init__(self, run_id: str, workflow_id: str, attempt: int) -> None:
        self._run: dict[str, Any] = {"run": run_id, "workflow": workflow_id, "attempt": attempt}

    def debug(self, message: str, /, *args: object, **fields: Any) -> None:
        _LOG.debug(_filled(message, args), **(fields | self._run))

    def info(self, message: str, /, *args: object, **fields: Any) -> None:
        _LOG.info(_filled(message, args), **(fields | self._run))

    def warning(self, message: str, /, *args: object, **fields: Any) -> None:
        _LOG.warning(_filled(message, args), **(fields | self._run))

    def error(self, message: str, /, *args: object, **fields: Any) -> None:
        _LOG.error(_filled(message, args), **(fields | self._run))

    def exception(self, message: str, /, *args: object, **fields: Any) -> None:
        _LOG.error(_filled(message, args), exc_info=True, **(fields | self._run))


_LOG = logs.get("workflow")


def _filled(message: str, args: tuple[object, ...]) -> str:
    return message % args if args else message


class Done(str):
    """A step's value that is there already: awaited in async functions, used as it is in plain ones."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, str]:
        yield from ()
        return str(self)


class Steps:
    """The steps of one attempt (headgate.Step)."""

    def __init__(self, run: Run, attempt: int, report: Callable[[Published], None], limits: StepLimits) -> None:
        self._run = run
        self._attempt = attempt
        self._report = report
        self._limits = limits
        self._places: dict[str, str] = {}
        self.closed = False

    def publish_event(
        self, key: str, topic: str, data: Any, event_type: str | None = None, event_key: str | None = None
    ) -> Done:
        """Publish an event once, however often the run is repeated; return its id."""
        self._enter(key)
        run = self._run
        event_id = keys.published_event_id(run.id, key)
        if run.published is not None and key in run.published:
            return Done(run.published[key])
        trace = keys.traceparent_of(run.events[0].traceparent, run.id[-2 * keys.DIGEST_BYTES :])
        record_key, value, headers = codec.produce_form(
            topic,
            fragments.checked(data, "the data of the event"),
            event_type=event_type,
            event_id=event_id,
            key=event_key,
            source=f"headgate/{run.workflow.id}",
            traceparent=trace,
        )
        headers.append(("causation_id", run.id.encode()))
        # Counted as its reader will count it, or an event that was taken here would be a dead letter there.
        size = len(value) + len(record_key or b"") + sum(len(name) + len(content) for name, content in headers)
        if size > self._limits.event_bytes:
            raise StepLimit(
                f"the event of step {key!r} in run {run.id!r} has {size} bytes, more than the "
                f"{self._limits.event_bytes} of limits.event_bytes; publish a reference to the data instead"
            )
        home = keys.home(event_key, event_id, self._limits.partitions)
        record = Record("events", home, record_key, value, tuple(headers))
        self._report(Published(run.id, self._attempt, key, event_id, record))
        return Done(event_id)

    def __getattr__(self, name: str) -> NoReturn:
        """Say that there is no such step."""
        if name.startswith("_"):  # asked by Python's own protocols
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}", name=name, obj=self)
        if name in _DURABLE:
            problem = "is not there yet: it comes with durable steps, in a later version"
        else:
            problem = "does not exist"
        raise NoSuchStep(
            f"ctx.step.{name} in workflow {self._run.workflow.id!r} {problem}; the one step there is now is "
            "ctx.step.publish_event",
            name=name,
            obj=self,
        )

    def _enter(self, key: str) -> None:
        if self.closed:
            raise HeadgateError(
                f"step {key!r} was called after run {self._run.id!r} had returned; await every step before returning"
            )
        place = _caller()
        if not key or type(key) is not str:
            raise HeadgateError(f"the key of a step at {place} is {key!r}; give each step of a run a text of its own")
        if key in self._places:
            raise DuplicateStepKey(key, self._places[key], place)
        if len(self._places) >= self._limits.steps:
            raise StepLimit(
                f"run {self._run.id!r} has more than {self._limits.steps} steps (limits.steps); publish an event and "
                "go on in another workflow"
            )
        self._places[key] = place


def _caller() -> str:
    frame = sys._getframe(3)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
