"""Connections of a wire, opened by a stand-in for aiokafka's `create_conn`: some brokers take one and say nothing."""

import asyncio
import struct
from collections import Counter
from collections.abc import Coroutine
from typing import Any, ClassVar

import pytest
from aiokafka import client
from aiokafka.structs import BrokerMetadata

from app.kafka import wire
from app.kafka.encoder import record_batch
from app.kafka.log import Entry, Producer
from app.kafka.requests import Fetch, Fetched, Produce
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


class Holding(Line):
    """Answers each fetch with what it asks for: batches of four records, one at least."""

    asked: ClassVar[list[tuple[int, int]]] = []

    async def ask(self, request: Any) -> list[Any]:
        (one,), most = request._asked, request._partition_bytes
        self.asked.append((one.offset, most))
        data = b""
        for first in range(one.offset - one.offset % 4, 400, 4):
            batch = record_batch(Producer(7, 0), first, [Entry(b"k", bytes(20_000))] * 4, 1)
            if data and len(data) + len(batch) > most:
                break
            data += struct.pack(">q", first) + batch[8:]
        return [Fetched(one.topic, one.partition, 0, [], data)]


@pytest.mark.parametrize(
    ("start", "end", "most"),
    [(10, 11, wire.FEW_BYTES + wire.RECORD_BYTES), (10, 30, wire.FEW_BYTES + 20 * wire.RECORD_BYTES)],
)
async def test_a_few_records_are_asked_for_in_a_few_bytes_and_all_of_them_come(
    one: Wire, monkeypatch: pytest.MonkeyPatch, start: int, end: int, most: int
) -> None:
    monkeypatch.setattr(wire, "Line", Holding)
    monkeypatch.setattr(Holding, "asked", [])
    monkeypatch.setattr(one, "leader", lambda _topic, _partition: GOOD)

    found = [each.offset async for few in one.read("journal", 0, start, end, transactions=False) for each in few]

    assert found == list(range(start, end))
    assert Holding.asked[0] == (start, most)
    assert all(bytes_ <= most for _, bytes_ in Holding.asked)
