from collections.abc import Callable

import orjson
import pytest

from app.cli import main
from app.kafka import provisioning
from app.kafka.admin import Admin, WantedTopic
from app.kafka.embedded import EmbeddedKafka
from app.settings import KafkaSettings
from topics.catalog import CATALOG

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs `headgate` against this broker under a prefix of the test; returns the exit code and what it printed."""
    monkeypatch.setenv("HEADGATE_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("HEADGATE_KAFKA_PREFIX", kafka_prefix)

    def call(*arguments: str) -> tuple[int, str]:
        code = main.run(list(arguments))
        return code, capsys.readouterr().out

    return call


@pytest.fixture
def admin(kafka: EmbeddedKafka) -> Admin:
    return Admin.connect(KafkaSettings(bootstrap=kafka.bootstrap))


def found(admin: Admin, prefix: str) -> dict[str, tuple[str, int, dict[str, str]]]:
    names = [f"{prefix}{name}" for name in CATALOG]
    return {name: (topic.id, topic.partitions, dict(topic.config)) for name, topic in admin.topics(names).items()}


def test_apply_creates_every_topic_as_the_catalog_says_and_is_idempotent(
    run: Run, admin: Admin, kafka_prefix: str
) -> None:
    code, text = run("topics", "apply", "--json")
    assert (code, orjson.loads(text)["differences"]) == (0, [])
    assert orjson.loads(text)["created"] == [f"{kafka_prefix}{name}" for name in CATALOG]
    before = found(admin, kafka_prefix)
    assert len(before) == len(CATALOG)
    assert run("topics", "apply", "--json") == (0, '{"created":[],"differences":[]}\n')
    assert run("topics", "check", "--json") == (0, '{"differences":[]}\n')
    assert found(admin, kafka_prefix) == before


def test_a_changed_setting_and_a_wrong_partition_count_are_found_and_left_alone(
    run: Run, admin: Admin, kafka_prefix: str
) -> None:
    wanted = {t.name: t for t in provisioning.wanted(KafkaSettings(prefix=kafka_prefix, partitions=8))}
    events, journal = wanted[f"{kafka_prefix}events"], wanted[f"{kafka_prefix}journal"]
    changed = {**events.config, "min.insync.replicas": "1", "message.timestamp.type": "CreateTime"}
    admin.create(
        [
            WantedTopic(name=events.name, partitions=8, replication_factor=1, config=changed),
            WantedTopic(
                name=journal.name,
                partitions=3,
                replication_factor=1,
                config={**journal.config, "min.insync.replicas": "1"},
            ),
        ]
    )
    before = found(admin, kafka_prefix)
    code, text = run("topics", "apply", "--json")
    differences = {(d["topic"], d["what"]): d for d in orjson.loads(text)["differences"]}
    assert code == 1
    assert (differences[journal.name, "partitions"]["wanted"], differences[journal.name, "partitions"]["found"]) == (
        "8",
        "3",
    )
    assert differences[events.name, "message.timestamp.type"]["remedy"] == (
        f"Run `headgate kafka configs --alter --entity-type topics --entity-name {events.name} "
        "--add-config message.timestamp.type=LogAppendTime`"
    )
    assert run("topics", "check", "--json")[0] == 1
    assert found(admin, kafka_prefix) == before


def test_the_shape_of_the_settings_is_what_is_created(
    run: Run, admin: Admin, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_KAFKA_PARTITIONS", "5")
    monkeypatch.setenv("HEADGATE_KAFKA_REPLICATION_FACTOR", "1")
    monkeypatch.setenv("HEADGATE_KAFKA_MIN_INSYNC_REPLICAS", "1")
    assert run("topics", "apply")[0] == 0
    counts = {name.removeprefix(kafka_prefix): count for name, (_, count, _) in found(admin, kafka_prefix).items()}
    assert counts == {name: topic.partitions(5) for name, topic in CATALOG.items()}


def test_more_copies_than_brokers_end_with_1_and_the_remedy(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADGATE_KAFKA_REPLICATION_FACTOR", "3")
    assert main.run(["topics", "apply"]) == 1
    assert "Set HEADGATE_KAFKA_REPLICATION_FACTOR to at most the number of brokers" in capsys.readouterr().err


def test_without_kafka_the_code_is_3(run: Run) -> None:
    assert run("topics", "check", "--kafka", "127.0.0.1:1") == (3, "")
