"""The publisher of connectors on a real broker: everything that it says is durable is there."""

from app.kafka.embedded import EmbeddedKafka
from connectors.base.contract import Received
from connectors.base.instance.events import Maker, Outgoing
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
