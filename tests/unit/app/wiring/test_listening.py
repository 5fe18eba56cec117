from typing import Any

import orjson
import pytest

from app.kafka import records
from app.kafka.records import Record
from app.settings import KafkaSettings
from app.wiring import listening

KNOWN: list[dict[str, Any]] = [
    {"id": "a", "triggers": ["people/*", "people/joined"]},
    {"id": "b", "triggers": ["order.created", 7, "a*"]},
    {"id": "old", "triggers": ["gone"], "retired_at": "then"},
    {"id": "odd", "triggers": None},
]


def test_what_is_retired_or_cannot_be_read_listens_to_nothing() -> None:
    assert [one.text for one in listening.patterns(KNOWN)] == ["people/*", "people/joined", "order.created"]


@pytest.mark.parametrize(
    ("sources", "topic"),
    [
        (['@workflow(trigger_on_event="order.created")'], "order.created"),
        (["x", "trigger_on_event=['people/joined']"], "people/joined"),
        (["trigger_on_event='order.created'", "trigger_on_event='people/joined'"], "order.created"),
        (["trigger_on_event=TOPIC"], "people/joined"),
    ],
)
def test_the_example_is_a_literal_trigger_of_what_is_loaded_where_that_can_be_told(
    sources: list[str], topic: str
) -> None:
    assert listening.example(KNOWN, sources) == topic


NOW = 1_000_000_000_000
ANNOUNCED = b'{"id":"a","triggers":[],"version":"1"}'


def said(instance_id: str, silent_ms: int, **fields: object) -> tuple[bytes, bytes, int]:
    """A worker's record: key, value, time."""
    value = {"instance_id": instance_id, "process": "p", "workflows": {"a": "1"}, "every_seconds": 10, "at": "x"}
    found = {name: one for name, one in (value | fields).items() if one is not None}
    return f"worker/{instance_id}".encode(), orjson.dumps(found), NOW - silent_ms


def heard(*given: tuple[bytes, bytes, int], odd: list[bytes], monkeypatch: pytest.MonkeyPatch) -> listening.Heard:
    last = {
        key: Record(topic="t", partition=0, offset=0, timestamp_ms=at_ms, key=key, value=value, headers=())
        for key, value, at_ms in given
    }
    monkeypatch.setattr(records, "last_values", lambda *_: last)
    return listening.heard(KafkaSettings(), None, now_ms=NOW, odd=odd.append)  # type: ignore[arg-type]


def test_a_worker_is_live_until_it_has_been_silent_for_three_of_its_own_periods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = [
        (b"a", ANNOUNCED, NOW - 10**9),
        said("just", 30_000),
        said("gone", 30_001),
        said("slow", 90_000, every_seconds=30),
        said("ahead", -5_000, workflows={"b": "2"}),
    ]
    odd: list[bytes] = []
    found = heard(*given, odd=odd, monkeypatch=monkeypatch)
    assert (list(found.workflows), odd) == (["a"], [])
    assert found.workers == [
        listening.Worker(instance_id="ahead", workflows={"b": "2"}, silent_seconds=0),
        listening.Worker(instance_id="just", workflows={"a": "1"}, silent_seconds=30),
        listening.Worker(instance_id="slow", workflows={"a": "1"}, silent_seconds=90),
    ]
    assert [one.instance_id for one in found.loaders("a")] == ["just", "slow"]


@pytest.mark.parametrize(
    "record",
    [
        (b"worker/x", b"[", NOW),
        (b"worker/x", b"[]", NOW),
        (b"later/x", b"{}", NOW),
        (b"worker/other", said("x", 0)[1], NOW),
        said("x", 0, every_seconds="ten"),
        said("x", 0, every_seconds=None),
        said("x", 0, workflows=["a"]),
    ],
)
def test_keys_and_words_of_another_release_are_passed_over(
    record: tuple[bytes, bytes, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd: list[bytes] = []
    found = heard((b"a", ANNOUNCED, NOW), record, odd=odd, monkeypatch=monkeypatch)
    assert (list(found.workflows), found.workers, odd) == (["a"], [], [])


def test_patterns_alone_are_no_example() -> None:
    assert listening.example([{"triggers": ["people/*"]}], ["people/*"]) is None
