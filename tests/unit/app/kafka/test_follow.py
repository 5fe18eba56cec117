"""What a follower knows without Kafka: where to go on, and how far behind it is. The rest is in tests/integration."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import errors

from app.kafka import follow
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
    ],
)
def test_what_trying_again_does_not_cure_ends_the_follower(error: Exception, cured: bool) -> None:
    assert _cured_by_trying_again(error) is cured


async def test_a_client_that_cancels_itself_at_its_end_ends_no_follower(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka's stop awaits tasks that it has cancelled, and may raise their CancelledError."""
    tries = asyncio.Queue[int]()

    class Away:
        def __init__(self, **_: Any) -> None:
            pass

        async def start(self) -> None:
            tries.put_nowait(1)
            raise errors.KafkaConnectionError("away")

        async def stop(self) -> None:
            raise asyncio.CancelledError

    monkeypatch.setattr(follow, "AIOKafkaConsumer", Away)
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
