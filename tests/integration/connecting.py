"""Processes of connectors in this one, on a real broker, with sources that a test writes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.kafka import clients, provisioning
from app.kafka.admin import Admin
from app.kafka.embedded import EmbeddedKafka
from app.settings import Settings
from connectors.base.closing import end
from connectors.base.fleet.process import Connectors, Process
from connectors.base.reach.egress import Policy
from connectors.base.reach.folders import Folders
from topics.sources import Spec, configured


class Installation:
    """Topics of Headgate under a prefix.

    Those in `limits` take batches of so many bytes and no more, those in `configs` have other settings than the
    catalog's. They have it from their first moment on: a broker acknowledges a later change before it applies it.
    """

    def __init__(
        self,
        kafka: EmbeddedKafka,
        prefix: str,
        *,
        partitions: int = 2,
        limits: Mapping[str, int] | None = None,
        configs: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.settings = Settings.load(
            {
                "kafka.bootstrap": kafka.bootstrap,
                "kafka.prefix": prefix,
                "kafka.partitions": partitions,
                "kafka.replication_factor": 1,
                "kafka.min_insync_replicas": 1,
            },
            environ={},
        )
        admin, asked = Admin.connect(self.settings.kafka), self.settings.kafka
        changed = {prefix + topic: {"max.message.bytes": str(most)} for topic, most in (limits or {}).items()}
        changed |= {prefix + topic: {**one} for topic, one in (configs or {}).items()}
        admin.create(
            [
                replace(one, config={**one.config, **changed[one.name]})
                for one in provisioning.wanted(asked)
                if one.name in changed
            ]
        )
        provisioning.apply(admin, asked)
        self.prefix = prefix
        self.client = clients.aiokafka_config(self.settings.kafka)

    def process(self, name: str = "p1", **changed: Any) -> Connectors:
        told: dict[str, Any] = {
            "name": name,
            "prefix": self.prefix,
            "client": self.client,
            "group": f"{self.prefix}connectors",
            "policy": Policy(allowed=("*",)),
            "secrets_folder": None,
            "secret_names": ("*",),
            "folders": Folders(allowed=("/",)),
            "event_bytes": 1024 * 1024,
            "session_seconds": 6.0,
            "dwell_seconds": 0.0,
            "drain_seconds": 5.0,
        }
        return Connectors(Process(**(told | changed)))

    async def records(self, topic: str) -> list[Any]:
        """Return all records that a topic has now, committed ones only, partition by partition."""
        consumer = AIOKafkaConsumer(**self.client, isolation_level="read_committed", enable_auto_commit=False)
        await consumer.start()
        try:
            name = self.prefix + topic
            found = (await consumer._client.fetch_all_metadata()).partitions_for_topic(name) or set()
            where = [TopicPartition(name, partition) for partition in sorted(found)]
            consumer.assign(where)
            await consumer.seek_to_beginning(*where)
            ends = await consumer.end_offsets(where)
            records = []
            for one in where:
                while await consumer.position(one) < ends[one]:
                    for got in (await consumer.getmany(one, timeout_ms=200)).values():
                        records += got
            return records
        finally:
            await consumer.stop()

    async def last(self, topic: str) -> dict[str, Any]:
        """Return the last value of each key."""
        return {
            record.key.decode(): None if record.value is None else orjson.loads(record.value)
            for record in await self.records(topic)
        }

    async def events(self) -> list[dict[str, Any]]:
        return [orjson.loads(record.value) for record in await self.records("events")]

    async def set_up(self, connectors: Connectors, *specs: Spec) -> None:
        for spec in specs:
            await connectors.publisher.write("triggers", spec.id.encode(), configured(spec).value)


@asynccontextmanager
async def running(*processes: Connectors) -> AsyncIterator[list[asyncio.Event]]:
    """Run processes; yield what stops each. Those that still run are stopped at the end."""
    stops = [asyncio.Event() for _ in processes]
    tasks = [asyncio.create_task(one.run(stop)) for one, stop in zip(processes, stops, strict=True)]
    try:
        yield stops
        for stop in stops:
            stop.set()
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)


async def until(condition: Callable[[], Any], *, seconds: float = 60.0, what: str = "") -> Any:
    """Return the first true answer of a condition, a coroutine function or a plain one."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = condition()
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer:
                    return answer
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None
