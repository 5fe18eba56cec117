"""Records that a worker sends unfenced: what is silent is not missing."""

import asyncio
from collections.abc import Callable

import pytest

from app.engine.values.outgoing import Record
from app.kafka import clients, sender
from app.kafka.embedded import EmbeddedKafka
from app.kafka.log import LogError
from app.settings import KafkaSettings
from tests.integration.owners import partition, read


def _record(topic: str, *, foreign: bool) -> Record:
    return Record(topic, None, b"k", b'{"topic":"a","data":1}', (), foreign=foreign)


async def _sender(kafka: EmbeddedKafka, prefix: str, *, request_timeout_ms: int = 30_000) -> sender.Sender:
    config = clients.aiokafka_config(KafkaSettings(bootstrap=kafka.bootstrap))
    made = sender.Sender(config | {"request_timeout_ms": request_timeout_ms}, prefix=prefix)
    await made.start()
    return made


async def test_own_topic_of_a_silent_broker_is_waited_for(
    own_kafka: Callable[..., EmbeddedKafka], kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_METADATA_SECONDS", 0.2)
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


async def test_foreign_topic_of_a_silent_broker_stops_the_worker(
    own_kafka: Callable[..., EmbeddedKafka], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_METADATA_SECONDS", 0.2)
    kafka = own_kafka()
    kafka.start()
    made = await _sender(kafka, "p.", request_timeout_ms=1_000)
    kafka.pause()
    with pytest.raises(LogError):
        await made.send([_record("elsewhere", foreign=True)])
    kafka.resume()
    await made.close()


async def test_foreign_topic_that_is_not_there_is_returned(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_METADATA_SECONDS", 0.5)
    made = await _sender(kafka, kafka_prefix)
    record = _record(f"{kafka_prefix}elsewhere", foreign=True)
    assert await made.send([record]) == [record]
    await made.close()
