"""Positions in a topic that is compacted, or lost and made anew, on a real broker."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from app.kafka import provisioning
from app.kafka.admin import Admin
from app.kafka.embedded import EmbeddedKafka
from connectors.base.closing import end
from connectors.base.fleet.positions import Positions
from tests.integration.connecting import Installation, running, until
from tests.integration.test_connectors import counting
from tests.integration.test_fence import EAGER_CLEANER, EAGER_JOURNAL
from tests.unit.connectors.base.framed import Reads
from topics.sources import Cursor, Spec

MOVES = 60


def at(number: int) -> Cursor:
    return Cursor(position={"at": number}, epoch="e", kind="x")


async def test_a_takeover_after_compaction_finds_the_last_positions_and_none_that_was_removed(
    own_kafka: Callable[..., EmbeddedKafka],
) -> None:
    kafka = own_kafka(overrides=EAGER_CLEANER)
    kafka.start()
    place = Installation(kafka, "compacted.", configs={"cursors": EAGER_JOURNAL})
    former, later = (Positions(3, prefix=place.prefix, client=place.client) for _ in range(2))
    await former.take_over()
    writing = asyncio.create_task(former.run())
    for number in range(1, MOVES + 1):
        for name in ("a", "b", "gone"):
            former.move(name, at(number))
        await former.settled()
    former.move("gone", None)
    await former.settled()
    moving = itertools.count(1)

    async def is_compacted() -> bool:
        former.move("moves", at(next(moving)))  # the newest segment is left alone: there have to be newer ones
        await former.settled()
        left = [(record.key or b"").decode() for record in await place.records("cursors")]
        return "gone" not in left and left.count("a") == left.count("b") == 1

    await until(is_compacted, what="the broker has compacted the positions")
    found = await later.take_over()
    last = next(moving) - 1

    assert {name: one.position["at"] for name, one in found.items()} == {"a": MOVES, "b": MOVES, "moves": last}
    await end([writing])
    await former.close()
    await later.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record.__dict__["fields"]["partition"] for record in caplog.records if record.message == "positions_lost"]


async def test_positions_that_are_lost_with_their_topic_are_told(
    kafka: EmbeddedKafka,
    kafka_prefix: str,
    scripted: Callable[[str, Reads], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    scripted("counting", counting)
    place = Installation(kafka, kafka_prefix)
    first = place.process("p1")
    async with running(first):
        await place.set_up(first, Spec(id="a", kind="counting"))
        await until(lambda: place.last("cursors"), what="it has a position")
        (partition,) = {record.partition for record in await place.records("cursors")}
    async with running(again := place.process("p2")):
        await until(lambda: again.runner("a"), what="the next owner has it")
    assert warnings(caplog) == []

    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_topics([f"{kafka_prefix}cursors"])
    await admin.close()
    anew = Admin.connect(place.settings.kafka)
    await until(lambda: not anew.topics([f"{kafka_prefix}cursors"]), what="the topic is gone")
    provisioning.apply(anew, place.settings.kafka)
    for name in ("p3", "p4"):
        async with running(after := place.process(name)):
            await until(lambda: after.runner("a"), what="it begins anew")

    assert warnings(caplog) == [partition]


async def test_an_owner_of_nothing_that_ever_moved_loses_nothing(
    kafka: EmbeddedKafka, kafka_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = Installation(kafka, kafka_prefix)
    for _ in range(2):
        one = Positions(3, prefix=kafka_prefix, client=place.client)
        assert await one.take_over() == {}
        await one.close()

    assert warnings(caplog) == []
