"""What a run asks for at its steps, and what became of it. Values only.

They come from the runtime within inputs; what it must do about them is in `effects`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.engine.values.outgoing import Record


class Kind(StrEnum):
    """What a step is, as its journal record names it."""

    RUN = "run"
    """A function of the author's, executed by the runtime."""
    NOTE = "note"
    """A value that was there already when it was asked for: now, publish_event, send, resume of another run."""
    SLEEP = "sleep"
    AWAIT = "await"
    """Events, or several conditions of which one or all must be met."""
    SUSPEND = "suspend"
    INVOKE = "invoke"


@dataclass(slots=True)
class Note:
    """A value (JSON) that is recorded as it is, with what goes out because of it. `quiet`: nobody waits for it."""

    value: bytes
    records: tuple[Record, ...] = ()
    quiet: bool = False


@dataclass(slots=True, kw_only=True)
class Execute:
    """The runtime executes a function; after failures again, at most `max_retries` times."""

    max_retries: int
    base_delay_ms: int
    max_delay_ms: int


@dataclass(slots=True, kw_only=True)
class Sleep:
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCondition:
    """An event on `topic` (or a pattern with a literal head), with this key and type where they are given.

    `since_ms` None: the append time of the run's first event. `stream`: a filter of the author's decides on each match.
    """

    topic: str
    event_key: str | None = None
    event_type: str | None = None
    since_ms: int | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Await:
    """Wait until `need` of the conditions are met (1, or all of them), at most until `deadline_ms`."""

    conditions: tuple[EventCondition | Sleep, ...]
    need: int
    deadline_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """Wait until somebody resumes the step, by an event on `topic`. `data` (JSON) is shown to whoever decides."""

    data: bytes
    deadline_ms: int | None
    topic: str | None = None
    """None for one that nobody can resume from outside, as in journals from before there were such events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    workflow_id: str
    payload: bytes
    """JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoke:
    """Start runs of other workflows; with `wait`, until all of them have ended."""

    children: tuple[Child, ...]
    wait: bool


Ask = Note | Execute | Sleep | Await | Suspend | Invoke
KINDS: Mapping[type, Kind] = {
    Note: Kind.NOTE,
    Execute: Kind.RUN,
    Sleep: Kind.SLEEP,
    Await: Kind.AWAIT,
    Suspend: Kind.SUSPEND,
    Invoke: Kind.INVOKE,
}


def until_ms(ask: Ask) -> int | None:
    """Return when a step is over at the latest; None where nobody knows."""
    if isinstance(ask, Sleep):
        return ask.until_ms
    return ask.deadline_ms if isinstance(ask, Await | Suspend) else None


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a step failed for good. `type` is the exception's name; EventTimeout for a wait whose time is over."""

    type: str
    message: str


ABANDONED: Final = "StepAbandoned"
"""The type of the fault of a wait for events that nobody waits for any more, because the task that did was cancelled.
Called anew, the workflow waits for it in vain, until it cancels that as well: `recorded.of_run`."""


@dataclass(slots=True)
class Outcome:
    """What a step came to: a value (JSON) or a fault.

    The value of an Await is `{"n": condition, "event": raw}` for one, a list of raw events (null for a sleep) for all;
    a raw event is that of `topics.commands.raw_event`.
    """

    value: bytes | None
    fault: Fault | None = None


@dataclass(slots=True, kw_only=True)
class Recorded:
    """A step as the journal has it, for a function that is called anew. `outcome` None: it is still open.

    An `about` of "" is not known and matches anything: journals before format 2 had events that were published alone.
    """

    key: str
    kind: Kind
    about: str
    par: bool = False
    """Whether it was asked for while another step of the run was open."""
    outcome: Outcome | None = None
    until_ms: int | None = None
    """Until when it waits, if it is open and that is known."""
    ask: "Await | None" = None
    """What is to be asked for again."""
