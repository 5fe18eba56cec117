"""All that the pump knows of Kafka: one partition's journal and outputs, and a way to write elsewhere.

`app.kafka.journal` fulfils it on a broker, `app.kafka.memory` in memory; one contract suite runs over both.
Topics are named by their short names (`topics.catalog`).
"""

from collections.abc import AsyncIterator, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from app.engine.values.outgoing import Record, Result


class LogRecord(NamedTuple):
    """A record that was read."""

    offset: int
    timestamp: int
    """Milliseconds, as the topic keeps it (append or create time)."""
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Unreadable(LogRecord):
    """Stands for all records of a batch that cannot be unpacked, at the offset of the last one."""

    __slots__ = ()

    @classmethod
    def batch(cls, offset: int, timestamp: int, code: str, reason: str) -> "Unreadable":
        """`code` is one of `topics.malformed`."""
        return cls(offset, timestamp, None, None, (("code", code.encode()), ("reason", reason.encode())))

    @property
    def code(self) -> str:
        return (self.headers[0][1] or b"").decode()

    @property
    def reason(self) -> str:
        return (self.headers[1][1] or b"").decode()


class Entry(NamedTuple):
    """A record to append."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


class Producer(NamedTuple):
    """What fences: the newer of two epochs of one id wins."""

    producer_id: int
    epoch: int


class Refusal(Enum):
    """Why a record for a topic that is not Headgate's own was not written there: all but `AWAY` whoever tries again."""

    MISSING = "missing"
    """There is no such topic."""
    FORBIDDEN = "forbidden"
    """Headgate's user may not write there."""
    TOO_LARGE = "too large"
    """The topic takes no record of that size."""
    INVALID = "invalid"
    """The name is no topic's, or the topic takes no such record: a compacted one takes none without a key."""
    AWAY = "away"
    """Kafka did not take it in time, as where a partition has no leader: another time it may."""


class Refused(NamedTuple):
    record: Record
    why: Refusal


class LogError(Exception):
    """The log refused or lost contact. The owner of the partition must stop before anything is delivered."""


class Fenced(LogError):
    """A newer owner has the partition. Final for this owner."""


class AppendFailed(LogError):
    """An append whose outcome is unknown, or whose offset does not follow the one before it."""


class RecordTooLarge(LogError):
    """A batch above the limit. Nothing was sent: the refusal is this side's, so the sequence goes on."""


class PartitionLog(Protocol):
    """One partition as its owner sees it. Not safe for two tasks at once; but `deliver`, and what only reads, goes
    beside `append`."""

    partition: int

    async def topic_ids(self) -> dict[str, str]:
        """Return the ids of `events, commands, journal, results, runs`, which change when a topic is made anew."""

    async def bounds(self, topic: str) -> tuple[int, int]:
        """Return the first offset that is kept and the one after the last, transaction markers included."""

    async def end(self, topic: str) -> int:
        """Return the offset after the last record or transaction marker."""

    async def offset_at(self, topic: str, timestamp_ms: int) -> int:
        """Return the offset of the first record that is as late, or else the end: of those before it, none is."""

    def read(self, topic: str, start: int, end: int) -> AsyncIterator[list[LogRecord]]:
        """Yield the records of `[start, end)` in order, without what compaction and retention took.

        Of `journal`, `results` and `runs` these are the ones in no transaction: owners write no others, so a stranger's
        transaction hides nothing, and one that is left open holds up no takeover. Elsewhere they are those that are
        committed.
        """

    async def fence(self) -> Producer:
        """Become the only producer of this partition's id: bump its epoch, ending an open transaction of it."""

    async def close_outputs(self) -> Producer:
        """Make the broker refuse older owners on `results` and `runs`; return once both have the marker."""

    async def shut_out(self, producer_id: int) -> None:
        """Write a kill record for `producer_id` to `journal`, `results` and `runs`, so that the broker refuses it."""

    async def append(self, entries: Sequence[Entry]) -> int:
        """Append one record batch to `journal`, atomically. Return the offset of its first record.

        Raises Fenced, RecordTooLarge, AppendFailed; after Fenced and AppendFailed every later append fails too.
        """

    async def deliver(self, topic: str, entries: Sequence[Entry | Result]) -> int:
        """Append to `results` or `runs` in order, in as many batches as needed; return the offset after the last."""

    async def send(self, records: Sequence[Record]) -> list[Refused]:
        """Write records anywhere else, unfenced, acknowledged by all replicas.

        Return the `foreign` ones that were not written, and why: their topics are not Headgate's, and may be missing,
        forbidden, of smaller records, or away; then those after it for its topic are away too. One of Headgate's own
        that is refused raises LogError, as what is silent does.
        """

    async def close(self) -> None:
        """Let go of connections. Appends in flight may still land."""
