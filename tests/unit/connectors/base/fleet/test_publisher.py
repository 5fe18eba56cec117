"""The publisher around a producer that fails as a test says."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aiokafka import errors

from connectors.base.fleet import publisher
from connectors.base.fleet.publisher import Publisher
from connectors.base.instance.events import Outgoing, TooLargeForKafka
from topics import keys
from topics.facts import Record


class Batch:
    def __init__(self, values: Sequence[bytes] = ()) -> None:
        self.values = list(values)

    def append(self, *, value: bytes, **_: Any) -> object:
        self.values.append(value)
        return object()

    def close(self) -> None:
        pass


class Producers:
    """Makes producers. What is sent with the first one becomes what `fate` says, those after it take everything."""

    def __init__(self) -> None:
        self.made: list[Producer] = []
        self.durable: list[bytes] = []
        self.always = False
        """Whether those after the first one have the same fate."""
        self.fate: Callable[[int, Batch], asyncio.Future[None]] = lambda _partition, _batch: failed()

    def __call__(self, **_: Any) -> "Producer":
        self.made.append(Producer(self, is_first=not self.made))
        return self.made[-1]

    def take(self, batch: Batch) -> "asyncio.Future[None]":
        self.durable += batch.values
        return resolved()


class Producer:
    def __init__(self, producers: Producers, *, is_first: bool) -> None:
        self._producers, self._is_first = producers, is_first
        self.stopped = 0

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self.stopped += 1

    async def partitions_for(self, _topic: str) -> set[int]:
        return {0, 1}

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, _topic: str, *, partition: int) -> "asyncio.Future[None]":
        is_fated = self._is_first or self._producers.always
        return self._producers.fate(partition, batch) if is_fated else self._producers.take(batch)

    async def send(self, _topic: str, value: bytes, *, partition: int = 0, **_: Any) -> "asyncio.Future[None]":
        return await self.send_batch(Batch([value]), _topic, partition=partition)


def resolved() -> "asyncio.Future[None]":
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


def failed(delay: float = 0.0) -> "asyncio.Future[None]":
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(delay, future.set_exception, errors.OutOfOrderSequenceNumber())
    return future


def forgotten() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> Producers:
    made = Producers()
    monkeypatch.setattr(publisher, "AIOKafkaProducer", made)
    monkeypatch.setattr(publisher, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(publisher, "LONGEST_PAUSE_SECONDS", 0.0)
    return made


def outgoing(number: int, home: str = "a") -> Outgoing:
    return Outgoing(home=home, key=None, value=b"%d" % number, headers=[])


async def test_a_producer_that_failed_is_replaced_once_whoever_was_waiting_for_it(producers: Producers) -> None:
    made = Publisher(prefix="", client={})
    # One after the other: the next fails when those before it go on with a new producer already.
    delays = itertools.count()
    producers.fate = lambda _partition, _batch: failed(0.001 * next(delays))
    await asyncio.gather(*(made.publish([outgoing(number)]) for number in range(20)))

    assert sorted(producers.durable) == sorted(b"%d" % number for number in range(20))
    assert [1, 0] == [one.stopped for one in producers.made]


async def test_nobody_waits_for_a_producer_that_was_closed_for_the_sake_of_another(producers: Producers) -> None:
    made = Publisher(prefix="", client={})
    producers.fate = lambda _partition, batch: failed() if batch.values == [b"0"] else forgotten()
    letter = Record(None, b"letter", [])
    waiting = [made.publish([outgoing(1)]), made.publish((), [letter]), made.write("sources", b"a", b"status")]

    await asyncio.wait_for(asyncio.gather(*waiting, made.publish([outgoing(0)])), 5)
    assert {b"0", b"1", b"letter", b"status"} == set(producers.durable)
    assert len(producers.made) == 2


async def test_a_time_out_replaces_no_producer_and_sends_nothing_again_that_was_delivered(producers: Producers) -> None:
    made = Publisher(prefix="", client={})
    late = [True]

    def fate(partition: int, batch: Batch) -> "asyncio.Future[None]":
        if partition == home and late:
            late.clear()
            raise errors.KafkaTimeoutError
        return producers.take(batch)

    producers.fate = fate
    home = keys.partition_of(b"a", 2)
    elsewhere = next(name for name in "bcdefgh" if keys.partition_of(name.encode(), 2) != home)
    await made.publish([outgoing(1), outgoing(2, elsewhere), outgoing(3)])

    assert producers.durable == [b"2", b"1", b"3"]
    assert len(producers.made) == 1


async def test_what_trying_again_does_not_cure_is_raised_and_not_what_it_does(producers: Producers) -> None:
    made = Publisher(prefix="", client={})
    home = keys.partition_of(b"a", 2)
    elsewhere = next(name for name in "bcdefgh" if keys.partition_of(name.encode(), 2) != home)

    def fate(partition: int, _batch: Batch) -> "asyncio.Future[None]":
        raise errors.KafkaTimeoutError if partition == home else errors.TopicAuthorizationFailedError

    producers.fate = fate
    with pytest.raises(errors.TopicAuthorizationFailedError):
        await made.publish([outgoing(1), outgoing(2, elsewhere)])


async def test_batches_that_are_too_large_for_the_topic_become_smaller_and_an_event_that_is_is_told(
    producers: Producers,
) -> None:
    made = Publisher(prefix="", client={})

    def fate(_partition: int, batch: Batch) -> "asyncio.Future[None]":
        if len(batch.values) <= 2 and b"13" not in batch.values:
            return producers.take(batch)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(errors.MessageSizeTooLargeError())
        return future

    producers.fate = fate
    producers.always = True
    with pytest.raises(TooLargeForKafka) as raised:
        await made.publish([outgoing(number) for number in range(20)], [Record(None, b"letter", [])])

    assert [b"13"] == [event.value for event in raised.value.events]
    assert {b"letter", *(b"%d" % number for number in range(20) if number != 13)} == set(producers.durable)
    producers.durable.clear()
    before = len(producers.made)
    await made.publish([outgoing(number) for number in range(6)])  # it has learned
    assert ([b"%d" % number for number in range(6)], before) == (producers.durable, len(producers.made))


async def test_of_a_few_events_that_travel_with_others_one_that_is_too_large_is_told_all_the_same(
    producers: Producers,
) -> None:
    made = Publisher(prefix="", client={})
    refusals = iter([errors.MessageSizeTooLargeError] * 5)  # of the batch in which all five are with others

    def fate(_partition: int, batch: Batch) -> "asyncio.Future[None]":
        if next(refusals, None) is None and b"3" not in batch.values:
            return producers.take(batch)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(errors.MessageSizeTooLargeError())
        return future

    producers.fate = fate
    producers.always = True
    with pytest.raises(TooLargeForKafka) as raised:
        await made.publish([outgoing(number) for number in range(5)])

    assert [b"3"] == [event.value for event in raised.value.events]
    assert set(producers.durable) == {b"0", b"1", b"2", b"4"}


async def test_dead_letters_that_failed_with_those_of_another_source_are_not_taken_for_too_large(
    producers: Producers,
) -> None:
    made = Publisher(prefix="", client={})
    loop = asyncio.get_running_loop()
    delays = itertools.count(1)

    def fate(_partition: int, _batch: Batch) -> "asyncio.Future[None]":
        # One batch of the broker: the second source hears of it when the first one has learned from it already.
        future = loop.create_future()
        loop.call_later(0.001 * next(delays), future.set_exception, errors.MessageSizeTooLargeError())
        return future

    producers.fate = fate
    await asyncio.gather(*(made.publish((), [Record(None, text, [])]) for text in (b"first", b"second")))

    assert sorted(producers.durable) == [b"first", b"second"]
