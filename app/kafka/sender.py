"""The worker's unfenced producers: commands, dead letters, published events; replies and other topics.

What they send was journaled before, so a repeat after a crash carries the same bytes; receivers drop repeats by
sequence or id.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import errors

from app.engine.values.outgoing import Record
from app.kafka.log import LogError, Refused
from app.kafka.outward import Outward, check_metadata_task, closed, in_time, made_producer, outcome
from topics import keys

_SEND_SECONDS: Final = 120.0
"""Until a record that Kafka neither takes nor refuses stops the worker: as long as Java's producer has patience."""


class Sender:
    """One idempotent producer for all partitions of a worker; and one for topics that are not Headgate's."""

    def __init__(self, config: Mapping[str, Any], *, prefix: str) -> None:
        self._prefix = prefix
        self._producer = made_producer(config, idempotent=True)
        self._outward = Outward(config, place=self._partition)
        self._turn = 0

    async def start(self) -> None:
        await self._producer.start()

    async def close(self) -> None:
        await closed(self._producer)
        await self._outward.close()

    async def send(self, records: Sequence[Record]) -> list[Refused]:
        """Send `records` in order per partition and wait for all; return the foreign ones that were not written.

        Raises LogError when another one is not acknowledged.
        """
        own = [one for one in records if not one.foreign]
        foreign = [one for one in records if one.foreign]
        if own:
            await self._send(own)
        return await self._outward.send(foreign) if foreign else []

    async def _send(self, records: Sequence[Record]) -> None:
        sending = [(record, await self._begin(record)) for record in records]
        await asyncio.wait([future for _, future in sending], timeout=_SEND_SECONDS)
        for record, failed in [(record, outcome(future, _SEND_SECONDS)) for record, future in sending]:
            if failed is not None:
                raise self._unsent(record, failed)

    async def _begin(self, record: Record) -> "asyncio.Future[Any]":
        """Hand a record to the producer. Raises LogError."""
        topic = self._prefix + record.topic
        check_metadata_task(self._producer)
        try:
            count = await self._partitions(topic)
            sending: asyncio.Future[Any] = await in_time(
                self._producer.send(
                    topic,
                    record.value,
                    key=record.key,
                    partition=self._partition(record, count),
                    headers=list(record.headers),
                ),
                _SEND_SECONDS,
            )
        except errors.KafkaError as error:
            raise self._unsent(record, error) from error
        return sending

    def _unsent(self, record: Record, error: BaseException) -> LogError:
        words = f"{self._prefix}{record.topic}: a record was not acknowledged: {type(error).__name__}: {error}"
        found = LogError(words)
        found.__cause__ = error
        return found

    def _partition(self, record: Record, count: int) -> int:
        if record.partition is not None:
            return record.partition
        if record.key is not None:
            return keys.partition_of(record.key, count)
        self._turn += 1
        return self._turn % count

    async def _partitions(self, topic: str) -> int:
        """Return how many partitions `topic` has, which is there: as long as Kafka does not say, it is waited for.

        Taken for missing, what was to be sent there would be lost.
        """
        known = self._producer.client.cluster.partitions_for_topic(topic)
        return len(known) if known else len(await in_time(self._producer.partitions_for(topic), _SEND_SECONDS))
