"""A gateway on a real Kafka, in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from app.kafka import clients, provisioning
from app.kafka.admin import Admin
from app.settings import Settings
from app.wiring import gateway

PARTITIONS = 4
PATIENCE_SECONDS = 30.0


def settings_for(bootstrap: str, prefix: str = "headgate.", **overrides: Any) -> Settings:
    """Development's settings, with a few partitions and a short patience."""
    return Settings.load(
        {
            "kafka.bootstrap": bootstrap,
            "kafka.prefix": prefix,
            "kafka.partitions": PARTITIONS,
            "gateway.port": 0,
            "gateway.produce_timeout_seconds": 1.0,
        }
        | {name.replace("__", "."): value for name, value in overrides.items()},
        dev=True,
        environ={},
    )


def make_topics(settings: Settings) -> None:
    provisioning.apply(Admin.connect(settings.kafka), settings.kafka)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Run a gateway and talk to it; afterwards it has ended by itself, without an error."""
    stop = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    service = asyncio.create_task(gateway.run(settings, stop=stop, listening=address.set_result))
    try:
        await asyncio.wait(cast("set[asyncio.Future[Any]]", {service, address}), return_when=asyncio.FIRST_COMPLETED)
        if service.done():
            await service
        headers = {"authorization": "Bearer test-token"}
        async with httpx.AsyncClient(base_url=address.result(), headers=headers, timeout=PATIENCE_SECONDS) as client:
            yield client
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await service


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await holds():  # noqa: ASYNC110 - what is waited for is in other processes
            await asyncio.sleep(0.05)


async def ready(client: httpx.AsyncClient) -> None:
    """Wait until /readyz says so."""

    async def is_ready() -> bool:
        return (await client.get("/readyz")).status_code == 200

    await until(is_ready)


async def records(settings: Settings, name: str) -> list[Any]:
    """Everything that is in a topic now."""
    consumer = AIOKafkaConsumer(
        **clients.aiokafka_config(settings.kafka), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        count = settings.kafka.partitions if name != "workflows" else 1
        places = [TopicPartition(settings.kafka.prefix + name, partition) for partition in range(count)]
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        found: list[Any] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any([await consumer.position(place) < ends[place] for place in places]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += batch
        return found
    finally:
        await consumer.stop()


@asynccontextmanager
async def producing(settings: Settings, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(**clients.aiokafka_config(settings.kafka), **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def result(run_id: str, finished_at: str, **fields: Any) -> bytes:
    workflow_id = run_id.partition(":")[0]
    record = {
        "run_id": run_id,
        "workflow_id": workflow_id,
        "status": "completed",
        "finished_at": finished_at,
        "key": None,
    }
    return orjson.dumps(record | fields)
