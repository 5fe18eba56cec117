"""The publisher of connectors on a real broker: everything that it says is durable is there."""

from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.kafka.embedded import EmbeddedKafka
from connectors.base.contract import Received
from connectors.base.instance.events import Maker, Outgoing, TooLargeForKafka
from tests.integration.connecting import Installation
from topics.sources import Spec


def outgoing(number: int, event_type: str) -> Outgoing:
    made = Maker(Spec(id="src", kind="k", topic="t", key="one"), max_bytes=1024 * 1024).event(
        Received(id=str(number), event_type=event_type, data=number), at_ms=1
    )
    assert made is not None
    return made


async def test_events_whose_headers_are_longer_than_all_else_are_all_there(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    place = Installation(kafka, kafka_prefix)
    publisher = place.process().publisher
    await publisher.publish([outgoing(number, "\N{GRINNING FACE}" * 512) for number in range(1_000)])
    await publisher.close()

    assert [event["data"] for event in await place.events()] == list(range(1_000))


async def test_what_is_too_large_for_the_topic_is_told_and_everything_else_is_there(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    place = Installation(kafka, kafka_prefix, partitions=1)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    limit = {"max.message.bytes": "100000"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, f"{kafka_prefix}events", limit)])
    await admin.close()
    publisher = place.process().publisher
    large = outgoing(1_000, "x" * 500)
    large = replace(large, value=large.value + b" " * 200_000)
    events = [outgoing(number, "\N{GRINNING FACE}" * 128) for number in range(500)]
    assert sum(event.size_bytes for event in events) > 300_000
    with pytest.raises(TooLargeForKafka) as raised:
        await publisher.publish([*events[:250], large, *events[250:]])
    await publisher.close()

    assert [large] == list(raised.value.events)
    assert {event["data"] for event in await place.events()} == set(range(500))
