"""The ear of partitions without sources, around a consumer that fails as a test says."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from aiokafka import TopicPartition, errors

from connectors.base.fleet import knocks
from connectors.base.fleet.knocks import Knocks
from tests.unit.connectors.standing import until


class Consumer:
    """Hears one message in each partition. `failures` are raised first, one after the other."""

    failures: Callable[[], Exception | None] = staticmethod(lambda: None)

    def __init__(self, **_: Any) -> None:
        self._places: list[TopicPartition] = []

    async def start(self) -> None:
        if (error := self.failures()) is not None:
            raise error

    async def stop(self) -> None:
        pass

    def assign(self, places: Iterable[TopicPartition]) -> None:
        self._places = list(places)

    async def beginning_offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    end_offsets = beginning_offsets

    def seek(self, _place: TopicPartition, _offset: int) -> None:
        pass

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0)
        return {place: [object()] for place in self._places}


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> type[Consumer]:
    monkeypatch.setattr(knocks, "AIOKafkaConsumer", Consumer)
    monkeypatch.setattr(knocks, "guard", lambda *_, **__: None)
    monkeypatch.setattr(knocks, "PAUSE_SECONDS", 0.0)
    return Consumer


def made(heard: list[int]) -> Knocks:
    return Knocks(prefix="", client={}, idle=lambda: frozenset({3}), heard=heard.append)


@pytest.mark.parametrize(
    "error", [errors.KafkaConnectionError(), errors.RequestTimedOutError(), ConnectionResetError()]
)
async def test_a_broker_that_is_away_is_asked_again(
    consumer: type[Consumer], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    left = [error, error]
    monkeypatch.setattr(consumer, "failures", staticmethod(lambda: left.pop() if left else None))
    heard: list[int] = []
    task = asyncio.create_task(made(heard).run())
    await until(lambda: bool(heard) or task.done())
    task.cancel()

    assert (heard[0], left) == (3, [])


async def test_what_kafka_will_not_forgive_ends_it(consumer: type[Consumer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "failures", staticmethod(lambda: errors.TopicAuthorizationFailedError("actions")))

    with pytest.raises(errors.TopicAuthorizationFailedError):
        await asyncio.wait_for(made([]).run(), 10)
