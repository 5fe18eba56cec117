"""Sources of kind `kafka` on a real broker: what is read, from where on, and what stands in the way."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete

from app.kafka.embedded import EmbeddedKafka
from app.kafka.embedded.ports import free_port
from connectors import kafka as kind
from connectors.base.contract import Moved, NotConnected, Received, Refused, Unreadable
from connectors.base.instance.events import Maker
from connectors.kafka import source as module
from tests.integration.odd_headers import write_odd
from tests.integration.test_security import LOGIN, PASSWORD, certificate
from tests.unit.connectors.standing import Reading, StandIn, reading, until
from topics.sources import Spec

SHOWN_SECONDS = 20
SAFE = {
    "listeners": "PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port},SAFE://127.0.0.1",
    "advertised.listeners": "PLAINTEXT://127.0.0.1:{port},SAFE://127.0.0.1",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SAFE:SASL_SSL",
    "sasl.enabled.mechanisms": "PLAIN",
    "listener.name.safe.plain.sasl.jaas.config": LOGIN,
    "listener.name.safe.ssl.keystore.type": "PKCS12",
    "listener.name.safe.ssl.keystore.password": "changeit",
}
"""A second listener, with TLS and passwords."""


class Cluster:
    """A broker, and topics under a prefix."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap, self.prefix = bootstrap, prefix

    def topic(self, name: str) -> str:
        return self.prefix + name

    async def make(self, name: str, partitions: int = 1) -> None:
        await self.admin(lambda admin: admin.create_topics([NewTopic(self.topic(name), partitions, 1)]))

    async def admin(self, act: Callable[[AIOKafkaAdminClient], Any]) -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            return await act(admin)
        finally:
            await admin.close()

    async def write(self, name: str, *values: bytes | None, partition: int = 0, **options: Any) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            for value in values:
                await producer.send_and_wait(self.topic(name), value, partition=partition, **options)

    async def delete_before(self, name: str, offset: int) -> None:
        place = {TopicPartition(self.topic(name), 0): RecordsToDelete(before_offset=offset)}
        await self.admin(lambda admin: admin.delete_records(place))

    def source(self, site: StandIn, **options: Any) -> kind.Source:
        if "topics" in options:
            options["topics"] = [self.topic(one) for one in options["topics"]]
        return kind.Source(kind.Config(bootstrap=[self.bootstrap], **options), site)

    def reading(self, site: StandIn, **options: Any) -> AbstractAsyncContextManager[Reading]:
        return reading(self.source(site, **options), site)


@pytest.fixture
def cluster(kafka: EmbeddedKafka, kafka_prefix: str) -> Cluster:
    return Cluster(kafka.bootstrap, kafka_prefix)


@pytest.fixture
def site() -> StandIn:
    return StandIn(real_time=True)


async def data(read: Reading, count: int) -> list[Any]:
    return [(await read.event()).data for _ in range(count)]


async def unreadable(read: Reading) -> Unreadable:
    while isinstance(item := await read.next(), Moved):
        pass
    assert isinstance(item, Unreadable), item
    return item


def at(site: StandIn, topic: str) -> dict[str, int]:
    """What the position says of a topic."""
    found: dict[str, int] = site.position["topics"][topic]
    return found


# ---- records ---------------------------------------------------------------------------------------------------------


async def test_a_record_is_an_event(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("orders")
    await cluster.write("orders", b'{"n": 1}', key=b"k", timestamp_ms=1_780_000_000_250, headers=[("h", b"x")])
    async with cluster.reading(site, topics=["orders"], start="earliest") as read:
        begun, event = await read.next(), await read.next()

    topic = cluster.topic("orders")
    assert isinstance(begun, Moved)
    assert begun.position["topics"] == {topic: {"0": 0}}
    assert isinstance(event, Received)
    assert event.id == f"{begun.position['cluster']}/{topic}/0/0/1780000000250"
    assert len(begun.position["cluster"]) == 22
    assert (event.event_type, event.data, event.key) == (topic, {"n": 1}, "k")
    assert str(event.created_at) == "2026-05-28 20:26:40.250000+00:00"
    assert event.position == begun.position | {"topics": {topic: {"0": 1}}}
    assert site.connections == 1
    assert site.heard_bytes > 100


async def test_each_partition_is_read_in_order_and_on_after_a_restart(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("orders", 3)
    for partition in range(3):
        await cluster.write("orders", *(b"%d" % number for number in range(50)), partition=partition)
    found: list[Received] = []
    for count in (40, 60, 50):
        async with cluster.reading(site, topics=["orders"], start="earliest") as read:
            found += [await read.event() for _ in range(count)]

    places = [one.id.split("/")[2:4] for one in found]
    once = {tuple(place) for place in places}
    # The position moves with the last record of a fetch: what came before it is repeated under its ids.
    assert once == {(str(partition), str(offset)) for partition in range(3) for offset in range(50)} or len(once) < 150
    async with cluster.reading(site, topics=["orders"], start="earliest") as read:
        while len(once) < 150:
            one = await read.event()
            once.add(tuple(one.id.split("/")[2:4]))
            places.append(one.id.split("/")[2:4])
    assert once == {(str(partition), str(offset)) for partition in range(3) for offset in range(50)}


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_records_are_read(cluster: Cluster, site: StandIn, compression: str) -> None:
    await cluster.make("orders")
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, compression_type=compression) as producer:
        for number in range(20):
            await producer.send(cluster.topic("orders"), b"%d" % number)
    async with cluster.reading(site, topics=["orders"], start="earliest") as read:
        assert await data(read, 20) == list(range(20))


async def test_records_of_an_aborted_transaction_are_none(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("orders")
    transactional = AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, transactional_id=cluster.topic("outside"))
    async with transactional as producer:
        for number, commits in ((1, True), (2, False), (3, True)):
            await producer.begin_transaction()
            await producer.send_and_wait(cluster.topic("orders"), b"%d" % number)
            await (producer.commit_transaction() if commits else producer.abort_transaction())
    async with cluster.reading(site, topics=["orders"], start="earliest") as read:
        assert await data(read, 2) == [1, 3]


async def test_what_sources_of_headgate_wrote_does_not_go_in_circles(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("events")
    for instance in ("src", "other"):
        made = Maker(Spec(id=instance, kind="kafka"), max_bytes=1_000_000).event(
            Received(id="1", event_type="t", data=instance), at_ms=1
        )
        assert made is not None
        await cluster.write("events", made.value, headers=made.headers)
    await cluster.write("events", b'"theirs"', headers=[("provider", b"me")])
    async with cluster.reading(site, topics=["events"], start="earliest") as read:
        assert await data(read, 1) == ["theirs"]
    assert site.notes == {"own_events_skipped": 2}
    assert at(site, cluster.topic("events")) == {"0": 3}

    again = StandIn(real_time=True)
    async with cluster.reading(again, topics=["events"], start="earliest", own_events="take") as read:
        assert [one["data"] if isinstance(one, dict) else one for one in await data(read, 2)] == ["other", "theirs"]


async def test_a_record_that_cannot_be_read_is_told_and_left_behind(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("orders")
    await cluster.make("others")
    await cluster.write("orders", b"0", b"1")
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap) as producer:
        await write_odd(producer, cluster.topic("orders"), b"2")
        await write_odd(producer, cluster.topic("orders"), b"3")
    await cluster.write("orders", b"4")
    await cluster.write("others", *(b"%d" % number for number in range(10, 20)))
    async with cluster.reading(site, topics=["orders", "others"], start="earliest") as read:
        while len([one for one in read.taken if not isinstance(one, Moved)]) < 15:
            await read.next()

    events = [one.data for one in read.taken if isinstance(one, Received)]
    assert sorted(events) == [0, 1, 4, *range(10, 20)]
    odd = [one for one in read.taken if isinstance(one, Unreadable)]
    assert [one.id.rpartition("/")[2] for one in odd] == ["2", "3"]
    assert odd[0].reason.startswith("the record at offset 2, or the next after it, cannot be read: 'utf-8' codec")
    assert at(site, cluster.topic("orders")) == {"0": 5}


async def test_a_compressed_bomb_is_one_dead_letter_and_stops_nothing(cluster: Cluster, site: StandIn) -> None:
    await cluster.make("orders")
    async with AIOKafkaProducer(
        bootstrap_servers=cluster.bootstrap, compression_type="gzip", max_batch_size=2**30, max_request_size=2**30
    ) as producer:
        for number in range(2):
            bomb = producer.create_batch()
            for _ in range(3):
                bomb.append(key=None, value=bytes(100 * 1024 * 1024), timestamp=None, headers=[])
            await (await producer.send_batch(bomb, cluster.topic("orders"), partition=0))
            await producer.send_and_wait(cluster.topic("orders"), b"%d" % number, partition=0)
    async with cluster.reading(site, topics=["orders"], start="earliest") as read:
        while len([one for one in read.taken if not isinstance(one, Moved)]) < 4:
            await read.next()

    found = [one for one in read.taken if not isinstance(one, Moved)]
    assert [Unreadable, Received, Unreadable, Received] == [type(one) for one in found]
    assert [one.id.split("/")[3] for one in found] == ["0", "3", "4", "7"]
    assert isinstance(found[0], Unreadable)
    assert found[0].reason == "the batch of offsets 0 to 2 may unpack to more than 16777216 bytes"
    assert at(site, cluster.topic("orders")) == {"0": 8}


# ---- where to begin --------------------------------------------------------------------------------------------------


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


# ---- the cluster -----------------------------------------------------------------------------------------------------


async def test_the_durable_offsets_are_shown_in_the_group(
    cluster: Cluster, site: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMIT_SECONDS", 0.0)
    group, place = cluster.topic("group"), TopicPartition(cluster.topic("orders"), 0)
    await cluster.make("orders")
    await cluster.write("orders", b"1", b"2")

    async def shown() -> int | None:
        found = await cluster.admin(lambda admin: admin.list_consumer_group_offsets(group))
        return found[place].offset if place in found else None

    async with cluster.reading(site, topics=["orders"], start="earliest", group=group) as read:
        await data(read, 2)
        going_on = asyncio.create_task(read.next())
        async with asyncio.timeout(SHOWN_SECONDS):
            while await shown() != 2:  # noqa: ASYNC110 a broker tells nobody
                await asyncio.sleep(0.05)
        going_on.cancel()
        await asyncio.gather(going_on, return_exceptions=True)
    assert site.notes["lag_not_written"] == 0

    # A group with members is somebody else's; reading goes on all the same.
    member = AIOKafkaConsumer(place.topic, bootstrap_servers=cluster.bootstrap, group_id=group)
    async with member, cluster.reading(site, topics=["orders"], group=group) as read:
        await cluster.write("orders", b"3", b"4")
        assert await data(read, 2) == [3, 4]
        going_on = asyncio.create_task(read.next())
        await until(lambda: site.notes["lag_not_written"] > 1)
        going_on.cancel()
        await asyncio.gather(going_on, return_exceptions=True)
    assert [said for said, _ in site.said] == ["kafka_lag_not_written"]


class Guarded(StandIn):
    """A site whose policy lets a name through, but not the addresses that the cluster advertises."""

    def __init__(self) -> None:
        super().__init__(real_time=True)
        self.asked: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> Sequence[tuple[str, int]]:
        self.asked.append((host, port))
        if host == "127.0.0.1":
            raise Refused("the address 127.0.0.1 is not public", reason="forbidden_address")
        return [("127.0.0.1", port)]


async def test_an_address_that_a_cluster_advertises_is_under_the_policy_too(cluster: Cluster) -> None:
    site, port = Guarded(), int(cluster.bootstrap.rpartition(":")[2])
    await cluster.make("orders")
    for bootstrap, asked in ((f"front.example:{port}", "front.example"), (cluster.bootstrap, "127.0.0.1")):
        site.asked.clear()
        one = kind.Source(kind.Config(bootstrap=[bootstrap], topics=[cluster.topic("orders")]), site)
        async with reading(one, site) as read:
            end = await read.to_its_end()

        assert isinstance(end, Refused)
        assert end.reason == "forbidden_address"
        assert site.asked[0] == (asked, port)
        assert site.asked[-1] == ("127.0.0.1", port)
        assert site.connections == 0


async def test_a_cluster_that_is_away_is_tried_again_and_nothing_is_lost(
    own_kafka: Callable[..., EmbeddedKafka], site: StandIn
) -> None:
    broker = own_kafka()
    broker.start()
    cluster = Cluster(broker.bootstrap, "")
    await cluster.make("orders")
    await cluster.write("orders", b"1")
    one = cluster.source(site, topics=["orders"], start="earliest", idle_timeout="2s")
    async with reading(one, site) as read:
        assert await data(read, 1) == [1]
        broker.kill()
        end = await read.to_its_end()
    assert isinstance(end, NotConnected)

    async with reading(one, site) as read:
        end = await read.to_its_end()
    assert isinstance(end, NotConnected)
    assert (end.reason, site.connections) == ("refused", 1)

    broker.start()
    await cluster.write("orders", b"2")
    async with reading(one, site) as read:
        assert await data(read, 1) == [2]
        broker.pause()  # its sockets stay open
        end = await read.to_its_end()
        broker.resume()
    assert isinstance(end, NotConnected)
    assert end.reason == "timeout"


async def test_tls_and_password_of_the_options_open_a_cluster(
    own_kafka: Callable[..., EmbeddedKafka], site: StandIn, tmp_path: Path
) -> None:
    store, pem = certificate(tmp_path)
    port = free_port()
    safe = {name: value.replace("SAFE://127.0.0.1", f"SAFE://127.0.0.1:{port}") for name, value in SAFE.items()}
    broker = own_kafka(overrides={**safe, "listener.name.safe.ssl.keystore.location": str(store)})
    broker.start()
    cluster = Cluster(broker.bootstrap, "")
    await cluster.make("orders")
    await cluster.write("orders", b"1")
    options = {
        "security": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "username": "me",
        "password": PASSWORD,
        "tls_ca": pem.read_text(),
        "topics": ["orders"],
        "start": "earliest",
    }
    cluster.bootstrap = f"127.0.0.1:{port}"
    async with cluster.reading(site, **options) as read:
        assert await data(read, 1) == [1]

    async with cluster.reading(site, **{**options, "password": "hunter2hunter2"}) as read:
        refused = await read.to_its_end()
    assert isinstance(refused, Refused)
    assert refused.reason == "unauthorized"
    assert "hunter2" not in str(refused)

    async with cluster.reading(site, **{**options, "tls_ca": None}) as read:
        end = await read.to_its_end()
    assert isinstance(end, NotConnected)
    assert end.reason == "tls"
