"""Records that a worker sends unfenced: what is silent is not missing."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable

import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from app.engine.values.outgoing import Record
from app.kafka import clients, outward, sender
from app.kafka.embedded import EmbeddedKafka
from app.kafka.log import LogError, Refusal, Refused
from app.kafka.wire import is_away
from app.settings import KafkaSettings
from tests.integration.owners import partition, read
from topics.letters import dead_letter


def _record(topic: str, *, foreign: bool) -> Record:
    return Record(topic, None, b"k", b'{"topic":"a","data":1}', (), foreign=foreign)


async def _sender(kafka: EmbeddedKafka, prefix: str, *, request_timeout_ms: int = 30_000) -> sender.Sender:
    config = clients.aiokafka_config(KafkaSettings(bootstrap=kafka.bootstrap))
    made = sender.Sender(config | {"request_timeout_ms": request_timeout_ms}, prefix=prefix)
    await made.start()
    return made


async def _create(kafka: EmbeddedKafka, *topics: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(one, 1, 1) for one in topics])
    await admin.close()


async def test_own_topic_of_a_silent_broker_is_waited_for(
    own_kafka: Callable[..., EmbeddedKafka], kafka_prefix: str
) -> None:
    kafka = own_kafka()
    kafka.start()
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        made = await _sender(kafka, kafka_prefix)
        kafka.pause()
        sending = asyncio.create_task(made.send([_record("events", foreign=False)]))
        await asyncio.wait({sending}, timeout=1.5)
        assert not sending.done(), "taken for missing, it would become a dead letter"
        kafka.resume()
        assert await sending == []
        assert len(await read(await one.owner(), "events")) == 1
        await made.close()


async def test_foreign_topic_of_a_silent_broker_is_away_and_stops_no_worker(
    own_kafka: Callable[..., EmbeddedKafka], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outward, "_METADATA_SECONDS", 0.2)
    kafka = own_kafka()
    kafka.start()
    made = await _sender(kafka, "p.", request_timeout_ms=1_000)
    kafka.pause()
    record = _record("elsewhere", foreign=True)
    assert await made.send([record]) == [Refused(record, Refusal.AWAY)]
    kafka.resume()
    await made.close()


async def test_foreign_topic_without_a_leader_is_away_and_others_are_written(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outward, "_SEND_SECONDS", 1.0)
    led, lost = f"{kafka_prefix}led", f"{kafka_prefix}lost"
    await _create(kafka, led, lost)
    made = await _sender(kafka, kafka_prefix)
    records = [_record(led, foreign=True), _record(lost, foreign=True), _record(lost, foreign=True)]
    assert await made.send(records) == []
    producer = made._outward._producer
    assert producer is not None
    cluster = producer.client.cluster
    found = cluster.leader_for_partition
    # A broker alone leads all that it has: what its metadata say of a partition without a leader is put in here.
    monkeypatch.setattr(cluster, "leader_for_partition", lambda one: -1 if one.topic == lost else found(one))
    assert sorted(await made.send(records)) == sorted([Refused(one, Refusal.AWAY) for one in records[1:]])
    monkeypatch.setattr(cluster, "leader_for_partition", found)
    assert await made.send(records) == []
    await made.close()
    async with AIOKafkaConsumer(led, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        assert len([await consumer.getone() for _ in range(3)]) == 3


async def test_foreign_topic_that_is_deleted_is_missing(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outward, "_SEND_SECONDS", 1.0)
    monkeypatch.setattr(outward, "_METADATA_SECONDS", 1.0)
    topic = f"{kafka_prefix}going"
    await _create(kafka, topic)
    made = await _sender(kafka, kafka_prefix)
    record = _record(topic, foreign=True)
    assert await made.send([record]) == []
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_topics([topic])
    await admin.close()
    assert await made.send([record, record]) == [Refused(record, Refusal.MISSING)] * 2
    await made.close()


async def test_foreign_topic_that_is_not_there_is_returned(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outward, "_METADATA_SECONDS", 0.5)
    made = await _sender(kafka, kafka_prefix)
    record = _record(f"{kafka_prefix}elsewhere", foreign=True)
    assert await made.send([record]) == [Refused(record, Refusal.MISSING)]
    monkeypatch.setattr(outward, "_METADATA_SECONDS", 3_600.0)
    async with asyncio.timeout(20):  # it is remembered, and not asked for again
        assert await made.send([record]) == [Refused(record, Refusal.MISSING)]
    await made.close()


async def test_what_a_foreign_topic_refuses_is_returned_and_what_it_takes_is_written(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    small, compacted = f"{kafka_prefix}small", f"{kafka_prefix}compacted"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics(
        [
            NewTopic(small, 1, 1, topic_configs={"max.message.bytes": "20000"}),
            NewTopic(compacted, 1, 1, topic_configs={"cleanup.policy": "compact"}),
        ]
    )
    await admin.close()
    made = await _sender(kafka, kafka_prefix)

    def record(topic: str, value: bytes, key: bytes | None = b"k") -> Record:
        return Record(topic, None, key, value, (), foreign=True)

    large, keyless = record(small, b"x" * 50_000), record(compacted, b"v", None)
    unnamed = record("no topic/at all", b"v")
    taken = [record(small, b"%d" % n * 9_000) for n in range(8)]
    for _ in range(2):  # nothing is out of order after a refusal
        refused = await made.send([*taken[:4], large, keyless, *taken[4:], record(compacted, b"v")])
        assert sorted(refused, key=lambda one: one.why.value) == [
            Refused(keyless, Refusal.INVALID),
            Refused(large, Refusal.TOO_LARGE),
        ]
    (found,) = await made.send([unnamed])
    assert (found.record, found.why in (Refusal.MISSING, Refusal.INVALID)) == (unnamed, True)
    await made.close()
    async with AIOKafkaConsumer(small, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        values = [(await consumer.getone()).value for _ in range(16)]
    assert Counter(values) == Counter([one.value for one in taken] * 2)


def _letter(value: bytes, number: int) -> Record:
    key, encoded, headers = dead_letter(
        code="run_failed",
        reason="why",
        remedy="what to do",
        source_topic="events",
        partition=0,
        offset=number,
        timestamp_ms=0,
        key=b"k",
        value=value,
        headers=(),
        at_ms=0,
    )
    return Record("dlq", None, key, encoded, tuple(headers))


async def test_dead_letters_above_the_limit_of_their_topic_are_written_without_the_value_and_the_rest_whole(
    kafka: EmbeddedKafka, kafka_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    limit = {"max.message.bytes": "20000"}
    await admin.create_topics([NewTopic(f"{kafka_prefix}dlq", 1, 1, topic_configs=limit)])
    await admin.close()
    made = await _sender(kafka, kafka_prefix)
    values = [b"%d" % number * (50_000 if number == 2 else 9_000) for number in range(5)]
    for turn in range(2):  # nothing is out of order after the refusal
        several = [_letter(value, 10 * turn + number) for number, value in enumerate(values)]
        both = await asyncio.gather(made.send(several[:3]), made.send(several[3:]))  # as two partitions do
        assert [list(one) for one in both] == [[], []]
    await made.close()
    found = {}
    async with AIOKafkaConsumer(
        f"{kafka_prefix}dlq", bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        for letter in [orjson.loads((await consumer.getone()).value) for _ in range(10)]:
            found[letter["source"]["offset"]] = letter
    texts = [value.decode() if number != 2 else None for number, value in enumerate(values)]
    assert [found[number]["value"] for number in (0, 1, 2, 3, 4, 10, 11, 12, 13, 14)] == texts * 2
    assert found[12]["omitted"] == {
        "key": 1,
        "value": 50_000,
        "headers": 0,
        "value_sha256": hashlib.sha256(values[2]).hexdigest(),
    }
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == ["dead_letters_too_large"]


async def test_dead_letter_that_fits_in_no_form_is_told_in_the_log_and_stops_nothing(
    kafka: EmbeddedKafka, kafka_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(f"{kafka_prefix}dlq", 1, 1, topic_configs={"max.message.bytes": "200"})])
    await admin.close()
    made = await _sender(kafka, kafka_prefix)
    assert await made.send([_letter(b"x" * 1_000, 7)]) == []
    await made.close()
    told = [one for one in caplog.records if one.message == "dead_letter_not_written"]
    assert [one.fields["source"]["offset"] for one in told] == [7]  # type: ignore[attr-defined]


async def test_a_topic_that_no_client_could_ask_for_is_refused_and_others_are_found(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        made = await _sender(kafka, kafka_prefix)
        odd = _record("answers." + "x" * 40_000, foreign=True)
        assert await made.send([odd]) == [Refused(odd, Refusal.INVALID)]
        assert await made.send([_record("events", foreign=False)]) == []
        assert len(await read(await one.owner(), "events")) == 1
        await made.close()


async def test_a_producer_that_learns_of_no_topic_any_more_stops_the_worker(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    made = await _sender(kafka, kafka_prefix)
    client = made._producer.client
    client.add_topic("x" * 40_000)  # more than the protocol can say
    await asyncio.wait([client._sync_task])
    with pytest.raises(LogError, match="learns of no topic any more"):
        await made.send([_record("events", foreign=False)])
    client._sync_task = None  # closing would tell its error a second time
    await made.close()


async def test_what_kafka_does_not_take_in_time_stops_the_worker(
    own_kafka: Callable[..., EmbeddedKafka], kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = own_kafka()
    kafka.start()
    async with partition(kafka.bootstrap, kafka_prefix):
        made = await _sender(kafka, kafka_prefix)
        assert await made.send([_record("events", foreign=False)]) == []
        monkeypatch.setattr(sender, "_SEND_SECONDS", 0.5)
        kafka.pause()
        for topic in ("events", "commands"):  # one that is known, and one that is not
            with pytest.raises(LogError) as raised:
                await made.send([_record(topic, foreign=False)])
            assert is_away(raised.value), "it ends as a worker does whose brokers are away"
        kafka.resume()
        await made.close()
