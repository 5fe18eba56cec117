"""One producer for the fenced appends of all partitions of a worker.

A record batch carries the producer id, epoch and sequence of its own, so batches of many claims travel in one request.
With a producer for each partition, a worker of 8 partitions made about two requests for every event at 1,000 events/s.
A refused batch fails alone: the other partitions' go on.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer, errors
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import TopicPartition

from app.kafka.log import LogError, Producer

MOST_BYTES: Final = 8 * 1024 * 1024
_STOP_SECONDS: Final = 2.0


class _ClaimedBatch(BatchBuilder):  # type: ignore[misc]
    """A batch that carries the producer id and epoch of a claim instead of the producer's own."""

    claimed: Producer

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:  # noqa: ARG002
        super()._set_producer_state(self.claimed.producer_id, self.claimed.epoch, base_sequence)


class Appender:
    """Appends batches under the claims that they are made with."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect. Raises KafkaError."""
        producer = AIOKafkaProducer(
            **self._config,
            acks="all",
            enable_idempotence=True,
            max_batch_size=MOST_BYTES,
            max_request_size=MOST_BYTES,
        )
        if producer._txn_manager is None:
            raise LogError("aiokafka has no transaction manager for an idempotent producer; see the pinned version")
        try:
            await producer.start()
        except BaseException:
            await let_go(producer)
            raise
        self._producer = producer

    async def close(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await let_go(producer)

    def begin(self, topics: Sequence[str], partition: int) -> None:
        """A new claim counts its batches from 0."""
        sequences = self._open()._txn_manager._sequence_numbers
        for topic in topics:
            sequences[TopicPartition(topic, partition)] = 0

    def batch(self, claimed: Producer) -> Any:
        """Return an empty batch that will be appended under `claimed`."""
        batch = self._open().create_batch()
        # By its class and not by a function of its own, which would keep each batch alive in a circle of references.
        batch.__class__ = _ClaimedBatch
        batch.claimed = claimed
        return batch

    async def append(self, batch: Any, topic: str, partition: int) -> int:
        """Append `batch` and return the offset of its first record, -1 when the broker gave none. Raises KafkaError."""
        future = await self._open().send_batch(batch, topic, partition=partition)
        return int((await future).offset)

    def _open(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise LogError("the producer of the journal is closed")
        return self._producer


async def let_go(producer: AIOKafkaProducer) -> None:
    """Stop a producer that may be unable to send: what it still holds must not keep the worker."""
    try:
        await asyncio.wait_for(producer.stop(), _STOP_SECONDS)
    except (TimeoutError, errors.KafkaError):
        await producer.client.close()
