"""A Kafka cluster in memory: what of a broker matters to the partition protocol, no more.

Used by `app.kafka.memory`, tests and the simulation. It refuses what a broker refuses (fences, sequences, sizes),
forgets what a broker forgets (compaction, retention, transactional ids), and hides what readers of committed records do
not see. When things happen, and what of it is lost on the way, is the `Network`'s choice.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, TypeVar

from app.kafka.log import Entry, Fenced, LogError, LogRecord, Producer
from topics import catalog

LAST_EPOCH: Final = 32_767
DELETE_RETENTION_MS: Final = catalog.JOURNAL_DELETE_RETENTION_MS
_BATCH_OVERHEAD_BYTES: Final = 61
_RECORD_OVERHEAD_BYTES: Final = 20

Answer = TypeVar("Answer")


class Unanswered(LogError):
    """The cluster did not answer: what was asked may have been done, or not."""


class OutOfOrder(LogError):
    """The broker's answer to a batch whose sequence does not follow."""


class DuplicateSequence(LogError):
    """The broker's answer to a batch that it has already."""


class TooLargeForBroker(LogError):
    """The broker's answer to a batch above the topic's limit. The client has counted its sequence already."""


class InvalidRecord(LogError):
    """The broker's answer to a record without key in a compacted topic."""


class ConcurrentTransaction(LogError):
    """The coordinator's answer while markers of the id's last transaction are on their way."""


class Network(Protocol):
    """What lies between a client and the cluster."""

    async def call(self, what: str, do: Callable[[], Answer]) -> Answer:
        """Have the cluster `do` it and return its answer. Raises what `do` raises, and Unanswered."""

    async def pause(self) -> None:
        """Wait before asking again."""

    def later(self, do: Callable[[], None]) -> None:
        """Have the cluster `do` something of its own after the answer that it gives now."""


class Direct:
    """A network without distance: everything happens at once and nothing is lost."""

    async def call(self, what: str, do: Callable[[], Answer]) -> Answer:  # noqa: ARG002 a faulty network names it
        await asyncio.sleep(0)
        return do()

    async def pause(self) -> None:
        await asyncio.sleep(0)

    def later(self, do: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(do)


class _Stored(NamedTuple):
    record: LogRecord
    producer_id: int = -1
    transactional: bool = False
    control: bool = False


@dataclass(slots=True)
class _ProducerState:
    """What a partition knows of a producer id."""

    epoch: int
    next_sequence: int = 0
    last: tuple[int, int] | None = None
    """First sequence and count of the last batch."""


class MemoryPartition:
    """One partition of one topic, as its leader has it."""

    def __init__(self, topic: str, number: int, *, compacted: bool, max_bytes: int) -> None:
        self.topic = topic
        self.number = number
        self.start = 0
        self.end = 0
        self._compacted = compacted
        self._max_bytes = max_bytes
        self._stored: list[_Stored] = []
        self._producers: dict[int, _ProducerState] = {}
        self._open: dict[int, int] = {}
        """First offset of each open transaction, by producer id."""
        self._aborted: list[tuple[int, int, int]] = []
        """Producer id, first and last offset of each aborted transaction."""

    @property
    def stable_end(self) -> int:
        """The offset up to which every transaction is decided."""
        return min(self._open.values(), default=self.end)

    def append(
        self,
        entries: Sequence[Entry],
        now_ms: int,
        *,
        producer: Producer | None = None,
        sequence: int = 0,
        transactional: bool = False,
    ) -> int:
        """Append one batch, all of it or nothing; return its first offset. Raises what a broker refuses it for."""
        if producer is not None:
            self._check(producer, sequence, len(entries))
        if batch_bytes(entries) > self._max_bytes:
            raise TooLargeForBroker(f"{self.topic}-{self.number}: MessageSizeTooLarge")
        if self._compacted and any(one.key is None for one in entries):
            raise InvalidRecord(
                f"{self.topic}-{self.number}: InvalidRecord: a compacted topic takes no record without key"
            )
        first = self.end
        producer_id = -1 if producer is None else producer.producer_id
        for key, value, headers in entries:
            record = LogRecord(self.end, now_ms, key, value, tuple(headers))
            self._stored.append(_Stored(record, producer_id, transactional))
            self.end += 1
        if producer is not None:
            count = len(entries)
            self._producers[producer_id] = _ProducerState(producer.epoch, sequence + count, (sequence, count))
            if transactional:
                self._open.setdefault(producer_id, first)
        return first

    def _check(self, producer: Producer, sequence: int, count: int) -> None:
        known = self._producers.get(producer.producer_id)
        if known is None:
            return  # a broker takes any sequence of an id that it does not know, or knows no more
        where = f"{self.topic}-{self.number}"
        if producer.epoch < known.epoch:
            raise Fenced(f"{where}: a newer owner has the partition; this one has stopped")
        if producer.epoch == known.epoch:
            if known.last == (sequence, count):
                raise DuplicateSequence(f"{where}: DuplicateSequenceNumber")
            if sequence != known.next_sequence:
                raise OutOfOrder(f"{where}: OutOfOrderSequenceNumber: {sequence} after {known.next_sequence - 1}")
        elif sequence != 0:
            raise OutOfOrder(f"{where}: OutOfOrderSequenceNumber: {sequence} first in epoch {producer.epoch}")

    def end_transaction(self, producer: Producer, now_ms: int, *, commit: bool) -> None:
        """Write the marker that ends a transaction: it takes an offset, and shuts out older epochs of the id."""
        known = self._producers.get(producer.producer_id)
        if known is not None and producer.epoch < known.epoch:
            return
        if known is None or producer.epoch > known.epoch:
            self._producers[producer.producer_id] = _ProducerState(producer.epoch)
        first = self._open.pop(producer.producer_id, None)
        if first is not None and not commit:
            self._aborted.append((producer.producer_id, first, self.end))
        marker = LogRecord(self.end, now_ms, None, None, ())
        self._stored.append(_Stored(marker, producer.producer_id, control=True))
        self.end += 1

    def fetch(self, start: int, end: int, most: int, *, transactions: bool = True) -> tuple[list[LogRecord], int]:
        """Return up to `most` committed records of `[start, end)`, and the offset to go on with.

        Without `transactions`, those that are in none, also after one that is open.
        """
        if transactions:
            end = min(end, self.stable_end)
        found: list[LogRecord] = []
        for stored in self._from(start):
            offset = stored.record.offset
            if offset >= end or len(found) >= most:
                return found, min(offset, end)
            if stored.control or (stored.transactional and not transactions):
                continue
            if not (stored.transactional and self._was_aborted(stored.producer_id, offset)):
                found.append(stored.record)
        return found, max(start, end)

    def offset_at(self, timestamp_ms: int) -> int:
        """Return the offset of the first record that is as late, or else the end."""
        late = (one.record.offset for one in self._stored if one.record.timestamp >= timestamp_ms and not one.control)
        return next(late, self.end)

    def _from(self, start: int) -> Sequence[_Stored]:
        low, high = 0, len(self._stored)
        while low < high:
            middle = (low + high) // 2
            if self._stored[middle].record.offset < start:
                low = middle + 1
            else:
                high = middle
        return self._stored[low:] if low else self._stored

    def _was_aborted(self, producer_id: int, offset: int) -> bool:
        return any(one == producer_id and first <= offset <= last for one, first, last in self._aborted)

    def compact(self, below: int, now_ms: int) -> None:
        """Keep the last record of each key below the offset `below`; tombstones go when they are old enough."""
        assert self._compacted, f"{self.topic} is not compacted"
        below = min(below, self.stable_end)
        last = {one.record.key: one.record.offset for one in self._stored if one.record.offset < below}
        self._stored = [one for one in self._stored if one.control or self._stays(one.record, below, last, now_ms)]

    @staticmethod
    def _stays(record: LogRecord, below: int, last: dict[bytes | None, int], now_ms: int) -> bool:
        if record.offset >= below:
            return True
        if last[record.key] != record.offset:
            return False
        return record.value is not None or now_ms - record.timestamp <= DELETE_RETENTION_MS

    def retain_from(self, offset: int) -> None:
        """Drop what is older than `offset`, as retention does."""
        self.start = max(self.start, min(offset, self.stable_end))
        self._stored = [one for one in self._stored if one.record.offset >= self.start]

    def forget_producer(self, producer_id: int) -> None:
        """As after `producer.id.expiration.ms` without a record of the id."""
        self._producers.pop(producer_id, None)


@dataclass(slots=True)
class _Transactions:
    """What the coordinator knows of one transactional id."""

    producer: Producer
    partitions: list[MemoryPartition] = field(default_factory=list)
    """Of the open transaction."""
    markers: int = 0
    """Of the last transaction, still to be written."""


class MemoryCluster:
    """The topics of one installation, by their short names, and any others by their full ones."""

    def __init__(self, partitions: int, *, now_ms: Callable[[], int], network: Network | None = None) -> None:
        self.partitions = partitions
        self._now_ms = now_ms
        self._network: Network = network or Direct()
        self._topics: dict[str, list[MemoryPartition]] = {}
        self._ids: dict[str, str] = {}
        self._transactions: dict[str, _Transactions] = {}
        self._next_producer_id = 1000
        self.away: set[str] = set()
        """Topics whose partitions have no leader now, for those that ask about topics that are not Headgate's."""
        self.on_append: Callable[[MemoryPartition, Producer | None, Sequence[Entry], int], None] | None = None
        """Told of every batch that the cluster took, with its first offset."""
        for topic in catalog.CATALOG.values():
            self.create(topic.name, topic.partitions(partitions))

    # --- topics -----------------------------------------------------------------------------------------------------

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic, or make it anew: its records are gone and its id is another."""
        known = catalog.CATALOG.get(topic)
        self._topics[topic] = [
            MemoryPartition(
                topic,
                number,
                compacted=known is not None and known.cleanup is catalog.Cleanup.COMPACT,
                max_bytes=1024 * 1024 if known is None else known.max_message_bytes,
            )
            for number in range(partitions)
        ]
        made = int(self._ids[topic].rpartition("-")[2]) + 1 if topic in self._ids else 1
        self._ids[topic] = f"{topic}-id-{made}"

    def topic_ids(self) -> dict[str, str]:
        return {name: self._ids[name] for name, topic in catalog.CATALOG.items() if topic.co_partitioned}

    def partition(self, topic: str, number: int) -> MemoryPartition:
        return self._topics[topic][number]

    def count(self, topic: str) -> int:
        """Return how many partitions a topic has; 0 when there is no such topic."""
        return len(self._topics.get(topic, ()))

    def read(self, topic: str, number: int) -> list[LogRecord]:
        """Return every committed record of a partition that is there now."""
        partition = self.partition(topic, number)
        return partition.fetch(0, partition.end, partition.end)[0]

    def produce(
        self,
        topic: str,
        number: int,
        entries: Sequence[Entry],
        *,
        producer: Producer | None = None,
        sequence: int = 0,
        transactional: bool = False,
    ) -> int:
        """Append a batch, by anyone."""
        partition = self.partition(topic, number)
        offset = partition.append(
            entries, self._now_ms(), producer=producer, sequence=sequence, transactional=transactional
        )
        if self.on_append is not None:
            self.on_append(partition, producer, entries, offset)
        return offset

    def compact(self, topic: str, number: int, below: int) -> None:
        self.partition(topic, number).compact(below, self._now_ms())

    # --- the transaction coordinator --------------------------------------------------------------------------------

    def init_producer(self, transactional_id: str) -> Producer:
        known = self._transactions.get(transactional_id)
        if known is None:
            made = self._new_producer()
        else:
            if known.partitions:
                known.producer = self._bumped(known.producer)
                self._end(known, commit=False)
            if known.markers:
                raise ConcurrentTransaction(f"{transactional_id}: ConcurrentTransactions")
            made = self._bumped(known.producer)
        self._transactions[transactional_id] = _Transactions(made)
        return made

    def add_to_transaction(self, transactional_id: str, producer: Producer, where: Sequence[tuple[str, int]]) -> None:
        self._current(transactional_id, producer).partitions.extend(self.partition(*one) for one in where)

    def end_transaction(self, transactional_id: str, producer: Producer, *, commit: bool) -> None:
        """Decide the open transaction. The markers follow after the answer."""
        self._end(self._current(transactional_id, producer), commit=commit)

    def expire_transactional_id(self, transactional_id: str) -> None:
        """As after 7 days without InitProducerId: the next one gets another producer id."""
        self._transactions.pop(transactional_id, None)

    def exhaust_epochs(self, transactional_id: str, *, left: int = 0) -> None:
        """As after 32,767 inits: after `left` more, another producer id is given out."""
        known = self._transactions.get(transactional_id)
        if known is not None:
            known.producer = Producer(known.producer.producer_id, LAST_EPOCH - 1 - left)

    def _new_producer(self) -> Producer:
        self._next_producer_id += 1
        return Producer(self._next_producer_id, 0)

    def _bumped(self, producer: Producer) -> Producer:
        if producer.epoch >= LAST_EPOCH - 1:
            return self._new_producer()
        return Producer(producer.producer_id, producer.epoch + 1)

    def _current(self, transactional_id: str, producer: Producer) -> _Transactions:
        known = self._transactions.get(transactional_id)
        if known is None or known.producer != producer:
            raise Fenced(f"{transactional_id}: a newer owner has the id")
        if known.markers:
            raise ConcurrentTransaction(f"{transactional_id}: ConcurrentTransactions")
        return known

    def _end(self, known: _Transactions, *, commit: bool) -> None:
        producer = known.producer
        for partition in known.partitions:
            known.markers += 1

            def write(partition: MemoryPartition = partition) -> None:
                known.markers -= 1
                partition.end_transaction(producer, self._now_ms(), commit=commit)

            self._network.later(write)
        known.partitions = []


def batch_bytes(entries: Sequence[Entry]) -> int:
    """Return about how many bytes a batch has on the wire."""
    size = _BATCH_OVERHEAD_BYTES
    for key, value, headers in entries:
        size += _RECORD_OVERHEAD_BYTES + len(key or b"") + len(value or b"")
        size += sum(len(name) + len(content or b"") + 2 for name, content in headers)
    return size
