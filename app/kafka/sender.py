"""The worker's unfenced producer: commands, dead letters, published events, replies and other topics.

What it sends was journaled before, so a repeat after a crash carries the same bytes; receivers drop repeats by
sequence or id.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaProducer, errors

from app.engine.values.outgoing import Record
from app.kafka.log import LogError, Refusal, Refused
from topics import keys
from topics.foreign import is_topic
from topics.malformed import shown

Answer = TypeVar("Answer")

_METADATA_SECONDS = 5.0
_SEND_SECONDS = 120.0
"""Until a record that Kafka neither takes nor refuses stops the worker: as long as Java's producer has patience."""
_MISSING_SECONDS: Final = 30.0
"""How long a topic that was not there is taken to be missing: to ask takes `_METADATA_SECONDS` each time."""
_MOST_MISSING: Final = 1_000
_REFUSALS: Final[Mapping[type[errors.KafkaError], Refusal]] = {
    errors.UnknownTopicOrPartitionError: Refusal.MISSING,
    errors.TopicAuthorizationFailedError: Refusal.FORBIDDEN,
    errors.MessageSizeTooLargeError: Refusal.TOO_LARGE,
    errors.RecordListTooLargeError: Refusal.TOO_LARGE,
    errors.InvalidTopicError: Refusal.INVALID,
    errors.CorruptRecordException: Refusal.INVALID,
    errors.PolicyViolationError: Refusal.INVALID,
}


class Sender:
    """One idempotent producer for all partitions of a worker; and one for topics that are not Headgate's.

    That one is not idempotent: a broker that refuses a batch has not counted its sequence, and takes none after it.
    """

    def __init__(self, config: Mapping[str, Any], *, prefix: str) -> None:
        self._prefix = prefix
        self._config = config
        self._producer = self._made(idempotent=True)
        self._outward: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._missing: dict[str, float] = {}
        """Until when (loop's time) a topic is taken to be missing."""
        self._turn = 0

    async def start(self) -> None:
        await self._producer.start()

    async def close(self) -> None:
        for producer in (self._producer, self._outward):
            if producer is None:
                continue
            try:
                await asyncio.wait_for(producer.stop(), 2.0)
            except (TimeoutError, errors.KafkaError):
                await producer.client.close()

    async def send(self, records: Sequence[Record]) -> list[Refused]:
        """Send `records` in order per partition and wait for all; return the foreign ones that cannot be written.

        Raises LogError when another one is not acknowledged.
        """
        refused: list[Refused] = []
        sending: list[tuple[Record, asyncio.Future[Any]]] = []
        for record in records:
            try:
                sending.append((record, await self._begin(record)))
            except errors.KafkaError as error:
                refused.append(Refused(record, self._refusal(record, error)))
        if sending:
            await asyncio.wait([future for _, future in sending], timeout=_SEND_SECONDS)
        outcomes = [_outcome(future) for _, future in sending]
        again: list[Record] = []
        for (record, _), outcome in zip(sending, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                if not (record.foreign and isinstance(outcome, errors.UnknownError)):  # it may be its neighbour's
                    self._refusal(record, outcome)
                again.append(record)
        for record in again:  # a batch is refused as a whole: one by one, most may be accepted
            try:
                await _in_time(await self._begin(record))
            except errors.KafkaError as error:
                refused.append(Refused(record, self._refusal(record, error)))
        return refused

    async def _begin(self, record: Record) -> "asyncio.Future[Any]":
        """Hand a record to its producer. Raises KafkaError."""
        topic = self._topic(record)
        if record.foreign and not is_topic(topic):  # journaled by a release that took it
            raise errors.InvalidTopicError(shown(topic))
        producer = await self._producer_of(record)
        _check_metadata_task(producer)
        count = await self._partitions(producer, topic, foreign=record.foreign)
        if not count:
            raise errors.UnknownTopicOrPartitionError(topic)
        sending: asyncio.Future[Any] = await _in_time(
            producer.send(
                topic,
                record.value,
                key=record.key,
                partition=self._partition(record, count),
                headers=list(record.headers),
            )
        )
        return sending

    def _refusal(self, record: Record, error: BaseException) -> Refusal:
        """Return why a foreign record cannot be written. Raises LogError for anything else."""
        if record.foreign:
            for kind, why in _REFUSALS.items():
                if isinstance(error, kind):
                    return why
            # INVALID_RECORD (87), which a compacted topic answers, is one of the codes that aiokafka does not know.
            if isinstance(error, errors.UnknownError) and record.key is None:
                return Refusal.INVALID
        words = f"{self._topic(record)}: a record was not acknowledged: {type(error).__name__}: {error}"
        raise LogError(words) from error

    def _topic(self, record: Record) -> str:
        return record.topic if record.foreign else self._prefix + record.topic

    def _made(self, *, idempotent: bool) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._config,
            acks="all",
            enable_idempotence=idempotent,
            max_batch_size=512 * 1024,
            max_request_size=8 * 1024 * 1024,
        )

    async def _producer_of(self, record: Record) -> AIOKafkaProducer:
        if not record.foreign:
            return self._producer
        async with self._starting:
            if self._outward is None:
                made = self._made(idempotent=False)
                try:
                    await made.start()
                except BaseException:
                    await made.stop()
                    raise
                self._outward = made
        return self._outward

    def _partition(self, record: Record, count: int) -> int:
        if record.partition is not None:
            return record.partition
        if record.key is not None:
            return keys.partition_of(record.key, count)
        self._turn += 1
        return self._turn % count

    async def _partitions(self, producer: AIOKafkaProducer, topic: str, *, foreign: bool) -> int:
        """Return how many partitions `topic` has; 0 when Kafka says that there is no such topic, or said so lately.

        Our own topics are there: as long as Kafka does not answer for one of them, it is waited for. Taken for
        missing, what was to be sent there would be lost.
        """
        known = producer.client.cluster.partitions_for_topic(topic)
        if known:
            return len(known)
        if not foreign:
            return len(await _in_time(producer.partitions_for(topic)))
        now = asyncio.get_running_loop().time()
        if self._missing.get(topic, 0.0) > now:
            return 0
        try:
            return len(await asyncio.wait_for(producer.partitions_for(topic), _METADATA_SECONDS))
        except (TimeoutError, errors.UnknownTopicOrPartitionError, errors.KafkaTimeoutError):
            # Missing, or a broker that is silent: that one raises here, and the worker stops instead of giving up.
            everything = await producer.client.fetch_all_metadata()
            count = len(everything.partitions_for_topic(topic) or ())
        if not count:
            if len(self._missing) >= _MOST_MISSING:
                self._missing.clear()
            self._missing[topic] = asyncio.get_running_loop().time() + _MISSING_SECONDS
        return count


async def _in_time(waiting: Awaitable[Answer]) -> Answer:
    """Wait for Kafka as long as there is patience. Raises KafkaTimeoutError."""
    try:
        return await asyncio.wait_for(waiting, _SEND_SECONDS)
    except TimeoutError:
        raise _timed_out() from None


def _outcome(sent: "asyncio.Future[Any]") -> BaseException | None:
    if not sent.done():
        return _timed_out()
    if sent.cancelled():
        return asyncio.CancelledError()
    return sent.exception()


def _timed_out() -> Exception:
    error: Exception = errors.KafkaTimeoutError(f"no answer within {_SEND_SECONDS:g} s")
    return error


def _check_metadata_task(producer: AIOKafkaProducer) -> None:
    """Raise LogError when aiokafka's task that learns of topics and leaders has ended: nothing is found after that."""
    task = producer.client._sync_task
    if task is not None and task.done():
        cause = None if task.cancelled() else task.exception()
        raise LogError(f"the producer learns of no topic any more: {type(cause).__name__}: {cause}") from cause
