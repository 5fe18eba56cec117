"""How events join batches, and what happens while Kafka is away. The rest is in tests/integration."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from aiokafka import errors

from app.kafka import producer
from app.kafka.log import Producer
from app.kafka.producer import EventProducer, MaybeAccepted, NotAccepted, Outgoing
from topics import keys

PARTITIONS = 4


class Twin:
    """The producer below in memory: it takes one batch per partition and acknowledges when the test says so."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Any, asyncio.Future[None]]] = []
        self.refuse: Exception | None = None

    async def send_batch(self, builder: Any, _topic: str, *, partition: int) -> "asyncio.Future[None]":
        if self.refuse is not None:
            raise self.refuse
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent.append((partition, builder, done))
        return done

    def acknowledge(self) -> None:
        for _, builder, done in self.sent:
            builder.close()
            if not done.done():
                done.set_result(None)


def event(name: str, *, key: str | None = None, value: bytes = b"{}") -> Outgoing:
    return (None if key is None else key.encode(), name, value, [])


@pytest.fixture
def connected() -> Callable[[], tuple[EventProducer, Twin]]:
    """Makes a producer that is connected to its twin."""

    def connect() -> tuple[EventProducer, Twin]:
        events, twin = EventProducer("events", client={}, timeout_seconds=10), Twin()
        events._producer = cast(Any, twin)
        events._lanes = [producer._Lane(partition) for partition in range(PARTITIONS)]
        return events, twin

    return connect


async def turn() -> None:
    """Let everything that is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_each_event_goes_to_its_home(connected: Any) -> None:
    events, twin = connected()
    names = [f"e-{n}" for n in range(50)]
    producing = asyncio.create_task(events.produce([event(n) for n in names] + [event(n, key=f"k{n}") for n in names]))
    await turn()
    counts = {partition: builder.record_count() for partition, builder, _ in twin.sent}
    homes = [keys.partition_of(home.encode(), PARTITIONS) for n in names for home in (n, f"k{n}")]
    assert counts == {partition: homes.count(partition) for partition in range(PARTITIONS)}
    twin.acknowledge()
    await producing


async def test_requests_share_a_batch_until_it_is_on_its_way(connected: Any) -> None:
    events, twin = connected()
    first = asyncio.create_task(events.produce([event("a", key="k")]))
    second = asyncio.create_task(events.produce([event("b", key="k")]))
    await turn()
    third = asyncio.create_task(events.produce([event("c", key="k")]))
    await turn()
    assert [builder.record_count() for _, builder, _ in twin.sent] == [3]
    twin.sent[0][1].sent_by(Producer(1, 0), 0)
    fourth = asyncio.create_task(events.produce([event("d", key="k")]))
    await turn()
    assert [builder.record_count() for _, builder, _ in twin.sent] == [3, 1]
    assert not any(task.done() for task in (first, second, third, fourth))
    twin.acknowledge()
    await asyncio.gather(first, second, third, fourth)
    assert events.pending_bytes == 0


async def test_a_request_waits_for_all_of_its_batches(connected: Any) -> None:
    events, twin = connected()
    producing = asyncio.create_task(events.produce([event(f"e-{n}") for n in range(20)]))
    await turn()
    for _, _, done in twin.sent[:-1]:
        done.set_result(None)
    await turn()
    assert not producing.done()
    twin.sent[-1][2].set_result(None)
    await producing


async def test_a_batch_stays_below_what_the_broker_takes(connected: Any) -> None:
    events, twin = connected()
    value = b"x" * (producer.BATCH_BYTES // 2)
    producing = asyncio.create_task(events.produce([event(f"e-{n}", key="k", value=value) for n in range(4)]))
    await turn()
    assert [builder.record_count() for _, builder, _ in twin.sent] == [1, 1, 1, 1]
    twin.acknowledge()
    await producing


async def test_a_failed_batch_may_have_been_accepted_and_the_connection_begins_anew(connected: Any) -> None:
    events, twin = connected()
    producing = asyncio.create_task(events.produce([event("a")]))
    await turn()
    twin.sent[0][2].set_exception(errors.OutOfOrderSequenceNumber())
    with pytest.raises(MaybeAccepted):
        await producing
    with pytest.raises(NotAccepted):
        await events.produce([event("b")])
    assert (events.pending_bytes, events._failed.is_set()) == (0, True)


async def test_a_batch_that_is_not_taken_fails_as_well(connected: Any) -> None:
    events, twin = connected()
    twin.refuse = errors.ProducerClosed()
    with pytest.raises(MaybeAccepted):
        await events.produce([event("a")])


async def test_an_unknown_error_is_kept_for_the_owner(connected: Any) -> None:
    events, twin = connected()
    twin.refuse = ZeroDivisionError()
    with pytest.raises(MaybeAccepted):
        await events.produce([event("a")])
    assert (events._unknown, events._failed.is_set()) == (twin.refuse, True)


async def test_once_kafka_is_silent_for_too_long_nothing_more_is_taken(connected: Any) -> None:
    events, _ = connected()
    waiting = asyncio.create_task(events.produce([event("a")]))
    await turn()
    next(iter(events._undelivered)).opened_at -= 11
    with pytest.raises(NotAccepted, match="nothing for 10 s"):
        await events.produce([event("b")])
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


def homed(partition: int) -> str:
    """An event id whose home is this partition."""
    return next(name for n in range(100) if keys.partition_of((name := f"e-{n}").encode(), PARTITIONS) == partition)


async def test_a_partition_that_is_stuck_refuses_its_own_events_alone(connected: Any) -> None:
    events, twin = connected()
    stuck = asyncio.create_task(events.produce([event(homed(0))]))
    await turn()
    next(iter(events._undelivered)).opened_at -= 11
    with pytest.raises(NotAccepted, match="nothing for 10 s in partition 0"):
        await events.produce([event(homed(1)), event(homed(0))])
    assert len(events._undelivered) == 1, "nothing of the refused request was taken"
    others = asyncio.create_task(events.produce([event(homed(1)), event(homed(2))]))
    await turn()
    twin.acknowledge()
    await asyncio.gather(stuck, others)
    assert [lane.pending_bytes for lane in events._lanes] == [0] * PARTITIONS


async def test_what_waits_for_one_partition_leaves_room_for_others(
    connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "LANE_BYTES", 1_000)
    events, twin = connected()
    waiting = [asyncio.create_task(events.produce([event(homed(0), value=b"x" * 2_000)]))]
    await turn()
    with pytest.raises(NotAccepted, match="bytes wait for Kafka's partition 0 already"):
        await events.produce([event(homed(0))])
    waiting.append(asyncio.create_task(events.produce([event(homed(1))])))
    await turn()
    twin.acknowledge()
    await asyncio.gather(*waiting)


async def test_a_connection_that_ends_before_a_batch_is_handed_over_ends_nothing_else(connected: Any) -> None:
    events, _ = connected()
    producing = asyncio.create_task(events.produce([event("a")]))
    await asyncio.sleep(0)  # the batch is there, and nobody has begun to hand it over
    events._fail(errors.KafkaConnectionError())
    with pytest.raises(MaybeAccepted):
        await producing
    await turn()
    assert events._unknown is None


async def test_what_waits_for_kafka_is_bounded(connected: Any) -> None:
    events, _ = connected()
    events._pending_bytes = producer.PENDING_BYTES + 1
    with pytest.raises(NotAccepted, match="wait for Kafka already"):
        await events.produce([event("a")])


async def test_whoever_waits_too_long_is_answered(connected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    events, twin = connected()
    monkeypatch.setattr(producer, "SWEEP_SECONDS", 0.0)
    waiting = asyncio.create_task(events.produce([event("a")]))
    await turn()
    events._waiting[0].deadline = 0.0
    sweeping = asyncio.create_task(events._sweep())
    with pytest.raises(MaybeAccepted, match="within 10 s"):
        await waiting
    assert events.pending_bytes > 0  # it is still on its way
    twin.acknowledge()
    assert await events.drain(5.0)
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    assert events.pending_bytes == 0


async def test_before_kafka_is_reached_nothing_is_taken() -> None:
    events = EventProducer("events", client={}, timeout_seconds=10)
    with pytest.raises(NotAccepted, match="not reachable"):
        await events.produce([event("a")])
    assert await events.probe() == "Kafka has not been reached yet"
    assert await events.drain(0.0)
