"""Settings are of the whole installation or worker; the engine hears of its partition's share."""

import pytest

from app.kafka.clients import KafkaUnreachable
from app.runtime.limits import StepLimits
from app.settings import Settings
from app.wiring import limits, sourcelist
from topics.sources import Spec


def settings(**given: object) -> Settings:
    return Settings.load({name.replace("__", "."): value for name, value in given.items()}, dev=True, environ={})


def test_a_partition_has_its_share_of_what_all_of_them_have() -> None:
    found = limits.of_partition(settings(kafka__partitions=4, dedup__max_ids=10, limits__asleep_events=3))
    assert (found.partitions, found.dedup_ids, found.asleep_events) == (4, 2, 1)


def test_a_partition_has_its_share_of_what_may_wait_and_a_run_all_of_its_own() -> None:
    found = limits.of_partition(settings(kafka__partitions=4, limits__waits=100, limits__waits_per_run=7))
    assert (found.waits, found.waits_per_run) == (25, 7)


def test_a_million_runs_may_wait_however_they_are_spread() -> None:
    for partitions in (1, 8, 32, 100):
        share = limits.of_partition(settings(kafka__partitions=partitions)).waits
        assert share * partitions >= 1.9 * 1_000_000


def test_replies_go_where_the_settings_allow_and_never_into_own_topics() -> None:
    allowed = limits.of_partition(settings(replies__allowed_topics="answers.*,headgate.*")).reply_allowed
    answers = [allowed(one) for one in ("answers.emea", "elsewhere", "headgate.events")]
    assert answers == [True, False, False]


def test_what_no_kafka_topic_is_called_is_not_allowed_whatever_the_patterns() -> None:
    allowed = limits.of_partition(settings(replies__allowed_topics="**")).reply_allowed
    names = ("answers", "x" * 249, "x" * 250, "answers." + "x" * 40_000, "a b", "__consumer_offsets")
    assert [allowed(one) for one in names] == [True, True, False, False, False, False]


def test_a_run_has_as_many_steps_and_bytes_as_the_settings_say_for_engine_and_author_alike() -> None:
    given = settings(limits__steps_per_run=7, limits__run_bytes="3 KiB")
    of_partition, of_steps = limits.of_partition(given), limits.of_steps(given)
    assert (of_partition.steps_per_run, of_partition.run_bytes) == (7, 3_072)
    assert (of_steps.steps, of_steps.run_bytes) == (7, 3_072)


def test_a_window_is_in_milliseconds() -> None:
    assert limits.of_partition(settings(dedup__window_hours=0.5)).dedup_window_ms == 1_800_000


def test_steps_are_told_the_sizes() -> None:
    given = settings(kafka__partitions=4, limits__event_bytes="2 KiB", limits__result_bytes="1 KiB")
    made = limits.of_steps(given)
    assert made == StepLimits(
        partitions=4,
        event_bytes=2_048,
        result_bytes=1_024,
        send_allowed=made.send_allowed,
        source_states=made.source_states,
        source_topic=made.source_topic,
    )


def test_how_sources_are_set_up_is_read_again_when_that_was_long_ago_or_one_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there: dict[str, Spec] | None = {"a": Spec(id="a", kind="cron", topic="x/y"), "b": Spec(id="b", kind="cron")}
    reads = 0
    now = 0.0

    def read(_kafka: object) -> dict[str, Spec]:
        nonlocal reads
        reads += 1
        if there is None:
            raise KafkaUnreachable("a:1", "it is away")
        return there

    monkeypatch.setattr(sourcelist, "set_up", read)
    known = limits.SetUp(settings().kafka, clock=lambda: now)
    assert [known.topic_of(name) for name in "aab"] == ["x/y", "x/y", None]
    assert reads == 1
    there = {"c": Spec(id="c", kind="cron", topic="z")}
    assert [known.topic_of(name) for name in "cc"] == ["z", "z"]
    assert reads == 2
    now, there = 11.0, None
    assert known.topic_of("c") is None  # nobody can say; the run waits where events are by default
