"""Webhooks over HTTP into a real Kafka."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import orjson

from app.kafka.admin import Admin
from app.kafka.embedded import EmbeddedKafka
from app.settings import Settings
from app.wiring import sourcelist
from tests.integration.gateway_process import (
    PARTITIONS,
    make_topics,
    producing,
    ready,
    records,
    running,
    settings_for,
    until,
)
from tests.unit.connectors.webhook import signing
from topics import keys
from topics.sources import Spec, State, Status, configured, partition_of, status_told

BODY = b'{"action":"opened"}'
DELIVERY = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
REPOSITORY = Spec(id="repo", kind="webhook", options={"provider": "github", "secret": signing.SECRET})
OPEN = Spec(id="open", kind="webhook", options={"provider": "none"})


async def set_up(settings: Settings, *specs: Spec, gone: str | None = None) -> None:
    """Write to `triggers` as `headgate connectors` does."""
    topic = f"{settings.kafka.prefix}triggers"
    async with producing(settings) as producer:
        count = len(await producer.partitions_for(topic))
        for spec in specs:
            record = configured(spec)
            await producer.send_and_wait(topic, record.value, record.key, partition=partition_of(spec.id, count))
        if gone is not None:
            await producer.send_and_wait(topic, None, gone.encode(), partition=partition_of(gone, count))


async def deliver(
    client: httpx.AsyncClient, path: str, headers: dict[str, str] | None = None, body: bytes = BODY
) -> httpx.Response:
    """As a sender does: without the gateway's token."""
    given = {"content-type": "application/json", "authorization": "none"} | (headers or {})
    return await client.post(path, content=body, headers=given)


def answers(client: httpx.AsyncClient, path: str, status: int) -> Callable[[], Any]:
    async def holds() -> bool:
        return (await deliver(client, path)).status_code == status

    return holds


async def test_a_hundred_equal_deliveries_are_one_event_by_their_id(settings: Settings) -> None:
    await set_up(settings, REPOSITORY)
    async with running(settings) as client:
        await ready(client)
        headers = signing.github(BODY)
        sent = await asyncio.gather(*(deliver(client, "/webhooks/github/repo", headers) for _ in range(100)))
        tampered = await deliver(client, "/webhooks/github/repo", headers, BODY + b" ")
        found = await records(settings, "events")
        shown = (await client.get("/api/v1/sources/repo")).json()["source"]
    assert {answer.status_code for answer in sent} == {202}
    assert tampered.status_code == 401
    events = [orjson.loads(one.value) for one in found]
    assert {(one["id"], one["topic"], one["event_type"]) for one in events} == {(DELIVERY, "repo/issues", "issues")}
    assert {dict(one.headers)["source"] for one in found} == {b"headgate/sources/repo"}
    # Where equal ids meet, in the partition that is the id's home, all but the first are dropped.
    assert {one.partition for one in found} == {keys.partition_of(DELIVERY.encode(), PARTITIONS)}
    assert len(found) == 100
    assert (shown["state"], shown["events_received"], shown["notes"]) == ("connected", 100, {"signature_wrong": 1})


async def test_webhooks_come_and_go_and_other_sources_are_shown(settings: Settings, kafka_prefix: str) -> None:
    async with running(settings) as client:
        await ready(client)
        assert (await deliver(client, "/webhooks/none/open")).status_code == 404
        await set_up(settings, OPEN, Spec(id="feed", kind="rss"))
        await until(answers(client, "/webhooks/none/open", 202))
        status = status_told(Status(id="feed", kind="rss", state=State.BACKING_OFF, since_ms=0, updated_at_ms=0))
        async with producing(settings) as producer:
            await producer.send_and_wait(f"{kafka_prefix}sources", status.value, status.key)

        async def nobody_runs_feed() -> bool:
            found = (await client.get("/api/v1/sources")).json()["sources"]
            known = [(one["id"], one["state"], one["updated_at"] is not None) for one in found]
            return known == [("feed", "unknown", True), ("open", "connected", True)]

        await until(nobody_runs_feed)

        async def told() -> bool:
            found = await asyncio.to_thread(sourcelist.listed, settings.kafka, Admin.connect(settings.kafka))
            return {name: one.state for name, one in found.items()} == {"feed": "backing off", "open": "connected"}

        await until(told)
        await set_up(settings, gone="open")
        await until(answers(client, "/webhooks/none/open", 404))


async def test_what_a_sources_own_filter_fails_on_is_a_dead_letter(settings: Settings) -> None:
    strict = Spec(id="strict", kind="webhook", options={"provider": "none"}, filter={"data.body.action": {"gt": 1}})
    await set_up(settings, strict)
    async with running(settings) as client:
        await ready(client)
        assert (await deliver(client, "/webhooks/none/strict")).status_code == 202

        async def lettered() -> bool:
            letters = (await client.get("/api/v1/dead-letters")).json()["dead_letters"]
            return [one["code"] for one in letters] == ["filter_failed"]

        await until(lettered)
        assert await records(settings, "events") == []


async def test_while_the_broker_is_frozen_it_is_503_and_the_repetition_is_taken(
    own_kafka: Callable[..., EmbeddedKafka],
) -> None:
    broker = own_kafka()
    broker.start()
    settings = settings_for(broker.bootstrap)
    make_topics(settings)
    await set_up(settings, REPOSITORY)
    async with running(settings) as client:
        await ready(client)
        headers = signing.github(BODY)
        broker.pause()
        away = await deliver(client, "/webhooks/github/repo", headers)
        refused = await deliver(client, "/webhooks/github/repo", headers)
        unsigned = await deliver(client, "/webhooks/github/repo")
        broker.resume()

        async def taken() -> bool:
            return (await deliver(client, "/webhooks/github/repo", headers)).status_code == 202

        await until(taken)
        found = await records(settings, "events")
    assert (away.status_code, away.json()["error"]["code"]) == (503, "kafka_no_answer")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "kafka_unavailable")
    assert "retry-after" in away.headers
    assert unsigned.status_code == 401
    assert {orjson.loads(one.value)["id"] for one in found} == {DELIVERY}
