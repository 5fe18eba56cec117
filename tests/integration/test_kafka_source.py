"""Sources of kind `kafka` on a real broker: what is read, from where on, and what stands in the way."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from app.kafka.embedded import EmbeddedKafka
from app.kafka.embedded.ports import free_port
from connectors import kafka as kind
from connectors.base.contract import Moved, NotConnected, Received, Refused, Unreadable
from connectors.base.instance.events import Maker
from connectors.kafka import source as module
from tests.integration.kafka_source import Cluster, at, data
from tests.integration.odd_headers import write_odd
from tests.integration.test_security import LOGIN, PASSWORD, certificate
from tests.unit.connectors.standing import StandIn, reading, until
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
