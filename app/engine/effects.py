"""What must follow a round, as values. The pump carries it out: journal first, then deliver."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.engine.outgoing import Outgoing
from app.engine.state import Run


@dataclass(slots=True)
class Effects:
    """What the runtime must do now."""

    starts: list[Run] = field(default_factory=list)
    cancels: list[Run] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Commit:
    """One round's journal records. `ahead` go first, in batches of their own; `batch` is the commit point."""

    round: int
    ahead: Sequence[tuple[bytes, bytes | None]]
    batch: Sequence[tuple[bytes, bytes | None]]
    outgoing: Outgoing
