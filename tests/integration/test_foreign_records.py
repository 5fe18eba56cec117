"""Records of other clients that aiokafka alone would stumble over: each is processed, none stops a partition."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from app.kafka.embedded import EmbeddedKafka
from tests.e2e.service import Service, Worker
from tests.e2e.waiting import until
from tests.integration.odd_headers import LEGAL_NAME, with_an_odd_header


@pytest.fixture
def service(kafka: EmbeddedKafka, kafka_prefix: str, tmp_path: Path) -> Iterator[Service]:
    with Service(kafka, kafka_prefix, tmp_path / "service") as service:
        yield service


def _event(number: int) -> bytes:
    return orjson.dumps({"topic": "load/fast", "data": {"n": number}, "id": f"event-{number}"})


def _completed(worker: Worker) -> float:
    return worker.metric('headgate_runs_ended_total{status="completed",workflow="fast"}')


async def test_a_header_whose_name_is_no_utf_8_stops_nothing(service: Service) -> None:
    worker = service.start("w0").ready()
    async with AIOKafkaProducer(bootstrap_servers=service.bootstrap) as producer:
        batch = producer.create_batch()
        batch.append(key=None, value=_event(1), timestamp=None, headers=[(LEGAL_NAME.decode(), b"x")])
        batch.append(key=None, value=_event(2), timestamp=None, headers=[])
        with_an_odd_header(batch)
        await (await producer.send_batch(batch, service.topic("events"), partition=0))
        await producer.send_and_wait(service.topic("events"), _event(3), partition=0)
    until(lambda: _completed(worker) == 3, 20.0, "three runs")


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_records_are_read(service: Service, compression: str) -> None:
    worker = service.start("w0").ready()
    async with AIOKafkaProducer(bootstrap_servers=service.bootstrap, compression_type=compression) as producer:
        for number in range(20):
            await producer.send_and_wait(service.topic("events"), _event(number))
    until(lambda: _completed(worker) == 20, 20.0, "twenty runs")


async def test_events_of_an_aborted_transaction_start_nothing(service: Service) -> None:
    worker = service.start("w0").ready()
    transactional = AIOKafkaProducer(bootstrap_servers=service.bootstrap, transactional_id=service.topic("outside"))
    async with transactional as producer:
        for number, commits in ((1, True), (2, False), (3, True)):
            await producer.begin_transaction()
            await producer.send_and_wait(service.topic("events"), _event(number), partition=0)
            await (producer.commit_transaction() if commits else producer.abort_transaction())
        await producer.begin_transaction()
        await producer.send_and_wait(service.topic("events"), _event(4), partition=0)
        await producer.commit_transaction()
    until(lambda: _completed(worker) == 3, 20.0, "three runs")
    assert worker.metric("headgate_events_read_total") == 3


async def test_a_compressed_bomb_is_one_dead_letter_and_stops_nothing(service: Service) -> None:
    worker = service.start("w0").ready()
    async with AIOKafkaProducer(
        bootstrap_servers=service.bootstrap, compression_type="gzip", max_batch_size=2**30, max_request_size=2**30
    ) as producer:
        bomb = producer.create_batch()
        for _ in range(3):
            bomb.append(key=None, value=bytes(100 * 1024 * 1024), timestamp=None, headers=[])
        await (await producer.send_batch(bomb, service.topic("events"), partition=0))
        await producer.send_and_wait(service.topic("events"), _event(1), partition=0)
    until(lambda: _completed(worker) == 1, 20.0, "the run after it", else_show=worker.log)
    (letter,) = await dead_letters(service)
    assert letter["code"] == "batch_too_large"
    assert letter["reason"] == "the compressed batch of offsets 0 to 2 may unpack to more than 16777216 bytes"
    assert letter["source"]["offset"] == 2
    assert peak_memory_mb(worker) < 200


async def test_a_record_far_above_the_limit_is_a_dead_letter_without_its_content(service: Service) -> None:
    worker = service.start("w0").ready()
    async with AIOKafkaProducer(
        bootstrap_servers=service.bootstrap, compression_type="gzip", max_batch_size=2**30, max_request_size=2**30
    ) as producer:
        large = producer.create_batch()
        large.append(key=None, value=bytes(9 * 1024 * 1024), timestamp=None, headers=[])
        await (await producer.send_batch(large, service.topic("events"), partition=0))
        await producer.send_and_wait(service.topic("events"), _event(1), partition=0)
    until(lambda: _completed(worker) == 1, 20.0, "the run after it", else_show=worker.log)
    (letter,) = await dead_letters(service)
    assert (letter["code"], letter["value"], letter["omitted"]["value"]) == ("too_large", None, 9 * 1024 * 1024)


async def dead_letters(service: Service) -> list[dict[str, Any]]:
    topic = service.topic("dlq")
    async with AIOKafkaConsumer(topic, bootstrap_servers=service.bootstrap, auto_offset_reset="earliest") as consumer:
        found: list[dict[str, Any]] = []
        while not found:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found.extend(orjson.loads(one.value) for one in records)
        return found


def peak_memory_mb(worker: Worker) -> float:
    status = Path(f"/proc/{worker.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
