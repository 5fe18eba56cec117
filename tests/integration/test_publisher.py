"""The publisher of connectors on a real broker: everything that it says is durable is there."""

import asyncio
from dataclasses import replace

import orjson
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest

from app.kafka.embedded import EmbeddedKafka
from connectors.base.contract import Received, Unreadable
from connectors.base.instance.events import Maker, NotAnEvent, Outgoing, TooLargeForKafka
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


async def test_events_of_many_sources_travel_in_few_requests(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Installation(kafka, kafka_prefix)
    requests, send = list[ProduceRequest](), AIOKafkaClient.send

    async def counted(self: AIOKafkaClient, node: int, request: object, **more: object) -> object:
        requests.extend([request] if isinstance(request, ProduceRequest) else [])
        return await send(self, node, request, **more)

    monkeypatch.setattr(AIOKafkaClient, "send", counted)
    publisher = place.process().publisher
    await publisher.publish([outgoing(0, "a")])
    requests.clear()
    await asyncio.gather(*(publisher.publish([outgoing(number, "a")]) for number in range(1, 201)))
    await publisher.close()

    assert sorted(event["data"] for event in await place.events()) == list(range(201))
    assert len(requests) < 10


async def test_a_few_events_that_a_topic_does_not_take_are_told_and_those_of_others_are_there(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    place = Installation(kafka, kafka_prefix, partitions=1, limits={"events": 20_000})
    publisher = place.process().publisher
    large = outgoing(100, "a")
    large = replace(large, value=large.value + b" " * 30_000)
    done = await asyncio.gather(
        *(publisher.publish([one]) for one in (large, *(outgoing(number, "a") for number in range(100)))),
        return_exceptions=True,
    )
    await publisher.close()

    assert isinstance(done[0], TooLargeForKafka)
    assert done[1:] == [None] * 100
    assert {event["data"] for event in await place.events()} == set(range(100))


async def test_what_is_too_large_for_the_topic_is_told_and_everything_else_is_there(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    place = Installation(kafka, kafka_prefix, partitions=1, limits={"events": 100_000})
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


async def test_dead_letters_above_the_limit_of_their_topic_are_written_without_the_value_and_the_rest_whole(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    place = Installation(kafka, kafka_prefix, partitions=1, limits={"dlq": 20_000})
    publisher = place.process().publisher
    maker = Maker(Spec(id="src", kind="k", topic="t"), max_bytes=1024 * 1024)
    why = NotAnEvent(code="source_unreadable", reason="why", remedy="what to do")
    letters = [
        maker.dead_letter(Unreadable(id=str(number), reason="why", raw=b"%d" % number * size), why, at_ms=1)
        for number, size in enumerate([9_000, 9_000, 50_000, 9_000, 9_000])
    ]
    await asyncio.gather(publisher.publish([], letters[:3]), publisher.publish([outgoing(1, "a")], letters[3:]))
    await publisher.close()

    assert [event["data"] for event in await place.events()] == [1]
    written = [orjson.loads(record.value) for record in await place.records("dlq")]
    assert {one["value"] or one["omitted"]["value"] for one in written} == {
        *(f"{number}" * 9_000 for number in (0, 1, 3, 4)),
        50_000,
    }
