"""A run as its partition has it in memory, and the events that it holds."""

from array import array
from dataclasses import dataclass
from enum import Enum
from typing import Final

from app.engine.tables.recorded import Steps
from headgate.definition import Workflow
from topics import keys
from topics.envelope import Envelope


class RunStatus(Enum):
    """Where a run stands. A run that ended is no longer in the state: its result says how."""

    RUNNING = "running"
    """An attempt is in the runtime's hands."""
    RETRYING = "retrying"
    """The last attempt failed; the next one starts at `due_ms`. Its events are in the journal alone, once they are."""
    WAITING = "waiting"
    """It has open steps and nothing of it is executed; its function is in the runtime's memory."""
    COLD = "cold"
    """As waiting, but its function has to be called anew, and its events are in the journal alone."""
    ASLEEP = "asleep"
    """It is to go on, but its workflow is not loaded by this owner; its events are in the journal alone."""
    WAKING = "waking"
    """It is to go on or to be given up, and its events and steps are being read back."""
    STUCK = "stuck"
    """Its function no longer matches its steps: somebody must decide."""


_RUNNING: Final = RunStatus.RUNNING
"""To look a member up takes 0.1 us until Python 3.12, and runs are many."""


class Held:
    """An event that outlives its round: its body is an entity of its own, shared by all that still need it."""

    __slots__ = ("_digest", "_weight", "envelope", "journaled", "number", "offset", "refs")

    def __init__(self, envelope: Envelope, number: int = -1, *, offset: int = -1, journaled: bool = False) -> None:
        self.envelope = envelope
        self._digest: bytes | None = None
        self._weight = -1
        self.number = number
        self.offset = offset
        """Of its record, -1 while it has none."""
        self.refs = 0
        self.journaled = journaled

    @classmethod
    def fresh(cls, envelope: Envelope, digest: bytes) -> "Held":
        """Return a new one, whose digest is known."""
        made = cls(envelope)
        made._digest = digest
        return made

    @property
    def digest(self) -> bytes:
        """The event's identity, made once."""
        if self._digest is None:
            self._digest = keys.digest_of(self.envelope)
        return self._digest

    @property
    def weight(self) -> int:
        """The event's weight: a look at all of its bytes, once."""
        if self._weight < 0:
            self._weight = self.envelope.weight
        return self._weight


class Run:
    """One run of one workflow. Not frozen, for its cost: a hundred thousand a second are made and dropped."""

    __slots__ = (
        "attempt",
        "deadline_ms",
        "due_ms",
        "events",
        "held",
        "id",
        "journaled",
        "key",
        "lane",
        "places",
        "started_ms",
        "status",
        "steps",
        "workflow",
    )

    def __init__(
        self,
        run_id: str,
        workflow: Workflow,
        events: tuple[Envelope, ...],
        held: tuple[Held, ...] | None,
        lane: "tuple[str, str | None] | None",
        started_ms: int,
    ) -> None:
        self.id = run_id
        self.workflow = workflow
        self.events = events
        self.held = held
        self.lane = lane
        self.key = events[0].key
        self.attempt = 1
        self.started_ms = started_ms
        self.status = _RUNNING
        self.due_ms = 0
        self.deadline_ms: int | None = None
        self.steps: Steps | None = None
        self.places: array[int] | None = None
        """While its events are in the journal alone: number and offset of each body, in turn."""
        self.journaled = False

    @classmethod
    def asleep(cls, run_id: str, workflow: Workflow, lane: "tuple[str, str | None] | None", started_ms: int) -> "Run":
        """Return a run that the journal holds, without its events and so without their key."""
        run = cls.__new__(cls)
        run.id, run.workflow, run.lane, run.started_ms = run_id, workflow, lane, started_ms
        run.events, run.held, run.key = (), None, None
        run.attempt, run.due_ms, run.deadline_ms, run.steps, run.places = 1, 0, None, None, array("q")
        run.status, run.journaled = RunStatus.ASLEEP, True
        return run


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloaded:
    """Stands for a workflow that this owner has not loaded, in runs that the journal gave back."""

    id: str
    version: str
    timeout_seconds: float | None = None
    max_retries: int = 0
    cancel_on: tuple[str, ...] = ()
    on_failure: str | None = None


def is_unloaded(workflow: object) -> bool:
    """Whether a run's workflow is only a stand-in: this owner has not loaded it since it took the run over."""
    return type(workflow) is Unloaded
