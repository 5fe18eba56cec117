import asyncio
from collections.abc import Callable

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from app.cli import main
from app.kafka.admin import Admin, WantedTopic
from app.kafka.embedded import EmbeddedKafka
from app.settings import KafkaSettings

Doctor = Callable[[], tuple[int, dict[str, list[str]], dict[str, dict[str, int]]]]


@pytest.fixture
def doctor(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Doctor:
    """Runs `headgate doctor`; returns its code, the marks by check, and the lag."""
    monkeypatch.setenv("HEADGATE_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("HEADGATE_KAFKA_PREFIX", kafka_prefix)
    monkeypatch.setenv("HEADGATE_WORKER_GROUP", f"{kafka_prefix}workers")
    monkeypatch.setenv("HEADGATE_GATEWAY_URL", "http://127.0.0.1:1")

    def call() -> tuple[int, dict[str, list[str]], dict[str, dict[str, int]]]:
        code = main.run(["doctor", "--json"])
        printed = orjson.loads(capsys.readouterr().out)
        marks: dict[str, list[str]] = {}
        for finding in printed["findings"]:
            marks.setdefault(finding["check"], []).append(finding["mark"])
        return code, marks, printed["lag"]

    return call


def apply(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["topics", "apply"]) == 0
    capsys.readouterr()


def test_a_new_installation_is_well_and_has_nobody_at_work(
    doctor: Doctor, kafka_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(capsys)
    assert main.run(["send", "a", "1", "--key", "k"]) == 0
    capsys.readouterr()
    code, marks, lag = doctor()
    assert code == 0
    assert marks == {
        "kafka": ["ok"],
        "topics": ["ok"],
        "clock": ["ok"],
        "workers": ["warn"],
        "workflows": ["warn"],
        "gateway": ["warn"],
    }
    assert sum(lag[f"{kafka_prefix}events"].values()) == 1


def test_a_worker_is_seen_with_its_partitions_and_what_it_has_done(
    doctor: Doctor, kafka: EmbeddedKafka, kafka_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(capsys)
    assert main.run(["send", "a", "1", "--key", "k"]) == 0
    capsys.readouterr()

    async def work() -> tuple[int, dict[str, list[str]], dict[str, dict[str, int]]]:
        consumer = AIOKafkaConsumer(
            f"{kafka_prefix}events",
            bootstrap_servers=kafka.bootstrap,
            group_id=f"{kafka_prefix}{kafka_prefix}workers",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            await consumer.getone()
            await consumer.commit()
            return await asyncio.to_thread(doctor)
        finally:
            await consumer.stop()

    code, marks, lag = asyncio.run(work())
    assert (code, marks["workers"]) == (0, ["ok"])
    assert sum(lag[f"{kafka_prefix}events"].values()) == 0


def test_missing_topics_fail(doctor: Doctor) -> None:
    code, marks, _ = doctor()
    assert code == 1
    assert marks["topics"] == ["fail"]


def test_a_topic_with_another_count_and_time_fails(
    doctor: Doctor, kafka: EmbeddedKafka, kafka_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = Admin.connect(KafkaSettings(bootstrap=kafka.bootstrap))
    config = {"message.timestamp.type": "CreateTime", "max.message.bytes": "2097152"}
    admin.create([WantedTopic(name=f"{kafka_prefix}events", partitions=3, replication_factor=1, config=config)])
    assert main.run(["doctor"]) == 1
    text = capsys.readouterr().out
    assert f"fail  topics     {kafka_prefix}events: partitions is 3, it should be 8\n" in text
    assert f"{kafka_prefix}events: message.timestamp.type is CreateTime, it should be LogAppendTime\n" in text
    assert doctor()[0] == 1


def test_without_kafka_it_says_so_and_ends_with_3(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    assert doctor() == (3, {"kafka": ["fail"]}, {})
