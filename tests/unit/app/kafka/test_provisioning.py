from dataclasses import replace

import pytest

from app.kafka import provisioning
from app.kafka.admin import Topic
from app.kafka.provisioning import Difference, Severity
from app.settings import KafkaSettings
from topics.catalog import CATALOG

KAFKA = KafkaSettings(partitions=8, replication_factor=1, min_insync_replicas=1)


def as_wanted(kafka: KafkaSettings = KAFKA) -> dict[str, Topic]:
    return {
        topic.name: Topic(
            name=topic.name,
            id="x",
            partitions=topic.partitions,
            replication_factor=topic.replication_factor,
            config={**topic.config, "flush.ms": "1"},
        )
        for topic in provisioning.wanted(kafka)
    }


def changed(name: str, config: dict[str, str] | None = None, **fields: int) -> list[Difference]:
    """What differs when one topic is changed."""
    found = as_wanted()
    topic = found[name]
    found[name] = replace(topic, config={**topic.config, **(config or {})}, **fields)  # type: ignore[arg-type]
    return provisioning.differences(KAFKA, found)


def test_every_topic_of_the_catalog_is_wanted_under_the_prefix() -> None:
    assert [t.name for t in provisioning.wanted(KafkaSettings(prefix="a."))] == [f"a.{name}" for name in CATALOG]


def test_co_partitioned_topics_have_the_count_of_the_settings() -> None:
    counts = {topic.name: topic.partitions for topic in provisioning.wanted(KafkaSettings(partitions=5))}
    assert {name for name, count in counts.items() if count == 5} == {
        f"headgate.{name}" for name in ("events", "commands", "journal", "results", "runs")
    }


def test_topics_as_they_should_be_have_no_differences() -> None:
    assert provisioning.differences(KAFKA, as_wanted()) == []


def test_a_missing_topic_is_a_failure_with_the_command_that_mends_it() -> None:
    found = as_wanted()
    del found["headgate.runs"]
    assert provisioning.differences(KAFKA, found) == [
        Difference(
            severity=Severity.FAIL,
            topic="headgate.runs",
            what="the topic",
            wanted="there, partitions: 8",
            found="missing",
            remedy="Run `headgate topics apply`",
        )
    ]


def test_another_count_in_one_topic_says_how_to_make_it_anew() -> None:
    [found] = changed("headgate.journal", partitions=4)
    assert (found.severity, found.what, found.wanted, found.found) == (Severity.FAIL, "partitions", "8", "4")
    assert found.remedy == (
        "For another count begin anew under another HEADGATE_KAFKA_PREFIX, or, if the topic is empty, delete it "
        "(`headgate kafka topics --delete --topic headgate.journal`) and run `headgate topics apply`"
    )


def test_another_count_in_all_of_them_says_that_the_setting_may_be_wrong() -> None:
    found = provisioning.differences(KAFKA, as_wanted(KAFKA.model_copy(update={"partitions": 32})))
    assert {one.topic for one in found} == {
        f"headgate.{name}" for name in ("events", "commands", "journal", "results", "runs")
    }
    assert all(one.remedy.startswith("If the topics are right, set HEADGATE_KAFKA_PARTITIONS=32:") for one in found)


@pytest.mark.parametrize(
    ("topic", "name", "value", "severity"),
    [
        ("headgate.events", "message.timestamp.type", "CreateTime", Severity.FAIL),
        ("headgate.workflows", "message.timestamp.type", "CreateTime", Severity.WARN),
        ("headgate.workflows", "cleanup.policy", "delete", Severity.FAIL),
        ("headgate.journal", "cleanup.policy", "delete", Severity.FAIL),
        ("headgate.results", "max.message.bytes", "1048588", Severity.FAIL),
        ("headgate.events", "retention.ms", "1000", Severity.WARN),
        ("headgate.events", "min.insync.replicas", "2", Severity.WARN),
    ],
)
def test_a_changed_setting_is_found(topic: str, name: str, value: str, severity: Severity) -> None:
    [found] = changed(topic, {name: value})
    assert (found.severity, found.topic, found.what, found.found) == (severity, topic, name, value)
    assert found.remedy == (
        f"Run `headgate kafka configs --alter --entity-type topics --entity-name {topic} --add-config "
        f"{name}={found.wanted}`"
    )


def test_two_changed_settings_are_mended_by_one_command() -> None:
    first, second = changed("headgate.events", {"retention.ms": "1", "cleanup.policy": "compact"})
    assert first.remedy == second.remedy
    assert first.remedy.endswith("--add-config cleanup.policy=delete,retention.ms=604800000`")


def test_room_for_larger_records_than_needed_is_no_difference() -> None:
    assert changed("headgate.events", {"max.message.bytes": "99999999"}) == []


def test_fewer_copies_are_a_warning_and_more_are_none() -> None:
    kafka = KAFKA.model_copy(update={"replication_factor": 3})
    found = {name: replace(topic, replication_factor=3) for name, topic in as_wanted(kafka).items()}
    assert provisioning.differences(KAFKA, found) == []
    found["headgate.dlq"] = replace(found["headgate.dlq"], replication_factor=2)
    [one] = provisioning.differences(kafka, found)
    assert (one.severity, one.topic, one.what, one.wanted, one.found) == (
        Severity.WARN, "headgate.dlq", "replication factor", "3", "2",
    )  # fmt: skip


def test_a_difference_reads_as_one_sentence_and_its_remedy() -> None:
    [found] = changed("headgate.events", {"retention.ms": "1"})
    assert str(found).startswith("headgate.events: retention.ms is 1, it should be 604800000. Run `headgate kafka ")


def test_one_wrong_setting_is_one_error_with_one_remedy() -> None:
    found = provisioning.differences(KAFKA, as_wanted(KAFKA.model_copy(update={"partitions": 32})))
    assert str(provisioning.TopicsError(found)) == (
        "headgate.events, headgate.commands, headgate.journal, headgate.results, headgate.runs have 32 partitions, "
        "the setting kafka.partitions is 8. Set HEADGATE_KAFKA_PARTITIONS=32 (the count never changes once a system "
        "has run), or begin anew with 8 under another HEADGATE_KAFKA_PREFIX"
    )


def test_missing_topics_are_one_error_and_what_else_is_wrong_is_told_beside_it() -> None:
    found = as_wanted()
    del found["headgate.runs"], found["headgate.dlq"]
    found["headgate.events"] = replace(found["headgate.events"], partitions=4)
    differences = provisioning.differences(KAFKA, found)
    first, second = str(provisioning.TopicsError(differences)).splitlines()
    assert first == "Topics are missing: headgate.runs, headgate.dlq. Run `headgate topics apply`"
    assert second == str(next(one for one in differences if one.topic == "headgate.events"))


def test_topics_with_a_count_of_their_own_are_not_mended_by_the_setting() -> None:
    found = as_wanted()
    for name in ("headgate.triggers", "headgate.cursors"):
        found[name] = replace(found[name], partitions=1)
    told = str(provisioning.TopicsError(provisioning.differences(KAFKA, found)))
    assert "HEADGATE_KAFKA_PARTITIONS" not in told
    assert [line.partition(" For another")[0] for line in told.splitlines()] == [
        "headgate.triggers: partitions is 1, it should be 16.",
        "headgate.cursors: partitions is 1, it should be 16.",
    ]
    assert "`headgate kafka topics --delete --topic headgate.triggers`" in told
