"""Connections of a wire, opened by a stand-in for aiokafka's `create_conn`: some brokers take one and say nothing."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
from aiokafka import client
from aiokafka.structs import BrokerMetadata

from app.kafka import wire
from app.kafka.requests import Fetch, Produce
from app.kafka.wire import Wire

SILENT, GOOD = 1, 2


class Brokers:
    """Every broker opens at once, but for the silent one."""

    def __init__(self) -> None:
        self.opened: Counter[str] = Counter()
        self.tried = asyncio.Event()

    async def create_conn(self, host: str, _port: int, **_config: Any) -> Any:
        self.opened[host] += 1
        if host == f"broker{SILENT}":
            self.tried.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return Connection()


class Connection:
    def connected(self) -> bool:
        return True


class Line:
    """Answers with nothing."""

    def __init__(self, _connection: Connection, *, timeout_seconds: float) -> None:
        self.closed = False
        assert timeout_seconds > 0

    async def ask(self, _request: Any) -> list[Any]:
        return []


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    made = Brokers()
    monkeypatch.setattr(client, "create_conn", made.create_conn)
    monkeypatch.setattr(wire, "Line", Line)
    return made


@pytest.fixture
async def one(brokers: Brokers) -> Wire:
    made = Wire({"bootstrap_servers": "nowhere:1"})
    made._client.cluster.broker_metadata = lambda node: BrokerMetadata(node, f"broker{node}", 9092, None)
    return made


APPEND = Produce([], timeout_ms=1)
FETCH = Fetch([], wait_ms=1, most_bytes=1, partition_bytes=1)


async def waiting(brokers: Brokers, given: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    task = asyncio.create_task(given)
    await brokers.tried.wait()
    return task


async def test_a_broker_that_takes_a_connection_and_says_nothing_keeps_no_other_waiting(
    brokers: Brokers, one: Wire
) -> None:
    silent = await waiting(brokers, one.append_to(SILENT, APPEND))
    assert await asyncio.wait_for(one.append_to(GOOD, APPEND), 5) == []
    assert await asyncio.wait_for(one.fetch_from(GOOD, FETCH), 5) == []
    assert not silent.done()
    silent.cancel()
    await asyncio.wait({silent})


async def test_it_keeps_no_rare_request_to_another_waiting(brokers: Brokers, one: Wire) -> None:
    silent = await waiting(brokers, one._client.ready(SILENT))
    assert await asyncio.wait_for(one._client.ready(GOOD), 5) is True
    assert not silent.done()
    silent.cancel()
    await asyncio.wait({silent})


async def test_those_that_ask_one_broker_at_once_share_its_connection(brokers: Brokers, one: Wire) -> None:
    await asyncio.gather(*(one.append_to(GOOD, APPEND) for _ in range(5)), one.fetch_from(GOOD, FETCH))
    await asyncio.gather(*(one._client.ready(GOOD) for _ in range(5)))
    assert brokers.opened == {f"broker{GOOD}": 3}  # appends, fetches, and aiokafka's own
