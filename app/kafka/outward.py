"""The worker's producer for topics that are not Headgate's: replies, and what runs send there.

Nothing here ends a worker: such a topic may be missing, forbidden, of smaller records, or without a leader, and that is
told of each record. What is told to be away may still arrive, once more than it is sent again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaProducer, errors

from app.engine.values.outgoing import Record
from app.kafka.log import LogError, Refusal, Refused
from topics.foreign import is_topic
from topics.malformed import shown

Answer = TypeVar("Answer")

_METADATA_SECONDS = 5.0
_SEND_SECONDS = 5.0
"""Until a record that Kafka neither takes nor refuses is away: what it goes with waits as long, once."""
_MISSING_SECONDS: Final = 30.0
"""How long a topic that was not there is taken to be missing: to ask takes `_METADATA_SECONDS` each time."""
_MOST_MISSING: Final = 1_000
_REFUSALS: Final[Mapping[type[errors.KafkaError], Refusal]] = {
    errors.TopicAuthorizationFailedError: Refusal.FORBIDDEN,
    errors.MessageSizeTooLargeError: Refusal.TOO_LARGE,
    errors.RecordListTooLargeError: Refusal.TOO_LARGE,
    errors.InvalidTopicError: Refusal.INVALID,
    errors.CorruptRecordException: Refusal.INVALID,
    errors.PolicyViolationError: Refusal.INVALID,
    errors.UnknownError: Refusal.INVALID,
}
# INVALID_RECORD (87), which a compacted topic answers, is one of the codes that aiokafka does not know: UnknownError.
_OF_A_BATCH: Final = (*_REFUSALS,)
"""What a batch is refused for, though perhaps for one record of it alone."""


class Outward:
    """One producer for all partitions of a worker, started with the first record.

    It is not idempotent: a broker that refuses a batch has not counted its sequence, and takes none after it.
    """

    def __init__(self, config: Mapping[str, Any], *, place: Callable[[Record, int], int]) -> None:
        """`place` names the partition of a record of a topic with so many."""
        self._config = config
        self._place = place
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._missing: dict[str, float] = {}
        """Until when (loop's time) a topic is taken to be missing."""

    async def close(self) -> None:
        if self._producer is not None:
            await closed(self._producer)

    async def send(self, records: Sequence[Record]) -> list[Refused]:
        """Send `records` in order per partition and wait for all; return those that were not written, and why.

        Raises LogError when this producer can do nothing more.
        """
        refused: list[Refused] = []
        away: set[str] = set()

        async def refuse(record: Record, error: BaseException) -> None:
            why = await self._refusal(record, error)
            refused.append(Refused(record, why))
            if why is Refusal.AWAY:
                away.add(record.topic)

        sending: list[tuple[Record, asyncio.Future[Any]]] = []
        for record in records:
            if record.topic in away:  # behind those before it
                refused.append(Refused(record, Refusal.AWAY))
                continue
            try:
                sending.append((record, await self._begin(record)))
            except errors.KafkaError as error:
                await refuse(record, error)
        if sending:
            await asyncio.wait([future for _, future in sending], timeout=_SEND_SECONDS)
        again: list[Record] = []
        for record, failed in [(record, outcome(future, _SEND_SECONDS)) for record, future in sending]:
            if failed is None:
                continue
            if record.topic in away:
                refused.append(Refused(record, Refusal.AWAY))
            elif isinstance(failed, _OF_A_BATCH):
                again.append(record)
            else:
                await refuse(record, failed)
        for record in again:  # a batch is refused as a whole: one by one, most may be accepted
            if record.topic in away:
                refused.append(Refused(record, Refusal.AWAY))
                continue
            try:
                await in_time(await self._begin(record), _SEND_SECONDS)
            except errors.KafkaError as error:
                await refuse(record, error)
        return refused

    async def _begin(self, record: Record) -> "asyncio.Future[Any]":
        """Hand a record to the producer. Raises KafkaError."""
        if not is_topic(record.topic):  # journaled by a release that took it
            raise errors.InvalidTopicError(shown(record.topic))
        producer = await self._started()
        check_metadata_task(producer)
        count = await self._partitions(producer, record.topic)
        if not count:
            raise errors.UnknownTopicOrPartitionError(record.topic)
        sending: asyncio.Future[Any] = await in_time(
            producer.send(
                record.topic,
                record.value,
                key=record.key,
                partition=self._place(record, count),
                headers=list(record.headers),
            ),
            _SEND_SECONDS,
        )
        return sending

    async def _refusal(self, record: Record, error: BaseException) -> Refusal:
        """Return why a record was not written. What nobody knows is not the record's fault: its topic is."""
        for kind, why in _REFUSALS.items():
            if isinstance(error, kind):
                return why
        return Refusal.AWAY if await self._is_there(record.topic) else Refusal.MISSING

    async def _is_there(self, topic: str) -> bool:
        """Whether the topic is there, as far as Kafka says; a silent broker has taken none away."""
        if self._missing.get(topic, 0.0) > asyncio.get_running_loop().time():
            return False
        if self._producer is None:
            return True
        try:
            everything = await asyncio.wait_for(self._producer.client.fetch_all_metadata(), _METADATA_SECONDS)
        except (TimeoutError, errors.KafkaError):
            return True
        if everything.partitions_for_topic(topic):
            return True
        self._miss(topic)
        return False

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                made = made_producer(self._config, idempotent=False, request_timeout_ms=int(_SEND_SECONDS * 1000))
                try:
                    await made.start()
                except BaseException:
                    await made.stop()
                    raise
                self._producer = made
        return self._producer

    async def _partitions(self, producer: AIOKafkaProducer, topic: str) -> int:
        """Return how many partitions `topic` has; 0 when Kafka says that there is no such topic, or said so lately.

        Raises KafkaError when no broker says anything.
        """
        known = producer.client.cluster.partitions_for_topic(topic)
        if known:
            return len(known)
        if self._missing.get(topic, 0.0) > asyncio.get_running_loop().time():
            return 0
        try:
            return len(await asyncio.wait_for(producer.partitions_for(topic), _METADATA_SECONDS))
        except (TimeoutError, errors.UnknownTopicOrPartitionError, errors.KafkaTimeoutError):
            everything = await in_time(producer.client.fetch_all_metadata(), _METADATA_SECONDS)
            count = len(everything.partitions_for_topic(topic) or ())
        if not count:
            self._miss(topic)
        return count

    def _miss(self, topic: str) -> None:
        if len(self._missing) >= _MOST_MISSING:
            self._missing.clear()
        self._missing[topic] = asyncio.get_running_loop().time() + _MISSING_SECONDS


def made_producer(
    config: Mapping[str, Any], *, idempotent: bool, request_timeout_ms: int | None = None
) -> AIOKafkaProducer:
    """Return a producer of a worker's, which is not started."""
    given = dict(config)
    if request_timeout_ms is not None:
        given["request_timeout_ms"] = min(request_timeout_ms, given.get("request_timeout_ms", request_timeout_ms))
    return AIOKafkaProducer(
        **given,
        acks="all",
        enable_idempotence=idempotent,
        max_batch_size=512 * 1024,
        max_request_size=8 * 1024 * 1024,
    )


async def closed(producer: AIOKafkaProducer) -> None:
    """Close a producer, within bounds."""
    try:
        await asyncio.wait_for(producer.stop(), 2.0)
    except (TimeoutError, errors.KafkaError):
        await producer.client.close()


async def in_time(waiting: Awaitable[Answer], seconds: float) -> Answer:
    """Wait for Kafka as long as there is patience. Raises KafkaTimeoutError."""
    try:
        return await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        raise _timed_out(seconds) from None


def outcome(sent: "asyncio.Future[Any]", seconds: float) -> BaseException | None:
    """Return what became of a record after `seconds`: None once it is acknowledged."""
    if not sent.done():
        return _timed_out(seconds)
    if sent.cancelled():
        return asyncio.CancelledError()
    error: BaseException | None = sent.exception()
    return error


def _timed_out(seconds: float) -> Exception:
    error: Exception = errors.KafkaTimeoutError(f"no answer within {seconds:g} s")
    return error


def check_metadata_task(producer: AIOKafkaProducer) -> None:
    """Raise LogError when aiokafka's task that learns of topics and leaders has ended: nothing is found after that."""
    task = producer.client._sync_task
    if task is not None and task.done():
        cause = None if task.cancelled() else task.exception()
        raise LogError(f"the producer learns of no topic any more: {type(cause).__name__}: {cause}") from cause
