"""Events over HTTP into a real Kafka."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from app.kafka.embedded import EmbeddedKafka
from app.settings import Settings, SettingsError
from app.wiring import gateway
from tests.integration.gateway_process import (
    PARTITIONS,
    PATIENCE_SECONDS,
    make_topics,
    producing,
    ready,
    records,
    running,
    settings_for,
    until,
)
from topics import keys


async def test_what_is_answered_202_is_in_the_log_at_its_home(settings: Settings) -> None:
    async with running(settings) as client:
        await ready(client)
        keyed = [{"topic": "orders/created", "data": n, "key": f"c-{n}"} for n in range(20)]
        unkeyed = [{"name": "order.created", "payload": n} for n in range(20)]
        answer = await client.post("/api/v1/events", json=keyed + unkeyed)
        assert answer.status_code == 202
        ids = [one["event_id"] for one in answer.json()["events"]]
        found = {orjson.loads(one.value)["id"]: one for one in await records(settings, "events")}
    assert set(found) == set(ids)
    for event_id, sent in zip(ids, keyed + unkeyed, strict=True):
        key = sent.get("key")
        home = str(key or event_id)
        assert found[event_id].partition == keys.partition_of(home.encode(), PARTITIONS)
        assert found[event_id].key == (str(key).encode() if key else None)


async def test_an_idempotency_key_twice_gives_one_id(settings: Settings) -> None:
    async with running(settings) as client:
        await ready(client)
        posts = [
            await client.post("/api/v1/events", json={"topic": "a", "data": 1}, headers={"idempotency-key": "once"})
            for _ in range(2)
        ]
        assert [post.status_code for post in posts] == [202, 202]
        (event_id,) = {post.json()["event_id"] for post in posts}
        found = await records(settings, "events")
        assert [orjson.loads(one.value)["id"] for one in found] == [event_id, event_id]
        assert len({one.partition for one in found}) == 1


async def test_many_requests_at_once_are_all_written_once(settings: Settings) -> None:
    """Requests join batches while these are on their way; a record too many or too few would break the sequence."""
    async with running(settings) as client:
        await ready(client)

        async def post(worker: int) -> list[str]:
            ids = []
            for n in range(20):
                if n % 4:
                    body: Any = {"topic": "a", "data": "x" * 500, "key": f"{worker}-{n}"}
                else:
                    body = [{"topic": "a", "data": "x" * 500} for _ in range(10)]
                answer = await client.post("/api/v1/events", json=body)
                assert answer.status_code == 202, answer.text
                ids += [one["event_id"] for one in answer.json().get("events", [answer.json()])]
            return ids

        ids = [one for batch in await asyncio.gather(*(post(worker) for worker in range(16))) for one in batch]
        found = [orjson.loads(one.value)["id"] for one in await records(settings, "events")]
    assert len(ids) == 16 * (15 + 50)
    assert sorted(found) == sorted(ids)


async def test_a_batch_larger_than_one_request_of_kafka_is_written_whole(settings: Settings) -> None:
    async with running(settings) as client:
        await ready(client)
        body = [{"topic": "a", "data": "x" * 300_000, "key": "one"} for _ in range(20)]
        answer = await client.post("/api/v1/events", json=body)
        assert answer.status_code == 202
        largest = await client.post("/api/v1/events", json={"topic": "a", "data": "x" * (1024 * 1024 - 200)})
        assert largest.status_code == 202
        found = [orjson.loads(one.value)["id"] for one in await records(settings, "events")]
    assert sorted(found) == sorted([one["event_id"] for one in answer.json()["events"]] + [largest.json()["event_id"]])


async def test_the_answer_names_workflows_as_workers_announce_them(settings: Settings, kafka_prefix: str) -> None:
    async with running(settings) as client, producing(settings) as producer:
        await ready(client)

        async def matching(expected: list[str]) -> bool:
            answer = await client.post("/api/v1/events", json={"topic": "orders/created", "data": 1})
            return bool(answer.json()["workflows"] == expected)

        assert await matching([])
        announcement = {"id": "mail", "triggers": ["orders/*"], "has_filter": False}
        await producer.send_and_wait(f"{kafka_prefix}workflows", orjson.dumps(announcement), b"mail")
        await until(lambda: matching(["mail"]))
        await producer.send_and_wait(f"{kafka_prefix}workflows", None, b"mail")
        await until(lambda: matching([]))


async def test_a_frozen_broker_is_503_within_the_bound_and_everything_goes_on_after_it(
    own_kafka: Callable[..., EmbeddedKafka],
) -> None:
    broker = own_kafka()
    broker.start()
    settings = settings_for(broker.bootstrap)
    make_topics(settings)
    async with running(settings) as client:
        await ready(client)
        broker.pause()
        started = time.monotonic()
        first = await client.post("/api/v1/events", json={"topic": "a", "data": 1, "id": "during", "key": "k"})
        second = await client.post("/api/v1/events", json={"topic": "a", "data": 1, "id": "refused", "key": "k"})
        waited = time.monotonic() - started
        assert (first.status_code, first.json()["error"]["code"]) == (503, "kafka_no_answer")
        assert (second.status_code, second.json()["error"]["code"]) == (503, "kafka_unavailable")
        assert int(first.headers["retry-after"]) > 0
        assert int(second.headers["retry-after"]) > 0
        assert waited < settings.gateway.produce_timeout_seconds + 5
        still = await client.get("/readyz")
        assert (still.status_code, still.json()["checks"]["kafka"]["up"]) == (200, False)
        assert 'headgate_gateway_up{check="kafka"} 0.0' in (await client.get("/metrics")).text
        broker.resume()

        async def accepted() -> bool:
            return (
                await client.post("/api/v1/events", json={"topic": "a", "data": 1, "id": "after"})
            ).status_code == 202

        await until(accepted)
        found = [orjson.loads(one.value)["id"] for one in await records(settings, "events")]
    assert found.count("during") <= 1
    assert "refused" not in found
    assert "after" in found


async def test_a_broker_that_comes_late_and_one_that_is_restarted_are_found(
    own_kafka: Callable[..., EmbeddedKafka],
) -> None:
    broker = own_kafka()
    broker.start()
    settings = settings_for(broker.bootstrap)
    make_topics(settings)
    broker.kill()
    async with running(settings) as client:
        answer = await client.post("/api/v1/events", json={"topic": "a", "data": 1})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "kafka_unavailable")
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        await asyncio.to_thread(broker.start)
        await ready(client)
        assert (await client.post("/api/v1/events", json={"topic": "a", "data": 1, "id": "one"})).status_code == 202
        broker.kill()
        assert (await client.post("/api/v1/events", json={"topic": "a", "data": 1, "id": "lost"})).status_code == 503
        await asyncio.to_thread(broker.start)

        async def accepted() -> bool:
            return (await client.post("/api/v1/events", json={"topic": "a", "data": 1, "id": "two"})).status_code == 202

        await until(accepted)
        found = [orjson.loads(one.value)["id"] for one in await records(settings, "events")]
    assert found.count("one") == 1
    assert found.count("lost") <= 1
    assert "two" in found


async def test_without_its_topics_it_says_what_is_missing(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    settings = settings_for(kafka.bootstrap, kafka_prefix)
    async with running(settings) as client:

        async def said() -> bool:
            return "headgate topics apply" in (await client.get("/readyz")).text

        await until(said)
        answer = await client.post("/api/v1/events", json={"topic": "a", "data": 1})
        assert answer.status_code == 503
        await asyncio.to_thread(make_topics, settings)
        await ready(client)
        assert (await client.post("/api/v1/events", json={"topic": "a", "data": 1})).status_code == 202


async def test_a_taken_port_and_a_missing_token_are_told_before_anything_starts() -> None:
    stop = asyncio.Event()
    settings = settings_for("127.0.0.1:1")
    async with running(settings) as client:
        taken = settings_for("127.0.0.1:1", gateway__port=httpx.URL(str(client.base_url)).port)
        with pytest.raises(gateway.CannotListen, match="--port"):
            await gateway.run(taken, stop=stop)
    with pytest.raises(SettingsError, match="HEADGATE_GATEWAY_TOKEN"):
        await gateway.run(settings_for("127.0.0.1:1", gateway__token="none"), stop=stop)


async def test_the_command_ends_with_0_when_it_is_told_to_stop(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    make_topics(settings_for(kafka.bootstrap, kafka_prefix))
    environ = {
        "HEADGATE_GATEWAY_TOKEN": "test-token",
        "HEADGATE_KAFKA_PREFIX": kafka_prefix,
        "HEADGATE_GATEWAY_PORT": "0",
        "PATH": os.environ["PATH"],
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "app.cli.main", "gateway", "--kafka", kafka.bootstrap),
        env=environ,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (line := (await process.stderr.readline()).decode()).startswith("headgate gateway: "):
                assert line, "it ended before it listened"
        address = line.removeprefix("headgate gateway: ").strip()
        async with httpx.AsyncClient(base_url=address, headers={"authorization": "Bearer test-token"}) as client:
            await ready(client)
            assert (await client.post("/api/v1/events", json={"topic": "a", "data": 1})).status_code == 202
        process.send_signal(signal.SIGTERM)
        _, rest = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, rest) == (0, b"")
