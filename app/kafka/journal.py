"""One partition on a real broker: fenced appends to `journal`, `results` and `runs` (design 3.1; facts in ADR 0002).

InitProducerId with a transactional id bumps that id's epoch; id and epoch, set on an ordinary idempotent producer,
give plain appends that the broker refuses as soon as a newer owner has written to the same partition.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from aiokafka import errors

from app.engine.values.outgoing import Record, Result
from app.kafka.appender import Appender
from app.kafka.encoder import record_batch
from app.kafka.log import AppendFailed, Entry, Fenced, LogRecord, Producer, RecordTooLarge, Refused
from app.kafka.requests import Batch
from app.kafka.sender import Sender
from app.kafka.wire import FETCH_BYTES, Wire
from topics import journal as records

MAX_BATCH_BYTES: Final = 7 * 1024 * 1024
"""Below the topics' limit of 8 MiB: a batch that the broker refuses would break the sequence of appends."""
RESULTS_BATCH_BYTES: Final = 900 * 1024
LAST_EPOCH: Final = 32_767
LAST_SEQUENCE: Final = 2**31 - 1
"""After it a producer goes on from 0 (DefaultRecordBatch.incrementSequence of Kafka)."""
_OUTPUTS: Final = ("results", "runs")


class KafkaLog:
    """Fulfils `app.kafka.log.PartitionLog`."""

    def __init__(
        self,
        partition: int,
        *,
        prefix: str,
        wire: Wire,
        appender: Appender,
        sender: Sender,
        topic_ids: Mapping[str, str],
        fetch_bytes: int = FETCH_BYTES,
    ) -> None:
        self.partition = partition
        self._fetch_bytes = fetch_bytes
        self._prefix = prefix
        self._wire = wire
        self._appender = appender
        self._sender = sender
        self._topic_ids = dict(topic_ids)
        self._transactional_id = f"{prefix}journal.{partition}"
        self._claimed: Producer | None = None
        self._sequences: dict[str, int] = {}

    async def topic_ids(self) -> dict[str, str]:
        return self._topic_ids

    async def bounds(self, topic: str) -> tuple[int, int]:
        return await self._wire.bounds(self._prefix + topic, self.partition)

    async def end(self, topic: str) -> int:
        return await self._wire.end(self._prefix + topic, self.partition)

    async def offset_at(self, topic: str, timestamp_ms: int) -> int:
        return await self._wire.offset_at(self._prefix + topic, self.partition, timestamp_ms)

    def read(self, topic: str, start: int, end: int) -> AsyncIterator[list[LogRecord]]:
        own = topic == "journal" or topic in _OUTPUTS
        return self._wire.read(
            self._prefix + topic, self.partition, start, end, transactions=not own, most_bytes=self._fetch_bytes
        )

    async def fence(self) -> Producer:
        self._claimed = None
        claimed = await self._wire.init_producer(self._transactional_id)
        self._sequences = {}  # a new claim counts its records from 0
        self._claimed = claimed
        return claimed

    async def close_outputs(self) -> Producer:
        """Abort an empty transaction over the outputs, then claim again.

        EndTxn answers before the markers are written. The next InitProducerId is refused as concurrent until they all
        are, so its answer is the proof that older owners are shut out.
        """
        assert self._claimed is not None
        outputs = [(self._prefix + topic, self.partition) for topic in _OUTPUTS]
        await self._wire.abort_empty(self._transactional_id, self._claimed, outputs)
        return await self.fence()

    async def shut_out(self, producer_id: int) -> None:
        killer = Producer(producer_id, LAST_EPOCH)
        fence = Entry(b"fence", None, [(records.FENCE_HEADER, b"1")])
        for topic in ("journal", *_OUTPUTS):
            qualified = self._prefix + topic
            await self._appender.append(Batch(qualified, self.partition, _built(qualified, killer, 0, [fence])))

    async def append(self, entries: Sequence[Entry]) -> int:
        return await self._append("journal", entries)

    async def deliver(self, topic: str, entries: Sequence[Entry | Result]) -> int:
        lengths = [len(one[0] or b"") + len(one[1] or b"") + 400 for one in entries]
        if sum(lengths) <= RESULTS_BATCH_BYTES and entries:
            return await self._append(topic, entries) + len(entries)
        end = -1
        start = size = 0
        for at, length in enumerate(lengths):
            if size and size + length > RESULTS_BATCH_BYTES:
                end = await self._append(topic, entries[start:at]) + at - start
                start, size = at, 0
            size += length
        return await self._append(topic, entries[start:]) + len(entries) - start if start < len(entries) else end

    async def send(self, records: Sequence[Record]) -> list[Refused]:
        return await self._sender.send(records)

    async def close(self) -> None:
        self._claimed = None

    async def _append(self, topic: str, entries: Sequence[Entry | Result]) -> int:
        claimed = self._claimed
        if claimed is None:
            raise AppendFailed(
                f"{topic}-{self.partition}: appended before the partition was fenced, or after its release or an "
                "append with an unknown outcome"
            )
        qualified = self._prefix + topic
        sequence = self._sequences.get(topic, 0)
        data = _built(f"{qualified}-{self.partition}", claimed, sequence, entries)
        try:
            offset = await self._appender.append(Batch(qualified, self.partition, data))
        except (errors.ProducerFenced, errors.InvalidProducerEpoch) as error:
            raise Fenced(
                f"{qualified}-{self.partition}: a newer owner has the partition; this one has stopped"
            ) from error
        except errors.KafkaError as error:
            self._claimed = None
            raise AppendFailed(f"{qualified}-{self.partition}: {type(error).__name__}: {error}") from error
        except BaseException:
            self._claimed = None
            raise
        if offset < 0:
            self._claimed = None
            raise AppendFailed(f"{qualified}-{self.partition}: acknowledged without an offset")
        self._sequences[topic] = (sequence + len(entries)) & LAST_SEQUENCE
        return offset


def _built(where: str, claimed: Producer, sequence: int, entries: Sequence[Entry | Result]) -> bytes:
    """Return the record batch of `entries` under a claim. Raises RecordTooLarge."""
    data = record_batch(claimed, sequence, entries)
    if len(data) > MAX_BATCH_BYTES:
        raise RecordTooLarge(
            f"{where}: a batch of {len(data)} bytes is above the limit of {MAX_BATCH_BYTES}; lower limits.round_bytes"
        )
    return data
