"""Writes events for the gateway: each to its home partition, acknowledged by all in-sync replicas, many at a time.

Requests that arrive while a batch is on its way gather in the next one, without a timer (linger 0): one request alone
pays no wait, and a thousand at once share a batch. A batch has one future, not one per record.

What a caller must know of time: the idempotent producer below repeats a batch until Kafka answers. A caller gets its
answer within `timeout_seconds` all the same, but what it wrote may still land; equal ids make a repetition safe. Once a
partition has acknowledged nothing for that long, new events for it are refused at once, so that memory stays bounded.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiokafka import errors

from app.kafka.unfenced import Builder, Unfenced
from app.observe import logs
from connectors.base.closing import close
from topics import keys

BATCH_BYTES: Final = 900 * 1024  # below the 1,048,588 that a broker takes by default
PENDING_BYTES: Final = 64 * 1024 * 1024
LANE_BYTES: Final = 16 * 1024 * 1024  # of one partition: one that is stuck leaves room for the others
RECORD_OVERHEAD_BYTES: Final = 100
SWEEP_SECONDS: Final = 0.25
PROBE_SECONDS: Final = 2.0
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0

Headers = Sequence[tuple[str, bytes]]
# key, id, value, headers of one event
Outgoing = tuple[bytes | None, str, bytes, Headers]

log = logs.get(__name__)


class ProduceError(Exception):
    """Events were not acknowledged. `retry_after_seconds` says when to try again."""

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NotAccepted(ProduceError):
    """Nothing of the request was written."""


class MaybeAccepted(ProduceError):
    """The answer of Kafka is missing: all, some or none of the request was written or will be."""


class TooLarge(MaybeAccepted):
    """Kafka refused a batch of it: its topic takes smaller ones only."""


class _Waiter:
    """One request, which waits for the batches that its events went into."""

    __slots__ = ("deadline", "future", "open")

    def __init__(self, future: asyncio.Future[None], deadline: float) -> None:
        self.future, self.deadline, self.open = future, deadline, 0

    def succeed(self) -> None:
        self.open -= 1
        if not self.open and not self.future.done():
            self.future.set_result(None)

    def fail(self, error: ProduceError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Batch:
    """Records of one partition that travel together. It takes more of them until it is on its way."""

    __slots__ = ("builder", "lane", "opened_at", "size_bytes", "waiters")

    def __init__(self, lane: "_Lane", opened_at: float) -> None:
        self.builder = Builder(BATCH_BYTES, 0)
        self.lane, self.opened_at, self.size_bytes = lane, opened_at, 0
        self.waiters: list[_Waiter] = []

    def add(self, key: bytes | None, value: bytes, headers: Headers, size_bytes: int) -> bool:
        if self.size_bytes and self.size_bytes + size_bytes > BATCH_BYTES:
            self.builder.close()
            return False
        if self.builder.append(timestamp=None, key=key, value=value, headers=headers) is None:
            return False
        self.size_bytes += size_bytes
        return True


class _Lane:
    """The batches of one partition that are not on their way yet, in order, and the last one that was opened."""

    __slots__ = ("last", "partition", "pending_bytes", "queued", "task")

    def __init__(self, partition: int) -> None:
        self.partition, self.pending_bytes = partition, 0
        self.queued: deque[_Batch] = deque()
        self.last: _Batch | None = None
        self.task: asyncio.Task[None] | None = None


class EventProducer:
    """The gateway's producer of `topic`. Its owner runs `run()` as a task and cancels it after `drain()`."""

    def __init__(self, topic: str, *, client: Mapping[str, Any], timeout_seconds: float) -> None:
        self.topic = topic
        self._client = client
        self._timeout = timeout_seconds
        self._producer: Unfenced | None = None
        self._lanes: list[_Lane] = []
        self._undelivered: dict[_Batch, None] = {}  # in the order in which they were opened
        self._waiting: deque[_Waiter] = deque()
        self._pending_bytes = 0
        self._failed = asyncio.Event()
        self._unknown: BaseException | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.last_error: str | None = "Kafka has not been reached yet"

    # ---- what the gateway asks ---------------------------------------------------------------------------------

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for Kafka's acknowledgement."""
        return self._pending_bytes

    async def produce(self, events: Sequence[Outgoing]) -> None:
        """Return once every event is acknowledged. Raises NotAccepted or MaybeAccepted; nothing is retried here."""
        now = time.monotonic()
        self._refuse_while_away()
        waiter = _Waiter(asyncio.get_running_loop().create_future(), now + self._timeout)
        joined: _Batch | None = None
        lanes, count = self._lanes, len(self._lanes)
        homes = [
            lanes[keys.partition_of(key if key is not None else name.encode(), count)] for key, name, _, _ in events
        ]
        self._refuse_where_stuck(homes, now)
        for lane, (key, _, value, headers) in zip(homes, events, strict=True):
            batch = self._append(lane, key, value, headers, now)
            # Events of one partition follow each other into one batch; the list of waiters keeps each once or twice.
            if batch is not joined and (not batch.waiters or batch.waiters[-1] is not waiter):
                batch.waiters.append(waiter)
                waiter.open += 1
            joined = batch
        if waiter.open:
            self._waiting.append(waiter)
            await waiter.future

    async def probe(self) -> str | None:
        """Ask Kafka for an answer now. Returns why there is none."""
        producer = self._producer
        if producer is None:
            return self.last_error
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                there = await producer.has(self.topic)
        except TimeoutError:
            return f"Kafka did not answer within {PROBE_SECONDS:.0f} s"
        except (errors.KafkaError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        if not there:
            return f"topic {self.topic} does not exist; create it with `headgate topics apply`"
        return None

    async def run(self) -> None:
        """Connect, and connect anew after a failed batch, until cancelled. Raises what trying again does not cure."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep())
            await self._stay_connected()

    async def drain(self, seconds: float) -> bool:
        """Wait until nothing is pending; False when that took longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    # ---- into the batches --------------------------------------------------------------------------------------

    def _refuse_while_away(self) -> None:
        if self._producer is None:
            raise NotAccepted(f"Kafka is not reachable: {self.last_error}.", retry_after_seconds=2)
        if self._pending_bytes > PENDING_BYTES:
            raise NotAccepted(f"{self._pending_bytes} bytes wait for Kafka already.", retry_after_seconds=1)

    def _refuse_where_stuck(self, homes: Sequence[_Lane], now: float) -> None:
        stuck: set[_Lane] = set()
        for batch in self._undelivered:  # the oldest first; as a rule none is too old
            if now - batch.opened_at <= self._timeout:
                break
            stuck.add(batch.lane)
        for lane in homes:
            if lane in stuck:
                fact = f"Kafka has acknowledged nothing for {self._timeout:g} s in partition {lane.partition}."
                raise NotAccepted(fact, retry_after_seconds=2)
            if lane.pending_bytes > LANE_BYTES:
                fact = f"{lane.pending_bytes} bytes wait for Kafka's partition {lane.partition} already."
                raise NotAccepted(fact, retry_after_seconds=1)

    def _append(self, lane: _Lane, key: bytes | None, value: bytes, headers: Headers, now: float) -> _Batch:
        size_bytes = RECORD_OVERHEAD_BYTES + len(value) + (len(key) if key is not None else 0)
        batch = lane.last
        if batch is None or not batch.add(key, value, headers, size_bytes):
            batch = lane.last = _Batch(lane, now)
            batch.add(key, value, headers, size_bytes)
            lane.queued.append(batch)
            self._undelivered[batch] = None
            self._idle.clear()
            if lane.task is None:
                lane.task = asyncio.create_task(self._hand_over(lane))
                lane.task.add_done_callback(self._handed_over)
        self._pending_bytes += size_bytes
        lane.pending_bytes += size_bytes
        return batch

    async def _hand_over(self, lane: _Lane) -> None:
        """Send the lane's batches in order, the next one once the one before it is acknowledged."""
        producer = self._producer
        if producer is None:
            return  # given up before this began
        while lane.queued:
            batch = lane.queued[0]
            try:
                sent = await producer.send_batch(batch.builder, self.topic, partition=lane.partition)
            except (errors.KafkaError, OSError) as error:
                if self._producer is producer:
                    self._fail(error)
                return
            if not lane.queued or lane.queued[0] is not batch:
                return  # given up in the meantime
            lane.queued.popleft()
            sent.add_done_callback(partial(self._sent, batch))
        lane.task = None

    def _handed_over(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._unknown = error
            self._fail(error)

    def _sent(self, batch: _Batch, done: "asyncio.Future[Any]") -> None:
        error = None if done.cancelled() else done.exception()
        if batch not in self._undelivered:
            return
        if done.cancelled() or error is not None:
            if error is not None and not isinstance(error, errors.KafkaError | OSError):
                self._unknown = error
            self._fail(error or asyncio.CancelledError())
            return
        del self._undelivered[batch]
        if not self._undelivered:
            self._idle.set()
        self._pending_bytes -= batch.size_bytes
        batch.lane.pending_bytes -= batch.size_bytes
        for waiter in batch.waiters:
            waiter.succeed()

    def _fail(self, error: BaseException) -> None:
        """A batch that failed leaves a hole in the sequence, which the broker refuses from then on: begin anew."""
        self.last_error = f"{type(error).__name__}: {error}"
        log.warning("produce_failed", topic=self.topic, reason=self.last_error)
        kind = TooLarge if isinstance(error, errors.MessageSizeTooLargeError) else MaybeAccepted
        self._give_up(self.last_error, kind)
        self._producer = None
        self._failed.set()

    def _give_up(self, reason: str, kind: type[MaybeAccepted] = MaybeAccepted) -> None:
        for batch in self._undelivered:
            for waiter in batch.waiters:
                waiter.fail(kind(f"Kafka did not acknowledge: {reason}.", retry_after_seconds=1))
        self._undelivered.clear()
        self._idle.set()
        self._pending_bytes = 0
        for lane in self._lanes:
            lane.queued.clear()
        self._lanes = []

    # ---- time and connection -----------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Answer those whose time is over. One sweep for all costs less than a timer for each."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            while self._waiting and (self._waiting[0].future.done() or self._waiting[0].deadline <= now):
                waiter = self._waiting.popleft()
                message = f"Kafka did not acknowledge within {self._timeout:g} s."
                waiter.fail(MaybeAccepted(message, retry_after_seconds=2))

    async def _stay_connected(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._failed.clear()
            producer = Unfenced(self._client)
            try:
                self._lanes = [_Lane(partition) for partition in range(await producer.start(self.topic))]
                self._producer, self.last_error = producer, None
                pause = FIRST_PAUSE_SECONDS
                await self._failed.wait()
                if self._unknown is not None:
                    raise self._unknown
            except (errors.KafkaError, OSError) as error:
                if isinstance(error, errors.KafkaError) and not error.retriable:
                    raise
                reason = f"{type(error).__name__}: {error}"
                if reason != self.last_error:
                    log.warning("produce_not_connected", topic=self.topic, reason=reason)
                self.last_error = reason
            finally:
                self._producer = None
                self._give_up("the gateway stopped or its connection was closed")
                await close(producer.close())
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
