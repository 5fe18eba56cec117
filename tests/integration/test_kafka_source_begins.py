"""Where a source of kind `kafka` begins to read, and what it makes of records and topics that come and go."""

from typing import Any

import pytest
from aiokafka.admin import NewPartitions

from connectors.base.contract import Moved, NotConnected
from connectors.kafka import source as module
from tests.integration.kafka_source import Cluster, at, data
from tests.unit.connectors.standing import StandIn


async def test_latest_begins_with_what_comes_from_now_on(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("orders")
    await cluster.write("orders", b"1", b"2")
    async with cluster.reading(site, topics=["orders"]) as read:
        begun = await read.next()
        await cluster.write("orders", b"3")
        assert await data(read, 1) == [3]

    assert isinstance(begun, Moved)
    assert at(site, cluster.topic("orders")) == {"0": 3}


async def test_what_comes_while_a_source_of_latest_is_away_is_read(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("orders")
    async with cluster.reading(site, topics=["orders"]) as read:
        await read.next()
    await cluster.write("orders", b"1")
    async with cluster.reading(site, topics=["orders"]) as read:
        assert await data(read, 1) == [1]


async def test_a_time_begins_with_the_first_record_that_is_not_older(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("orders", 2)
    for ms in (1_780_000_000_000, 1_780_000_001_000, 1_780_000_002_000):
        await cluster.write("orders", b"%d" % ms, timestamp_ms=ms)
    await cluster.write("orders", b"0", partition=1, timestamp_ms=1_780_000_000_000)
    async with cluster.reading(site, topics=["orders"], start="2026-05-28T20:26:41Z") as read:
        begun = await read.next()
        assert await data(read, 2) == [1_780_000_001_000, 1_780_000_002_000]

    assert isinstance(begun, Moved)
    assert begun.position["topics"][cluster.topic("orders")] == {"0": 1, "1": 1}


async def test_records_that_are_gone_are_told(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("orders")
    await cluster.write("orders", *(b"%d" % number for number in range(10)))
    async with cluster.reading(site, topics=["orders"], start="earliest") as read:
        await data(read, 10)
    site.position["topics"][cluster.topic("orders")]["0"] = 3
    await cluster.delete_before("orders", 8)
    async with cluster.reading(site, topics=["orders"]) as read:
        assert await data(read, 2) == [8, 9]

    assert site.notes["missed"] == 5
    topic = cluster.topic("orders")
    fields = {"topic": topic, "partition": 0, "offset": 3, "goes_on_at": 8, "most": 5}
    assert site.said == [("kafka_records_are_gone", fields)]


async def test_records_that_go_while_it_reads_are_told(
    cluster: Cluster, site: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.kafka.client.FETCH_BYTES", 1)
    await cluster.make("orders")
    await cluster.write("orders", b"0")
    async with cluster.reading(site, topics=["orders"], start="earliest") as read:
        assert await data(read, 1) == [0]
        # It asks for offset 1 all the time; now that is gone.
        await cluster.write("orders", *(b"%d" % number for number in range(1, 10)))
        await cluster.delete_before("orders", 8)
        found: list[Any] = []
        while not found or found[-1] != 9:
            found += await data(read, 1)

    assert found[-2:] == [8, 9]
    # Whether it had some of them already is a matter of chance; each was read or told.
    assert len(found) + site.notes["missed"] == 9


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("orders")
    await cluster.write("orders", b"1", b"2", b"3")
    async with cluster.reading(site, topics=["orders"], start="earliest") as read:
        before = [await read.event() for _ in range(3)]
    await cluster.admin(lambda admin: admin.delete_topics([cluster.topic("orders")]))
    await cluster.make("orders")
    await cluster.write("orders", b"4")
    async with cluster.reading(site, topics=["orders"]) as read:
        event = await read.event()

    assert event.data == 4
    assert event.id.split("/")[:4] == before[0].id.split("/")[:4]
    assert event.id != before[0].id
    assert [said for said, _ in site.said] == ["kafka_partition_begins_anew"]


async def test_topics_and_partitions_that_come_later_are_read_from_their_beginning(
    cluster: Cluster, site: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.3)
    await cluster.make("shop.orders")
    await cluster.make("else")
    await cluster.write("shop.orders", b"0")
    async with cluster.reading(site, pattern=f"{cluster.prefix}shop.*") as read:
        await read.next()
        await cluster.make("shop.returns")
        await cluster.write("shop.returns", b"1")
        await cluster.write("else", b"x")
        assert await data(read, 1) == [1]
        added = {cluster.topic("shop.orders"): NewPartitions(2)}
        await cluster.admin(lambda admin: admin.create_partitions(added))
        await cluster.write("shop.orders", b"2", partition=1)
        assert await data(read, 1) == [2]
        await cluster.write("shop.orders", b"3")
        assert await data(read, 1) == [3]

    assert at(site, cluster.topic("shop.orders")) == {"0": 2, "1": 1}


async def test_a_topic_that_is_not_there_is_waited_for(
    cluster: Cluster, site: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.3)
    async with cluster.reading(site, topics=["orders", "late"]) as read:
        end = await read.to_its_end()
    assert isinstance(end, NotConnected)
    assert end.reason == "no_topic"
    assert f"{cluster.topic('late')}, {cluster.topic('orders')}; make one" in str(end)

    await cluster.make("orders")
    async with cluster.reading(site, topics=["orders", "late"]) as read:
        await read.next()
        await cluster.make("late")
        await cluster.write("late", b"1")
        assert await data(read, 1) == [1]

    missing = [fields["topic"] for said, fields in site.said if said == "kafka_topic_is_missing"]
    assert missing == [cluster.topic("late")]
    assert await cluster.admin(lambda admin: admin.list_topics()) is not None


async def test_a_topic_that_is_chosen_later_begins_as_the_options_say(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("one")
    await cluster.make("two")
    await cluster.write("two", b"old")
    async with cluster.reading(site, topics=["one"]) as read:
        await read.next()
    await cluster.write("one", b"1")
    async with cluster.reading(site, topics=["one", "two"]) as read:
        await read.next()
        await cluster.write("two", b"2")
        assert sorted(await data(read, 2)) == [1, 2]


async def test_another_cluster_is_begun_anew(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("orders")
    await cluster.write("orders", b"1")
    topics = {cluster.topic("orders"): {"0": 1}}
    site.position = {"cluster": "elsewhere", "selection": cluster.topic("orders"), "topics": topics}
    async with cluster.reading(site, topics=["orders"], start="earliest") as read:
        assert await data(read, 1) == [1]

    assert [said for said, _ in site.said] == ["kafka_cluster_is_another"]
