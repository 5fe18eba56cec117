"""Publishes what sources have read: one idempotent producer for a process, whole batches, awaited.

`publish` returns once everything is durable, however long Kafka is away. A repetition has the same ids.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer, errors

from connectors.base.closing import close, start
from connectors.base.instance.events import Outgoing
from connectors.base.logs import warn
from topics import keys
from topics.facts import Record

BATCH_BYTES: Final = 900 * 1024
"""Below the 1,048,588 that a broker takes by default; one larger event travels alone."""
REQUEST_BYTES: Final = 8 * 1024 * 1024
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0


class Publisher:
    """The producer of a process of connectors. Its owner calls `close` at the end."""

    def __init__(self, *, prefix: str, client: Mapping[str, Any]) -> None:
        self._prefix, self._client = prefix, client
        self._producer: AIOKafkaProducer | None = None
        self._making = asyncio.Lock()
        self._counts: dict[str, int] = {}
        self._pause = FIRST_PAUSE_SECONDS
        self.last_error: str | None = "Kafka has not been reached yet"

    async def publish(self, events: Sequence[Outgoing], letters: Sequence[Record] = ()) -> None:
        """Return once all events and dead letters are acknowledged. Raises what trying again does not cure."""
        while True:
            producer = None
            try:
                producer = await self._connected()
                await self._send(producer, events, letters)
            except (errors.KafkaError, OSError) as error:
                await self._renew(producer, error)
            else:
                self._is_well()
                return

    async def write(self, topic: str, key: bytes, value: bytes | None, *, partition: int | None = None) -> None:
        """Return once a record of another topic of ours is acknowledged; its partition is that of its key."""
        while True:
            producer = None
            try:
                producer = await self._connected()
                if partition is None:
                    partition = keys.partition_of(key, await self._count(producer, topic))
                await producer.send_and_wait(self._prefix + topic, value, key=key, partition=partition)
            except (errors.KafkaError, OSError) as error:
                await self._renew(producer, error)
            else:
                self._is_well()
                return

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic of ours has, once Kafka says so."""
        while True:
            producer = None
            try:
                producer = await self._connected()
                return await self._count(producer, topic)
            except (errors.KafkaError, OSError) as error:
                await self._renew(producer, error)

    async def probe(self, seconds: float) -> str | None:
        """Return why Kafka does not answer now, None when it does."""
        try:
            async with asyncio.timeout(seconds):
                await (await self._connected()).client.fetch_all_metadata()
        except TimeoutError:
            return f"Kafka did not answer within {seconds:g} s"
        except (errors.KafkaError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        return None

    async def close(self) -> None:
        """End the connection; what is not acknowledged yet is somebody's to publish again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await close(producer.stop())

    # ---- inside ----------------------------------------------------------------------------------------------------

    async def _send(self, producer: AIOKafkaProducer, events: Sequence[Outgoing], letters: Sequence[Record]) -> None:
        topic = f"{self._prefix}events"
        count = await self._count(producer, "events")
        by_partition: dict[int, list[Outgoing]] = {}
        for event in events:
            by_partition.setdefault(keys.partition_of(event.home.encode(), count), []).append(event)
        sent = [
            await producer.send(f"{self._prefix}dlq", one.value, key=one.key, headers=one.headers) for one in letters
        ]
        for partition, its in by_partition.items():
            sent += [await producer.send_batch(batch, topic, partition=partition) for batch in _batches(producer, its)]
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _count(self, producer: AIOKafkaProducer, topic: str) -> int:
        count = self._counts.get(topic)
        if count is None:
            count = self._counts[topic] = len(await producer.partitions_for(self._prefix + topic))
        return count

    async def _connected(self) -> AIOKafkaProducer:
        async with self._making:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._client,
                    enable_idempotence=True,
                    acks="all",
                    linger_ms=0,
                    max_batch_size=BATCH_BYTES + 64 * 1024,
                    max_request_size=REQUEST_BYTES,
                )
                try:
                    await start(producer.start())
                except BaseException:
                    await close(producer.stop())
                    raise
                self._producer = producer
            return self._producer

    def _is_well(self) -> None:
        self.last_error = None
        self._pause = FIRST_PAUSE_SECONDS

    async def _renew(self, failed: AIOKafkaProducer | None, error: Exception) -> None:
        """Begin anew after a failure: a batch that failed leaves a hole in the sequence. Raises what it cannot cure.

        Many wait for one producer: the first of them replaces it after a pause, the others wait and take the new one.
        """
        if isinstance(error, errors.KafkaError) and not (error.retriable or isinstance(error, _BEGUN_ANEW)):
            raise error
        async with self._making:
            if self._producer is not failed:
                return
            reason = f"{type(error).__name__}: {error}"
            if reason != self.last_error:
                warn("publish_retried", reason=reason)
            self.last_error = reason
            await self.close()
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)


def _batches(producer: AIOKafkaProducer, events: Sequence[Outgoing]) -> Iterator[Any]:
    """Yield batches of all events, in order; one that is larger than a batch is alone in its own."""
    batch, size = producer.create_batch(), 0
    for event in events:
        if size and size + event.size_bytes > BATCH_BYTES:
            batch.close()
            yield batch
            batch, size = producer.create_batch(), 0
        if batch.append(timestamp=None, key=event.key, value=event.value, headers=event.headers) is None:
            raise AssertionError("a batch with room for an event has not taken it")  # it would be lost without a word
        size += event.size_bytes
    batch.close()
    yield batch


_BEGUN_ANEW: Final = (
    errors.KafkaConnectionError,
    errors.KafkaTimeoutError,
    errors.OutOfOrderSequenceNumber,
    errors.ProducerClosed,
    errors.UnknownProducerId,
    errors.InvalidProducerEpoch,
    errors.UnknownTopicOrPartitionError,
)
