"""Dead letters of webhooks on a broker whose topic for them is too small."""

import asyncio

import orjson

from app.gateway.letters import Letters
from app.kafka.embedded import EmbeddedKafka
from app.kafka.producer import EventProducer, ProduceError
from connectors.base.closing import end
from tests.integration.connecting import Installation, until
from tests.unit.app.gateway.hooked import letter


async def test_a_dead_letter_above_the_limit_of_its_topic_is_there_without_its_value_after_some_repetitions(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    place = Installation(kafka, kafka_prefix, limits={"dlq": 20_000})
    producer = EventProducer(f"{kafka_prefix}dlq", client=place.client, timeout_seconds=10)
    letters, running = Letters(producer), asyncio.create_task(producer.run())
    several = [letter(b"%d" % number * size) for number, size in enumerate([9_000, 50_000])]

    async def is_taken() -> bool:
        try:
            await letters.write(several, "hook")
        except ProduceError:  # the sender hears 503, and delivers again
            return False
        return True

    await until(is_taken, what="it is taken")
    await producer.drain(10)
    await end([running])

    written = [orjson.loads(record.value) for record in await place.records("dlq")]
    assert {one["value"] or one["omitted"]["value"] for one in written} == {"0" * 9_000, 50_000}
