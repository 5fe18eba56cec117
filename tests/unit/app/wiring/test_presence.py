"""What a worker says of itself, and for those that can say nothing any more."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import orjson
import pytest

from app.engine.values.outgoing import Record
from app.kafka.log import LogError
from app.wiring.presence import FORGET_MS, Presence
from tests.unit.app.engine.partition import NOW, flow


class Read(NamedTuple):
    key: bytes | None
    value: bytes | None
    timestamp: int = NOW


class Topic:
    """Keeps what is sent, or refuses it; `sent` is set each time that somebody tries."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.error: LogError | None = None
        self.tries = asyncio.Semaphore(0)

    async def send(self, records: Sequence[Record]) -> None:
        self.tries.release()
        if self.error is not None:
            raise self.error
        self.records += records


def presence(topic: Topic) -> Presence:
    return Presence("w1", "p1", topic.send, every_seconds=3_600, now_ms=lambda: NOW)


async def said(topic: Topic, one: Presence, times: int) -> None:
    """Let `one` speak until it has tried so many times."""
    task = asyncio.create_task(one.keep())
    for number in range(times):
        await topic.tries.acquire()
        if number + 1 < times:
            await asyncio.sleep(0)  # it waits for its next time
            one.load([flow(f"f{number}")])
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_a_worker_says_what_it_has_loaded_and_in_which_version() -> None:
    topic = Topic()
    one = presence(topic)
    one.load([flow("a"), flow("b", version="2")])
    await said(topic, one, 1)
    [record] = topic.records
    assert record[:3] == ("workflows", 0, b"worker/w1")
    assert orjson.loads(record.value or b"") == {
        "instance_id": "w1",
        "process": "p1",
        "workflows": {"a": "1", "b": "2"},
        "every_seconds": 3_600,
        "at": "2026-01-31T12:00:00.000Z",
    }


async def test_what_changes_is_said_at_once() -> None:
    topic = Topic()
    one = presence(topic)
    await said(topic, one, 2)
    assert [orjson.loads(record.value or b"")["workflows"] for record in topic.records] == [{}, {"f0": "1"}]


async def test_a_refused_word_ends_nothing_is_told_once_and_said_again(caplog: pytest.LogCaptureFixture) -> None:
    topic = Topic()
    topic.error = LogError("a record was not acknowledged: KafkaTimeoutError")
    one = presence(topic)
    await said(topic, one, 3)
    assert [record.getMessage().split()[0] for record in caplog.records] == ["presence_not_told"]
    topic.error = None
    await said(topic, one, 1)
    assert [record.key for record in topic.records] == [b"worker/w1"]


async def test_a_worker_that_stops_takes_its_record_back() -> None:
    topic = Topic()
    await presence(topic).end()
    assert topic.records == [Record("workflows", 0, b"worker/w1", None, ())]


async def test_a_farewell_that_nobody_takes_keeps_no_worker_from_ending() -> None:
    topic = Topic()
    topic.error = LogError("no")
    await presence(topic).end()
    assert topic.records == []


async def test_those_that_were_silent_for_a_day_are_removed_once() -> None:
    topic = Topic()
    one = presence(topic)
    gone = NOW - FORGET_MS - 1
    one.take(
        [
            Read(b"worker/gone", b"{}", gone),
            Read(b"worker/back", b"{}", gone),
            Read(b"worker/back", b"{}", NOW - FORGET_MS),
            Read(b"worker/ended", b"{}", gone),
            Read(b"worker/ended", None, gone),
            Read(b"worker/w1", b"{}", gone),
            Read(b"charge", b"{}", gone),
            Read(None, b"{}", gone),
        ]
    )
    await said(topic, one, 2)
    assert [(record.key, record.value is None) for record in topic.records] == [
        (b"worker/w1", False),
        (b"worker/gone", True),
        (b"worker/w1", False),
    ]
