"""Batches that are sent in order and counted, against a broker of the test that answers when it is told to."""

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import errors

from app.kafka import unfenced
from app.kafka.log import Producer
from app.kafka.requests import Produce, Produced
from app.kafka.unfenced import Builder, Unfenced

DUPLICATE, OUT_OF_ORDER = 46, 45
_PRODUCER = struct.Struct(">qhii")
_PRODUCER_AT = 43


class Broker:
    """What `Unfenced` knows of a `Wire`."""

    made: "Broker"

    def __init__(self, _config: Any, *, patience_seconds: float) -> None:
        Broker.made = self
        self.patience_seconds = patience_seconds
        self.topics = {"events": 2}
        self.known: list[str] = []
        self.asked: asyncio.Queue[tuple[list[tuple[int, int, int]], asyncio.Future[int]]] = asyncio.Queue()

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def has(self, topic: str) -> bool:
        return topic in self.topics

    async def know(self, topics: list[str]) -> None:
        self.known += topics

    def partitions_of(self, topic: str) -> int:
        return self.topics[topic]

    async def init_producer(self, transactional_id: str | None) -> Producer:
        assert transactional_id is None
        return Producer(7, 3)

    def leader(self, _topic: str, _partition: int) -> int:
        return 0

    async def retried(self, ask: Any) -> Any:
        return await ask()

    async def append_to(self, _node: int, request: Produce) -> list[Produced]:
        """Partition, first number and count of each batch are told to the test, which gives an error or 0."""
        batches = []
        for one in request._batches:
            producer_id, epoch, sequence, count = _PRODUCER.unpack_from(one.data, _PRODUCER_AT)
            assert (producer_id, epoch) == (7, 3)
            batches.append((one.partition, sequence, count))
        error: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        await self.asked.put((batches, error))
        code = await error
        return [Produced(one.topic, one.partition, code, 0) for one in request._batches]

    async def next(self) -> tuple[list[tuple[int, int, int]], "asyncio.Future[int]"]:
        return await asyncio.wait_for(self.asked.get(), 5)


@pytest.fixture
async def sending(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Unfenced, Broker]]:
    monkeypatch.setattr(unfenced, "Wire", Broker)
    made = Unfenced({})
    assert await made.start("events") == 2
    yield made, Broker.made
    await made.close()


def batch(count: int) -> Builder:
    made = Builder(100_000, 0)
    for _ in range(count):
        made.append(timestamp=None, key=None, value=b"{}", headers=[])
    return made


async def test_batches_of_a_partition_go_one_after_the_other_and_are_counted(sending: Any) -> None:
    made, broker = sending
    first = await made.send_batch(batch(2), "events", partition=0)
    gathering = batch(1)
    second = asyncio.create_task(made.send_batch(gathering, "events", partition=0))
    asked, answer = await broker.next()
    assert asked == [(0, 0, 2)]
    assert gathering.append(timestamp=None, key=None, value=b"{}", headers=[]) is not None, "it may grow until then"
    assert not second.done()
    answer.set_result(0)
    await first
    sent = await second
    assert gathering.append(timestamp=None, key=None, value=b"{}", headers=[]) is None, "it is on its way"
    asked, answer = await broker.next()
    assert asked == [(0, 2, 2)]
    answer.set_result(0)
    await sent


async def test_batches_of_several_partitions_share_a_request(sending: Any) -> None:
    made, broker = sending
    tasks = [await made.send_batch(batch(1), "events", partition=number) for number in (0, 1)]
    asked, answer = await broker.next()
    assert asked == [(0, 0, 1), (1, 0, 1)]
    answer.set_result(0)
    await asyncio.gather(*tasks)


async def test_after_one_that_is_not_acknowledged_nothing_follows(sending: Any) -> None:
    made, broker = sending
    first = await made.send_batch(batch(1), "events", partition=0)
    second = asyncio.create_task(made.send_batch(batch(1), "events", partition=0))
    _, answer = await broker.next()
    answer.set_result(OUT_OF_ORDER)
    with pytest.raises(errors.OutOfOrderSequenceNumber):
        await first
    with pytest.raises(errors.ProducerClosed):
        await second


async def test_one_that_is_there_already_is_acknowledged(sending: Any) -> None:
    made, broker = sending
    first = await made.send_batch(batch(1), "events", partition=0)
    _, answer = await broker.next()
    answer.set_result(DUPLICATE)
    await first


async def test_numbers_begin_anew_after_the_largest(sending: Any) -> None:
    made, broker = sending
    made._sequences[0] = 2**31 - 2
    for expected in ([(0, 2**31 - 2, 3)], [(0, 1, 3)]):
        task = await made.send_batch(batch(3), "events", partition=0)
        asked, answer = await broker.next()
        assert asked == expected
        answer.set_result(0)
        await task


async def test_it_has_patience_for_ever_and_asks_for_no_topic_that_is_not_there(sending: Any) -> None:
    made, broker = sending
    assert (broker.patience_seconds, broker.known) == (float("inf"), ["events"])
    assert await made.has("events")
    with pytest.raises(errors.UnknownTopicOrPartitionError):
        await made.start("others")  # by its name, a broker might create it
    assert broker.known == ["events"]


async def test_what_is_on_its_way_is_given_up_at_the_end(sending: Any) -> None:
    made, broker = sending
    first = await made.send_batch(batch(1), "events", partition=0)
    await broker.next()
    await made.close()
    assert first.cancelled()


async def test_a_broker_that_takes_a_connection_and_says_nothing_is_away(
    sending: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, broker = sending
    monkeypatch.setattr(unfenced, "START_SECONDS", 0.01)
    monkeypatch.setattr(broker, "start", asyncio.Event().wait)
    with pytest.raises(errors.RequestTimedOutError, match=r"0\.01 s"):
        await made.start("events")
