"""What owners of partitions make of records that should not be there, on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Callable

from aiokafka import AIOKafkaProducer

from app.kafka.embedded import EmbeddedKafka
from connectors.base.contract import Item, Moved, NotConnected, Site
from tests.integration.connecting import Installation, running, until
from tests.integration.odd_headers import write_odd
from tests.unit.connectors.base.framed import Reads
from topics.sources import Spec, configured, partition_of, state_topic


async def test_a_run_hears_of_each_state_of_its_source(
    kafka: EmbeddedKafka, kafka_prefix: str, scripted: Callable[[str, Reads], None]
) -> None:
    up = asyncio.Event()

    async def late(site: Site, number: int) -> AsyncIterator[Item]:
        if not up.is_set():
            raise NotConnected("not yet")
        site.connected()
        yield Moved(position=number)
        await asyncio.get_running_loop().create_future()

    scripted("late", late)
    place = Installation(kafka, kafka_prefix)
    connectors = place.process()
    reconnect = {"base_seconds": 0.01, "max_seconds": 0.5}

    async def told(state: str) -> bool:
        return any(event["data"]["state"] == state for event in await place.events())

    async with running(connectors):
        await place.set_up(connectors, Spec(id="a", kind="late", origin="run r1", reconnect=reconnect))
        await until(lambda: told("backing off"), what="the run hears that it is not there yet")
        up.set()
        await until(lambda: told("connected"), what="the run hears that it is connected", seconds=10)
    assert {event["topic"] for event in await place.events()} == {state_topic("a")}


async def test_a_new_owner_does_not_go_on_with_the_pause_of_the_one_before(
    kafka: EmbeddedKafka, kafka_prefix: str, scripted: Callable[[str, Reads], None]
) -> None:
    tried = []

    async def down(site: Site, _number: int) -> AsyncIterator[Item]:
        tried.append(site.epoch)
        if tried:
            raise NotConnected("it is down", retry_after_seconds=86_400)
        yield Moved(position=0)

    scripted("down", down)
    place = Installation(kafka, kafka_prefix)
    first, second = place.process("p1"), place.process("p2")
    async with running(first) as stops:
        await place.set_up(first, Spec(id="a", kind="down", reconnect={"base_seconds": 3_600, "max_seconds": 3_600}))
        await until(lambda: len(tried) == 1, what="the first has tried")
        async with running(second):
            stops[0].set()
            await until(lambda: len(tried) == 2, what="the second tries at once")


async def test_whoever_asks_for_a_source_that_runs_already_hears_how_it_is(
    kafka: EmbeddedKafka, kafka_prefix: str, idle: list[str]
) -> None:
    place = Installation(kafka, kafka_prefix)
    connectors = place.process()

    async def told(count: int) -> bool:
        return len({event["id"] for event in await place.events()}) == count

    async with running(connectors):
        await place.set_up(connectors, Spec(id="a", kind="idle", origin="run r1"))
        await until(lambda: told(1), what="the first hears that it is connected")
        await place.set_up(connectors, Spec(id="a", kind="idle", origin="run r2"))
        await until(lambda: told(2), what="the second as well", seconds=10)

    assert idle == ["a"]


async def test_a_source_in_a_partition_where_it_does_not_belong_runs_nowhere_and_harms_nobody(
    kafka: EmbeddedKafka, kafka_prefix: str, idle: list[str]
) -> None:
    place = Installation(kafka, kafka_prefix)
    connectors = place.process()
    home = partition_of("a", 16)
    other = next(name for number in range(1_000) if partition_of(name := f"b{number}", 16) == (home + 1) % 16)
    async with running(connectors):
        spec = configured(Spec(id="a", kind="idle"))
        await connectors.publisher.write("triggers", b"a", spec.value, partition=(home + 1) % 16)
        await place.set_up(connectors, Spec(id="a", kind="idle"), Spec(id=other, kind="idle"))
        await until(lambda: set(idle) == {"a", other}, what="both run")
        await connectors.publisher.write("triggers", b"a", None, partition=(home + 1) % 16)
        await place.set_up(connectors, Spec(id=other, kind="idle", key="changed"))
        await until(lambda: idle.count(other) == 2, what="what was said later has been heard")

        assert idle.count("a") == 1
        assert connectors.runner("a") is not None


async def test_what_cannot_be_read_in_topics_of_ours_ends_no_process(
    kafka: EmbeddedKafka, kafka_prefix: str, idle: list[str]
) -> None:
    place = Installation(kafka, kafka_prefix)
    name = next(name for number in range(1_000) if partition_of(name := f"s{number}", 16) == 0)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for topic in ("triggers", "cursors", "actions"):
            await write_odd(producer, place.prefix + topic, b"odd", key=b"odd")
    connectors = place.process()
    async with running(connectors):
        await place.set_up(connectors, Spec(id=name, kind="idle"))
        await until(lambda: idle == [name], what="it runs")
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for topic in ("triggers", "actions"):
                await write_odd(producer, place.prefix + topic, b"odd", key=b"odd")
        await place.set_up(connectors, Spec(id=name, kind="idle", key="changed"))
        await until(lambda: idle == [name, name], what="what was said later has been heard")
