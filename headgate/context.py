"""What a workflow function gets as `ctx`. Protocols: the runtime fulfils them."""

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from headgate.event import Event


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


class Step(Protocol):
    """The steps of a run: each has a key that is unique in its run, happens once and is journaled."""

    def publish_event(
        self, key: str, topic: str, data: Any, event_type: str | None = None, event_key: str | None = None
    ) -> Awaitable[str]:
        """Publish an event to a logical topic and return its id; it happens once, however often the run is repeated.

        `key` is the step's, `event_key` the event's: events with one key are handled in order. `data` is anything that
        JSON can hold, or a pydantic model. A plain function calls it without await and gets the id itself.
        """
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
