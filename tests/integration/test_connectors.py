"""Connectors on a real broker: sources are set up, changed, removed, and move between processes under a fence."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable

import pytest

from app.kafka.embedded import EmbeddedKafka
from connectors.base.closing import end
from connectors.base.contract import Item, Received, Site
from connectors.base.fleet.positions import Fenced, Positions
from connectors.base.instance.events import Outgoing
from tests.integration.connecting import Installation, running, until
from tests.unit.connectors.base.framed import Reads
from topics import keys
from topics.sources import Cursor, Spec, State, partition_of


async def counting(site: Site, _: int) -> AsyncIterator[Item]:
    """Numbers from where it stands, a hundred a second."""
    site.connected()
    number = site.position or 0
    while True:
        number += 1
        yield Received(id=f"{site.instance_id}-{number}", event_type="n", data={"n": number}, position=number)
        await asyncio.sleep(0.01)


def outgoing(number: int) -> Outgoing:
    value = b'{"topic": "t", "id": "%d", "data": %d}' % (number, number)
    return Outgoing(home=str(number), key=None, value=value, headers=[("provider", b"test")])


async def test_events_are_published_to_their_homes(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    place = Installation(kafka, kafka_prefix, partitions=4)
    connectors = place.process()
    await connectors.publisher.publish([outgoing(number) for number in range(2_000)])
    await connectors.publisher.close()

    records = await place.records("events")
    assert 2_000 == len(records)
    for record in records:
        number = record.value.split(b'"id": "')[1].split(b'"')[0]
        assert record.partition == keys.partition_of(number, 4)
        assert dict(record.headers) == {"provider": b"test"}


@pytest.mark.parametrize("cancelled", [False, True])
async def test_asyncio_complains_of_nothing_when_an_owner_is_fenced(
    kafka: EmbeddedKafka, kafka_prefix: str, *, cancelled: bool
) -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    place = Installation(kafka, kafka_prefix)
    first, former, later = (Positions(3, prefix=kafka_prefix, client=place.client) for _ in range(3))
    await first.take_over()  # it has written: the former one has not, and has to ask where before it sends
    await first.close()
    await former.take_over()
    await later.take_over()
    assert former._producer is not None
    sending = former._producer._sender.sender_task

    former.move("a", Cursor(position=1, epoch=former.epoch, kind="x"))
    writing = asyncio.create_task(former.run())
    while not former._producer._txn_manager.is_in_transaction():  # noqa: ASYNC110 aiokafka tells nobody
        await asyncio.sleep(0)
    if cancelled:
        await end([writing])
    else:
        with pytest.raises(Fenced):
            await asyncio.wait_for(writing, 20)
    await asyncio.wait({sending}, timeout=20)
    await former.close()
    await later.close()
    del writing, sending, former
    gc.collect()
    assert complaints == []


async def test_a_new_owner_fences_the_former_one_and_finds_its_positions(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    place = Installation(kafka, kafka_prefix)
    former, later = (Positions(3, prefix=kafka_prefix, client=place.client) for _ in range(2))
    assert await former.take_over() == {}
    writing = asyncio.create_task(former.run())
    former.move("a", Cursor(position={"at": 1}, epoch=former.epoch, kind="x"))
    former.move("b", Cursor(position=None, epoch=former.epoch, kind="x"))
    await former.settled()

    found = await later.take_over()
    former.move("a", Cursor(position={"at": 2}, epoch=former.epoch, kind="x"))

    assert {"at": 1} == found["a"].position
    assert found["b"].position is None
    assert former.epoch != later.epoch
    with pytest.raises(Fenced):
        await asyncio.wait_for(writing, 20)
    assert {"at": 1} == (await place.last("cursors"))["a"]["position"]
    await former.close()
    await later.close()


async def test_a_large_position_is_kept_whole(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    place = Installation(kafka, kafka_prefix)
    positions = Positions(0, prefix=kafka_prefix, client=place.client)
    await positions.take_over()
    writing = asyncio.create_task(positions.run())
    large = [f"{number:032x}" for number in range(100_000)]
    positions.move("a", Cursor(position=large, epoch="e", kind="x"))
    await positions.settled()
    await end([writing])
    await positions.close()

    again = Positions(0, prefix=kafka_prefix, client=place.client)
    assert large == (await again.take_over())["a"].position
    await again.close()


async def test_sources_run_as_they_are_set_up_changed_and_removed(
    kafka: EmbeddedKafka, kafka_prefix: str, scripted: Callable[[str, Reads], None]
) -> None:
    scripted("counting", counting)
    place = Installation(kafka, kafka_prefix)
    connectors = place.process()
    async with running(connectors):
        await until(lambda: connectors.ready, what="ready")
        await place.set_up(connectors, Spec(id="one", kind="counting"), Spec(id="gone", kind="nonsense"))
        await until(lambda: _count(place, "one", 20), what="events")
        await place.set_up(connectors, Spec(id="one", kind="counting", topic="changed/{{ data.n }}"))
        await until(lambda: _count(place, "changed", 20), what="events of the changed source")
        status = (await place.last("sources"))["one"]
        assert (State.CONNECTED, "p1", "counting") == (status["state"], status["owner"], status["kind"])
        failed = await until(lambda: _state(place, "gone", State.FAILED), what="the unknown kind has failed")
        assert "There is no kind of source 'nonsense'" in failed["error"]["message"]

        await connectors.publisher.write("triggers", b"one", None)
        await until(lambda: connectors.runner("one") is None, what="it ends")
        await until(lambda: _is_gone(place, "one"), what="its position and status are removed")

    numbers = [event["data"]["n"] for event in await place.events()]
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))


async def test_a_source_moves_to_the_process_that_is_left_and_loses_nothing(
    kafka: EmbeddedKafka, kafka_prefix: str, scripted: Callable[[str, Reads], None]
) -> None:
    scripted("counting", counting)
    place = Installation(kafka, kafka_prefix)
    first, second = place.process("p1"), place.process("p2")
    names = [f"s{number}" for number in range(12)]
    async with running(first, second) as stops:
        await until(lambda: first.ready and second.ready, what="both are ready")
        await until(lambda: len(first.partitions) == len(second.partitions) == 8, what="they share")
        await place.set_up(first, *(Spec(id=name, kind="counting") for name in names))
        await until(lambda: all(first.runner(name) or second.runner(name) for name in names), what="all run")
        assert {bool(first.runner(name)) for name in names} == {True, False}
        assert not any(first.runner(name) and second.runner(name) for name in names)
        before = len(await place.events())
        stops[0].set()
        await until(lambda: len(second.partitions) == 16, what="the second has everything")
        await until(lambda: all(second.runner(name) for name in names), what="all run in the second")
        await until(lambda: _grown(place, before + 200), what="events go on")

    by_source: dict[str, list[int]] = {name: [] for name in names}
    for event in await place.events():
        by_source[event["topic"].split("/")[0]].append(event["data"]["n"])
    for name, numbers in by_source.items():
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), name  # a clean stop repeats nothing either


async def test_two_processes_never_run_one_partition_and_a_third_takes_its_share(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    place = Installation(kafka, kafka_prefix)
    first, second, third = (place.process(name) for name in ("p1", "p2", "p3"))
    async with running(first, second):
        await until(lambda: len(first.partitions) == len(second.partitions) == 8, what="they share")
        async with running(third):
            await until(lambda: len(third.partitions) == 5, what="the third has a share")
            await until(lambda: len(first.partitions) + len(second.partitions) == 11, what="the others gave it up")
            assert not first.partitions & second.partitions & third.partitions
        await until(lambda: len(first.partitions) == len(second.partitions) == 8, what="they share again")


async def test_sources_do_not_move_only_for_fairness_before_their_time(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    place = Installation(kafka, kafka_prefix)
    first, second = place.process("p1", dwell_seconds=5.0), place.process("p2", dwell_seconds=5.0)
    async with running(first):
        await until(lambda: len(first.partitions) == 16, what="the first has everything")
        async with running(second):
            await until(lambda: second.lease.held, what="the second is a member")
            assert len(first.partitions) == 16
            await until(lambda: len(second.partitions) == 8, what="the second has its share when that time is over")


async def test_everything_about_a_source_is_in_one_partition(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    place = Installation(kafka, kafka_prefix)
    connectors = place.process()
    await place.set_up(connectors, *(Spec(id=f"s{number}", kind="x") for number in range(30)))
    await connectors.publisher.close()

    for record in await place.records("triggers"):
        assert record.partition == partition_of(record.key.decode(), 16)


async def _count(place: Installation, topic: str, count: int) -> bool:
    return bool(sum(event["topic"].split("/")[0] == topic for event in await place.events()) >= count)


async def _grown(place: Installation, count: int) -> bool:
    return len(await place.events()) >= count


async def _state(place: Installation, name: str, state: State) -> dict[str, object] | None:
    status = (await place.last("sources")).get(name)
    return status if status is not None and status["state"] == state else None


async def _is_gone(place: Installation, name: str) -> bool:
    return bool((await place.last("sources"))[name] is None and (await place.last("cursors"))[name] is None)


async def test_brokers_that_take_short_transactions_alone_take_positions_as_well(
    own_kafka: Callable[..., EmbeddedKafka],
) -> None:
    kafka = own_kafka(overrides={"transaction.max.timeout.ms": "120000"})
    kafka.start()
    place = Installation(kafka, "short.")
    positions = Positions(0, prefix="short.", client=place.client)

    assert await positions.take_over() == {}
    await positions.close()
