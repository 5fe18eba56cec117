"""A cluster from which sources of kind `kafka` read, and what tests ask of them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from connectors import kafka as kind
from connectors.base.contract import Moved, Unreadable
from tests.unit.connectors.standing import Reading, StandIn, reading


class Cluster:
    """A broker, and topics under a prefix."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap, self.prefix = bootstrap, prefix

    def topic(self, name: str) -> str:
        return self.prefix + name

    async def make(self, name: str, partitions: int = 1) -> None:
        await self.admin(lambda admin: admin.create_topics([NewTopic(self.topic(name), partitions, 1)]))

    async def admin(self, act: Callable[[AIOKafkaAdminClient], Any]) -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            return await act(admin)
        finally:
            await admin.close()

    async def write(self, name: str, *values: bytes | None, partition: int = 0, **options: Any) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            for value in values:
                await producer.send_and_wait(self.topic(name), value, partition=partition, **options)

    async def delete_before(self, name: str, offset: int) -> None:
        place = {TopicPartition(self.topic(name), 0): RecordsToDelete(before_offset=offset)}
        await self.admin(lambda admin: admin.delete_records(place))

    def source(self, site: StandIn, **options: Any) -> kind.Source:
        if "topics" in options:
            options["topics"] = [self.topic(one) for one in options["topics"]]
        return kind.Source(kind.Config(bootstrap=[self.bootstrap], **options), site)

    def reading(self, site: StandIn, **options: Any) -> AbstractAsyncContextManager[Reading]:
        return reading(self.source(site, **options), site)


async def data(read: Reading, count: int) -> list[Any]:
    return [(await read.event()).data for _ in range(count)]


async def unreadable(read: Reading) -> Unreadable:
    while isinstance(item := await read.next(), Moved):
        pass
    assert isinstance(item, Unreadable), item
    return item


def at(site: StandIn, topic: str) -> dict[str, int]:
    """What the position says of a topic."""
    found: dict[str, int] = site.position["topics"][topic]
    return found
