"""What must follow a round, as values. The pump carries it out: journal first, then deliver."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from app.engine.state import Run


class Record(NamedTuple):
    """One outgoing Kafka record. `topic` is a short name of the catalog, or with `foreign` a full Kafka topic name.

    `partition` None lets the key decide (murmur2).
    """

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    foreign: bool = False


class Result(NamedTuple):
    """A record of `results`: its value, and what its key and headers are derived from."""

    run_id: str
    value: bytes
    status: str
    workflow_id: str
    finished_ms: int
    traceparent: str | None
    """The parent that the first event came with."""


@dataclass(slots=True)
class Outgoing:
    """All that one round sends, after its journal batch is durable."""

    round: int
    results: list[Result] = field(default_factory=list)
    runs: list[Record] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    """Commands, dead letters, published events, replies."""

    def __bool__(self) -> bool:
        return bool(self.results or self.runs or self.records)


@dataclass(slots=True)
class Effects:
    """What the runtime must do now."""

    starts: "list[Run]" = field(default_factory=list)
    cancels: "list[Run]" = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Commit:
    """One round's journal records. `ahead` go first, in batches of their own; `batch` is the commit point."""

    round: int
    ahead: Sequence[tuple[bytes, bytes | None]]
    batch: Sequence[tuple[bytes, bytes | None]]
    outgoing: Outgoing
