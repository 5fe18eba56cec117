"""Takeovers on a real broker, with what only a broker does: forgotten ids, exhausted epochs, topics made anew."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.protocol.transaction import InitProducerIdRequest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from app.kafka.embedded import EmbeddedKafka
from app.kafka.journal import LAST_EPOCH, KafkaLog
from app.kafka.log import Entry, Fenced
from app.kafka.wire import TRANSACTION_TIMEOUT_MS, Wire
from tests.integration.owners import Partition, entries, keys_of, partition, read
from topics import journal

FORGETFUL = {
    "transactional.id.expiration.ms": "1000",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "200",
}


async def _claims(log: KafkaLog) -> list[dict[str, Any]]:
    return [json.loads(one.value or b"") for one in await read(log) if one.key == journal.CLAIM]


async def _expire(one: Partition, log: KafkaLog) -> None:
    """Return once the broker has forgotten every transactional id that was last used before this call.

    Asking for an id refreshes it, so each of these is asked for again only once.
    """
    wire: Wire = log._wire
    prefix = one.settings.kafka.prefix
    sentinels = {name: await wire.init_producer(name) for name in (f"{prefix}sentinel.{at}" for at in range(100))}
    for name, before in sentinels.items():
        await asyncio.sleep(0.3)
        if (await wire.init_producer(name)).producer_id != before.producer_id:
            return
    raise AssertionError("the broker forgets no transactional id")


async def test_another_producer_id_after_the_broker_forgot_the_old_one(
    own_kafka: Callable[..., EmbeddedKafka], kafka_prefix: str
) -> None:
    kafka = own_kafka(overrides=FORGETFUL)
    kafka.start()
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        old, _ = await one.taken()
        await old.append(entries("known"))
        await old.deliver("results", entries("r1"))
        await _expire(one, old)
        new, _ = await one.taken()
        first, second = await _claims(new)
        assert first["producer_id"] != second["producer_id"], "the broker gave out another id"
        for topic in ("journal", "results", "runs"):
            with pytest.raises(Fenced):
                await old._append(topic, entries("zombie"))
        await new.append(entries("next"))
        await new.deliver("results", entries("r2"))
        kills = [
            record for record in await read(new) if any(name == journal.FENCE_HEADER for name, _ in record.headers)
        ]
        assert len(kills) == 1
        assert [key for key in keys_of(await read(new, "results")) if key != "fence"] == ["r1", "r2"]
        third, taken = await one.taken()  # the kill record is nothing to a reader
        assert taken.next_journal_offset == taken.term + 1
        assert (await _claims(third))[-1]["producer_id"] == second["producer_id"]


async def test_another_producer_id_once_the_epochs_are_used_up(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        old, _ = await one.taken()
        first = (await _claims(old))[-1]
        await _use_up_epochs(one, old, first["producer_id"])
        new, _ = await one.taken()
        assert (await _claims(new))[-1]["producer_id"] != first["producer_id"]
        for topic in ("journal", "results", "runs"):
            with pytest.raises(Fenced):
                await old._append(topic, entries("zombie"))
        await new.append(entries("next"))


async def _use_up_epochs(one: Partition, log: KafkaLog, producer_id: int) -> None:
    """Ask until the next epoch would be the last, which Kafka keeps for itself."""
    client = log._wire._client
    name = f"{one.settings.kafka.prefix}journal.0"
    node = await client.coordinator_lookup(CoordinationType.TRANSACTION, name)
    request = InitProducerIdRequest(name, TRANSACTION_TIMEOUT_MS)
    while True:
        reply = await client.send(node, request, group=ConnectionGroup.COORDINATION)
        if reply.error_code == 0 and (reply.producer_id, reply.producer_epoch) >= (producer_id, LAST_EPOCH - 1):
            return


async def test_records_of_the_older_owner_before_the_claim_count(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    """Between the newcomer's first read and its claim the older owner may commit once more."""
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        old, taken = await one.taken()
        late = taken.next_journal_offset
        new = await one.owner()
        close = new.close_outputs

        async def commits_meanwhile() -> Any:
            assert await old.append([Entry(journal.HEAD, _head(round_=7, events=5))]) == late
            return await close()

        new.close_outputs = commits_meanwhile  # type: ignore[method-assign]
        taken = await one.take_over(new)
        assert taken.state.round == 7
        assert taken.term == late + 1


def _head(*, round_: int, events: int = 0, commands: int = 0) -> bytes:
    return json.dumps(
        {
            "r": round_, "v": journal.FORMAT, "partitions": 1, "events": events, "commands": commands, "now": 1,
            "bodies": 0, "received": {}, "sent": {}, "delivered": 0, "results_end": 0, "runs_end": 0, "ids_from": 0,
            "generations": {},
        }
    ).encode()  # fmt: skip


async def test_offset_beyond_the_end_is_a_topic_made_anew_and_is_named(
    kafka: EmbeddedKafka, kafka_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        old, _ = await one.taken()
        await old.append([Entry(journal.HEAD, _head(round_=1, events=1_000))])
        _, taken = await one.taken()
        assert taken.state.events_offset == 0
        assert any("topic_recreated" in record.getMessage() for record in caplog.records)


async def test_range_that_retention_took_is_named(
    kafka: EmbeddedKafka, kafka_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        old, _ = await one.taken()
        await old.append([Entry(journal.HEAD, _head(round_=1, events=2))])
        await _append_events(one, 10)
        _delete_before(kafka.bootstrap, f"{kafka_prefix}events", 6)
        _, taken = await one.taken()
        assert taken.state.events_offset == 6
        named = [record for record in caplog.records if "offsets_missing" in record.getMessage()]
        assert named, "what was lost is said"


async def _append_events(one: Partition, count: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=one.settings.kafka.bootstrap) as producer:
        for number in range(count):
            await producer.send_and_wait(f"{one.settings.kafka.prefix}events", b"%d" % number)


def _delete_before(bootstrap: str, topic: str, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.delete_records([TopicPartition(topic, 0, offset)]).values():
        future.result(30.0)


async def test_two_newcomers_at_once_leave_one_owner(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    """Whoever claims last owns; the other one is refused, at its claim or at its next append."""
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        logs = [await one.owner() for _ in range(4)]
        taken = await asyncio.gather(*(one.take_over(log) for log in logs), return_exceptions=True)
        outcomes = await asyncio.gather(*(log.append(entries("x")) for log in logs), return_exceptions=True)
        owners = [offset for offset in outcomes if isinstance(offset, int)]
        assert len(owners) == 1, f"{taken}\n{outcomes}"
        records = await read(logs[0])
        assert records[-1].offset == owners[0]
