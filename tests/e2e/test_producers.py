"""Equal keys and ids, whoever produced them and wherever they landed, are one event."""

import asyncio
import json
import subprocess
from typing import Any

from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from app.kafka import tools
from tests.e2e.load import Load
from tests.e2e.service import Service
from tests.e2e.tally import Tally
from tests.e2e.waiting import until

KEYS = 16


def _body(key: int) -> bytes:
    return json.dumps({"topic": "load/fast", "id": f"e{key}", "data": {"n": key}}).encode()


def _by_confluent(service: Service, **options: Any) -> None:
    producer = Producer({"bootstrap.servers": service.bootstrap, "acks": "all", **options})
    for key in range(KEYS):
        producer.produce(service.topic("events"), _body(key), key=f"k{key}")
    assert producer.flush(30.0) == 0


def _to_every_partition(service: Service) -> None:
    producer = Producer({"bootstrap.servers": service.bootstrap, "acks": "all"})
    for partition in range(service.partitions):
        for key in range(KEYS):
            producer.produce(service.topic("events"), _body(key), key=f"k{key}", partition=partition)
    assert producer.flush(30.0) == 0


def _with_the_key_in_the_body(service: Service) -> None:
    producer = Producer({"bootstrap.servers": service.bootstrap, "acks": "all"})
    for key in range(KEYS):
        body = json.loads(_body(key)) | {"key": f"k{key}"}
        producer.produce(service.topic("events"), json.dumps(body), key="something else")
    assert producer.flush(30.0) == 0


async def _by_aiokafka(service: Service) -> None:
    async with AIOKafkaProducer(bootstrap_servers=service.bootstrap, acks="all") as producer:
        for key in range(KEYS):
            await producer.send_and_wait(service.topic("events"), _body(key), key=f"k{key}".encode())


def console_producer(service: Service, lines: bytes, *options: str) -> None:
    """Run Kafka's own console producer over `lines`."""
    arguments = ["--topic", service.topic("events"), *options]
    command = tools.command(tools.find("console-producer"), arguments, bootstrap=service.bootstrap)
    done = subprocess.run(command, input=lines, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()


def _by_java(service: Service) -> None:
    lines = b"".join(b"k%d|%s\n" % (key, _body(key)) for key in range(KEYS))
    options = ("--reader-property", "parse.key=true", "--reader-property", "key.separator=|")
    console_producer(service, lines, *options)


def test_equal_keys_and_ids_from_different_producers_give_one_run(service: Service, load: Load, tally: Tally) -> None:
    worker = service.start("w0").ready()
    load.expected.update(("fast", key) for key in range(KEYS))
    _by_confluent(service)
    _by_confluent(service, partitioner="murmur2_random")
    asyncio.run(_by_aiokafka(service))
    _by_java(service)
    _to_every_partition(service)
    _with_the_key_in_the_body(service)
    tally.complete(load)
    # Every copy has been seen: each that landed elsewhere was forwarded, and all but the first were dropped.
    copies = 5 * KEYS + service.partitions * KEYS

    def dropped() -> bool:
        return worker.metric("headgate_events_duplicate_total") == copies - KEYS

    until(dropped, 20.0, f"{copies - KEYS} copies are dropped", else_show=service.tails)
    assert worker.metric("headgate_events_forwarded_total") >= (service.partitions - 1) * KEYS
    tally.confirm(load)
    assert worker.stop() == 0
