"""A partition whose broker has forgotten who wrote to it: `producer.id.expiration.ms` without an append (ADR 2).

An owner claims again long before that (`worker.refence_hours`). Here nobody does in time, and a frozen owner wakes up.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from app.engine.inputs import WorkflowsLoaded
from app.kafka.embedded import EmbeddedKafka
from app.kafka.journal import KafkaLog
from app.kafka.log import AppendFailed, Fenced
from app.pump.around import Bounds
from app.pump.pump import Pump
from app.pump.takeover import Owner, Taken, claim_again
from tests.integration.owners import Partition, entries, partition, read
from tests.unit.app.pump.conftest import Clock, ScriptedRuntime, defined, event
from topics import journal

FORGETFUL = {"producer.id.expiration.ms": "1000", "producer.id.expiration.check.interval.ms": "100"}
TOPICS = ("journal", "results", "runs")


class DescribedProducers(Response):  # type: ignore[misc]
    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("error_message", CompactString("utf-8")),
                        (
                            "active_producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("current_txn_start_offset", Int64),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeProducers(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 61
    API_VERSION = 0
    RESPONSE_TYPE = DescribedProducers
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")), ("partition_indexes", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeProducersRequest(Request[DescribeProducers]):  # type: ignore[misc]
    """Which producers a broker remembers in partitions 0 of these topics."""

    API_KEY = 61

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[DescribeProducers]) -> DescribeProducers:
        return request_struct_class([(topic, [0], {}) for topic in self._topics], {})


async def _forgotten(one: Partition, log: KafkaLog) -> None:
    """Return once the broker remembers no producer of the journal and of the outputs."""
    client = log._wire._client
    (node,) = {broker.nodeId for broker in client.cluster.brokers()}
    request = DescribeProducersRequest([one.settings.kafka.prefix + topic for topic in TOPICS])
    async with asyncio.timeout(20):
        while True:
            reply = await client.send(node, request)
            found = [partition for _, partitions, _ in reply.topics for partition in partitions]
            assert [error for _, error, *_ in found] == [0, 0, 0]
            if not any(producers for *_, producers, _ in found):
                return
            await asyncio.sleep(0.05)


class Working:
    """An owner with its pump, whose runs end at once."""

    def __init__(self, one: Partition, log: KafkaLog, taken: Taken) -> None:
        self.log = log
        self.taken = taken
        self._one = one
        clock = Clock()
        clock.ms = time.time_ns() // 1_000_000
        self.pump = Pump(
            taken.state,
            log,
            ScriptedRuntime(),
            clock,
            next_journal_offset=taken.next_journal_offset,
            bounds=Bounds(),
            deliver_again=taken.deliver_again,
            recall=taken.recall,
        )
        self.pump.workflows_changed(WorkflowsLoaded([defined()], ()))
        self.task = asyncio.create_task(self.pump.run())

    async def reads_on(self) -> None:
        """Give it the events that are there from where it is."""
        at = self.pump.position("events")
        await self.pump.offer_events([one for one in await read(self.log, "events") if one.offset >= at], at)

    async def handles(self, event_id: str) -> None:
        """Return once it has done with one more event, and written down that its result is delivered."""
        await _produce(self._one, event_id)
        await self.reads_on()
        await self.has_done(event_id)

    async def has_done(self, event_id: str) -> None:
        """Return once the event's result is there, and this owner has nothing more to write."""
        pump = self.pump
        async with asyncio.timeout(20):
            while (
                event_id not in await _done(self.log)
                or not pump.delivery._idle.is_set()
                or pump._happened
                or pump._mark_timer
                or await self._marked() < pump.state.delivered
            ):
                assert not self.task.done(), self.task.exception()
                await asyncio.sleep(0.02)

    async def ends(self) -> None:
        """Raise what ends it."""
        async with asyncio.timeout(20):
            await self.task

    async def _marked(self) -> int:
        """The last round that the journal says was delivered."""
        heads = [one.value or b"" for one in await read(self.log) if one.key == journal.HEAD]
        delivered: int = journal.decode(journal.HEAD, heads[-1])["delivered"]
        return delivered


async def _produce(one: Partition, event_id: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=one.settings.kafka.bootstrap) as producer:
        await producer.send_and_wait(f"{one.settings.kafka.prefix}events", event(id=event_id).value)


async def _done(log: KafkaLog) -> list[str]:
    """The events of all results."""
    return [
        found["id"]
        for result in await read(log, "results")
        if result.value is not None
        for found in journal.decode(b"", result.value)["events"]
    ]


@asynccontextmanager
async def _two_owners(bootstrap: str, prefix: str, *handled: str) -> AsyncIterator[tuple[Partition, Working, Working]]:
    """Yield an owner that froze after the event a, and one that has handled these since; the broker knows neither."""
    async with partition(bootstrap, prefix) as one:
        frozen = Working(one, *await one.taken())
        await frozen.handles("a")
        owner = Working(one, *await one.taken())
        for event_id in handled:
            await owner.handles(event_id)
        await _forgotten(one, owner.log)
        try:
            yield one, frozen, owner
        finally:
            for working in (frozen, owner):
                working.task.cancel()
                await asyncio.gather(working.task, return_exceptions=True)


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedKafka(tmp_path_factory.mktemp("forgetful"), overrides=FORGETFUL) as kafka:
        yield kafka.bootstrap


async def test_the_owner_that_writes_first_shuts_the_older_one_out_again(bootstrap: str, kafka_prefix: str) -> None:
    async with _two_owners(bootstrap, kafka_prefix, "b") as (_, frozen, owner):
        await owner.handles("c")
        await frozen.reads_on()
        with pytest.raises(Fenced):
            await frozen.ends()
        assert await _done(owner.log) == ["a", "b", "c"]


async def test_an_owner_that_claims_again_shuts_the_older_one_out_of_all_that_it_wrote(
    bootstrap: str, kafka_prefix: str
) -> None:
    async with _two_owners(bootstrap, kafka_prefix, "b") as (one, frozen, owner):
        _, end = await owner.log.bounds("journal")
        me = Owner(worker="me", instance_id="me")
        await claim_again(owner.log, me, one.limits, owner.taken.claim, next_offset=end, now_ms=1)
        for topic in TOPICS:
            with pytest.raises(Fenced):
                await frozen.log._append(topic, entries("zombie"))


@pytest.mark.parametrize(
    ("handled", "results"),
    [
        ((), ["a", "b", "c"]),
        # The broker took what the older one made of b: the price that ADR 2 names, and why claims are renewed.
        (("b",), ["a", "b", "b", "c"]),
    ],
)
async def test_an_older_owner_that_writes_first_ends_both_before_they_deliver_and_nothing_is_lost(
    bootstrap: str, kafka_prefix: str, handled: tuple[str, ...], results: list[str]
) -> None:
    async with _two_owners(bootstrap, kafka_prefix, *handled) as (one, frozen, owner):
        if not handled:
            await _produce(one, "b")
        await frozen.reads_on()
        with pytest.raises(AppendFailed, match="another producer wrote"):
            await frozen.ends()
        await _produce(one, "c")
        await owner.reads_on()
        with pytest.raises(AppendFailed, match="OutOfOrderSequence"):
            await owner.ends()
        assert await _done(owner.log) == ["a", *handled]
        third = Working(one, *await one.taken())
        try:
            await third.reads_on()
            await third.has_done("c")
            assert await _done(third.log) == results
        finally:
            third.task.cancel()
            await asyncio.gather(third.task, return_exceptions=True)
