"""Positions of the sources of one partition of `triggers`, in the same partition of `cursors`, under a fence.

The fence is a transactional id for the partition: whoever takes over bumps its epoch, and the broker refuses what an
owner of before still writes (KIP-98). A source whose events are durable moves its position here; the newest position of
each source is written, as many of them in one transaction as have moved meanwhile.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, errors

from connectors.base.batches import guard, say_passed_over
from connectors.base.closing import close, start
from connectors.base.logs import warn
from topics.sources import Cursor, Unsuitable, cursor_moved, cursor_of

TRANSACTION_SECONDS: Final = 15 * 60
"""How long Kafka may be away amidst a transaction before it gives that up, and all sources of the partition begin anew.

The most that brokers take by default. Nobody waits for it: whoever takes over ends what an owner of before has open.
"""
SHORT_TRANSACTION_SECONDS: Final = 60
"""For brokers that are set to take less."""
REQUEST_BYTES: Final = 8 * 1024 * 1024
BEGUN: Final = "/begun"
"""Key of a record without a value, the first of a partition: what has an owner is not empty from then on."""
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0


class Fenced(Exception):
    """Another process owns these positions now, or the broker gave up a transaction: everything here begins anew."""


class Positions:
    """The positions of one partition. `take_over` first; then `run` as a task writes what `move` is told."""

    def __init__(self, partition: int, *, prefix: str, client: Mapping[str, Any]) -> None:
        self._partition, self._client = partition, client
        self._topic = f"{prefix}cursors"
        self._transactional_id = f"{prefix}sources.{partition}"
        self._producer: AIOKafkaProducer | None = None
        self._moved: dict[str, tuple[Cursor | None, bytes | None]] = {}
        self.stored: dict[str, Cursor] = {}
        """The positions that Kafka has: whoever takes over now begins with them."""
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._was_owned: bool | None = None
        self.epoch = ""
        """Names this ownership among all of the partition: producer id and epoch."""

    async def take_over(self) -> dict[str, Cursor]:
        """Fence former owners off, and return the positions as they left them. Waits for Kafka. Raises Fenced."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._fence()
                self.stored, is_empty = await self._read()
                if is_empty:
                    await self._first()
            except (errors.KafkaError, OSError) as error:
                if not _is_cured_by_trying_again(error):
                    raise
                warn("positions_retried", partition=self._partition, reason=f"{type(error).__name__}: {error}")
                await self.close()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                return dict(self.stored)

    def move(self, instance_id: str, cursor: Cursor | None) -> None:
        """Note where a source is now, None for one that is removed. Everything before it is durable already.

        Raises Unsuitable when the position is too large.
        """
        at_ms = int(time.time() * 1000)
        value = None if cursor is None else cursor_moved(instance_id, cursor, at_ms=at_ms)[1]
        self._moved[instance_id] = (cursor, value)
        self._settled.clear()
        self._wake.set()

    async def settled(self) -> None:
        """Return once everything that was noted is written."""
        await self._settled.wait()

    async def run(self) -> None:
        """Write until cancelled. Raises Fenced, and what trying again does not cure."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            moved, self._moved = self._moved, {}
            if moved:
                await self._write({name: value for name, (_, value) in moved.items()})
                for name, (cursor, _) in moved.items():
                    if cursor is None:
                        self.stored.pop(name, None)
                    else:
                        self.stored[name] = cursor
            if not self._moved:
                self._settled.set()

    async def close(self) -> None:
        """End the connection."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await close(producer.stop())

    # ---- inside ----------------------------------------------------------------------------------------------------

    async def _fence(self) -> None:
        try:
            await self._begin(TRANSACTION_SECONDS)
        except errors.InvalidTransactionTimeout:
            await self.close()
            await self._begin(SHORT_TRANSACTION_SECONDS)

    async def _begin(self, transaction_seconds: int) -> None:
        producer = AIOKafkaProducer(
            **self._client,
            transactional_id=self._transactional_id,
            transaction_timeout_ms=transaction_seconds * 1000,
            max_request_size=REQUEST_BYTES,
            compression_type="gzip",
        )
        self._producer = producer
        await start(producer.start())
        producer._sender.sender_task.add_done_callback(lambda _: _hear(producer))
        manager = producer._txn_manager
        self.epoch = f"{manager.producer_id}-{manager.producer_epoch}"
        if self._was_owned is None:  # what is tried again has been ours
            self._was_owned = manager.producer_epoch > 0

    async def _first(self) -> None:
        """Write the first record of a partition; say so if it has had owners, for each of them began like this."""
        if self._was_owned:
            warn(
                "positions_lost",
                partition=self._partition,
                reason=f"{self._topic} has never had a record of this partition, which has had owners: unless the "
                "first of them died at once, the topic was made anew, and sources here begin at the beginning",
            )
        await self._write({BEGUN: None})

    async def _read(self) -> tuple[dict[str, Cursor], bool]:
        """Return the positions, and whether the partition has never had a record."""
        found: dict[str, Cursor] = {}
        where = TopicPartition(self._topic, self._partition)
        consumer = AIOKafkaConsumer(
            **self._client, enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed"
        )
        try:
            await start(consumer.start())
            guard(consumer, say_passed_over, unreadable="pass over")
            consumer.assign([where])
            await consumer.seek_to_beginning(where)
            end = (await consumer.end_offsets([where]))[where]
            while await consumer.position(where) < end:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        self._take(found, record.key, record.value)
        finally:
            await close(consumer.stop())
        return found, end == 0

    def _take(self, found: dict[str, Cursor], key: bytes | None, value: bytes | None) -> None:
        name = (key or b"").decode(errors="replace")
        if value is None:
            found.pop(name, None)
            return
        try:
            found[name] = cursor_of(value)
        except Unsuitable as error:
            warn("position_passed_over", source=name, partition=self._partition, reason=str(error))

    async def _write(self, moved: Mapping[str, bytes | None]) -> None:
        producer = self._producer
        if producer is None:
            raise Fenced(f"positions of partition {self._partition} have no producer")
        try:
            async with producer.transaction():
                for name, value in moved.items():
                    sent = await producer.send(self._topic, value, key=name.encode(), partition=self._partition)
                    # The commit tells it as well; asyncio complains of what nobody has looked at.
                    sent.add_done_callback(lambda one: one.cancelled() or one.exception())
        except (errors.KafkaError, OSError) as error:
            if not (_is_cured_by_trying_again(error) or isinstance(error, _NOT_OURS)):
                raise
            raise Fenced(f"positions of partition {self._partition}: {type(error).__name__}: {error}") from error


def _hear(producer: AIOKafkaProducer) -> None:
    """Look at what aiokafka tells when its sender has failed: asyncio complains of what nobody has looked at.

    Nobody waits for batches that it had not begun to send to be taken, nor for a transaction whose `send` has failed.
    """
    batches = [one for queue in producer._message_accumulator._batches.values() for one in queue]
    for told in (*(one._drain_waiter for one in batches), producer._txn_manager._transaction_waiter):
        if told is not None and told.done() and not told.cancelled():
            told.exception()


def _is_cured_by_trying_again(error: Exception) -> bool:
    if isinstance(error, errors.KafkaError):
        # What aiokafka's sender does not expect comes as a KafkaError and no more.
        return bool(error.retriable) or isinstance(error, _LATER) or type(error) is errors.KafkaError
    return isinstance(error, OSError)


_NOT_OURS: Final = (
    errors.ProducerFenced,
    errors.InvalidProducerEpoch,
    errors.InvalidProducerIdMapping,
    errors.InvalidTxnState,
    errors.OutOfOrderSequenceNumber,
    errors.UnknownProducerId,
    errors.IllegalOperation,
)
_LATER: Final = (
    errors.KafkaConnectionError,
    errors.KafkaTimeoutError,
    errors.ProducerClosed,
    errors.ConcurrentTransactions,
    errors.UnknownTopicOrPartitionError,
    errors.ConsumerStoppedError,
)
