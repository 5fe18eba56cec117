"""The worker's unfenced producers: commands, dead letters, published events; replies and other topics.

What they send was journaled before, so a repeat after a crash carries the same bytes; receivers drop repeats by
sequence or id.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import errors

from app.engine.values.outgoing import Record
from app.kafka.log import LogError, Refusal, Refused
from app.kafka.outward import Outward, check_metadata_task, closed, in_time, made_producer, outcome
from app.observe import logs
from topics import facts, keys, letters

_SEND_SECONDS: Final = 120.0
"""Until a record that Kafka neither takes nor refuses stops the worker: as long as Java's producer has patience."""
_LETTERS: Final = "dlq"
_TOO_LARGE: Final = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)

log = logs.get(__name__)


class Sender:
    """One idempotent producer for all partitions of a worker; and one for topics that are not Headgate's."""

    def __init__(self, config: Mapping[str, Any], *, prefix: str) -> None:
        self._prefix = prefix
        self._producer = made_producer(config, idempotent=True)
        self._outward = Outward(config, place=self._partition)
        self._turn = 0
        self._letters_apart = False
        """Whether the topic of dead letters has refused a batch: that left a hole in the sequence of the producer."""

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
        buried = [one for one in records if self._letters_apart and one.topic == _LETTERS]
        sending = [
            (record, await self._begin(record)) for record in records if not any(record is one for one in buried)
        ]
        if sending:
            await asyncio.wait([future for _, future in sending], timeout=_SEND_SECONDS)
        for record, failed in [(record, outcome(future, _SEND_SECONDS)) for record, future in sending]:
            if failed is None:
                continue
            if not (record.topic == _LETTERS and self._is_of_the_letters(failed)):
                raise self._unsent(record, failed)
            buried.append(record)
        if buried:
            await self._bury(buried)

    def _is_of_the_letters(self, failed: BaseException) -> bool:
        """Whether a dead letter was refused because their topic takes smaller batches than it is made for."""
        if isinstance(failed, _TOO_LARGE):
            if not self._letters_apart:
                log.error(
                    "dead_letters_too_large",
                    topic=self._prefix + _LETTERS,
                    remedy="raise max.message.bytes of the topic: `headgate topics check` prints the command; until "
                    "then what is too large is written without its value",
                )
            self._letters_apart = True
            return True
        return self._letters_apart and isinstance(failed, errors.OutOfOrderSequenceNumber)

    async def _bury(self, buried: Sequence[Record]) -> None:
        """Write dead letters by the other producer, each that is too large without its original. Raises LogError."""
        topic = self._prefix + _LETTERS
        whole = [Record(topic, None, one.key, one.value, one.headers, foreign=True) for one in buried]
        large = self._too_large(await self._outward.send(whole))
        short = [letters.shortened(_letter(one)) for one in large]
        left = [Record(topic, None, one.key, one.value, tuple(one.headers), foreign=True) for one in short]
        for one in self._too_large(await self._outward.send(left)) if left else ():
            told = letters.in_log(_letter(one))
            log.error("dead_letter_not_written", topic=topic, size_bytes=len(one.value or b""), **told)

    def _too_large(self, refused: Sequence[Refused]) -> list[Record]:
        """Return those that are too large for their topic. Raises LogError when one was refused for anything else."""
        for one in refused:
            if one.why is not Refusal.TOO_LARGE:
                away = errors.KafkaTimeoutError if one.why is Refusal.AWAY else errors.KafkaError
                raise self._unsent(one.record, away(f"it is {one.why.value}"))
        return [one.record for one in refused]

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
        topic = record.topic if record.foreign else self._prefix + record.topic
        words = f"{topic}: a record was not acknowledged: {type(error).__name__}: {error}"
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


def _letter(record: Record) -> facts.Record:
    """Return a dead letter as whoever made it had it."""
    return facts.Record(record.key, record.value or b"", [(name, raw or b"") for name, raw in record.headers])
