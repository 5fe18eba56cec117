"""What a follower knows without Kafka: where to go on, and how far behind it is. The rest is in tests/integration."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import errors
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from app.kafka import follow
from app.kafka.contact import Contact
from app.kafka.follow import (
    Follower,
    Lag,
    Record,
    TopicIdentity,
    TopicMissingError,
    TopicReplacedError,
    TopicState,
    _cured_by_trying_again,
    newest_of,
)
from app.kafka.log import LogError
from app.kafka.requests import Fetch, Fetched

OLD, NEW = TopicIdentity(cluster_id="c", topic_id="1"), TopicIdentity(cluster_id="c", topic_id="2")


async def ignore(_records: Sequence[Record]) -> None:
    return None


def follower(**options: Any) -> Follower:
    return Follower("t", client={}, take=ignore, **options)


def state(*, first: int = 0, end: int = 100, identity: TopicIdentity | None = OLD) -> TopicState:
    return TopicState(topic="t", identity=identity, beginning={0: first}, end={0: end})


@pytest.mark.parametrize(
    ("newest", "wanted", "first", "expected"),
    [
        (None, {}, 0, 0),
        (None, {}, 7, 7),
        (None, {0: 42}, 0, 42),
        (None, {0: 3}, 7, 7),
        (10, {}, 0, 90),
        (10, {0: 95}, 0, 95),
        (1000, {}, 7, 7),
    ],
)
def test_it_starts_where_the_owner_says_and_never_before_what_is_kept_or_wanted(
    newest: int | None, wanted: dict[int, int], first: int, expected: int
) -> None:
    assert follower(newest=newest)._starts(state(first=first), wanted) == {0: expected}


def test_each_partition_gives_its_share_of_the_newest() -> None:
    assert newest_of({0: 0, 1: 0, 2: 5}, {0: 300, 1: 100, 2: 5}, 40) == {0: 270, 1: 90, 2: 5}
    assert newest_of({0: 0, 1: 0}, {0: 1_000, 1: 1}, 10) == {0: 990, 1: 0}
    assert newest_of({0: 0, 1: 0}, {0: 3, 1: 4}, 7) == {0: 0, 1: 0}


async def test_without_an_owners_word_it_goes_on_where_it_was() -> None:
    one = follower()
    assert await one._go_on(state()) == {}
    one._positions, one._identity = {0: 42}, OLD
    assert await one._go_on(state()) == {0: 42}


@pytest.mark.parametrize(
    "found", [state(identity=NEW), state(end=41), TopicState(topic="t", identity=OLD, beginning={}, end={})]
)
async def test_another_topic_under_the_name_is_an_error_with_a_remedy(found: TopicState) -> None:
    one = follower()
    one._positions, one._identity = {0: 42}, OLD
    with pytest.raises(TopicReplacedError, match="Restart this process"):
        await one._go_on(found)


def test_lag_is_counted_per_partition_and_its_age_is_that_of_the_oldest() -> None:
    one, now = follower(), time.time()
    one._positions, one._ends = {0: 90, 1: 50}, {0: 100, 1: 50}
    one._read_until, one._heard_at = {0: now - 60, 1: now - 600}, now
    lag = one.lag()
    assert lag == Lag(records=10, seconds=lag.seconds, partitions={0: 10, 1: 0})
    assert lag.seconds == pytest.approx(60, abs=5)


def test_without_word_from_kafka_the_age_grows() -> None:
    one = follower()
    one._positions, one._ends, one._heard_at = {0: 100}, {0: 100}, time.time() - 300
    assert one.lag().records == 0
    assert one.lag().seconds == pytest.approx(300, abs=5)


def caused_by(error: Exception) -> LogError:
    """What the wire makes of an error that it does not try again."""
    made = LogError(str(error))
    made.__cause__ = error
    return made


@pytest.mark.parametrize(
    ("error", "cured"),
    [
        (errors.KafkaConnectionError(), True),
        (errors.NotLeaderForPartitionError(), True),
        (errors.OffsetOutOfRangeError(), True),
        (errors.KafkaTimeoutError(), True),
        (TopicMissingError("t"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (errors.TopicAuthorizationFailedError(), False),
        (errors.CorruptRecordException(), False),
        (PermissionError(), False),
        (LogError("the topic was made anew"), True),
        (caused_by(errors.RequestTimedOutError()), True),
        (caused_by(errors.TopicAuthorizationFailedError()), False),
    ],
)
def test_what_trying_again_does_not_cure_ends_the_follower(error: Exception, cured: bool) -> None:
    assert _cured_by_trying_again(error) is cured


class Away:
    """A Wire whose brokers are away, and whose client cancels itself at its end, as aiokafka's may."""

    tries: asyncio.Queue[int]

    def __init__(self, _config: Any) -> None:
        pass

    async def start(self) -> None:
        self.tries.put_nowait(1)
        raise errors.KafkaConnectionError("away")

    async def close(self) -> None:
        raise asyncio.CancelledError


async def test_brokers_that_are_away_and_a_client_that_cancels_itself_end_no_follower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = asyncio.Queue[int]()
    monkeypatch.setattr(Away, "tries", tries, raising=False)
    monkeypatch.setattr(follow, "Wire", Away)
    monkeypatch.setattr(follow, "FIRST_PAUSE_SECONDS", 0.0)
    following = asyncio.create_task(follower().run())
    asked = asyncio.create_task(tries.get())
    for _ in range(2):
        await asyncio.wait({following, asked}, return_when=asyncio.FIRST_COMPLETED)
        assert not following.done()
        await asked
        asked = asyncio.create_task(tries.get())
    asked.cancel()
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


class Topic:
    """A Wire over one topic of two partitions, which answers each fetch with what a test gives it."""

    def __init__(self, *, there: bool = True) -> None:
        self.there = there
        self.known: list[str] = []
        self.contact = Contact()
        self.asked: asyncio.Queue[tuple[list[int], asyncio.Future[list[Fetched]]]] = asyncio.Queue()

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def has(self, _topic: str) -> bool:
        return self.there

    async def know(self, topics: list[str]) -> None:
        self.known += topics

    def partitions_of(self, _topic: str) -> int:
        return 2

    def leader(self, _topic: str, _partition: int) -> int:
        return 0

    async def bounds(self, _topic: str, partition: int, *, committed: bool) -> tuple[int, int]:
        assert committed, "what is not decided yet is not waited for"
        return 0, (3, 0)[partition]

    async def fetch_from(self, _node: int, request: Fetch) -> list[Fetched]:
        answer: asyncio.Future[list[Fetched]] = asyncio.get_running_loop().create_future()
        await self.asked.put(([one.offset for one in request._asked], answer))
        return await answer


def some(partition: int, first: int, count: int, end: int) -> Fetched:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1_000_000)
    for number in range(count):
        builder.append(number, 1, b"key", b"%d" % (first + number), [])
    return Fetched("t", partition, 0, [], first.to_bytes(8, "big") + bytes(builder.build())[8:], end, end)


async def test_the_next_records_are_asked_for_once_its_owner_has_taken_these(monkeypatch: pytest.MonkeyPatch) -> None:
    topic, taken, go_on = Topic(), asyncio.Queue[list[tuple[int, int]]](), asyncio.Semaphore(0)
    monkeypatch.setattr(follow, "Wire", lambda _config: topic)

    async def take(records: Sequence[Record]) -> None:
        taken.put_nowait([(one.partition, one.offset) for one in records])
        await go_on.acquire()

    one = Follower("t", client={}, take=take)
    following = asyncio.create_task(one.run())
    try:
        async with asyncio.timeout(5):
            asked, answer = await topic.asked.get()
            assert (asked, one.lag().records, one.is_caught_up) == ([0, 0], 3, False)
            answer.set_result([some(0, 0, 2, 5), some(1, 0, 1, 1)])
            assert await taken.get() == [(0, 0), (0, 1), (1, 0)]
            assert topic.asked.empty()
            assert one.lag().records == 3, "what is not taken is behind"
            go_on.release()
            asked, answer = await topic.asked.get()
            assert sorted(asked) == [1, 2]
            assert one.lag().partitions == {0: 3, 1: 0}
            answer.set_result([some(0, 2, 3, 5)])
            go_on.release()
            await one.caught_up()
            assert one.lag().records == 0
    finally:
        following.cancel()
        await asyncio.wait({following})


async def test_a_topic_that_is_not_there_is_not_asked_for_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers create what is asked for, as they are set by default."""
    topic = Topic(there=False)
    monkeypatch.setattr(follow, "Wire", lambda _config: topic)
    one = follower()
    following = asyncio.create_task(one.run())
    async with asyncio.timeout(5):
        while one.last_error is None:  # noqa: ASYNC110 nobody tells
            await asyncio.sleep(0)
    assert "headgate topics apply" in one.last_error
    assert topic.known == []
    following.cancel()
    await asyncio.wait({following})
