"""Records delivered in chunks: a Faust event is a list of records, fetched without stalls.

The consumer's thread takes what aiokafka has fetched at once, the main thread takes all of it when it comes round.
`tests/integration/test_faust_app.py` fails when the internals that are overridden here change.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, cast

from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

CHUNK_RECORDS = 1_000
FETCH_BYTES = 1024 * 1024
FETCH_WAIT_MS = 250
"""How long the broker holds an empty fetch: bounds what a partition that is fetched again waits for the others."""
PREFETCH_BACKOFF_SECONDS = 5.0
FETCH_TURN_SECONDS = 0.1
MOST_FETCHED = 1
"""Answers of the broker that may wait for the main thread."""
_CONGESTED_POLL_SECONDS = 0.01


class Chunk:
    """The records of one Faust event, which can be taken once.

    Faust's events and messages refer to each other, so they live until the cyclic collector finds them; a megabyte of
    records each must not wait for that.
    """

    __slots__ = ("_records",)

    def __init__(self, records: list[Any]) -> None:
        self._records: list[Any] | None = records

    def take(self) -> list[Any]:
        """Return the records and forget them."""
        records, self._records = self._records, None
        return records or []


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, with the settings of aiokafka that Faust does not pass on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._fetching: asyncio.Task[None] | None = None
        self._fetched: deque[Any] = deque()
        self._arrived, self._taken = asyncio.Event(), asyncio.Event()
        self._wanted: frozenset[TP] = frozenset()

    def _create_consumer(self, loop: asyncio.AbstractEventLoop) -> Any:
        consumer = super()._create_consumer(loop)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        # While records of one partition wait to be taken, aiokafka asks the broker for the others after 0.1 s, and
        # those may have nothing: then nothing comes at all until that request is over. They are taken soon enough.
        self._ensure_consumer()._fetcher._prefetch_backoff = PREFETCH_BACKOFF_SECONDS

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,  # noqa: ARG002 Faust's signature
    ) -> Any:
        """Return what was fetched since the last call, or wait for it; the fetching itself goes on meanwhile."""
        if not self.consumer.flow_active:
            return {}
        if consumer._closed or consumer._fetcher._closed:
            raise ConsumerStoppedError
        self._fetch_only(consumer, active_partitions)
        self._wanted = frozenset(active_partitions)
        if self._fetching is None or self._fetching.done():
            ended, self._fetching = self._fetching, None
            if ended is not None and not ended.cancelled():
                ended.result()
            self._fetching = asyncio.create_task(self._fetch_on(consumer), name="fetch")
        if not self._fetched:
            self._arrived.clear()
            waiting = {asyncio.ensure_future(self._arrived.wait()), self._fetching}
            await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        found: dict[Any, list[Any]] = {}
        while self._fetched:
            for tp, records in self._fetched.popleft().items():
                if tp in found:
                    found[tp].extend(records)
                else:
                    found[tp] = records
        self._taken.set()
        return found

    async def _fetch_on(self, consumer: Any) -> None:
        """Take what aiokafka has fetched as soon as it is there, so that it asks for more at once.

        It asks only when nothing waits, and the main thread, which has work of its own, would let it wait.
        """
        fetcher = consumer._fetcher
        while True:
            with fetcher._subscriptions.fetch_context():
                records = await fetcher.fetched_records(self._wanted, timeout=FETCH_TURN_SECONDS)
            if records:
                self._fetched.append(records)
                self._arrived.set()
                while len(self._fetched) >= MOST_FETCHED:
                    self._taken.clear()
                    await self._taken.wait()

    async def forget(self) -> None:
        """Drop what was fetched and not taken: every partition is sought anew."""
        self._fetched.clear()
        self._taken.set()

    def _fetch_only(self, consumer: Any, active: set[TP]) -> None:
        """Pause everything else, the journal first of all, and drop what was fetched of it: it would be waited for."""
        paused = consumer.paused()
        consumer.pause(*(consumer.assignment() - paused - active))
        # Of equal ones, aiokafka's own: it takes no other, and an intersection may give Faust's.
        consumer.resume(*(one for one in paused if one in active))
        fetcher = consumer._fetcher
        dropped = [one for one in fetcher._records if one not in active]
        for one in dropped:
            del fetcher._records[one]
        if dropped:
            fetcher._notify(fetcher._wait_consume_future)


class ChunkConsumer(driver.Consumer):
    """Yields chunks of records instead of records, from where the journal says, as long as there is room."""

    app: Any
    """A HeadgateApp."""
    _thread: ConsumerThread

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        if not self.flow_active:
            await self.wait(cast(Any, self.can_resume_flow))
        self.not_waiting_next_records.set()
        app = self.app
        generation = app.consumer_generation_id
        wanted = self._get_active_partitions()
        active = {tp for tp in wanted if app.has_room(tp)}
        if not active:
            await asyncio.sleep(_CONGESTED_POLL_SECONDS if wanted else 0.1)
            return
        # A partition without room now may have it in a moment: then a fetch must not wait long for the others.
        try:
            records = await self._getmany(
                active_partitions=active, timeout=timeout if len(active) == len(wanted) else _CONGESTED_POLL_SECONDS
            )
        except UnicodeDecodeError:  # a record has a header whose name is no UTF-8: aiokafka never gets past it
            await self._reread(active)
            return
        if self.should_stop or not self.can_resume_flow.is_set():
            return  # fetched while the group changes: after it, every partition is sought anew
        for fetched, found in records.items():
            tp = TP(fetched.topic, fetched.partition)
            for start in range(0, len(found), CHUNK_RECORDS):
                if not self.can_resume_flow.is_set() or app.consumer_generation_id != generation:
                    return
                yield tp, _chunk(tp, found[start : start + CHUNK_RECORDS], generation)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand chunks to the agents one after the other. Stock Faust makes four tasks for each of them."""
        while not (self.should_stop or fetcher.should_stop):
            async for tp, message in self.getmany(timeout=1.0):
                await self.callback(message)
                self._read_offset[tp] = message.offset
            await asyncio.sleep(0)

    async def _reread(self, tps: set[TP]) -> None:
        """Have some records of `tps` read by other means, and go on after them."""
        for tp in tps:
            start = await self.position(tp)
            if start is not None:
                await self._seek(tp, await self.app.reread(tp, start))

    async def perform_seek(self) -> None:
        """Go on where the journal says; committed offsets are for lag displays only."""
        await self._thread.call_thread(self._thread.forget)
        for tp in self.assignment():
            position = self.app.position(tp)
            if position is not None:
                await self._seek(tp, position)
                self._read_offset[tp] = position

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Chunks always look like gaps, and nothing is acknowledged to Faust."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's watchdog waits for acknowledgements that never come; ours is the worker's readiness."""


def _chunk(tp: TP, records: list[Any], generation: int) -> ConsumerMessage:
    last = records[-1]
    return ConsumerMessage(
        tp.topic,
        tp.partition,
        last.offset,
        last.timestamp / 1000,
        last.timestamp_type,
        [],
        None,
        cast(Any, Chunk(records)),
        None,
        0,
        0,
        tp,
        generation_id=generation,
    )


class ChunkTransport(driver.Transport):
    Consumer = ChunkConsumer
