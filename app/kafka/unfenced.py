"""A producer that is idempotent and that nobody fences: batches of each partition in order, each of them once.

What aiokafka's producer does for the gateway, over the requests that a worker appends with: batches of all partitions
that come in one turn of the loop share a request, and one is on its way in each partition, while the next one gathers.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final

from aiokafka import errors
from aiokafka.producer.message_accumulator import BatchBuilder

from app.kafka.appender import Appender
from app.kafka.log import Producer
from app.kafka.requests import Batch
from app.kafka.wire import Wire

START_SECONDS: Final = 10.0
_SEQUENCES: Final = 1 << 31
"""After so many records of a partition their numbers begin anew."""


class Builder(BatchBuilder):  # type: ignore[misc]  # untyped in aiokafka
    """Records of one partition, as they are written into the batch's bytes: it takes more until it is sent."""

    def sent_by(self, claimed: Producer, sequence: int) -> bytes:
        """Take no more, and return the batch."""
        self._set_producer_state(claimed.producer_id, claimed.epoch, sequence)
        return bytes(self._build())


class Unfenced:
    """One producer id, for one topic. After an error it is of no use any more: its numbers have a hole."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        # A batch is sent again until Kafka has answered: given up, it might land after all, with the next one's number.
        self._wire = Wire(config, patience_seconds=math.inf)
        self._appender = Appender(self._wire)
        self._claimed = Producer(-1, -1)
        self._sequences: dict[int, int] = {}
        self._sending: dict[int, asyncio.Task[None]] = {}

    async def start(self, topic: str) -> int:
        """Connect, and return how many partitions the topic has. Raises KafkaError, LogError, OSError."""
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._wire.start()
                if not await self._wire.has(topic):
                    raise errors.UnknownTopicOrPartitionError(topic)
                await self._wire.know([topic])
                self._claimed = await self._wire.init_producer(None)
                return self._wire.partitions_of(topic)
        except TimeoutError:
            raise errors.RequestTimedOutError(f"Kafka has not answered within {START_SECONDS:g} s") from None

    async def has(self, topic: str) -> bool:
        """Ask Kafka whether the topic is there. Raises KafkaError, OSError."""
        return await self._wire.has(topic)

    async def send_batch(self, builder: Builder, topic: str, *, partition: int) -> "asyncio.Task[None]":
        """Wait until the batch before it in its partition is acknowledged, take the builder as it is then, and return
        what ends once it is acknowledged. Of one partition's at a time. Raises KafkaError.
        """
        before = self._sending.get(partition)
        if before is not None:
            await asyncio.wait({before})
            if before.cancelled() or before.exception() is not None:
                raise errors.ProducerClosed("the batch before it was not acknowledged")
        sequence = self._sequences.get(partition, 0)
        data = builder.sent_by(self._claimed, sequence)
        self._sequences[partition] = (sequence + builder.record_count()) % _SEQUENCES
        task = self._sending[partition] = asyncio.create_task(self._send(Batch(topic, partition, data)))
        return task

    async def _send(self, batch: Batch) -> None:
        try:
            await self._appender.append(batch)
        except errors.DuplicateSequenceNumber:
            pass  # it is there, and its first answer was lost

    async def close(self) -> None:
        """Give up what is on the way; it may still land."""
        for task in self._sending.values():
            task.cancel()
        await asyncio.gather(*self._sending.values(), return_exceptions=True)
        await self._appender.close()
        await self._wire.close()
