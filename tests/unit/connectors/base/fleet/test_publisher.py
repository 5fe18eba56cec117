"""The publisher around a producer that fails as a test says."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import errors

from connectors.base.fleet import publisher
from connectors.base.fleet.publisher import Publisher
from connectors.base.instance.events import Outgoing


class Batch:
    def __init__(self) -> None:
        self.values: list[bytes] = []

    def append(self, *, value: bytes, **_: Any) -> object:
        self.values.append(value)
        return object()

    def close(self) -> None:
        pass


class Producers:
    """Makes producers; the first one fails whatever it is given, one batch after the other, those after it take it."""

    def __init__(self) -> None:
        self.made: list[Producer] = []
        self.durable: list[bytes] = []

    def __call__(self, **_: Any) -> "Producer":
        self.made.append(Producer(self, fails=not self.made))
        return self.made[-1]


class Producer:
    def __init__(self, producers: Producers, *, fails: bool) -> None:
        self._producers, self._fails = producers, fails
        self.stopped = 0

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self.stopped += 1

    async def partitions_for(self, _topic: str) -> set[int]:
        return {0}

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, _topic: str, *, partition: int) -> "asyncio.Future[None]":
        future = asyncio.get_running_loop().create_future()
        if self._fails:
            # One after the other: the next fails when those before it go on with a new producer already.
            delay = 0.001 * len(self._producers.made[0].__dict__.setdefault("failed", []))
            self._producers.made[0].__dict__["failed"].append(batch)
            asyncio.get_running_loop().call_later(delay, future.set_exception, errors.OutOfOrderSequenceNumber())
        else:
            self._producers.durable += batch.values
            future.set_result(None)
        return future


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> Producers:
    made = Producers()
    monkeypatch.setattr(publisher, "AIOKafkaProducer", made)
    monkeypatch.setattr(publisher, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(publisher, "LONGEST_PAUSE_SECONDS", 0.0)
    return made


def outgoing(number: int) -> Sequence[Outgoing]:
    return [Outgoing(home="a", key=None, value=b"%d" % number, headers=[])]


async def test_a_producer_that_failed_is_replaced_once_whoever_was_waiting_for_it(producers: Producers) -> None:
    made = Publisher(prefix="", client={})
    await asyncio.gather(*(made.publish(outgoing(number)) for number in range(20)))

    assert sorted(producers.durable) == sorted(b"%d" % number for number in range(20))
    assert [1, 0] == [one.stopped for one in producers.made]
