import re

import pytest

from topics.catalog import CATALOG, MIB, Cleanup, Timestamps, Topic, config_of, qualified

TOPICS = pytest.mark.parametrize("topic", CATALOG.values(), ids=lambda topic: topic.name)


@TOPICS
def test_each_topic_says_what_is_in_it_and_who_writes_it(topic: Topic) -> None:
    assert re.fullmatch("[a-z]+", topic.name)
    assert all((topic.meaning, topic.key, topic.record, topic.written_by))
    assert topic.meaning.endswith(".")
    assert (topic.retention_ms is None) == (topic.cleanup is Cleanup.COMPACT)


def test_the_topics_are_those_of_the_design() -> None:
    names = "events commands journal results runs dlq workflows triggers cursors actions sources"
    assert list(CATALOG) == names.split()
    assert {name for name in CATALOG if CATALOG[name].co_partitioned} == set(names.split()[:5])
    assert {name for name in CATALOG if CATALOG[name].cleanup is Cleanup.COMPACT} == {
        *("journal", "workflows", "triggers", "cursors", "sources")
    }
    assert CATALOG["events"].timestamps is Timestamps.APPEND


@pytest.mark.parametrize("name", ["journal", "commands", "results", "runs", "dlq"])
def test_an_event_of_1_mib_fits_in_base64_where_events_are_carried_on(name: str) -> None:
    assert CATALOG[name].max_message_bytes == 8 * MIB


def test_co_partitioned_topics_have_the_installations_count_and_the_others_their_own() -> None:
    assert CATALOG["journal"].partitions(32) == 32
    assert CATALOG["workflows"].partitions(32) == 1


def test_the_journal_is_compacted_without_lag_in_small_segments() -> None:
    assert config_of(CATALOG["journal"], min_insync_replicas=2) == {
        "cleanup.policy": "compact",
        "max.message.bytes": "8388608",
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": "2",
        "compression.type": "producer",
        "segment.bytes": "8388608",
        "segment.ms": "600000",
        "min.cleanable.dirty.ratio": "0.4",
        "min.compaction.lag.ms": "5000",
        "max.compaction.lag.ms": "3600000",
        "delete.retention.ms": "86400000",
    }


def test_a_retention_of_ones_own_replaces_the_catalogs() -> None:
    events = CATALOG["events"]
    assert config_of(events, min_insync_replicas=1)["retention.ms"] == str(7 * 24 * 3600 * 1000)
    assert config_of(events, min_insync_replicas=1, retention_ms={"events": 5})["retention.ms"] == "5"


def test_names_get_the_prefix_and_unknown_ones_are_refused() -> None:
    assert qualified("headgate.", "events") == "headgate.events"
    with pytest.raises(KeyError):
        qualified("headgate.", "evnets")
