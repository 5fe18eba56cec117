"""One partition of a new installation, in memory and on a real broker: both fulfil `app.kafka.log.PartitionLog`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import pytest
from aiokafka import AIOKafkaProducer

from app.engine.values.outgoing import Record
from app.kafka.journal import KafkaLog
from app.kafka.log import Entry, LogRecord, PartitionLog, Producer
from app.kafka.memory import MemoryLog, MemorySender
from app.kafka.memory_cluster import MemoryCluster
from tests.integration import owners

NOW = 1_800_000_000_000


class Place(Protocol):
    """Where the logs of a test are."""

    async def owner(self, *, transactional_id: str | None = None) -> PartitionLog:
        """Return a log of partition 0 that has claimed nothing yet; `transactional_id` gives it another producer id."""

    async def gap(self, topic: str) -> None:
        """Let an empty transaction leave its marker in a topic."""

    async def strange(self, topic: str, *given: Entry) -> Callable[[bool], Awaitable[None]]:
        """Let somebody else write in a transaction, and leave it open; what is returned ends it, by commit or abort."""


class InMemory:
    """A cluster in memory."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster(1, now_ms=lambda: NOW)

    async def owner(self, *, transactional_id: str | None = None) -> PartitionLog:
        log = MemoryLog(0, cluster=self.cluster, sender=MemorySender(self.cluster))
        if transactional_id is not None:
            log._transactional_id = transactional_id
        return log

    async def gap(self, topic: str) -> None:
        producer = self.cluster.init_producer("gap")
        self.cluster.add_to_transaction("gap", producer, [(topic, 0)])
        self.cluster.end_transaction("gap", producer, commit=False)
        log = await self.owner(transactional_id="gap")
        await log.fence()  # is answered once the marker is there

    async def strange(self, topic: str, *given: Entry) -> Callable[[bool], Awaitable[None]]:
        producer = Producer(77_000, 0)
        self.cluster.produce(topic, 0, given, producer=producer, transactional=True)

        async def end(commit: bool) -> None:
            self.cluster.partition(topic, 0).end_transaction(producer, NOW, commit=commit)

        return end


class OnBroker:
    """Topics of their own on the session's broker."""

    def __init__(self, partition: owners.Partition) -> None:
        self._partition = partition
        self._prefix = partition.settings.kafka.prefix

    async def owner(self, *, transactional_id: str | None = None) -> KafkaLog:
        log = await self._partition.owner()
        if transactional_id is not None:
            log._transactional_id = self._prefix + transactional_id
        return log

    async def gap(self, topic: str) -> None:
        log = await self.owner(transactional_id="gap")
        producer = await log.fence()
        await log._wire.abort_empty(self._prefix + "gap", producer, [(self._prefix + topic, 0)])
        await log.fence()

    async def strange(self, topic: str, *given: Entry) -> Callable[[bool], Awaitable[None]]:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._partition.settings.kafka.bootstrap, transactional_id=f"{self._prefix}stranger"
        )
        await producer.start()
        self._partition.stack.push_async_callback(producer.stop)
        await producer.begin_transaction()
        for key, value, _ in given:
            await producer.send_and_wait(self._prefix + topic, value, key=key, partition=0)

        async def end(commit: bool) -> None:
            await (producer.commit_transaction() if commit else producer.abort_transaction())

        return end


@asynccontextmanager
async def _in_memory() -> AsyncIterator[Place]:
    yield InMemory()


@asynccontextmanager
async def _on_broker(bootstrap: str, prefix: str) -> AsyncIterator[Place]:
    async with owners.partition(bootstrap, prefix) as partition:
        yield OnBroker(partition)


@pytest.fixture(params=["memory", "kafka"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "memory":
        context = _in_memory()
    else:
        context = _on_broker(request.getfixturevalue("kafka").bootstrap, request.getfixturevalue("kafka_prefix"))
    async with context as found:
        yield found


def entries(*keys: str, value: bytes = b'{"r":1}') -> list[Entry]:
    return [Entry(key.encode(), value) for key in keys]


def records(topic: str, *keys: str) -> list[Record]:
    return [Record(topic, 0, key.encode(), b"{}", ()) for key in keys]


async def read(log: PartitionLog, topic: str = "journal", start: int = 0, end: int | None = None) -> list[LogRecord]:
    """Return the committed records of `[start, end)`, by default of all that is there."""
    first, last = await log.bounds(topic)
    found: list[LogRecord] = []
    async for few in log.read(topic, max(first, start), last if end is None else end):
        found.extend(few)
    return found


def placed(found: Sequence[LogRecord]) -> list[tuple[int, str]]:
    return [(one.offset, (one.key or b"").decode()) for one in found]
