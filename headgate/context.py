"""What a workflow function gets as `ctx`. Protocols: the runtime fulfils them."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, overload

from headgate.conditions import Condition, Met, Since
from headgate.definition import Workflow
from headgate.event import Event

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Span = float | timedelta
"""Seconds, or a timedelta."""


class Log(Protocol):
    """A logger that adds run, workflow and attempt to what it writes: `ctx.log.info("charged", order=42)`.

    `args` fill a `%s` in the message as in Python's own logging; `fields` become fields of the log line.
    """

    def debug(self, message: str, /, *args: object, **fields: object) -> None:
        """What helps to find an error."""
        ...

    def info(self, message: str, /, *args: object, **fields: object) -> None:
        """What somebody may want to know."""
        ...

    def warning(self, message: str, /, *args: object, **fields: object) -> None:
        """What somebody should look at."""
        ...

    def error(self, message: str, /, *args: object, **fields: object) -> None:
        """What went wrong."""
        ...

    def exception(self, message: str, /, *args: object, **fields: object) -> None:
        """What went wrong, with the traceback of the exception at hand."""
        ...


class Awaited(Coroutine[Any, Any, T_co]):
    """What a step returns: await it, at once or later, by itself, in a task or with others.

    To type checkers it is a coroutine, for they let `asyncio.create_task` and `TaskGroup.create_task` take no other.
    The step has begun already, whether somebody awaits it or not.
    """


class Step(Protocol):
    """The steps of a run. Each happens once, and its result is journaled before the code after it goes on.

    A step's key is a text of its own in its run; results are found by it when the function is called again (after a
    crash, a retry, a long wait). So the function must ask for the same steps again: what depends on the clock, on
    chance or on the world outside belongs into a step. A step begins when it is called; await it, or several of them
    with `asyncio.gather` or a TaskGroup. A plain function calls them without await and gets the results themselves;
    it keeps its thread while it waits, until others need it: then `Pause` unwinds it, and it is called again later.

    Times are in seconds and at most ten years long; any span may also be a timedelta. Raised by every step:
    DuplicateStepKey; HistoryMismatch when the code no longer fits what is recorded; HeadgateError for a wrong call.
    """

    @overload
    def run(
        self,
        key: str,
        fn: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        max_retries: int = 2,
        base_delay: Span = 1.0,
        max_delay: Span = 10.0,
        timeout: Span | None = None,
        **kwargs: Any,
    ) -> Awaited[T]: ...
    @overload
    def run(
        self,
        key: str,
        fn: Callable[..., T],
        /,
        *args: Any,
        max_retries: int = 2,
        base_delay: Span = 1.0,
        max_delay: Span = 10.0,
        timeout: Span | None = None,
        **kwargs: Any,
    ) -> Awaited[T]: ...
    def run(
        self,
        key: str,
        fn: Callable[..., Any],
        /,
        *args: Any,
        max_retries: int = 2,
        base_delay: Span = 1.0,
        max_delay: Span = 10.0,
        timeout: Span | None = None,
        **kwargs: Any,
    ) -> Awaited[Any]:
        """Call `fn(*args, **kwargs)`, async or plain, and return what it returned, the same on every replay.

        It starts once the run is journaled, and may start again after a crash that comes before its result is: where
        that matters, let `fn` take a parameter `idempotency_key`, which is the same on every attempt. After an
        exception it is called again, at most `max_retries` times, after a wait of full jitter below `base_delay` (a
        tenth of it at least), then twice that, at most `max_delay`; `RetryLater` and `Reject` mean what they mean in a
        workflow. `timeout` is that of one attempt; a plain function that takes longer goes on in its thread, unheard.

        The result is what JSON can hold, a pydantic model or a dataclass (of the module of `fn` or of the workflow),
        or whatever pydantic reads back by the annotation of `fn`. It comes back through JSON the first time, too.
        Raises StepError once it failed for good.
        """
        ...

    def publish_event(
        self, key: str, topic: str, data: Any, event_type: str | None = None, event_key: str | None = None
    ) -> Awaited[str]:
        """Publish an event to a logical topic and return its id; it happens once, however often the run is repeated.

        `key` is the step's, `event_key` the event's: events with one key are handled in order. `data` is anything that
        JSON can hold, or a pydantic model. A plain function calls it without await and gets the id itself.
        """
        ...

    def send(
        self,
        key: str,
        kafka_topic: str,
        value: Any,
        record_key: str | bytes | None = None,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> Awaited[None]:
        """Send a record to a Kafka topic that is not Headgate's own; it is journaled first, then sent, at least once.

        `value` is sent as it is where it is bytes, None as none, all else as JSON. The topic must be allowed by the
        setting `replies.allowed_topics`.
        """
        ...

    def wait_for_event(
        self,
        key: str,
        topic: str,
        timeout: Span | None = None,
        event_key: str | None = None,
        event_type: str | None = None,
        filter: Callable[[Event[Any]], bool] | None = None,  # noqa: A002 as in @workflow
        since: Since = "run_start",
    ) -> Awaited[Event[Any]]:
        """Wait for an event on a logical topic or a pattern whose first segment is no wildcard; return it.

        It sees events that came before it, since the run's first event by default, in the order of the log. Several
        runs may get the same one; a run's next wait on the same topic gets a later one. `filter` is a quick plain
        function; what it does not take stays for other waits. Raises EventTimeout when `timeout` is over, not before
        every event that came in time was seen; StepError when `filter` has raised.
        """
        ...

    def wait_for_any(self, key: str, conditions: Sequence[Condition], timeout: Span | None = None) -> Awaited[Met]:
        """Wait until the first of several conditions (`event_on`, `after`) is met; return which, and its event.

        Raises EventTimeout.
        """
        ...

    def wait_for_all(
        self, key: str, conditions: Sequence[Condition], timeout: Span | None = None
    ) -> Awaited[Sequence[Event[Any] | None]]:
        """Wait until all conditions are met; return their events in the order of the list, None for a time.

        Raises EventTimeout.
        """
        ...

    def sleep(
        self,
        key: str,
        seconds: Span = 0,
        *,
        minutes: float = 0,
        hours: float = 0,
        days: float = 0,
        weeks: float = 0,
    ) -> Awaited[None]:
        """Wait for so long, the sum of what is given, over any restart."""
        ...

    def sleep_until(self, key: str, until: datetime) -> Awaited[None]:
        """Wait until a time with a zone. A time that is over when the step is asked for the first time is an error."""
        ...

    def wait_for(
        self,
        key: str,
        seconds: Span = 0,
        *,
        minutes: float = 0,
        hours: float = 0,
        days: float = 0,
        weeks: float = 0,
    ) -> Awaited[None]:
        """Wait for so long, as `sleep` does."""
        ...

    def wait_until(self, key: str, until: datetime) -> Awaited[None]:
        """Wait until a time, as `sleep_until` does."""
        ...

    def uuid(self, key: str) -> Awaited[str]:
        """Return a UUID that is derived from run and key: the same on every replay."""
        ...

    def now(self, key: str) -> Awaited[datetime]:
        """Return the time (UTC, milliseconds) at which the step was asked for the first time."""
        ...

    def random(self, key: str) -> Awaited[float]:
        """Return a number from 0 to below 1 that is derived from run and key: the same on every replay."""
        ...

    def invoke(self, key: str, workflow: str | Workflow, payload: Any = None) -> Awaited[str]:
        """Start a run of another workflow (itself, or its id) and return the run's id, without waiting for its end.

        The payload (JSON) is the data of its event. The run is one like any other: it goes on when this one ends.
        Where the workflow gathers batches, the id is that of a batch that begins with this event.
        """
        ...

    def invoke_and_wait(self, key: str, workflow: str | Workflow, payload: Any = None) -> Awaited[Any]:
        """Start a run of another workflow, wait until it has ended and return its result.

        Raises ChildError; also when nothing will run it, as where no workflow of that id is known.
        """
        ...

    def batch_invoke(self, key: str, children: Sequence[tuple[str | Workflow, Any]]) -> Awaited[Sequence[str]]:
        """Start a run for each pair of workflow and payload; return their ids in that order."""
        ...

    def batch_invoke_and_wait(self, key: str, children: Sequence[tuple[str | Workflow, Any]]) -> Awaited[Sequence[Any]]:
        """Start a run for each pair, wait until all have ended and return their results.

        Raises ChildError for the first that did not complete, once all have ended.
        """
        ...

    def suspend(self, key: str, data: Any = None, timeout: Span | None = None) -> Awaited[Any]:
        """Wait until a person or a program resumes the run at this step; return what they gave (JSON).

        `data` (JSON) is shown to whoever decides. Raises EventTimeout.
        """
        ...

    def resume(self, key: str, run_id: str, step_key: str, data: Any = None) -> Awaited[None]:
        """Resume another run that is suspended at its step `step_key`, and give it `data`."""
        ...

    def trace(self, name: str, /, **attributes: object) -> AbstractContextManager[None]:
        """Name a part of the function: `with ctx.step.trace("charge", order=7):`. It has no key, nothing is journaled.

        It is a span of OpenTelemetry in the trace of the run, where the extra `tracing` is installed and a tracer
        provider is set; how long it took is logged at debug in any case.
        """
        ...


class Sources(Protocol):
    """Sources of events that a run sets up and uses; each call is a step (or two) with a key of its own.

    A source goes on after its run has ended, until somebody disconnects it. Its events are on `{id}/{type}`; between
    two waits nothing is lost, for they are in the log. Kinds, options, filters and what can be sent: see the reference
    of connectors. Secrets are named in options (`{{ env.NAME }}`), never given.
    """

    def connect(
        self,
        key: str,
        kind: str,
        id: str | None = None,  # noqa: A002 as in files of sources
        options: Mapping[str, Any] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 as in files of sources
        reconnect: Mapping[str, Any] | None = None,
        timeout: Span = 30.0,
    ) -> Awaited[dict[str, Any]]:
        """Set up a source (by default under an id derived from run and key), wait until it is connected or has failed.

        Returns `{id, kind, status, connectedAt, error}`; after `timeout` the status is what its owner said last, such
        as `backing off` (`starting` where nobody has said anything), and it goes on.
        Raises StepError for the id of a source that a file has set up.
        """
        ...

    def wait(
        self,
        key: str,
        id: str,  # noqa: A002 as in files of sources
        event_type: str | None = None,
        timeout: Span | None = None,
        filter: Callable[[Event[Any]], bool] | None = None,  # noqa: A002 as in wait_for_event
    ) -> Awaited[Event[Any]]:
        """Wait for the next event of a source; those that came since the run's start count.

        Raises EventTimeout; StepError for a source whose option `topic` puts its events elsewhere than on `<id>/*`.
        """
        ...

    def send(
        self,
        key: str,
        id: str,  # noqa: A002 as in files of sources
        message: Mapping[str, Any],
        timeout: Span = 30.0,
    ) -> Awaited[Any]:
        """Send a message through a source; return what the other side answered, if it does.

        At least once, with an idempotency key that is the same at every repetition. Raises StepError when it was
        refused, or not sent in time.
        """
        ...

    def disconnect(self, key: str, id: str) -> Awaited[None]:  # noqa: A002 as in files of sources
        """End a source that a run has set up, and forget how far it has read. Raises StepError for a file's."""
        ...

    def status(self, key: str, id: str | None = None) -> Awaited[dict[str, Any]]:  # noqa: A002 as in files of sources
        """Return how sources are: `{sources: [{id, kind, status, eventsReceived, lastEventAt, connectedAt, ...}]}`."""
        ...


class Context(Protocol):
    """The run in which a workflow function is called."""

    @property
    def run_id(self) -> str:
        """The run's id, derived from workflow and event: the same after a retry and after a restart."""
        ...

    @property
    def workflow_id(self) -> str:
        """The id of the workflow."""
        ...

    @property
    def attempt(self) -> int:
        """1 for the first attempt, one more after each failure."""
        ...

    @property
    def events(self) -> Sequence[Event[Any]]:
        """The events that started the run, as in `payload["events"]`."""
        ...

    @property
    def log(self) -> Log:
        """The run's logger."""
        ...

    @property
    def step(self) -> Step:
        """The steps."""
        ...

    @property
    def sources(self) -> Sources:
        """Sources of events that the run sets up and uses."""
        ...
