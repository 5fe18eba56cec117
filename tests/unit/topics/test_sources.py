"""What travels about sources."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics import sources
from topics.sources import (
    Cursor,
    Message,
    Problem,
    Spec,
    State,
    Status,
    Unsuitable,
    asked_to_send,
    configured,
    cursor_moved,
    cursor_of,
    made_of,
    message_of,
    sent_topic,
    spec_of,
    state_topic,
    status_told,
)

SPEC = Spec(
    id="feed",
    kind="rss",
    options={"url": "https://example.com"},
    filter={"type": "new_item"},
    reconnect={"max_seconds": 5},
    topic="news/{{ type }}",
    key="{{ id }}",
    paused=True,
    origin="file sources.yaml",
)


def test_how_a_source_is_set_up_survives_kafka() -> None:
    record = configured(SPEC)

    assert record.key == b"feed"
    assert SPEC == spec_of(record.value) == spec_of(record.value, key=record.key)
    with pytest.raises(Unsuitable, match="the record's key is another"):
        spec_of(record.value, key=b"another")


def test_the_digest_tells_what_matters_to_the_owner_and_not_who_set_it_up() -> None:
    from dataclasses import replace

    assert SPEC.digest == replace(SPEC, origin="api").digest
    assert SPEC.digest != replace(SPEC, topic=None).digest
    assert SPEC.digest == Spec(**{**_fields(SPEC), "options": dict(list(SPEC.options.items())[::-1])}).digest


def _fields(spec: Spec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in Spec.__dataclass_fields__}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "/id is missing"),
        ({"id": "a b", "kind": "rss"}, "/id is 'a b'"),
        ({"id": "x" * 101, "kind": "rss"}, "/id is"),
        ({"id": "a"}, "/kind is missing"),
        ({"id": "a", "kind": "RSS"}, "/kind is 'RSS'"),
        ({"id": "a", "kind": "rss", "options": []}, "/options is []"),
        ({"id": "a", "kind": "rss", "filter": "x"}, "/filter is 'x'"),
        ({"id": "a", "kind": "rss", "topic": ""}, "/topic is ''"),
        ({"id": "a", "kind": "rss", "paused": 1}, "/paused is 1"),
    ],
)
def test_what_is_no_source_says_where(found: dict[str, Any], words: str) -> None:
    with pytest.raises(Unsuitable) as raised:
        made_of(found, origin="")

    assert words in str(raised.value)


@pytest.mark.parametrize("value", [b"", b"[]", b"{", b'{"format": 2, "id": "a", "kind": "rss"}'])
def test_records_of_other_releases_and_of_strangers_are_told_apart(value: bytes) -> None:
    for read in (spec_of, cursor_of, message_of):
        with pytest.raises(Unsuitable):
            read(value)


def test_positions_survive_kafka_whatever_json_they_are() -> None:
    for position in (None, 0, [1, {"a": None}], {"n": 1.5}):
        cursor = Cursor(position=position, epoch="e-1", kind="rss")
        key, value = cursor_moved("feed", cursor, at_ms=5)

        assert (b"feed", cursor) == (key, cursor_of(value))


def test_a_position_beyond_the_bound_names_its_source() -> None:
    cursor = Cursor(position="x" * sources.POSITION_BYTES, epoch="e", kind="rss")
    with pytest.raises(Unsuitable, match="'feed' has 4194306 bytes"):
        cursor_moved("feed", cursor, at_ms=0)


def test_messages_survive_kafka() -> None:
    message = Message(id="w:1:send", source="bot", body={"text": "hi"}, expires_ms=1_700_000_000_000)
    record = asked_to_send(message)

    assert (b"bot", message) == (record.key, message_of(record.value))


def test_a_status_is_shown_with_times_that_people_read() -> None:
    problem = Problem(kind="transient", reason="closed", message="it closed", at_ms=1_000)
    status = Status(
        id="a",
        kind="rss",
        state=State.BACKING_OFF,
        since_ms=0,
        updated_at_ms=2_000,
        error=problem,
        notes={"dropped": 2},
    )
    shown = orjson.loads(status_told(status).value)

    assert ("backing off", "1970-01-01T00:00:00.000Z", None) == (shown["state"], shown["since"], shown["last_event_at"])
    assert {"kind": "transient", "reason": "closed", "message": "it closed", "at": "1970-01-01T00:00:01.000Z"} == (
        shown["error"]
    )
    assert {"dropped": 2} == shown["notes"]


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize("field", ["format", "id", "kind", "options", "filter", "reconnect", "topic", "key", "paused"])
def test_what_is_nested_too_deep_is_no_source(field: str) -> None:
    rest = {name: value for name, value in {"id": "a", "kind": "rss"}.items() if name != field}
    found = orjson.dumps({**rest, field: orjson.Fragment(deep(1_000))})

    with pytest.raises(Unsuitable):
        spec_of(found)


def test_a_filter_that_can_be_read_and_not_written_is_no_source() -> None:
    value = b'{"id": "a", "kind": "rss", "filter": {"type": %b}}' % deep(300)

    with pytest.raises(Unsuitable, match="cannot be written as JSON"):
        spec_of(value)


def test_texts_about_a_source_that_are_none_are_empty() -> None:
    assert spec_of(b'{"id": "a", "kind": "rss", "origin": %b}' % deep(1_000)).origin == ""
    read = cursor_of(b'{"format": 1, "position": 1, "epoch": null, "kind": %b}' % deep(1_000))
    assert (read.epoch, read.kind) == ("", "")


@pytest.mark.parametrize("position", [orjson.loads(deep(300)), "\ud800", 2**64])
def test_a_position_that_is_no_json_is_refused(position: object) -> None:
    with pytest.raises(Unsuitable, match="cannot be written as JSON"):
        cursor_moved("a", Cursor(position=position, epoch="1", kind="rss"), at_ms=0)


def test_answers_to_runs_are_on_reserved_topics_that_both_sides_derive() -> None:
    assert "headgate/sources/bot" == state_topic("bot")
    assert sent_topic("x") == sent_topic("x") != sent_topic("y")
    assert sent_topic("x" * 2_000).startswith("headgate/sent/")


def test_everything_about_a_source_has_one_partition() -> None:
    assert {sources.partition_of(f"s{number}", 16) for number in range(200)} == set(range(16))


@given(st.binary(max_size=80) | st.dictionaries(st.sampled_from(["id", "kind", "format"]), st.text()).map(orjson.dumps))
def test_no_record_is_too_odd(value: bytes) -> None:
    for read in (spec_of, cursor_of, message_of):
        try:
            read(value)
        except Unsuitable:
            continue


def test_what_the_broker_would_refuse_is_no_source() -> None:
    with pytest.raises(Unsuitable, match="524288 are allowed"):
        made_of({"id": "a", "kind": "rss", "topic": "x" * 600_000}, origin="")


def test_no_source_emits_on_topics_of_headgates_own() -> None:
    with pytest.raises(Unsuitable, match="Headgate's own"):
        made_of({"id": "headgate", "kind": "rss"}, origin="")
