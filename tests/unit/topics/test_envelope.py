from typing import Any

import orjson
import pytest

from topics.codec import decode
from topics.envelope import COMMA_BYTES, HEADER_BYTES, NOWHERE, Envelope


def event(**body: Any) -> Envelope:
    value = orjson.dumps({"topic": "orders/created", "data": {"n": 1}, **body})
    return decode(value, None, [], partition=3, offset=17, timestamp_ms=1_769_860_800_123, max_bytes=None)


def test_the_payload_has_the_seven_promised_fields() -> None:
    assert event(id="o-1", event_type="created", key="c-7", created_at="2026-01-31T14:00:00+02:00").payload() == {
        "id": "o-1",
        "sequence_id": "3-17",
        "topic": "orders/created",
        "event_type": "created",
        "data": {"n": 1},
        "created_at": "2026-01-31T12:00:00.000Z",
        "key": "c-7",
    }


def test_an_event_without_id_and_time_takes_its_place_and_append_time() -> None:
    payload = event().payload()
    assert (payload["id"], payload["sequence_id"], payload["created_at"]) == (
        "3-17",
        "3-17",
        "2026-01-31T12:00:00.123Z",
    )
    assert event(id="x").sequence_id == "3-17"


def test_an_event_of_a_schedule_landed_nowhere_and_no_producer_can_send_one() -> None:
    value = orjson.dumps({"topic": "schedule/tick", "id": "schedule/tick/then", "data": None})

    def landed(place: int) -> Envelope:
        return decode(value, None, [], partition=place, offset=place, timestamp_ms=0, max_bytes=None)

    assert [(one.scheduled, one.sequence_id) for one in (landed(NOWHERE), landed(0))] == [
        (True, "schedule/tick/then"),
        (False, "0-0"),
    ]
    assert landed(NOWHERE).payload()["sequence_id"] == "schedule/tick/then"
    assert not decode(
        b'{"topic": "a", "data": 1}', None, [], partition=NOWHERE, offset=NOWHERE, timestamp_ms=0, max_bytes=None
    ).scheduled


def test_the_weight_counts_key_commas_and_headers() -> None:
    value = b'{"topic": "a", "data": [1, 2]}'
    headers = [("h", b"x")] * 3
    one = decode(value, b"key", headers, partition=0, offset=0, timestamp_ms=0, max_bytes=None)
    assert one.weight == len(value) + 3 + 3 * 2 + 2 * COMMA_BYTES + 3 * HEADER_BYTES


def test_fields_read_by_index_are_the_fields_that_they_stand_for() -> None:
    """`payload` and others read by index because it is faster; a field inserted in the middle would break them."""
    assert Envelope._fields == (
        *("id", "source", "explicit", "topic", "event_type", "key", "data", "created_at", "traceparent"),
        *("reply_topic", "correlation_id", "partition", "offset", "timestamp_ms", "size"),
        *("raw_key", "raw_value", "raw_headers"),
    )


def test_an_envelope_does_not_change() -> None:
    with pytest.raises(AttributeError):
        event().topic = "other"  # type: ignore[misc]
