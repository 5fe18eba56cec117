import time

import pytest

from app.kafka import clients
from app.kafka.admin import Admin, AdminError, Group, WantedTopic
from app.kafka.embedded import EmbeddedKafka
from app.kafka.records import NotWritten, Reader, TopicMissing, Writer, last_values
from app.settings import KafkaSettings


@pytest.fixture
def settings(kafka: EmbeddedKafka, kafka_prefix: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=kafka.bootstrap, prefix=kafka_prefix)


@pytest.fixture
def admin(settings: KafkaSettings) -> Admin:
    return Admin.connect(settings)


@pytest.fixture
def topic(admin: Admin, kafka_prefix: str) -> str:
    """A compacted topic with three partitions."""
    name = f"{kafka_prefix}topic"
    config = {"cleanup.policy": "compact"}
    admin.create([WantedTopic(name=name, partitions=3, replication_factor=1, config=config)])
    return name


def write(
    settings: KafkaSettings, topic: str, *records: tuple[int, bytes | None, bytes | None]
) -> list[tuple[int, int]]:
    """Write (partition, key, value), and return the places."""
    places: list[tuple[int, int]] = []
    writer = Writer(settings)
    for partition, key, value in records:
        writer.write(
            topic,
            key=key,
            value=value,
            partition=partition,
            then=lambda place: places.append((place.partition, place.offset)),
        )
    writer.flush()
    return sorted(places)


def test_a_broker_tells_where_it_is_and_what_it_is(admin: Admin, kafka: EmbeddedKafka) -> None:
    [broker] = admin.brokers()
    assert f"{broker.host}:{broker.port}" == kafka.bootstrap
    version = admin.version(broker)
    assert (version.release, version.at_least_4_0) == ("4.3", True)
    assert admin.broker_config(broker)["node.id"] == str(broker.id)


def test_a_topic_is_described_with_its_settings(admin: Admin, topic: str) -> None:
    found = admin.topics([topic, f"{topic}.missing"])
    assert set(found) == {topic}
    assert topic not in admin.leaderless()
    described = found[topic]
    assert (described.partitions, described.replication_factor) == (3, 1)
    assert (described.out_of_sync, described.offline) == ((), ())
    assert described.config["cleanup.policy"] == "compact"


def test_looking_creates_no_topic(admin: Admin, settings: KafkaSettings, kafka_prefix: str) -> None:
    name = f"{kafka_prefix}never"
    with pytest.raises(TopicMissing, match=r"is missing\. Run `headgate topics apply`, or mend kafka\.prefix"):
        Reader(settings, admin, name, from_start=True)
    assert admin.topics([name]) == {}


def test_creating_again_changes_nothing(admin: Admin, topic: str) -> None:
    before = admin.topics([topic])
    admin.create([WantedTopic(name=topic, partitions=9, replication_factor=1, config={})])
    assert admin.topics([topic]) == before


def test_more_copies_than_brokers_are_refused_with_the_remedy(admin: Admin, kafka_prefix: str) -> None:
    wanted = WantedTopic(name=f"{kafka_prefix}x", partitions=1, replication_factor=3, config={})
    with pytest.raises(AdminError, match="Set HEADGATE_KAFKA_REPLICATION_FACTOR to at most the number of brokers"):
        admin.create([wanted])


def test_offsets_are_told_per_partition(admin: Admin, settings: KafkaSettings, topic: str) -> None:
    assert write(settings, topic, (0, b"a", b"1"), (2, b"b", b"2"), (2, b"c", b"3")) == [(0, 0), (2, 0), (2, 1)]
    assert admin.end_offsets({topic: 3}) == {(topic, 0): 1, (topic, 1): 0, (topic, 2): 2}
    assert admin.first_offsets({topic: 3}) == {(topic, 0): 0, (topic, 1): 0, (topic, 2): 0}


def test_a_group_that_never_was_is_empty(admin: Admin, kafka_prefix: str) -> None:
    name = f"{kafka_prefix}nobody"
    assert admin.group(name) == Group(name=name, state="DEAD", members=(), committed={})


def test_this_machines_clock_agrees_with_itself_and_no_group_is_left(
    admin: Admin, topic: str, kafka_prefix: str
) -> None:
    difference = admin.clock_difference_seconds(topic)
    assert difference is not None
    assert abs(difference) < 1
    assert admin.group(f"{kafka_prefix}doctor").committed == {}


@pytest.mark.parametrize("off", [100.0, -100.0])
def test_a_clock_that_is_off_is_found(admin: Admin, topic: str, off: float) -> None:
    difference = admin.clock_difference_seconds(topic, clock=lambda: time.time() - off)
    assert difference == pytest.approx(off, abs=2)


def test_the_last_value_of_each_key_is_what_holds(admin: Admin, settings: KafkaSettings, topic: str) -> None:
    records = [(0, b"a", b"1"), (0, b"a", b"2"), (1, b"b", b"3"), (1, b"b", None)]
    write(settings, topic, *records)
    found = last_values(settings, admin, topic)
    assert {key: (record.offset, record.value) for key, record in found.items()} == {b"a": (1, b"2")}


def test_what_was_there_is_read_to_its_end_and_no_further(admin: Admin, settings: KafkaSettings, topic: str) -> None:
    write(settings, topic, (0, b"a", b"1"), (1, b"b", b"2"))
    with Reader(settings, admin, topic, from_start=True) as reader:
        write(settings, topic, (0, b"a", b"later"))
        found = sorted((record.partition, record.offset, record.value) for record in reader.existing())
    assert found == [(0, 0, b"1"), (1, 0, b"2")]


def test_from_the_end_only_what_comes_is_read(admin: Admin, settings: KafkaSettings, topic: str) -> None:
    write(settings, topic, (0, b"a", b"before"))
    with Reader(settings, admin, topic, from_start=False) as reader:
        write(settings, topic, (0, b"a", b"after"))
        assert next(record.value for record in reader.following() if record is not None) == b"after"
    with Reader(settings, admin, topic, from_start=False) as reader:
        assert list(reader.existing()) == []


def test_a_record_that_is_too_large_is_told_with_its_topic(admin: Admin, settings: KafkaSettings, topic: str) -> None:
    with pytest.raises(NotWritten, match=f"Kafka did not take the record for {topic}: "):
        write(settings, topic, (0, b"a", b"x" * 2_000_000))
    assert admin.end_offsets({topic: 3})[topic, 0] == 0


def test_a_controllers_port_is_no_brokers(admin: Admin) -> None:
    controller = admin.broker_config(admin.brokers()[0])["controller.quorum.voters"].partition("@")[2]
    with pytest.raises(clients.KafkaUnreachable, match="Name a broker's listener, not a controller's"):
        Admin.connect(KafkaSettings(bootstrap=controller))
