"""Publishes what sources have read: one idempotent producer for a process, whole batches, awaited.

`publish` returns once everything is durable, however long Kafka is away. A repetition has the same ids.
"""

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer, errors

from connectors.base.closing import close, start
from connectors.base.instance.events import Outgoing, TooLargeForKafka
from connectors.base.logs import warn
from topics import keys
from topics.facts import Record
from topics.letters import in_log, shortened

BATCH_BYTES: Final = 900 * 1024
"""Below the 1,048,588 that a broker takes by default; one larger event travels alone."""
REQUEST_BYTES: Final = 8 * 1024 * 1024
FEW: Final = 5
"""So many events of one partition travel with those of other sources: a batch for each source would wait for all those
before it, one request after the other. Of more events a batch costs less."""
FEW_BYTES: Final = 64 * 1024
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0


class _Link:
    """A producer, and whether it is closed: what it has not delivered by then, it may never deliver."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self.producer = producer
        self._closed = asyncio.get_running_loop().create_future()

    async def delivered(self, sent: Sequence["asyncio.Future[Any]"]) -> None:
        """Return once all of it is acknowledged. Raises the first error, ProducerClosed when nobody will tell."""
        everything = asyncio.gather(*sent, return_exceptions=True)
        everything.add_done_callback(lambda one: one.cancelled() or one.exception())  # or asyncio complains of the end
        try:
            await asyncio.wait({everything, self._closed}, return_when=asyncio.FIRST_COMPLETED)
            if not everything.done():
                # aiokafka takes batches that have waited for their turn also while it closes, and forgets them.
                raise errors.ProducerClosed
            for outcome in everything.result():
                if isinstance(outcome, BaseException):
                    raise outcome
        finally:
            everything.cancel()

    async def close(self) -> None:
        if not self._closed.done():
            self._closed.set_result(None)
        await close(self.producer.stop())


class Publisher:
    """The producer of a process of connectors. Its owner calls `close` at the end."""

    def __init__(self, *, prefix: str, client: Mapping[str, Any]) -> None:
        self._prefix, self._client = prefix, client
        self._link: _Link | None = None
        self._making = asyncio.Lock()
        self._counts: dict[str, int] = {}
        self._pause = FIRST_PAUSE_SECONDS
        self._batch_bytes = BATCH_BYTES
        self._letter_bytes: float = math.inf
        """Size from which on a dead letter alone was too large for the topic of dead letters."""
        self._are_letters_alone = False
        """Whether dead letters travel one by one, since a batch of them was too large: it tells which of them is."""
        self._one_letter = asyncio.Lock()
        self.last_error: str | None = "Kafka has not been reached yet"

    async def publish(self, events: Sequence[Outgoing], letters: Sequence[Record] = ()) -> None:
        """Return once all events and dead letters are acknowledged. Raises what trying again does not cure.

        Raises TooLargeForKafka once everything else is acknowledged.
        """
        refused: list[Outgoing] = []
        left = list(letters)
        while events or left:
            link = None
            try:
                link = await self._connected()
                events, failed = await self._send(link, events, left, refused)
                if failed is not None:
                    raise failed
            except (errors.KafkaError, OSError) as error:
                await self._renew(link, error)
        self._is_well()
        if refused:
            raise TooLargeForKafka(refused)

    async def write(self, topic: str, key: bytes, value: bytes | None, *, partition: int | None = None) -> None:
        """Return once a record of another topic of ours is acknowledged; its partition is that of its key."""
        while True:
            link = None
            try:
                link = await self._connected()
                if partition is None:
                    partition = keys.partition_of(key, await self._count(link, topic))
                sent = await link.producer.send(self._prefix + topic, value, key=key, partition=partition)
                await link.delivered([sent])
            except (errors.KafkaError, OSError) as error:
                await self._renew(link, error)
            else:
                self._is_well()
                return

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic of ours has, once Kafka says so."""
        while True:
            link = None
            try:
                link = await self._connected()
                return await self._count(link, topic)
            except (errors.KafkaError, OSError) as error:
                await self._renew(link, error)

    async def probe(self, seconds: float) -> str | None:
        """Return why Kafka does not answer now, None when it does."""
        try:
            async with asyncio.timeout(seconds):
                await (await self._connected()).producer.client.fetch_all_metadata()
        except TimeoutError:
            return f"Kafka did not answer within {seconds:g} s"
        except (errors.KafkaError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        return None

    async def close(self) -> None:
        """End the connection; what is not acknowledged yet is somebody's to publish again."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    # ---- inside ----------------------------------------------------------------------------------------------------

    async def _send(
        self, link: _Link, events: Sequence[Outgoing], letters: list[Record], refused: list[Outgoing]
    ) -> tuple[Sequence[Outgoing], BaseException | None]:
        """Send everything; return which events have to be sent again, and why; `letters` keeps those that have to.

        `refused` gets the events that are too large for Kafka.
        """
        count = await self._count(link, "events")
        by_partition: dict[int, list[Outgoing]] = {}
        for event in events:
            by_partition.setdefault(keys.partition_of(event.home.encode(), count), []).append(event)
        jobs = [self._send_events(link, partition, its, refused) for partition, its in by_partition.items()]
        if letters:
            jobs.append(self._send_letters(link, letters))
        outcomes = await asyncio.gather(*jobs, return_exceptions=True)
        failed = [outcome for outcome in outcomes if outcome is not None]
        if not failed:
            return (), None
        again = [
            event
            for its, outcome in zip(by_partition.values(), outcomes, strict=False)
            for event in its
            if outcome is not None and not any(event is one for one in refused)
        ]
        for_good = [one for one in failed if not _is_cured_by_trying_again(one)]
        return again, (for_good or failed)[0]

    async def _send_events(
        self, link: _Link, partition: int, events: Sequence[Outgoing], refused: list[Outgoing]
    ) -> None:
        topic = f"{self._prefix}events"
        if self._batch_bytes == BATCH_BYTES and len(events) <= FEW and _bytes(events) <= FEW_BYTES:
            return await self._send_few(link, topic, partition, events)
        sent, sizes = [], []
        for batch, its in _batches(link.producer, events, self._batch_bytes):
            sent.append((await link.producer.send_batch(batch, topic, partition=partition), its))
            sizes.append(_bytes(its))
        try:
            await link.delivered([one for one, _ in sent])
        except _TOO_LARGE as error:
            for (one, its), size in zip(sent, sizes, strict=True):
                if one.cancelled() or not (one.done() and isinstance(one.exception(), _TOO_LARGE)):
                    continue
                if len(its) == 1:
                    refused += its
                else:
                    self._batch_bytes = max(1, min(self._batch_bytes, size) // 2)
            # What a broker refuses leaves a hole in the sequence.
            raise errors.OutOfOrderSequenceNumber(f"the topic's max.message.bytes is too small: {error}") from error

    async def _send_few(self, link: _Link, topic: str, partition: int, events: Sequence[Outgoing]) -> None:
        """Put events into the batch that is open. One that is too large tells nothing of them: they go apart then."""
        send = link.producer.send
        try:
            await link.delivered(
                [await send(topic, one.value, key=one.key, partition=partition, headers=one.headers) for one in events]
            )
        except _TOO_LARGE as error:
            self._batch_bytes = min(self._batch_bytes, BATCH_BYTES // 2)
            raise errors.OutOfOrderSequenceNumber(f"the topic's max.message.bytes is too small: {error}") from error

    async def _send_letters(self, link: _Link, letters: list[Record]) -> None:
        """Send dead letters and take them out of the list; one that is too large for its topic without its original."""
        if self._are_letters_alone:
            async with self._one_letter:
                while letters:
                    if (fits := self._fitting(letters[0])) is not None:
                        await self._deliver_letters(link, [fits], alone=True)
                    del letters[0]
        else:
            await self._deliver_letters(link, letters, alone=False)
            letters.clear()

    async def _deliver_letters(self, link: _Link, letters: Sequence[Record], *, alone: bool) -> None:
        topic, send = f"{self._prefix}dlq", link.producer.send
        try:
            await link.delivered([await send(topic, one.value, key=one.key, headers=one.headers) for one in letters])
        except _TOO_LARGE as error:
            if alone:
                self._letter_bytes = min(self._letter_bytes, *map(_size, letters))
            elif not self._are_letters_alone:
                self._are_letters_alone = True
                warn("dead_letters_too_large", topic=topic, remedy="raise max.message.bytes of the topic")
            raise errors.OutOfOrderSequenceNumber(f"the topic's max.message.bytes is too small: {error}") from error

    def _fitting(self, letter: Record) -> Record | None:
        """Return a dead letter as its topic takes it, as far as is known; None: not at all, so the log tells of it."""
        if _size(letter) < self._letter_bytes:
            return letter
        short = shortened(letter)
        if _size(short) < self._letter_bytes:
            return short
        warn("dead_letter_not_written", topic=f"{self._prefix}dlq", size_bytes=_size(short), **in_log(short))
        return None

    async def _count(self, link: _Link, topic: str) -> int:
        count = self._counts.get(topic)
        if count is None:
            count = self._counts[topic] = len(await link.producer.partitions_for(self._prefix + topic))
        return count

    async def _connected(self) -> _Link:
        async with self._making:
            if self._link is None:
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
                self._link = _Link(producer)
            return self._link

    def _is_well(self) -> None:
        self.last_error = None
        self._pause = FIRST_PAUSE_SECONDS

    async def _renew(self, failed: _Link | None, error: Exception) -> None:
        """Begin anew after a failure: a batch that failed leaves a hole in the sequence. Raises what it cannot cure.

        Many wait for one producer: the first of them replaces it after a pause, the others wait and take the new one.
        A time-out is no failure of the producer: what it has taken it sends until it is delivered.
        """
        if not _is_cured_by_trying_again(error):
            raise error
        reason = f"{type(error).__name__}: {error}"
        if reason != self.last_error:
            warn("publish_retried", reason=reason)
        self.last_error = reason
        if isinstance(error, errors.KafkaTimeoutError) and failed is not None:
            await asyncio.sleep(FIRST_PAUSE_SECONDS)
            return
        async with self._making:
            if self._link is failed:
                await self.close()
                await asyncio.sleep(self._pause)
                self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)


def _is_cured_by_trying_again(error: BaseException) -> bool:
    if isinstance(error, errors.KafkaError):
        # What aiokafka's sender does not expect comes as a KafkaError and no more.
        return bool(error.retriable) or isinstance(error, _BEGUN_ANEW) or type(error) is errors.KafkaError
    return isinstance(error, OSError)


def _batches(
    producer: AIOKafkaProducer, events: Sequence[Outgoing], most_bytes: int
) -> Iterator[tuple[Any, list[Outgoing]]]:
    """Yield batches of all events, in order, and what is in each; one that is larger than a batch is alone in it."""
    batch, size, its = producer.create_batch(), 0, list[Outgoing]()
    for event in events:
        if size and size + event.size_bytes > most_bytes:
            batch.close()
            yield batch, its
            batch, size, its = producer.create_batch(), 0, []
        if batch.append(timestamp=None, key=event.key, value=event.value, headers=event.headers) is None:
            raise AssertionError("a batch with room for an event has not taken it")  # it would be lost without a word
        size += event.size_bytes
        its.append(event)
    batch.close()
    yield batch, its


def _bytes(events: Sequence[Outgoing]) -> int:
    return sum(event.size_bytes for event in events)


def _size(letter: Record) -> int:
    return len(letter.key or b"") + len(letter.value)


_TOO_LARGE: Final = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
_BEGUN_ANEW: Final = (
    errors.KafkaConnectionError,
    errors.KafkaTimeoutError,
    errors.OutOfOrderSequenceNumber,
    errors.ProducerClosed,
    errors.UnknownProducerId,
    errors.InvalidProducerEpoch,
    errors.UnknownTopicOrPartitionError,
)
