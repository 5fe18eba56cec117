"""The cluster in memory where one contract for both logs does not reach: what only a test can make happen."""

import pytest

from app.kafka.log import Entry, Fenced, Producer
from app.kafka.memory_cluster import (
    DELETE_RETENTION_MS,
    DuplicateSequence,
    MemoryCluster,
    OutOfOrder,
    TooLargeForBroker,
)


class Time:
    def __init__(self) -> None:
        self.ms = 1_000

    def now(self) -> int:
        return self.ms


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def cluster(time: Time) -> MemoryCluster:
    return MemoryCluster(2, now_ms=time.now)


def put(cluster: MemoryCluster, *keys: str, value: bytes | None = b"v") -> None:
    cluster.produce("journal", 0, [Entry(key.encode(), value) for key in keys])


def left(cluster: MemoryCluster) -> list[tuple[int, str]]:
    return [(one.offset, (one.key or b"").decode()) for one in cluster.read("journal", 0)]


def test_compaction_keeps_the_last_of_each_key_at_its_offset(cluster: MemoryCluster) -> None:
    put(cluster, "a", "b", "c", "a")
    put(cluster, "b")
    cluster.compact("journal", 0, below=5)
    assert left(cluster) == [(2, "c"), (3, "a"), (4, "b")]


def test_compaction_looks_only_at_what_lies_below(cluster: MemoryCluster) -> None:
    put(cluster, "a", "b", "a", "b")
    cluster.compact("journal", 0, below=3)
    assert left(cluster) == [(1, "b"), (2, "a"), (3, "b")]


def test_tombstones_stay_for_a_day(cluster: MemoryCluster, time: Time) -> None:
    put(cluster, "a")
    put(cluster, "a", value=None)
    cluster.compact("journal", 0, below=2)
    assert left(cluster) == [(1, "a")]
    time.ms += DELETE_RETENTION_MS + 1
    cluster.compact("journal", 0, below=2)
    assert left(cluster) == []
    assert (cluster.partition("journal", 0).start, cluster.partition("journal", 0).end) == (0, 2)


def test_retention_moves_the_start(cluster: MemoryCluster) -> None:
    put(cluster, "a", "b", "c")
    partition = cluster.partition("journal", 0)
    partition.retain_from(2)
    assert (left(cluster), partition.start) == ([(2, "c")], 2)


def test_sequences_that_do_not_follow_are_refused(cluster: MemoryCluster) -> None:
    producer = Producer(7, 1)
    one = [Entry(b"k", b"v")]
    cluster.produce("journal", 0, one, producer=producer, sequence=0)
    with pytest.raises(OutOfOrder):
        cluster.produce("journal", 0, one, producer=producer, sequence=2)
    with pytest.raises(DuplicateSequence):
        cluster.produce("journal", 0, one, producer=producer, sequence=0)
    with pytest.raises(OutOfOrder):
        cluster.produce("journal", 0, one, producer=Producer(7, 2), sequence=5)
    with pytest.raises(Fenced):
        cluster.produce("journal", 0, one, producer=Producer(7, 0), sequence=1)
    assert left(cluster) == [(0, "k")]


def test_a_producer_that_the_partition_forgot_may_go_on_and_is_fenced_no_more(cluster: MemoryCluster) -> None:
    one = [Entry(b"k", b"v")]
    cluster.produce("journal", 0, one, producer=Producer(7, 2), sequence=0)
    cluster.partition("journal", 0).forget_producer(7)
    assert cluster.produce("journal", 0, one, producer=Producer(7, 1), sequence=9) == 1


def test_a_batch_above_the_topics_limit_is_refused_whole(cluster: MemoryCluster) -> None:
    with pytest.raises(TooLargeForBroker):
        cluster.produce("journal", 0, [Entry(b"a", b"v"), Entry(b"b", b"x" * 8 * 1024 * 1024)])
    assert left(cluster) == []


def test_readers_wait_for_open_transactions_and_never_see_aborted_ones(cluster: MemoryCluster) -> None:
    producer = Producer(7, 0)
    partition = cluster.partition("events", 0)
    cluster.produce("events", 0, [Entry(b"a", b"v")], producer=producer, sequence=0, transactional=True)
    cluster.produce("events", 0, [Entry(b"b", b"v")])
    assert (cluster.read("events", 0), partition.stable_end) == ([], 0)
    assert [one.key for one in partition.fetch(0, 2, 9, transactions=False)[0]] == [b"b"]
    partition.end_transaction(producer, 0, commit=False)
    assert [one.key for one in cluster.read("events", 0)] == [b"b"]
    cluster.produce("events", 0, [Entry(b"c", b"v")], producer=producer, sequence=1, transactional=True)
    partition.end_transaction(producer, 0, commit=True)
    assert [(one.offset, one.key) for one in cluster.read("events", 0)] == [(1, b"b"), (3, b"c")]


def test_another_producer_id_follows_expiry_and_used_up_epochs(cluster: MemoryCluster) -> None:
    first = cluster.init_producer("t")
    assert cluster.init_producer("t") == Producer(first.producer_id, 1)
    cluster.expire_transactional_id("t")
    second = cluster.init_producer("t")
    assert second.producer_id != first.producer_id
    cluster.exhaust_epochs("t", left=1)
    assert cluster.init_producer("t") == Producer(second.producer_id, 32_766)
    assert cluster.init_producer("t").producer_id not in (first.producer_id, second.producer_id)


def test_a_topic_made_anew_has_another_id_and_no_records(cluster: MemoryCluster) -> None:
    put(cluster, "a")
    before = cluster.topic_ids()["journal"]
    cluster.create("journal", 2)
    assert cluster.topic_ids()["journal"] != before
    assert left(cluster) == []
