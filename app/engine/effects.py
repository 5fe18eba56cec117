"""What must follow a round, as values. The pump carries it out: journal first, then deliver."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.engine.tables.run import Run
from app.engine.values.asks import Outcome, Recorded
from app.engine.values.outgoing import Outgoing
from topics.envelope import Envelope

# --- to the runtime: once the round is durable, or before, where `ends.need_not_wait` says so ----------------------
# Not frozen, for its cost: each step makes some of these, and a frozen one takes three times as long.


@dataclass(slots=True)
class Resolve:
    """The step has ended, durably: its caller goes on. If `ahead`, before that is journaled."""

    run: Run
    key: str
    outcome: Outcome
    woken: bool = False
    """Whether the run was only waiting: then it does not count as going on before it is told."""
    ahead: bool = False


@dataclass(slots=True)
class Go:
    """Execute the function of the step; `attempt` counts from 1."""

    run: Run
    key: str
    attempt: int


@dataclass(slots=True)
class Judge:
    """Ask the filter of the step's condition whether it takes this event."""

    run: Run
    key: str
    condition: int
    envelope: Envelope


@dataclass(slots=True)
class Rise:
    """Call the run's function anew, with what is recorded."""

    run: Run
    recorded: tuple[Recorded, ...] = field(default=())


After = Resolve | Go | Judge | Rise


@dataclass(slots=True)
class Effects:
    """What the runtime must do: start and cancel now, the rest once the round is durable."""

    starts: list[Run] = field(default_factory=list)
    cancels: list[Run] = field(default_factory=list)
    after: list[After] = field(default_factory=list)


class Placed(Protocol):
    """What has to know where its record is, to have it read back."""

    offset: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One round's journal records. `ahead` go first, in batches of their own; `batch` is the commit point.

    Whoever appends them gives those in `placed` the offset of the record of their key.
    """

    round: int
    ahead: Sequence[tuple[bytes, bytes | None]]
    batch: Sequence[tuple[bytes, bytes | None]]
    outgoing: Outgoing
    placed: Mapping[bytes, Placed] = field(default_factory=dict)
