"""Runs and dead letters out of a real Kafka, and the follower below."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from app.kafka import clients
from app.kafka.embedded import EmbeddedKafka
from app.kafka.follow import Follower, Record, TopicReplacedError
from app.kafka.identity import identify_with
from app.settings import Settings
from app.wiring import gateway
from tests.integration.gateway_process import (
    PATIENCE_SECONDS,
    make_topics,
    producing,
    ready,
    result,
    running,
    settings_for,
    until,
)
from tests.integration.odd_headers import write_odd


async def listed(client: Any, expected: list[str]) -> bool:
    answer = (await client.get("/api/v1/runs")).json()
    return [one["run_id"] for one in answer["runs"]] == expected and not answer["read_model"]["rebuilding"]


async def write(settings: Settings, *run_ids: str) -> None:
    async with producing(settings) as producer:
        for n, run_id in enumerate(run_ids):
            value = result(run_id, f"2099-01-01T00:00:0{run_id[-1]}.000Z")
            await producer.send_and_wait(f"{settings.kafka.prefix}results", value, run_id.encode(), partition=n % 4)


async def announce(client: Any, producer: Any, prefix: str) -> None:
    """Let a workflow be known that no worker runs."""
    announcement = orjson.dumps({"id": "w", "triggers": [], "has_filter": False})
    await producer.send_and_wait(f"{prefix}workflows", announcement, b"w")

    async def announced() -> bool:
        return bool((await client.get("/api/v1/workflows/w")).status_code == 200)

    await until(announced)


async def test_results_and_dead_letters_are_shown_with_no_record_behind(settings: Settings, kafka_prefix: str) -> None:
    async with running(settings) as client, producing(settings) as producer:
        await ready(client)
        await write(settings, "w:1", "w:2", "w:3")
        letter = {"code": "not_json", "reason": "r", "remedy": "m", "at": "2099-01-01T00:00:00.000Z"}
        await producer.send_and_wait(f"{kafka_prefix}dlq", orjson.dumps(letter))
        await until(lambda: listed(client, ["w:3", "w:2", "w:1"]))

        async def shown() -> bool:
            return bool((await client.get("/api/v1/dead-letters")).json()["dead_letters"] == [letter])

        await until(shown)
        one = (await client.get("/api/v1/runs/w:2")).json()
        assert (one["run"]["run_id"], one["read_model"]["behind_records"]) == ("w:2", 0)
        assert (await client.get("/api/v1/runs/w:9")).status_code == 404


async def test_a_run_whose_call_was_answered_is_there_for_whoever_asks_next(
    settings: Settings, kafka_prefix: str
) -> None:
    """Its result is heard at once; the read model, which has just taken another one, gathers for a while."""
    async with running(settings) as client, producing(settings) as producer:
        await announce(client, producer, kafka_prefix)

        async def waiting() -> bool:
            return "headgate_gateway_requests_in_flight 1.0" in (await client.get("/metrics")).text

        for number in range(5):
            given = {"idempotency-key": f"order-{number}"}
            started = await client.post("/api/v1/workflows/w/call?wait=0", json=number, headers=given)
            run_id = started.json()["run_id"]
            calling = asyncio.create_task(client.post("/api/v1/workflows/w/call?wait=30s", json=number, headers=given))
            await until(waiting)
            for one in (f"w:{number}", run_id):
                value = result(one, f"2099-01-01T00:00:0{number}.000Z", result={"n": number})
                await producer.send_and_wait(f"{kafka_prefix}results", value, one.encode(), partition=0)
            assert (await calling).json()["result"] == {"n": number}
            shown = await client.get(f"/api/v1/runs/{run_id}")
            assert (shown.status_code, shown.json().get("run", {}).get("run_id")) == (200, run_id)
            listed_runs = (await client.get("/api/v1/runs")).json()["runs"]
            assert run_id in [one["run_id"] for one in listed_runs]


async def test_the_address_that_a_call_is_answered_with_is_there_also_where_no_worker_runs(
    settings: Settings, kafka_prefix: str
) -> None:
    async with running(settings) as client, producing(settings) as producer:
        await announce(client, producer, kafka_prefix)
        called = await client.post("/api/v1/workflows/w/call?wait=10ms", json=1)
        address = called.json()
        assert (called.status_code, called.headers["location"]) == (202, address["run"])

        async def caught_up() -> bool:
            shown = await client.get(address["run"])
            assert shown.status_code == 200, shown.text
            assert shown.json()["run"]["status"] == "accepted"
            assert shown.json()["run"]["event_id"] == address["event_id"]
            return not shown.json()["read_model"]["behind_records"]

        await until(caught_up)
        value = result(address["run_id"], "2099-01-01T00:00:00.000Z")
        await producer.send_and_wait(f"{kafka_prefix}results", value, address["run_id"].encode())

        async def over() -> bool:
            shown = await client.get(address["run"])
            assert shown.status_code == 200, shown.text
            return bool(shown.json()["run"]["status"] == "completed")

        await until(over)


async def test_a_restart_goes_on_and_a_deleted_file_is_rebuilt(
    kafka: EmbeddedKafka, kafka_prefix: str, tmp_path: Path
) -> None:
    path = tmp_path / "model" / "model.sqlite"
    settings = settings_for(kafka.bootstrap, kafka_prefix, gateway__read_model=str(path))
    make_topics(settings)
    await write(settings, "w:1", "w:2")
    async with running(settings) as client:
        await until(lambda: listed(client, ["w:2", "w:1"]))
    inode = path.stat().st_ino
    await write(settings, "w:3")
    async with running(settings) as client:
        await until(lambda: listed(client, ["w:3", "w:2", "w:1"]))
    assert path.stat().st_ino == inode
    await asyncio.to_thread(shutil.rmtree, path.parent)
    async with running(settings) as client:
        await until(lambda: listed(client, ["w:3", "w:2", "w:1"]))


async def test_a_file_of_another_cluster_is_rebuilt(kafka: EmbeddedKafka, kafka_prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "model.sqlite"
    settings = settings_for(kafka.bootstrap, kafka_prefix, gateway__read_model=str(path))
    make_topics(settings)
    await write(settings, "w:1")
    async with running(settings) as client:
        await until(lambda: listed(client, ["w:1"]))
    await replace(settings, "results", partitions=4)
    await write(settings, "w:2")
    async with running(settings) as client:
        await until(lambda: listed(client, ["w:2"]))


async def replace(settings: Settings, name: str, *, partitions: int) -> None:
    """Delete a topic and create it again under its name."""
    topic = settings.kafka.prefix + name
    admin = AIOKafkaAdminClient(**clients.aiokafka_config(settings.kafka))
    await admin.start()
    try:
        await admin.delete_topics([topic])

        async def created() -> bool:
            answer = await admin.create_topics([NewTopic(topic, partitions, 1)])
            return bool(answer.topic_errors[0][1] == 0)

        await until(created)
    finally:
        await admin.close()


# ---- the follower ----------------------------------------------------------------------------------------------------


class Followed:
    """A follower of one topic whose records are kept here."""

    def __init__(self, settings: Settings, name: str, **options: Any) -> None:
        self.values: list[bytes | None] = []
        self.follower = Follower(
            settings.kafka.prefix + name, client=clients.aiokafka_config(settings.kafka), take=self._take, **options
        )
        self.task: asyncio.Task[None] | None = None

    async def _take(self, records: Sequence[Record]) -> None:
        self.values += [record.value for record in records]

    async def __aenter__(self) -> "Followed":
        self.task = asyncio.create_task(self.follower.run())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.follower.caught_up()
        return self

    async def __aexit__(self, *_raised: object) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_a_follower_passes_over_what_was_aborted_also_at_the_end(settings: Settings, kafka_prefix: str) -> None:
    topic = f"{kafka_prefix}results"
    async with producing(settings, transactional_id=f"{kafka_prefix}t") as producer:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"kept", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted", partition=0)
        await producer.abort_transaction()
    async with Followed(settings, "results") as followed:
        assert followed.values == [b"kept"]
        lag = followed.follower.lag()
        assert (lag.records, set(lag.partitions)) == (0, {0, 1, 2, 3})


async def test_a_follower_reads_records_whose_headers_are_not_utf_8_and_what_comes_after(
    settings: Settings, kafka_prefix: str
) -> None:
    topic = f"{kafka_prefix}results"
    async with producing(settings) as producer:
        await producer.send_and_wait(topic, b"before", partition=0)
        await write_odd(producer, topic, b"odd")
        await producer.send_and_wait(topic, b"after", partition=0)
        await producer.send_and_wait(topic, b"beside", partition=1)
        async with Followed(settings, "results") as followed:
            assert set(followed.values) == {b"after", b"before", b"beside", b"odd"}
            await write_odd(producer, topic, b"odd again")
            await producer.send_and_wait(topic, b"last", partition=0)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while followed.values[4:] != [b"odd again", b"last"] or followed.follower.lag().records:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)


async def test_a_follower_that_wants_the_newest_alone_passes_over_the_rest(
    settings: Settings, kafka_prefix: str
) -> None:
    async with producing(settings) as producer:
        for n in range(10):
            await producer.send_and_wait(f"{kafka_prefix}results", str(n).encode(), partition=0)
    async with Followed(settings, "results", newest=3) as followed:
        assert followed.values == [b"7", b"8", b"9"]


async def test_a_record_larger_than_a_fetch_comes_through(settings: Settings, kafka_prefix: str) -> None:
    values = [b"small", b"x" * 7_000_000, b"last"]
    async with producing(settings, max_request_size=8_000_000) as producer:
        for value in values:
            await producer.send_and_wait(f"{kafka_prefix}results", value, partition=0)
    async with Followed(settings, "results") as followed:
        assert followed.values == values


async def test_a_follower_of_a_topic_made_anew_ends_with_an_error(settings: Settings, kafka_prefix: str) -> None:
    async with producing(settings) as producer:
        await producer.send_and_wait(f"{kafka_prefix}workflows", b"1", b"k")
    followed = Followed(settings, "workflows", identify=identify_with(settings.kafka))
    async with followed:
        await replace(settings, "workflows", partitions=1)
        assert followed.task is not None
        with pytest.raises(TopicReplacedError, match="Restart this process"):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await followed.task


async def test_an_error_in_a_part_ends_the_gateway(
    settings: Settings, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    async def broken(_self: Any, _records: Sequence[Record]) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("app.gateway.workflows.Workflows.take", broken)
    async with producing(settings) as producer:
        await producer.send_and_wait(f"{kafka_prefix}workflows", b"{}", b"k")
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await gateway.run(settings, stop=asyncio.Event())
