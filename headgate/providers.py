"""What a third party implements to add a kind of source: `TriggerProvider`, named in an entry point.

[project.entry-points."headgate.providers"]
weather = "my_package.weather:WeatherProvider"

Then `kind: weather` works in every file of sources. `headgate.testing.check_provider` runs the contract against it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol

__all__ = ["Disconnected", "Emit", "Failed", "SourceEvent", "TriggerProvider"]


class Disconnected(Exception):
    """The link broke: `run` is called again after a pause, at least `retry_after_seconds` long."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Failed(Exception):
    """Somebody has to mend it, such as wrong credentials: the source is `failed` with this message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEvent:
    """One event. `id` is derived from the source, never random: equal ids of one source are one event."""

    id: str
    type: str
    data: Any
    """JSON."""
    key: str | None = None
    created_at: datetime | None = None


class Emit(Protocol):
    """Publishes an event, and with it where reading goes on after it."""

    async def __call__(self, event: SourceEvent, *, position: Any = ...) -> None:
        """Return once the broker has the event: acknowledge it to the outside after that, never before."""
        ...


class TriggerProvider(ABC):
    """One source. `init` is called once, `run` for each connection, `shutdown` at the end.

    Its end is that of the source, and whatever `run` raises beside Disconnected: another object begins after that.
    """

    delivery: ClassVar[Literal["exactly-once", "at-least-once", "best-effort"]]
    """What users can count on: read again from a position, repeated until acknowledged, or neither."""
    example: ClassVar[Mapping[str, Any]]
    """Options as a user writes them."""

    @abstractmethod
    async def init(self, config: Mapping[str, Any]) -> None:
        """Take the options, secrets in their places. Raises Failed for options that cannot be followed."""

    @abstractmethod
    async def run(self, emit: Emit, position: Any) -> None:
        """Read from `position` (None at the very beginning) and emit. Raises Disconnected or Failed; is cancelled.

        Rate limits, what is dropped by a source that does not wait, and when a silent link is dead, are its own.
        """

    async def shutdown(self) -> None:
        """Close what is open. Nothing is emitted after it."""
        return
