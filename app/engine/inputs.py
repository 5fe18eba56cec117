"""What a round hands to the engine. Values only; `apply` has one handler for each class here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.engine.values.asks import Ask
from app.engine.values.known import Definition
from app.engine.values.outgoing import Record
from headgate.definition import Workflow
from topics.commands import Command
from topics.envelope import Envelope


@dataclass(frozen=True, slots=True)
class EventsRead:
    """A chunk of `events`, decoded. `next_offset` is what a fetch after it returns first."""

    envelopes: Sequence[Envelope]
    malformed: Sequence[Record]
    """Dead letters of the records that could not be decoded."""
    next_offset: int


@dataclass(frozen=True, slots=True)
class CommandsRead:
    commands: Sequence[Command]
    malformed: Sequence[Record]
    next_offset: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt ended without a result."""

    type: str
    message: str
    traceback: str | None
    rejected: bool = False
    final: bool = False
    """No retry mends it, e.g. a result that is no JSON."""
    retry_after_ms: int | None = None
    stuck: bool = False
    """The code no longer matches what the journal has of the run: nothing is lost, and somebody must decide."""


@dataclass(slots=True)
class StepAsked:
    """A run asks for a step. `about` says in one line what it asks for, to be compared when it is asked again.

    `aside`: not the function itself asks, but a task that it left: it may do other things meanwhile.
    """

    run_id: str
    attempt: int
    key: str
    about: str
    ask: Ask
    aside: bool = False


@dataclass(slots=True)
class StepEnded:
    """An attempt of a step's function ended: with a value (JSON) or a failure."""

    run_id: str
    attempt: int
    key: str
    value: bytes | None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Reminded:
    """Runs that are to be told of again, and their events."""

    runs: Sequence[tuple[str, Sequence[Envelope]]]


@dataclass(frozen=True, slots=True)
class CallAhead:
    """Some runs that wait for a time which is near may be called again, so many at the most."""

    most: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The filter of a step's condition has looked at the event that was to be judged."""

    run_id: str
    attempt: int
    key: str
    condition: int
    passed: bool


@dataclass(frozen=True, slots=True)
class Evicted:
    """The runtime has dropped the coroutines of these runs, which were only waiting."""

    run_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class RunsRead:
    """What the journal holds of runs that were wanted: their events, and their steps as entities' values by number."""

    runs: Sequence[tuple[str, Sequence[Envelope], Sequence[bytes]]]
    places: Mapping[int, int] = field(default_factory=dict)
    """Offsets of bodies that were looked for by their numbers."""


@dataclass(frozen=True, slots=True)
class LookedBack:
    """Events from before a wait or an interest, of the look-back `number`; with `done` there are no more."""

    number: int
    arrivals: Sequence[Envelope]
    done: bool


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """After `question` was asked, the broker's ends of `events` and `commands` of this partition were these."""

    question: int
    events_end: int
    commands_end: int


@dataclass(slots=True)
class Ended:
    """An attempt ended: with a result (JSON bytes) or a failure."""

    run_id: str
    attempt: int
    result: bytes | None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened but time: due timers fire before any input, so it has no content."""


@dataclass(frozen=True, slots=True)
class Crowded:
    """There is no room, and what waits behind runs that wait themselves may have to make some."""


@dataclass(frozen=True, slots=True)
class WorkflowsLoaded:
    """What this owner runs (`loaded`), and what was announced, by itself or by others."""

    loaded: Sequence[Workflow]
    announced: Sequence[Definition]
    retired: Mapping[str, int] = field(default_factory=dict)
    """Workflows that somebody retired, and when (ms): what waits for them is given up."""


@dataclass(frozen=True, slots=True)
class BodiesRead:
    """Bodies of sleeping events that were `wanted`, read from the journal, in the order of their numbers."""

    bodies: Sequence[tuple[int, Envelope]]
    places: Mapping[int, int] = field(default_factory=dict)
    """Their offsets, as far as they are known."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Everything that rounds up to `round` sent out is acknowledged. `results_end` is the next offset of results."""

    round: int
    results_end: int
    runs_end: int
    parked: Mapping[int, Record] = field(default_factory=dict)
    """By numbers of their own: records that are not, because their topics are away. They are kept beside the rounds."""


@dataclass(frozen=True, slots=True)
class Unparked:
    """Parked records that are delivered now, or have become dead letters that are."""

    numbers: Sequence[int]


Happened = Ended | StepAsked | StepEnded | Judged | Evicted
"""What the runtime reports."""
Input = (
    Happened
    | EventsRead
    | CommandsRead
    | TimePassed
    | Crowded
    | CallAhead
    | Reminded
    | WorkflowsLoaded
    | BodiesRead
    | RunsRead
    | LookedBack
    | CaughtUp
    | Delivered
    | Unparked
)
