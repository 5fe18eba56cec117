"""One partition in memory: `app.kafka.log.PartitionLog` on a `MemoryCluster`, and the unfenced producer of a worker.

Tests and the simulation use it. It behaves as `app.kafka.journal` does on a broker: one contract suite runs over both.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from app.engine.values.outgoing import Record, Result
from app.kafka.log import AppendFailed, Entry, Fenced, LogError, LogRecord, Producer, RecordTooLarge, Refusal, Refused
from app.kafka.memory_cluster import (
    LAST_EPOCH,
    ConcurrentTransaction,
    Direct,
    DuplicateSequence,
    InvalidRecord,
    MemoryCluster,
    Network,
    OutOfOrder,
    TooLargeForBroker,
    Unanswered,
    batch_bytes,
)
from topics import facts, journal, keys

_OUTPUTS: Final = ("results", "runs")

Answer = TypeVar("Answer")


class MemorySender:
    """The unfenced producer of one worker (app.kafka.sender)."""

    def __init__(self, cluster: MemoryCluster, network: Network | None = None, *, batch_records: int = 500) -> None:
        self._cluster = cluster
        self._network: Network = network or Direct()
        self._batch_records = batch_records
        self._turn = 0

    async def send(self, records: Sequence[Record]) -> list[Refused]:
        """Send `records` in order per partition; return those whose topic does not exist, or is away."""
        refused: list[Refused] = []
        batches: dict[tuple[str, int], list[Entry]] = {}
        for record in records:
            count = self._cluster.count(record.topic)
            if not count:
                refused.append(Refused(record, Refusal.MISSING))
                continue
            if record.topic in self._cluster.away:
                refused.append(Refused(record, Refusal.AWAY))
                continue
            where = (record.topic, self._partition(record, count))
            batches.setdefault(where, []).append(Entry(record.key, record.value, record.headers))
        for (topic, number), entries in batches.items():
            for at in range(0, len(entries), self._batch_records):
                few = entries[at : at + self._batch_records]
                await self._network.call(f"send {topic}", partial(self._cluster.produce, topic, number, few))
        return refused

    def _partition(self, record: Record, count: int) -> int:
        if record.partition is not None:
            return record.partition
        if record.key is not None:
            return keys.partition_of(record.key, count)
        self._turn += 1
        return self._turn % count


class MemoryLog:
    """Fulfils `app.kafka.log.PartitionLog` on a cluster in memory."""

    def __init__(
        self,
        partition: int,
        *,
        cluster: MemoryCluster,
        sender: MemorySender,
        network: Network | None = None,
        max_batch_bytes: int = 7 * 1024 * 1024,
        results_batch_bytes: int = 900 * 1024,
        fetch_records: int = 500,
    ) -> None:
        self.partition = partition
        self._cluster = cluster
        self._sender = sender
        self._network: Network = network or Direct()
        self._max_batch_bytes = max_batch_bytes
        self._results_batch_bytes = results_batch_bytes
        self._fetch_records = fetch_records
        self._transactional_id = f"journal.{partition}"
        self._producer: Producer | None = None
        self._sequences: dict[str, int] = {}
        self._failed: LogError | None = None

    async def topic_ids(self) -> dict[str, str]:
        return self._cluster.topic_ids()

    async def bounds(self, topic: str) -> tuple[int, int]:
        where = self._cluster.partition(topic, self.partition)
        return await self._network.call(f"bounds {topic}", lambda: (where.start, where.end))

    async def end(self, topic: str) -> int:
        where = self._cluster.partition(topic, self.partition)
        return await self._network.call(f"end {topic}", lambda: where.end)

    async def offset_at(self, topic: str, timestamp_ms: int) -> int:
        where = self._cluster.partition(topic, self.partition)
        return await self._network.call(f"offset_at {topic}", lambda: where.offset_at(timestamp_ms))

    async def read(self, topic: str, start: int, end: int) -> AsyncIterator[list[LogRecord]]:
        position = start
        while position < end:
            where = self._cluster.partition(topic, self.partition)
            before = position
            own = topic == "journal" or topic in _OUTPUTS
            fetch = partial(where.fetch, position, end, self._fetch_records, transactions=not own)
            found, position = await self._network.call(f"read {topic}", fetch)
            if found:
                yield found
            elif position == before:
                await self._network.pause()  # an open transaction

    async def fence(self) -> Producer:
        self._producer = await self._patiently(
            "init_producer", lambda: self._cluster.init_producer(self._transactional_id)
        )
        self._sequences.clear()
        self._failed = None
        return self._producer

    async def close_outputs(self) -> Producer:
        producer = self._producer
        assert producer is not None
        outputs = [(topic, self.partition) for topic in _OUTPUTS]
        await self._patiently(
            "add_to_transaction", lambda: self._cluster.add_to_transaction(self._transactional_id, producer, outputs)
        )
        await self._patiently(
            "end_transaction",
            lambda: self._cluster.end_transaction(self._transactional_id, producer, commit=False),
        )
        return await self.fence()

    async def _patiently(self, what: str, do: Callable[[], Answer]) -> Answer:
        while True:
            try:
                return await self._network.call(what, do)
            except ConcurrentTransaction:
                await self._network.pause()

    async def shut_out(self, producer_id: int) -> None:
        kill = [Entry(b"fence", None, ((journal.FENCE_HEADER, b"1"),))]
        stranger = Producer(producer_id, LAST_EPOCH)
        for topic in ("journal", *_OUTPUTS):
            try:
                write = partial(self._cluster.produce, topic, self.partition, kill, producer=stranger)
                await self._network.call(f"shut_out {topic}", write)
            except DuplicateSequence:
                pass  # somebody did it before

    async def append(self, entries: Sequence[Entry]) -> int:
        return await self._append("journal", entries)

    async def deliver(self, topic: str, entries: Sequence[Entry | Result]) -> int:
        end = -1
        few: list[Entry] = []
        size = batch_bytes(())
        for one in map(_plain, entries):
            more = batch_bytes((one,)) - batch_bytes(())
            if few and size + more > self._results_batch_bytes:
                end = await self._append(topic, few) + len(few)
                few, size = [], batch_bytes(())
            few.append(one)
            size += more
        return await self._append(topic, few) + len(few) if few else end

    async def send(self, records: Sequence[Record]) -> list[Refused]:
        return await self._sender.send(records)

    async def close(self) -> None:
        self._producer = None

    async def _append(self, topic: str, entries: Sequence[Entry]) -> int:
        where = f"{topic}-{self.partition}"
        producer = self._producer
        if producer is None:
            raise AppendFailed(f"{where}: appended before the partition was fenced, or after its release")
        if self._failed is not None:
            raise type(self._failed)(f"{where}: an earlier append has failed: {self._failed}")
        if batch_bytes(entries) > self._max_batch_bytes:
            raise RecordTooLarge(f"{where}: a batch of {len(entries)} records is above the limit")
        sequence = self._sequences.get(topic, 0)
        self._sequences[topic] = sequence + len(entries)
        try:
            return await self._network.call(
                f"append {topic}",
                lambda: self._cluster.produce(topic, self.partition, entries, producer=producer, sequence=sequence),
            )
        except Fenced as error:
            self._failed = error
            raise
        except (OutOfOrder, DuplicateSequence, TooLargeForBroker, InvalidRecord, Unanswered) as error:
            self._failed = AppendFailed(f"{where}: {error}")
            raise self._failed from error


def _plain(one: Entry | Result) -> Entry:
    if len(one) == 4:
        run_id, value, shared, parent = one
        return Entry(run_id, value, facts.result_headers(run_id, shared, parent))
    return one
