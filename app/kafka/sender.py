"""The worker's unfenced producer: commands, dead letters, published events, replies and other topics.

What it sends was journaled before, so a repeat after a crash carries the same bytes; receivers drop repeats by
sequence or id.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, errors

from app.engine.values.outgoing import Record
from app.kafka.log import LogError
from topics import keys

_METADATA_SECONDS = 5.0


class Sender:
    """One idempotent producer for all partitions of a worker."""

    def __init__(self, config: Mapping[str, Any], *, prefix: str) -> None:
        self._prefix = prefix
        self._producer = AIOKafkaProducer(
            **config,
            acks="all",
            enable_idempotence=True,
            max_batch_size=512 * 1024,
            max_request_size=8 * 1024 * 1024,
        )
        self._turn = 0

    async def start(self) -> None:
        await self._producer.start()

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self._producer.stop(), 2.0)
        except (TimeoutError, errors.KafkaError):
            await self._producer.client.close()

    async def send(self, records: Sequence[Record]) -> list[Record]:
        """Send `records` in order per partition and wait for all; return those whose topic does not exist.

        Raises LogError when one is not acknowledged.
        """
        missing: list[Record] = []
        futures: list[asyncio.Future[Any]] = []
        for record in records:
            topic = record.topic if record.foreign else self._prefix + record.topic
            try:
                count = await self._partitions(topic, foreign=record.foreign)
                if not count:
                    missing.append(record)
                    continue
                futures.append(
                    await self._producer.send(
                        topic,
                        record.value,
                        key=record.key,
                        partition=self._partition(record, count),
                        headers=list(record.headers),
                    )
                )
            except errors.KafkaError as error:
                raise LogError(f"{topic}: a record could not be sent: {type(error).__name__}: {error}") from error
        for outcome in await asyncio.gather(*futures, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise LogError(f"a record was not acknowledged: {type(outcome).__name__}: {outcome}") from outcome
        return missing

    def _partition(self, record: Record, count: int) -> int:
        if record.partition is not None:
            return record.partition
        if record.key is not None:
            return keys.partition_of(record.key, count)
        self._turn += 1
        return self._turn % count

    async def _partitions(self, topic: str, *, foreign: bool) -> int:
        """Return how many partitions `topic` has; 0 when Kafka says that there is no such topic.

        Our own topics are there: as long as Kafka does not answer for one of them, it is waited for. Taken for
        missing, what was to be sent there would be lost.
        """
        known = self._producer.client.cluster.partitions_for_topic(topic)
        if known:
            return len(known)
        if not foreign:
            return len(await self._producer.partitions_for(topic))
        try:
            return len(await asyncio.wait_for(self._producer.partitions_for(topic), _METADATA_SECONDS))
        except (TimeoutError, errors.UnknownTopicOrPartitionError, errors.KafkaTimeoutError):
            # Missing, or a broker that is silent: that one raises here, and the worker stops instead of giving up.
            everything = await self._producer.client.fetch_all_metadata()
            return len(everything.partitions_for_topic(topic) or ())
