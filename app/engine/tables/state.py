"""What one partition knows. Held and changed by the engine alone; the journal defines it."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from app.engine.tables.counters import Counters
from app.engine.tables.dedup import Dedup, DedupPolicy
from app.engine.tables.keyed import Keyed
from app.engine.tables.later import Later
from app.engine.tables.matching import Cancellers, Matcher
from app.engine.tables.recorded import Step
from app.engine.tables.registry import FlushAsked, Head, Interest, Interests, Look, Registry
from app.engine.tables.run import Held, Run
from app.engine.tables.runs import Runs
from app.engine.tables.wait import Wait
from app.engine.values.known import Definition
from app.engine.values.limits import Limits
from app.engine.values.numbers import Numbers
from app.engine.values.outgoing import Outgoing, Record
from headgate.definition import Workflow
from topics.asked import Ask
from topics.commands import Batched
from topics.envelope import Envelope


class Pending:
    """An event that waits for its turn in a lane."""

    __slots__ = ("held", "journaled", "left", "workflow_id")
    recalled = False
    """Whether it slept before. This and the next are the class's: most events need neither."""
    asleep = False

    def __init__(self, workflow_id: str, held: Held, *, journaled: bool = False) -> None:
        self.workflow_id = workflow_id
        self.held = held
        self.journaled = journaled
        self.left = False


class Recalled(Pending):
    """One that was read back after its sleep."""

    __slots__ = ()
    recalled = True


class Sleeper(Pending):
    """One that waits for its workflow's code, until its round is journaled: then there is its number alone."""

    __slots__ = ()
    asleep = True


_NOTHING: deque[Pending] = deque(maxlen=0)
"""Shared by all lanes in which nothing waits: most lanes live for one event, and need no deque of their own."""


class Lane:
    """Events of one workflow and group that start in order, or gather into batches: what waits, and what runs."""

    __slots__ = ("active", "armed_ms", "key", "pending", "size", "workflow")

    def __init__(self, workflow: Workflow, key: tuple[str, str | None]) -> None:
        self.workflow = workflow
        self.key = key
        self.pending: deque[Pending] = _NOTHING  # a deque of its own only once something waits
        self.size = 0
        self.active = 0
        self.armed_ms: int | None = None

    def wait(self, pending: Pending) -> None:
        """Let `pending` wait behind the others."""
        if self.pending is _NOTHING:
            self.pending = deque()
        self.pending.append(pending)
        self.size += pending.held.envelope.size

    def take(self) -> Pending:
        """Take what has waited longest."""
        pending = self.pending.popleft()
        self.size -= pending.held.envelope.size
        return pending

    def clear(self) -> None:
        self.pending.clear()
        self.size = 0


TIMERS_LEAST: Final = 4096
"""Below so many timers it is not worth looking for those that hold no more."""


class Timer(Enum):
    RETRY = 0
    DEADLINE = 1
    BATCH = 2
    STEP = 3
    """Of a step: a sleep is over, its function is tried again, the time for it is over."""
    WAIT = 4
    """The time for a wait that is registered here is over."""
    SCHEDULE = 5
    """An instant of a schedule is there."""


@dataclass(slots=True)
class Followed:
    """How far a workflow's schedule was followed."""

    cron: str
    timezone: str
    last_ms: int
    """Up to here every instant was handled, or is none of this schedule's."""
    ran_ms: int | None = None
    """The latest instant that started a run."""
    armed_ms: int | None = None
    """The next instant, where this owner has the workflow's code."""


@dataclass(frozen=True, slots=True)
class Fate:
    """How a run ends that cannot end yet."""

    status: str
    type: str
    message: str


@dataclass(slots=True)
class Reminding:
    """A walk through the runs, of which those that wait for long are told of again."""

    began_ms: int
    left: Iterator[str | None]
    """Ids of runs, and None now and then."""
    told: bool = False


@dataclass(slots=True)
class OutSlot:
    """Journaled outgoing records that are not known to be delivered: the round and the journal slots they fill."""

    round: int
    slots: tuple[int, ...]


@dataclass(slots=True)
class State:
    partition: int
    limits: Limits
    journal_id: str
    """Topic id of the journal, which names this source in commands."""
    dedup: Dedup
    matcher: Matcher
    loaded: dict[str, Workflow] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    """Since when (append time, ms) each workflow sees events here."""
    definitions: dict[str, Definition] = field(default_factory=dict)
    """The newest announced form of each workflow in `known`; a journal of an older release has the names alone."""
    unheard: dict[str, int] = field(default_factory=dict)
    """When a newer form of a workflow was announced, of which another partition knew and this one has not heard yet."""
    known_changed: bool = False
    events_offset: int = 0
    commands_offset: int = 0
    now_ms: int = 0
    round: int = 0
    bodies: int = 0
    received: dict[str, int] = field(default_factory=dict)
    """Last command sequence by '<source partition>/<journal topic id>'."""
    sent: dict[int, int] = field(default_factory=dict)
    """Last command sequence by destination partition."""
    delivered: int = 0
    results_end: int = 0
    runs_end: int = 0
    runs: Runs = field(default_factory=Runs)
    running: int = 0
    waiting: int = 0
    """For how many things runs wait (app.engine.tables.room)."""
    lanes: dict[tuple[str, str | None], Lane] = field(default_factory=dict)
    halted: set[tuple[str, str | None]] = field(default_factory=set)
    """Lanes that are kept by a run which waited, or is stuck."""
    asleep: dict[str, Numbers] = field(default_factory=dict)
    """Bodies of the events that wait for a workflow's code, by its id. In memory there is nothing else of them."""
    falling: dict[str, int] = field(default_factory=dict)
    """How many events of a workflow will sleep once their round is journaled."""
    waking: dict[str, int] = field(default_factory=dict)
    """Workflows whose sleeping events are read back, and the first body that was not looked at yet."""
    rising: dict[str, Run] = field(default_factory=dict)
    """Runs whose events and steps are read back."""
    rung: list[Run] = field(default_factory=list)
    """Runs of which a sleep ended whose function is not in memory: it may be called anew within the round."""
    cooling: list[Run] = field(default_factory=list)  # to be tried again; they leave memory once that is durable
    fates: dict[str, Fate] = field(default_factory=dict)
    """How runs end once their events are read back."""
    stuck: dict[str, str] = field(default_factory=dict)
    """Why runs are stuck."""
    schedules: dict[str, Followed] = field(default_factory=dict)
    """By the ids of workflows whose home is here, loaded or not."""
    touched_schedules: dict[str, Followed] = field(default_factory=dict)
    cancellers: Cancellers | None = None
    keyed: Keyed = field(default_factory=Keyed)
    retired: set[str] = field(default_factory=set)
    """Workflows that somebody retired: what sleeps for them is read back to be given up."""
    shared: dict[int, Held] = field(default_factory=dict)
    """Journaled bodies that are in memory though something that sleeps needs them too."""
    recalled_bytes: int = 0
    """Weight of the events that were read back and wait in lanes."""
    timers: list[tuple[int, int, Timer, str, str | None]] = field(default_factory=list)
    later: Later = field(default_factory=Later)
    """Timers of steps and waits that are far away: those of what rests are armed by nobody again after a restart."""
    later_ones: Later = field(default_factory=Later)
    """All others that are far away."""
    timer_count: int = 0
    begun: deque[tuple[int, str, str, int]] = field(default_factory=deque)
    """Functions of steps that began lately, in order: when, run, step and attempt. Those that take their time are told
    of."""
    timers_fired: int = 0
    """Since the last commit."""
    timers_most: int = TIMERS_LEAST
    """At so many timers, those that hold no more are dropped."""
    held_bytes: int = 0
    """Weight of the events that wait in lanes."""
    run_bytes: int = 0
    """Weight of the events of runs that outlive their round and go on; those that wait may be dropped at any time."""
    outgoing: Outgoing = field(default_factory=lambda: Outgoing(0))
    undelivered: deque[OutSlot] = field(default_factory=deque)
    parked: dict[int, Record] = field(default_factory=dict)
    """Records for topics that are away, which are sent again beside the rounds (app.pump.parked)."""
    fresh_parked: dict[int, Record] = field(default_factory=dict)
    free_slots: list[int] = field(default_factory=list)
    slots: int = 0
    tail_ids: list[bytes] = field(default_factory=list)
    tail_generation: int = 0
    tail_slots: int = 0
    tail_from: int = 0
    """First round whose `ids` records still count; older ones are in packs, or of a generation that is forgotten."""
    forwards: dict[int, list[Envelope]] = field(default_factory=dict)
    gathers: dict[int, list[Batched]] = field(default_factory=dict)
    ready: dict[tuple[str, str | None], Lane] = field(default_factory=dict)
    freed: list[tuple[str, str | None]] = field(default_factory=list)
    """Lanes of which a run ended, in order."""
    unsettled: list[Run] = field(default_factory=list)
    """Runs whose steps changed: whether they go on or wait is decided at the end of `apply`."""
    touched_runs: dict[str, Run] = field(default_factory=dict)
    notes: list[tuple[Run, str, str, bytes, bool]] = field(default_factory=list)
    """What runs noted for themselves in this round, by key: a step only if the run goes on (app.engine.runs.notes).
    Last comes whether a task aside asked."""
    touched_steps: list[Step] = field(default_factory=list)
    fresh_pending: list[Pending] = field(default_factory=list)
    removed: list[bytes] = field(default_factory=list)
    """Keys of journaled entities that ended in this round."""
    husks: dict[str, list[bytes]] = field(default_factory=dict)  # to be removed later: steps by run, "" has bodies
    orphans: list[bytes] = field(default_factory=list)
    """Keys written ahead of a commit that never came; their removal goes before anything else."""
    asks: dict[int, list[Ask]] = field(default_factory=dict)
    """What this round asks of other partitions, in order."""
    mail: deque[tuple[int, Ask]] = field(default_factory=deque)
    """What was asked of this one, and by which; it is looked at after all that came with it."""
    registry: Registry | None = None
    interests: Interests | None = None
    flushes: dict[int, FlushAsked] = field(default_factory=dict)
    """Who waits to hear that this partition has caught up."""
    caught_up: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Who has heard it of this owner: of which flush, and up to which round what it forwarded was delivered then."""
    forwarded: int = 0
    """The last round of this owner that forwarded events."""
    questions: int = 0  # how often the ends of `events` and `commands` were asked for
    looks: int = 0
    lookbacks: list[Look] = field(default_factory=list)
    """Look-backs that are wanted and have not begun."""
    scanning: dict[int, Look] = field(default_factory=dict)
    """Those that have, by number."""
    touched_waits: dict[bytes, Wait | Head | Interest | Envelope] = field(default_factory=dict)
    """Entities of waits that changed in this round, by their journal key."""
    reminded_ms: int = 0
    """When runs that wait for long were told of again for the last time, as far as the journal knows."""
    remind_ms: int = 0
    reminding: Reminding | None = None
    changed: bool = False
    """Whether this round has anything to journal."""
    unsaved: bool = False
    """Whether offsets have moved past what leaves no trace, and the journal has not heard of it."""
    counters: Counters = field(default_factory=Counters)

    @property
    def resting_bytes(self) -> int:
        """What runs and waits at rest take in memory, with their timers, by estimate."""
        waits = 0 if self.registry is None else self.registry.waits.weight
        return self.runs.weight + waits + self.later.weight + self.keyed.weight

    def ask(self, partition: int, one: Ask) -> None:
        """Ask `one` of a partition. What it asks of itself is looked at before this round ends, as if it had come."""
        self.changed = True
        if partition == self.partition:
            self.mail.append((partition, one))
        else:
            self.asks.setdefault(partition, []).append(one)


def policy_of(limits: Limits) -> DedupPolicy:
    """Return how long and how many ids a partition remembers."""
    return DedupPolicy(window_ms=limits.dedup_window_ms, max_ids=limits.dedup_ids)


def empty(partition: int, limits: Limits, *, journal_id: str) -> State:
    """Return the state of a partition whose journal is empty."""
    return State(
        partition=partition, limits=limits, journal_id=journal_id, dedup=Dedup(policy_of(limits)), matcher=Matcher(())
    )
