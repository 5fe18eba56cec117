"""Long polls against brokers of the test, which answer when they are told to."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from aiokafka import errors
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from app.kafka import fetching
from app.kafka.fetching import Fetching, Found, TopicLost
from app.kafka.requests import Fetch, Fetched

EVENTS, COMMANDS = ("events", 0), ("commands", 0)
OUT_OF_RANGE, UNKNOWN_TOPIC, NOT_LEADER, UNKNOWN_ERROR, CORRUPT = 1, 3, 6, -1, 2


class Brokers:
    """What `Fetching` knows of a `Wire`. Each fetch waits until its answer is given."""

    def __init__(self) -> None:
        self.leaders: dict[tuple[str, int], int] = {}
        self.limits: dict[tuple[str, int], tuple[int, int]] = {}
        self.asked: asyncio.Queue[tuple[int, list[tuple[str, int, int]], asyncio.Future[list[Fetched]]]] = (
            asyncio.Queue()
        )
        self.looked = 0

    def leader(self, topic: str, partition: int) -> int:
        node = self.leaders.get((topic, partition), 0)
        if node < 0:
            raise errors.LeaderNotAvailableError
        return node

    async def fetch_from(self, node: int, request: Fetch) -> list[Fetched]:
        answer: asyncio.Future[list[Fetched]] = asyncio.get_running_loop().create_future()
        await self.asked.put((node, [(one.topic, one.partition, one.offset) for one in request._asked], answer))
        return await answer

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return self.limits[topic, partition]

    async def look_again(self) -> None:
        self.looked += 1

    async def next(self) -> tuple[list[tuple[str, int, int]], asyncio.Future[list[Fetched]]]:
        _, asked, answer = await asyncio.wait_for(self.asked.get(), 5)
        return asked, answer


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
async def polls(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(fetching, "BACKOFF_SECONDS", 0.001)
    polls = Fetching(cast(Any, brokers))
    yield polls
    await polls.close()


def batch(first: int, count: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1_000_000)
    for number in range(count):
        builder.append(number, 1, None, b"value", [])
    built = bytes(builder.build())
    return first.to_bytes(8, "big") + built[8:]  # the base offset is no part of the checksum


def records(where: tuple[str, int], first: int, count: int = 1) -> Fetched:
    return Fetched(*where, 0, [], batch(first, count))


def refused(where: tuple[str, int], code: int) -> Fetched:
    return Fetched(*where, code, [], b"")


def told(found: Sequence[Found]) -> list[tuple[str, list[int], int]]:
    return [(one.topic, [record.offset for record in one.records], one.begin) for one in found]


def some(polls: Fetching, *wanted: tuple[str, int]) -> "asyncio.Task[list[Found]]":
    return asyncio.create_task(polls.some(wanted, crowded=False, timeout=5.0))


async def test_records_come_with_where_the_ones_before_them_ended(polls: Fetching, brokers: Brokers) -> None:
    polls.seek({EVENTS: 10})
    wait = some(polls, EVENTS)
    asked, answer = await brokers.next()
    assert asked == [("events", 0, 10)]
    answer.set_result([records(EVENTS, 12, 2)])  # 10 and 11 are markers, or compacted
    assert told(await wait) == [("events", [12, 13], 10)]
    wait = some(polls, EVENTS)
    asked, answer = await brokers.next()
    assert asked == [("events", 0, 14)]
    answer.set_result([records(EVENTS, 14)])
    assert told(await wait) == [("events", [14], 14)]


async def test_who_comes_late_on_purpose_has_nothing_asked_for_meanwhile(polls: Fetching, brokers: Brokers) -> None:
    polls.seek({EVENTS: 10})
    wait = asyncio.create_task(polls.some([EVENTS], crowded=False, timeout=5.0, ahead=False))
    _, answer = await brokers.next()
    answer.set_result([records(EVENTS, 10, 2)])
    assert told(await wait) == [("events", [10, 11], 10)]
    await asyncio.sleep(0)
    assert (brokers.asked.empty(), polls.position(EVENTS)) == (True, 12)


async def test_a_partition_ends_where_the_broker_said_or_later(polls: Fetching, brokers: Brokers) -> None:
    polls.seek({EVENTS: 10})
    assert polls.end(EVENTS) == 10
    wait = some(polls, EVENTS)
    _, answer = await brokers.next()
    answer.set_result([records(EVENTS, 10)._replace(stable=15, end=15)])
    await wait
    assert (polls.position(EVENTS), polls.end(EVENTS)) == (11, 15)


async def test_answer_of_before_a_seek_moves_nothing_after_it(polls: Fetching, brokers: Brokers) -> None:
    polls.seek({EVENTS: 100, COMMANDS: 0})
    wait = some(polls, EVENTS, COMMANDS)
    _, answer = await brokers.next()
    answer.set_result([refused(COMMANDS, NOT_LEADER), records(EVENTS, 100, 500)])
    polls.seek({EVENTS: 100, COMMANDS: 0})
    assert await wait == []
    wait = some(polls, EVENTS)
    asked, answer = await brokers.next()
    assert asked == [("events", 0, 100)]
    answer.set_result([records(EVENTS, 100)])
    assert told(await wait) == [("events", [100], 100)]


async def test_partition_that_was_served_waits_behind_those_that_were_not(polls: Fetching, brokers: Brokers) -> None:
    names = [("events", number) for number in range(4)]
    polls.seek(dict.fromkeys(names, 0))
    for served in (0, 1, 2, 3, 0, 1):
        wait = some(polls, *names)
        asked, answer = await brokers.next()
        assert asked[0][1] == served
        answer.set_result([records(("events", served), asked[0][2])])
        assert len(await wait) == 1


async def held_up(polls: Fetching, brokers: Brokers, at: int, end: int) -> None:
    wait = some(polls, EVENTS)
    asked, answer = await brokers.next()
    assert asked == [("events", 0, at)]
    answer.set_result([Fetched(*EVENTS, 0, [], b"", at, end)])
    assert await wait == []


async def test_open_transaction_that_holds_up_a_partition_for_long_is_told_once_until_it_ends(
    polls: Fetching, brokers: Brokers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    polls.seek({EVENTS: 10})
    await held_up(polls, brokers, 10, 14)
    assert (polls.held(), caplog.records) == ({}, [])
    monkeypatch.setattr(fetching, "HELD_SECONDS", 0.0)
    await held_up(polls, brokers, 10, 15)
    await held_up(polls, brokers, 10, 17)
    assert [(where, one.at, one.records) for where, one in polls.held().items()] == [(EVENTS, 10, 7)]
    [once] = caplog.records
    fields: dict[str, Any] = once.__dict__["fields"]
    remedy = fields.pop("remedy")
    assert once.message == "transaction_open"
    assert fields == {"topic": "events", "partition": 0, "offset": 10, "held_up": 5, "seconds": 0}
    assert remedy.endswith("headgate kafka transactions abort --topic events --partition 0 --start-offset 10")
    wait = some(polls, EVENTS)
    _, answer = await brokers.next()
    answer.set_result([records(EVENTS, 10)])
    assert told(await wait) == [("events", [10], 10)]
    assert polls.held() == {}
    assert caplog.records[-1].getMessage().startswith("transaction_ended")


async def test_partition_that_moved_holds_back_no_other(polls: Fetching, brokers: Brokers) -> None:
    polls.seek({EVENTS: 0, COMMANDS: 0})
    wait = some(polls, EVENTS, COMMANDS)
    _, answer = await brokers.next()
    answer.set_result([refused(COMMANDS, NOT_LEADER), records(EVENTS, 0)])
    assert told(await wait) == [("events", [0], 0)]
    assert brokers.looked == 0
    assert await some(polls, EVENTS, COMMANDS) == []
    assert brokers.looked == 1


@pytest.mark.parametrize("code", [UNKNOWN_ERROR, 5, 9, 56, 74, 78, 100])
async def test_what_a_broker_cannot_answer_now_is_asked_again(polls: Fetching, brokers: Brokers, code: int) -> None:
    polls.seek({EVENTS: 3})
    wait = some(polls, EVENTS)
    _, answer = await brokers.next()
    answer.set_result([refused(EVENTS, code)])
    assert await wait == []
    assert await some(polls, EVENTS) == []
    wait = some(polls, EVENTS)
    asked, answer = await brokers.next()
    assert asked == [("events", 0, 3)]
    answer.set_result([records(EVENTS, 3)])
    assert len(await wait) == 1


@pytest.mark.parametrize("code", [CORRUPT, 29])
async def test_what_will_never_be_answered_is_an_error(polls: Fetching, brokers: Brokers, code: int) -> None:
    polls.seek({EVENTS: 3})
    wait = some(polls, EVENTS)
    _, answer = await brokers.next()
    answer.set_result([refused(EVENTS, code)])
    with pytest.raises(errors.KafkaError):
        await wait


async def test_what_retention_took_is_skipped_and_told(
    polls: Fetching, brokers: Brokers, caplog: pytest.LogCaptureFixture
) -> None:
    brokers.limits[EVENTS] = (70, 90)
    polls.seek({EVENTS: 50})
    wait = some(polls, EVENTS)
    _, answer = await brokers.next()
    answer.set_result([refused(EVENTS, OUT_OF_RANGE)])
    assert await wait == []
    assert await some(polls, EVENTS) == []
    wait = some(polls, EVENTS)
    asked, answer = await brokers.next()
    assert asked == [("events", 0, 70)]
    assert "offsets_missing" in caplog.text
    answer.set_result([records(EVENTS, 70)])
    assert told(await wait) == [("events", [70], 50)]


async def test_log_that_ends_before_the_position_is_another_one(polls: Fetching, brokers: Brokers) -> None:
    brokers.limits[EVENTS] = (0, 20)
    polls.seek({EVENTS: 50})
    wait = some(polls, EVENTS)
    _, answer = await brokers.next()
    answer.set_result([refused(EVENTS, OUT_OF_RANGE)])
    assert await wait == []
    with pytest.raises(TopicLost, match="ends at offset 20, below 50"):
        await some(polls, EVENTS)


async def test_topic_that_stays_missing_is_an_error(
    polls: Fetching, brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MISSING_SECONDS", 0.0)
    polls.seek({EVENTS: 0})
    for _ in range(2):
        wait = some(polls, EVENTS)
        _, answer = await brokers.next()
        answer.set_result([refused(EVENTS, UNKNOWN_TOPIC)])
        if not brokers.looked:
            assert await wait == []
            assert await some(polls, EVENTS) == []
    with pytest.raises(TopicLost, match="was the topic deleted"):
        await wait


async def test_broker_that_is_away_is_asked_again_and_the_others_meanwhile(polls: Fetching, brokers: Brokers) -> None:
    brokers.leaders[COMMANDS] = 7
    polls.seek({EVENTS: 0, COMMANDS: 0})
    wait = some(polls, EVENTS, COMMANDS)
    for _ in range(2):
        asked, answer = await brokers.next()
        if asked[0][0] == "commands":
            answer.set_exception(errors.KafkaConnectionError("away"))
        else:
            answer.set_result([records(EVENTS, 0)])
    assert told(await wait) == [("events", [0], 0)]


async def test_partition_without_a_leader_is_looked_for(polls: Fetching, brokers: Brokers) -> None:
    brokers.leaders[EVENTS] = -1
    polls.seek({EVENTS: 0})
    assert await some(polls, EVENTS) == []
    assert brokers.looked == 1
