"""Records of Kafka to events: ids, types, keys and data, as the options say."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.contract import Received, Unreadable
from connectors.kafka.config import Config
from connectors.kafka.mapping import Mapper


@dataclass(frozen=True, kw_only=True)
class Read:
    """A record as aiokafka gives it."""

    topic: str = "orders"
    partition: int = 3
    offset: int = 42
    timestamp: int | None = 1_780_272_000_250
    key: bytes | None = b"k"
    value: bytes | None = b'{"kind": "paid", "customer": {"id": 7}}'
    headers: Sequence[tuple[str, bytes | None]] = ()


def mapper(**options: Any) -> Mapper:
    config = Config(bootstrap=["b.example:9092"], topics=["orders"], **options)
    return Mapper.of(config, cluster="c1", instance_id="src")


def event(record: Read, **options: Any) -> Received:
    found = mapper(**options).event(record)
    assert isinstance(found, Received), found
    return found


def test_a_record_is_an_event_of_its_topic_with_its_key_and_time() -> None:
    assert event(Read()) == Received(
        id="c1/orders/3/42/1780272000250",
        event_type="orders",
        data={"kind": "paid", "customer": {"id": 7}},
        key="k",
        created_at=datetime(2026, 6, 1, 0, 0, 0, 250_000, tzinfo=UTC),
    )


@pytest.mark.parametrize("timestamp", [None, -1, 2**62])
def test_a_record_may_have_no_time(timestamp: int | None) -> None:
    found = event(Read(timestamp=timestamp))

    assert found.created_at is None
    assert found.id == f"c1/orders/3/42/{-1 if timestamp is None else timestamp}"


def test_a_topic_that_was_made_anew_has_other_ids() -> None:
    assert event(Read()).id != event(Read(timestamp=1_780_272_000_251)).id


@pytest.mark.parametrize(
    ("how", "value", "expected"),
    [
        ("auto", b"5", 5),
        ("auto", b"null", None),
        ("auto", "é".encode(), "é"),
        ("auto", b"", ""),
        ("auto", b"\xff\x00", {"base64": "/wA="}),
        ("auto", None, None),
        ("json", b'"x"', "x"),
        ("json", None, None),
        ("text", b"5", "5"),
        ("base64", b"5", "NQ=="),
        ("base64", None, None),
    ],
)
def test_values_are_read_as_asked(how: str, value: bytes | None, expected: Any) -> None:
    assert event(Read(value=value), value=how).data == expected


@pytest.mark.parametrize(
    ("options", "value", "reason"),
    [
        ({"value": "json"}, b"oops", "the record orders/3/42: its value is not JSON"),
        ({"value": "json"}, b"", "the record orders/3/42: its value is not JSON"),
        ({"value": "text"}, b"a\xff", "the record orders/3/42: its value is not UTF-8 (invalid start byte at byte 1)"),
        ({"type": "{{ value.of }}"}, b"{}", "the record orders/3/42: the field value.of of the event is missing"),
        ({"key": "{{ value.of }}"}, None, "the record orders/3/42: the field value.of of the event is missing"),
        ({"type": "{{ value }}"}, b"{}", "the field value of the event is dict, not a text or a number"),
    ],
)
def test_what_does_not_fit_becomes_a_dead_letter_with_its_value(
    options: dict[str, Any], value: bytes | None, reason: str
) -> None:
    found = mapper(**options).event(Read(value=value))

    assert isinstance(found, Unreadable)
    assert (found.id, found.raw) == ("c1/orders/3/42/1780272000250", value or b"")
    assert reason in found.reason


def test_type_and_key_are_templates_over_the_record() -> None:
    record = Read(headers=[("h", b"one"), ("h", b"two"), ("none", None)])

    assert event(record, type="{{ value.kind }}").event_type == "paid"
    assert event(record, type="{{ topic }}/{{ headers.h }}").event_type == "orders/two"
    assert event(record, key="{{ value.customer.id }}").key == "7"
    assert event(record, key="{{ partition }}-{{ offset }}-{{ key }}").key == "3-42-k"
    assert event(record, key="{{ timestamp }}").key == "2026-06-01T00:00:00.250Z"


@pytest.mark.parametrize(("key", "expected"), [(None, None), (b"", ""), (b"\xff", "/w==")])
def test_a_key_that_is_no_text_is_base64(key: bytes | None, expected: str | None) -> None:
    assert event(Read(key=key)).key == expected


def test_the_whole_record_may_be_the_data() -> None:
    found = event(Read(headers=[("h", b"x"), ("b", b"\xff"), ("none", None)]), data="record")

    assert found.data == {
        "topic": "orders",
        "partition": 3,
        "offset": 42,
        "timestamp": "2026-06-01T00:00:00.250Z",
        "key": "k",
        "headers": {"h": "x", "b": "/w==", "none": None},
        "value": {"kind": "paid", "customer": {"id": 7}},
    }


@pytest.mark.parametrize(
    ("headers", "skips", "takes"),
    [
        ([], False, False),
        ([("provider", b"rss")], False, False),
        ([("provider", b"rss"), ("instance", b"feed"), ("received_at", b"1")], True, False),
        ([("provider", b"kafka"), ("instance", b"src"), ("received_at", b"1")], True, True),
    ],
)
def test_what_sources_have_written_is_told_apart(headers: list[tuple[str, bytes]], skips: bool, takes: bool) -> None:
    assert mapper().is_own(Read(headers=headers)) is skips
    assert mapper(own_events="take").is_own(Read(headers=headers)) is takes


@given(
    st.one_of(st.none(), st.binary(max_size=20)),
    st.one_of(st.none(), st.binary(max_size=20)),
    st.lists(st.tuples(st.text(max_size=5), st.one_of(st.none(), st.binary(max_size=5))), max_size=3),
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    st.sampled_from(["auto", "json", "text", "base64"]),
    st.sampled_from(["value", "record"]),
    st.sampled_from([None, "{{ value.a }}", "{{ headers.h }}", "{{ key }}"]),
)
def test_whatever_a_record_holds_it_is_an_event_or_a_dead_letter(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
    timestamp: int | None,
    how: str,
    data: str,
    template: str | None,
) -> None:
    one = mapper(value=how, data=data, key=template)
    record = Read(key=key, value=value, headers=headers, timestamp=timestamp)

    assert isinstance(one.event(record), Received | Unreadable)
    assert one.is_own(record) is False
