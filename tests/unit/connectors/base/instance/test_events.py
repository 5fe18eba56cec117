"""Records of `events`, made of what sources have read."""

from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.contract import Received, Unreadable
from connectors.base.instance.events import Maker, NotAnEvent, bounded_id
from topics import codec
from topics.provenance import provenance_of
from topics.sources import Spec


def maker(**fields: Any) -> Maker:
    return Maker(Spec(id="feed", kind="rss", **fields), max_bytes=5_000)


def received(**fields: Any) -> Received:
    return Received(**({"id": "7", "event_type": "new_item", "data": {"a": {"b": "c"}}} | fields))


def test_the_record_decodes_to_the_event_that_was_read() -> None:
    created = datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    made = maker().event(received(key="k", created_at=created), at_ms=5)
    assert made is not None

    event = codec.decode(made.value, made.key, made.headers, partition=0, offset=0, timestamp_ms=0, max_bytes=None)

    assert ("7", "headgate/sources/feed", "feed/new_item", "new_item", "k") == (
        event.id, event.source, event.topic, event.event_type, event.key,
    )  # fmt: skip
    assert event.created_at == "2026-05-01T10:00:00Z"
    assert event.explicit
    assert ("rss", 5) == provenance_of(made.headers)


def test_topic_and_key_are_templates_over_the_event() -> None:
    made = maker(topic="x/{{ data.a.b }}/{{ source.kind }}", key="{{ id }}-{{ type }}").event(received(), at_ms=0)
    assert made is not None

    assert orjson.loads(made.value)["topic"] == "x/c/rss"
    assert (b"7-new_item", "7-new_item") == (made.key, made.home)


def test_without_a_key_the_home_is_that_of_the_id() -> None:
    made = maker().event(received(), at_ms=0)
    assert made is not None

    assert (None, "7") == (made.key, made.home)


@pytest.mark.parametrize(
    ("fields", "event", "code"),
    [
        ({"topic": "{{ data.none }}"}, {}, "template_failed"),
        ({"topic": "{{ data.a.b }}"}, {"data": {"a": {"b": " "}}}, "topic_invalid"),
        ({"filter": {"data.a": {"gt": 1}}}, {}, "filter_failed"),
        ({}, {"data": "x" * 6_000}, "too_large"),
        ({}, {"data": {1, 2}.__class__}, "data_not_json"),
        ({"topic": "t"}, {"event_type": "a\x00b"}, "event_type_invalid"),
    ],
)
def test_what_cannot_be_published_says_why(fields: dict[str, Any], event: dict[str, Any], code: str) -> None:
    with pytest.raises(NotAnEvent) as raised:
        maker(**fields).event(received(**event), at_ms=0)

    assert code == raised.value.code
    assert raised.value.remedy


def test_a_dead_letter_has_what_came_and_where_from() -> None:
    item = Unreadable(id="9", reason="broken", raw=b"\xff\x00")
    one = maker()
    letter = orjson.loads(one.dead_letter(item, one.unreadable(item), at_ms=0).value)

    assert ("source_unreadable", "headgate/sources/feed") == (letter["code"], letter["source"]["topic"])
    assert "broken" in letter["reason"]
    assert letter["value"] == "/wA="


def test_what_no_json_can_hold_is_shown_in_its_dead_letter_as_far_as_it_can_be() -> None:
    deep: Any = 1
    for _ in range(1_000):  # as deep as orjson reads, and deeper than anything writes
        deep = [deep]
    as_it_is = "[" * 1_000 + "1" + "]" * 1_000
    for data, *shown in (
        (2**64, "18446744073709551616"),
        (deep, "(it is nested too deep to be shown)", as_it_is),  # as deep as this version of Python goes
        ({"n": 10**5_000}, "(it has a number that is too long to be shown)"),
    ):
        item = received(data=data)
        with pytest.raises(NotAnEvent) as raised:
            maker().event(item, at_ms=0)
        letter = orjson.loads(maker().dead_letter(item, raised.value, at_ms=0).value)
        assert letter["value"] in shown


def test_a_time_at_the_ends_of_all_time_is_left_out() -> None:
    for at in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00"):
        made = maker().event(received(created_at=datetime.fromisoformat(at)), at_ms=0)
        assert made is not None
        assert "created_at" not in orjson.loads(made.value)


def test_long_and_odd_ids_become_digests_that_stay_the_same() -> None:
    assert bounded_id("short") == "short"
    assert bounded_id("x" * 500) == bounded_id("x" * 500) != bounded_id("x" * 501)
    assert bounded_id("a\nb").startswith("blake2b:")
    assert bounded_id("\ud800").startswith("blake2b:")


Json = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)


@given(st.text(), st.text(), Json, st.none() | st.text())
def test_nothing_that_a_source_reads_raises_anything_else(name: str, kind: str, data: Any, key: str | None) -> None:
    try:
        made = maker().event(Received(id=name, event_type=kind, data=data, key=key), at_ms=0)
    except NotAnEvent:
        return
    assert made is not None
    codec.decode(made.value, made.key, made.headers, partition=0, offset=0, timestamp_ms=0, max_bytes=None)


@pytest.mark.parametrize("topic", ["{{ data.topic }}", "{{ data.head }}/start/payout", None])
def test_nothing_from_outside_has_a_topic_of_headgates_own(topic: str | None) -> None:
    made = Maker(Spec(id="headgate", kind="websocket", topic=topic), max_bytes=10_000)
    come = received(event_type="cancel", data={"topic": "headgate/cancel", "head": "headgate"})
    with pytest.raises(NotAnEvent, match="a topic of Headgate's own"):
        made.event(come, at_ms=0)


def test_whoever_writes_out_a_topic_of_headgates_own_means_it() -> None:
    made = Maker(Spec(id="feed", kind="rss", topic="headgate/start/{{ data.flow }}"), max_bytes=10_000)
    found = made.event(received(data={"flow": "digest"}), at_ms=0)

    assert found is not None
    assert orjson.loads(found.value)["topic"] == "headgate/start/digest"
