"""Records delivered in chunks: a Faust event is a list of records, fetched by `app.kafka.fetching`.

`tests/integration/test_faust_app.py` fails when the internals that are overridden here change.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, cast

from aiokafka.protocol.commit import OffsetCommitRequest
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

CHUNK_RECORDS = 1_000
_CONGESTED_POLL_SECONDS = 0.01
_IDLE_SECONDS = 0.1


class Chunk:
    """The records of one Faust event, which can be taken once.

    Faust's events and messages refer to each other, so they live until the cyclic collector finds them; a megabyte of
    records each must not wait for that.
    """

    __slots__ = ("_records", "begin")

    def __init__(self, records: list[Any], begin: int) -> None:
        self._records: list[Any] | None = records
        self.begin = begin
        """From here to the first record there is none: markers, aborted ones, and what compaction or retention took."""

    def take(self) -> list[Any]:
        """Return the records and forget them."""
        records, self._records = self._records, None
        return records or []


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, for the group alone: it fetches nothing."""

    heard_at: float = 0.0
    """When the broker last said that this is a member, by the monotonic clock."""

    async def on_start(self) -> None:
        await super().on_start()
        fetcher = self._ensure_consumer()._fetcher
        fetcher._fetch_task.cancel()
        fetcher._subscriptions.fetch_context().__enter__()  # or it leaves the group, as nobody asks it for records
        self._beat_while_assigned(self._ensure_consumer()._coordinator)

    def membership(self) -> Callable[[], bool]:
        """Return what tells whether this is still the member of the group, and the generation, that it is now, as far
        as it was heard within a session.
        """
        coordinator = self._ensure_consumer()._coordinator
        generation, session_seconds = coordinator.generation, coordinator._session_timeout_ms / 1000

        def still() -> bool:
            if coordinator.generation != generation or generation == OffsetCommitRequest.DEFAULT_GENERATION_ID:
                return False
            if time.monotonic() - self.heard_at < session_seconds:
                return True
            # Nobody knows. Who gives its partitions up for that has to be given them anew.
            self.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)
            return False

        return still

    def _beat_while_assigned(self, coordinator: Any) -> None:
        """Send heartbeats while partitions are taken over: aiokafka begins once they are, and who needs longer for it
        than the session's time-out would have lost them by then.
        """
        complete, beat = coordinator._on_join_complete, coordinator._do_heartbeat

        async def joined(*args: Any) -> None:
            self.heard_at = time.monotonic()
            coordinator._start_heartbeat_task()
            await complete(*args)

        async def heard() -> bool:
            asked_at = time.monotonic()
            fine: bool = await beat()
            if fine:
                self.heard_at = asked_at
            return fine

        coordinator._on_join_complete, coordinator._do_heartbeat = joined, heard


class ChunkConsumer(driver.Consumer):
    """Yields chunks of records instead of records, from where the journal says, as long as there is room."""

    app: Any
    """A HeadgateApp."""
    _thread: ConsumerThread

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def membership(self) -> Callable[[], bool]:
        """Return what tells whether this is still the member of the group that it is now."""
        still: Callable[[], bool] = self._thread.membership()
        return still

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        if not self.flow_active:
            await self.wait(cast(Any, self.can_resume_flow))
        self.not_waiting_next_records.set()
        app = self.app
        generation = app.consumer_generation_id
        wanted = [tp for tp in self._get_active_partitions() if app.is_input(tp)]
        roomy = [tp for tp in wanted if app.has_room(tp)]
        if not roomy:
            await asyncio.sleep(_CONGESTED_POLL_SECONDS if wanted else _IDLE_SECONDS)
            return
        answers = await app.fetching.some(roomy, crowded=len(roomy) < len(wanted), timeout=timeout)
        if self.should_stop or not self.can_resume_flow.is_set():
            return  # fetched while the group changes: after it, every partition is sought anew
        for topic, partition, found, begin in answers:
            tp = TP(topic, partition)
            for start in range(0, len(found), CHUNK_RECORDS):
                if not self.can_resume_flow.is_set() or app.consumer_generation_id != generation:
                    return
                records = found[start : start + CHUNK_RECORDS]
                yield tp, _chunk(tp, Chunk(records, begin), records[-1], generation)
                begin = records[-1].offset + 1

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand chunks to the agents one after the other. Stock Faust makes four tasks for each of them."""
        while not (self.should_stop or fetcher.should_stop):
            async for tp, message in self.getmany(timeout=1.0):
                await self.callback(message)
                self._read_offset[tp] = message.offset
            await asyncio.sleep(0)

    def on_buffer_full(self, tp: TP) -> None:
        """Leave no partition out because chunks wait for an agent: a long poll that does not ask for it would hold back
        its next records for as long as nothing else comes, 0.5 s. `has_room` is what bounds; a full buffer is waited
        for by whoever fills it.
        """

    async def perform_seek(self) -> None:
        """Go on where the journal says; committed offsets are for lag displays only."""
        positions = {tp: at for tp in self.assignment() if (at := self.app.position(tp)) is not None}
        self.app.fetching.seek(positions)
        self._read_offset.update(positions)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Say that the changelogs are empty: the takeover has read them, up to its own claim.

        Recovery would wait for every record up to the end that it was told, and nobody fetches those.
        """
        return await self._or_empty(super().highwaters, partitions)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        return await self._or_empty(super().earliest_offsets, partitions)

    async def _or_empty(self, ask: Callable[..., Any], partitions: Iterable[TP]) -> Mapping[TP, int]:
        inputs = [tp for tp in partitions if self.app.is_input(tp)]
        return dict.fromkeys(partitions, 0) | (await ask(*inputs) if inputs else {})

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Chunks always look like gaps, and nothing is acknowledged to Faust."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's watchdog waits for acknowledgements that never come; ours is the worker's readiness."""


def _chunk(tp: TP, chunk: Chunk, last: Any, generation: int) -> ConsumerMessage:
    return ConsumerMessage(
        tp.topic,
        tp.partition,
        last.offset,
        last.timestamp / 1000,
        0,
        [],
        None,
        cast(Any, chunk),
        None,
        0,
        0,
        tp,
        generation_id=generation,
    )


class ChunkTransport(driver.Transport):
    Consumer = ChunkConsumer
