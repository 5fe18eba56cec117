"""What a round sends out: records as values, before the log knows of them. Everybody here may import it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from topics.facts import SharedHeaders


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


Result = tuple[bytes, bytes, SharedHeaders, str | None]
"""A record of `results`: the run's id, which is its key, its value, what it shares of its headers with others, and the
trace parent; of these `topics.facts.result_headers` makes its headers.

A plain tuple, because one is made per run: 0.04 us where a NamedTuple takes 0.26.
"""


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
