"""One partition on a real broker: fenced appends to `journal`, `results` and `runs` (design 3.1; facts in ADR 0002).

InitProducerId with a transactional id bumps that id's epoch; id and epoch, set on an ordinary idempotent producer,
give plain appends that the broker refuses as soon as a newer owner has written to the same partition.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import errors

from app.engine.outgoing import Record, Result
from app.kafka.appender import Appender
from app.kafka.log import AppendFailed, Entry, Fenced, LogRecord, Producer, RecordTooLarge
from app.kafka.sender import Sender
from app.kafka.wire import Wire
from topics import journal as records

MAX_BATCH_BYTES: Final = 7 * 1024 * 1024
"""Below the topics' limit of 8 MiB: a batch that the broker refuses would break the sequence of appends."""
RESULTS_BATCH_BYTES: Final = 900 * 1024
LAST_EPOCH: Final = 32_767
_OUTPUTS: Final = ("results", "runs")


class KafkaLog:
    """Fulfils `app.kafka.log.PartitionLog`."""

    def __init__(
        self,
        partition: int,
        *,
        prefix: str,
        config: Mapping[str, Any],
        wire: Wire,
        sender: Sender,
        topic_ids: Mapping[str, str],
        appender: Appender | None = None,
    ) -> None:
        self.partition = partition
        self._prefix = prefix
        self._config = config
        self._wire = wire
        self._sender = sender
        self._topic_ids = dict(topic_ids)
        self._transactional_id = f"{prefix}journal.{partition}"
        self._shared = appender
        self._appender = appender
        self._claimed: Producer | None = None

    async def topic_ids(self) -> dict[str, str]:
        return self._topic_ids

    async def bounds(self, topic: str) -> tuple[int, int]:
        return await self._wire.bounds(self._prefix + topic, self.partition)

    def read(self, topic: str, start: int, end: int) -> AsyncIterator[list[LogRecord]]:
        return self._wire.read(self._prefix + topic, self.partition, start, end)

    async def fence(self) -> Producer:
        appender = await self._open()
        claimed = await self._wire.init_producer(self._transactional_id)
        appender.begin([self._prefix + topic for topic in ("journal", *_OUTPUTS)], self.partition)
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
        stranger, killer = Appender(self._config), Producer(producer_id, LAST_EPOCH)
        await self._wire.patiently(f"a producer to shut out {producer_id}", stranger.start)
        try:
            for topic in ("journal", *_OUTPUTS):
                batch = stranger.batch(killer)
                batch.append(key=b"fence", value=None, timestamp=None, headers=[(records.FENCE_HEADER, b"1")])
                await stranger.append(batch, self._prefix + topic, self.partition)
        finally:
            await stranger.close()

    async def append(self, entries: Sequence[Entry]) -> int:
        return await self._append("journal", entries)

    async def deliver(self, topic: str, entries: Sequence[Entry | Result]) -> int:
        end = -1
        start = 0
        size = 0
        for at, one in enumerate(entries):
            length = len(one[0] or b"") + len(one[1] or b"") + 400
            if size and size + length > RESULTS_BATCH_BYTES:
                end = await self._append(topic, entries[start:at]) + at - start
                start, size = at, 0
            size += length
        return await self._append(topic, entries[start:]) + len(entries) - start if start < len(entries) else end

    async def send(self, records: Sequence[Record]) -> list[Record]:
        return await self._sender.send(records)

    async def close(self) -> None:
        self._claimed = None
        if self._shared is None and self._appender is not None:
            appender, self._appender = self._appender, None
            await appender.close()

    async def _append(self, topic: str, entries: Sequence[Entry | Result]) -> int:
        appender, claimed = self._appender, self._claimed
        if appender is None or claimed is None:
            raise AppendFailed(
                f"{topic}-{self.partition}: appended before the partition was fenced, or after its release"
            )
        batch = appender.batch(claimed)
        add = batch.append
        for one in entries:
            # aiokafka's compiled builder takes a list of headers and nothing else
            headers = one[2] if type(one[2]) is list else list(one[2])
            if add(key=one[0], value=one[1], timestamp=None, headers=headers) is None:
                raise RecordTooLarge(f"{topic}-{self.partition}: a batch of {len(entries)} records is above the limit")
        if batch.size() > MAX_BATCH_BYTES:
            raise RecordTooLarge(
                f"{topic}-{self.partition}: a batch of {batch.size()} bytes is above the limit of {MAX_BATCH_BYTES}; "
                "lower limits.round_bytes"
            )
        try:
            offset = await appender.append(batch, self._prefix + topic, self.partition)
        except (errors.ProducerFenced, errors.InvalidProducerEpoch) as error:
            raise Fenced(
                f"{self._prefix}{topic}-{self.partition}: a newer owner has the partition; this one has stopped"
            ) from error
        except errors.KafkaError as error:
            raise AppendFailed(f"{self._prefix}{topic}-{self.partition}: {type(error).__name__}: {error}") from error
        if offset < 0:
            raise AppendFailed(f"{self._prefix}{topic}-{self.partition}: acknowledged without an offset")
        return offset

    async def _open(self) -> Appender:
        if self._appender is None:
            appender = Appender(self._config)
            await self._wire.patiently(f"a producer for {self._transactional_id}", appender.start)
            self._appender = appender
        return self._appender
