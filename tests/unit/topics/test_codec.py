import base64
import datetime as dt
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.corpus.reader import CASES, MAX_BYTES, Case
from topics.codec import Malformed, decode, encode_data, produce_form
from topics.envelope import Envelope
from topics.letters import dead_letter
from topics.malformed import OF_BATCHES, REMEDIES

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def read(
    value: bytes | dict[str, Any] | None,
    *headers: tuple[str, bytes | None],
    key: bytes | None = None,
    max_bytes: int | None = MAX_BYTES,
) -> Envelope:
    raw = orjson.dumps(value) if isinstance(value, dict) else value
    return decode(raw, key, headers, partition=3, offset=17, timestamp_ms=1_769_860_800_123, max_bytes=max_bytes)


def outcome(value: bytes | None, *headers: tuple[str, bytes | None], key: bytes | None = None) -> Envelope | Malformed:
    try:
        return read(value, *headers, key=key)
    except Malformed as malformed:
        return malformed


def wrong(value: bytes | dict[str, Any] | None, *headers: tuple[str, bytes | None], **more: Any) -> Malformed:
    with pytest.raises(Malformed) as raised:
        read(value, *headers, **more)
    return raised.value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_record_of_the_corpus_is_an_event_or_the_dead_letter_that_it_should_be(case: Case) -> None:
    event = outcome(case.value, *case.headers, key=case.key)
    if isinstance(event, Malformed):
        assert event.code == case.expected
        assert event.reason
        assert event.remedy
        return
    assert case.expected == "event"
    orjson.dumps(event.payload())  # what was accepted can be written again
    assert (event.raw_key, event.raw_value, event.raw_headers) == (case.key, case.value, case.headers)


def test_the_corpus_has_a_record_for_every_code() -> None:
    made_by_producers_of_ours = {"data_not_json"}
    assert {case.expected for case in CASES} == set(REMEDIES) - made_by_producers_of_ours - OF_BATCHES | {"event"}
    assert len({case.name for case in CASES}) == len(CASES)


def test_a_plain_body_gives_every_field() -> None:
    body = {
        "topic": "orders/created",
        "data": {"n": 1},
        "event_type": "created",
        "id": "o-1",
        "key": "c-7",
        "created_at": "2026-01-31T12:00:00Z",
    }
    value = orjson.dumps(body)
    assert read(value) == Envelope(
        id="o-1",
        source="",
        explicit=True,
        topic="orders/created",
        event_type="created",
        key="c-7",
        data={"n": 1},
        created_at="2026-01-31T12:00:00Z",
        traceparent=None,
        reply_topic=None,
        correlation_id=None,
        partition=3,
        offset=17,
        timestamp_ms=1_769_860_800_123,
        size=len(value),
        raw_key=None,
        raw_value=value,
        raw_headers=(),
    )


def test_an_event_without_id_is_named_after_its_place_and_is_not_explicit() -> None:
    event = read({"topic": "a", "data": 1})
    assert (event.id, event.explicit) == ("3-17", False)


def test_a_record_without_a_value_cancels_the_run_that_is_its_key_and_means_nothing_else() -> None:
    run = "charge-2.0:0123456789abcdef01234567"
    event = outcome(None, ("x", b"1"), key=run.encode())
    assert isinstance(event, Envelope)
    assert (event.topic, event.key, event.data, event.explicit) == ("headgate/cancel", run, None, False)
    for key in (None, b"", b"customer-7", b"charge:0123456789ABCDEF01234567", run.encode() + b"0", b"\xff\xfe"):
        wrong = outcome(None, key=key)
        assert isinstance(wrong, Malformed)
        assert wrong.code == "null_value"


def test_name_and_payload_are_topic_and_data() -> None:
    event = read({"name": "order.created", "payload": [1], "id": "x"})
    assert (event.topic, event.data, event.id) == ("order.created", [1], "x")


STRUCTURED = {
    "specversion": "1.0",
    "id": "ce-1",
    "source": "/shop",
    "type": "created",
    "subject": "orders/created",
    "time": "2026-01-31T12:00:00Z",
    "data": {"n": 1},
}


def test_both_modes_of_a_cloud_event_give_the_same_event() -> None:
    binary = [(f"ce_{name}", str(text).encode()) for name, text in STRUCTURED.items() if name != "data"]
    events = [read(STRUCTURED), read(b'{"n": 1}', *binary, ("content-type", b"application/json"))]
    for event in events:
        assert event[:8] == (
            "ce-1",
            "/shop",
            True,
            "orders/created",
            "created",
            None,
            {"n": 1},
            "2026-01-31T12:00:00Z",
        )


def test_the_topic_of_a_cloud_event_is_its_extension_then_its_subject_then_the_header() -> None:
    header = ("topic", b"from/header")
    assert read({**STRUCTURED, "topic": "from/extension"}, header).topic == "from/extension"
    assert read(STRUCTURED, header).topic == "orders/created"
    assert read({**STRUCTURED, "subject": None}, header).topic == "from/header"


@pytest.mark.parametrize(
    ("body", "headers", "key", "expected"),
    [
        ({"key": "body"}, [("key", b"header")], b"record", "body"),
        ({}, [("key", b"header")], b"record", "header"),
        ({}, [], b"record", "record"),
        ({"key": ""}, [], b"record", "record"),
        ({}, [("key", b"")], b"record", "record"),
        ({}, [], b"", None),
        ({}, [], None, None),
    ],
)
def test_a_key_in_the_body_beats_the_header_and_that_beats_the_records_key(
    body: dict[str, Any], headers: list[tuple[str, bytes]], key: bytes | None, expected: str | None
) -> None:
    assert read({"topic": "a", "data": 1, **body}, *headers, key=key).key == expected


def test_the_keys_of_a_cloud_event_come_in_the_same_order() -> None:
    event = {**STRUCTURED, "key": "extension", "partitionkey": "binding"}
    assert read(event, ("key", b"header"), key=b"record").key == "extension"
    assert read({**event, "key": None}, ("key", b"header"), key=b"record").key == "binding"
    assert read(STRUCTURED, ("key", b"header"), key=b"record").key == "header"


def test_headers_stand_in_for_the_fields_of_a_plain_body() -> None:
    headers = [("topic", b"t/h"), ("event_type", b"e"), ("id", b"i"), ("key", b"k"), ("source", b"s")]
    event = read({"data": 5}, *headers)
    assert event[:7] == ("i", "s", True, "t/h", "e", "k", 5)


def test_a_field_of_the_body_beats_its_header() -> None:
    headers = [("topic", b"t/h"), ("event_type", b"e"), ("id", b"i")]
    event = read({"topic": "t/b", "data": 5, "event_type": "eb", "id": "ib"}, *headers)
    assert (event.topic, event.event_type, event.id) == ("t/b", "eb", "ib")


@pytest.mark.parametrize(
    "body",
    [{"total": 3}, {"total": 3, "data": 1}, {"topic": "x", "total": 1}, {"name": "Ada"}, {}, [1, 2], "x", 5, None],
)
def test_with_a_header_topic_any_other_json_is_the_data_as_a_whole(body: Any) -> None:
    event = read(orjson.dumps(body), ("topic", b"t/h"))
    assert (event.topic, event.data) == ("t/h", body)


def test_of_equal_names_in_an_object_the_last_wins() -> None:
    event = read(b'{"topic": "first", "data": 1, "topic": "last", "data": {"a": 1, "a": 2}}')
    assert (event.topic, event.data) == ("last", {"a": 2})


def test_an_integer_beyond_64_bits_becomes_the_nearest_double_and_can_be_written_again() -> None:
    event = read(b'{"topic": "a", "data": 123456789012345678901234567890}')
    assert event.data == 1.2345678901234568e29
    assert orjson.loads(orjson.dumps(event.data)) == event.data


@pytest.mark.parametrize("headers", [[], [("x", b"")], [("reply_topic", b"r")]])
def test_200_levels_are_accepted_and_201_are_not(headers: list[tuple[str, bytes]]) -> None:
    def nested(levels: int, opening: bytes, closing: bytes) -> bytes:
        return b'{"topic": "a", "data": ' + opening * (levels - 1) + b"1" + closing * (levels - 1) + b"}"

    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        orjson.dumps({"ours": [read(nested(200, opening, closing), *headers).payload()]})
        assert wrong(nested(201, opening, closing), *headers).code == "nesting_too_deep"


def test_the_size_counts_key_value_and_headers_and_is_checked_before_the_value_is_read() -> None:
    value = b'{"topic": "a", "data": 1}'
    assert read(value, ("ab", b"cde"), key=b"k").size == len(value) + 1 + 5
    assert read(value, key=b"k", max_bytes=len(value) + 1).size == len(value) + 1
    assert wrong(b"\xff" * 11, max_bytes=10).code == "too_large"
    assert wrong(value, ("h", b"x" * 100), max_bytes=100).reason == "the record has 126 bytes, 100 are allowed"
    assert read(value, max_bytes=None).data == 1


@pytest.mark.parametrize("more", [(), (("id", b"e"),)])
def test_the_name_of_a_header_counts_in_bytes(more: tuple[tuple[str, bytes], ...]) -> None:
    value = b'{"topic": "a", "data": 1}'
    assert read(value, ("\u20ac" * 9, b"x"), *more).size == len(value) + 28 + 3 * len(more)
    assert wrong(value, ("\u20ac" * 9, b"x"), *more, max_bytes=50).code == "too_large"


@pytest.mark.parametrize("value", [b'{"topic": "a", "data": 1}', b"\xff", None])
@pytest.mark.parametrize("header", [("h", b""), ("ce_h", b""), ("id", b"i"), ("h", None)])
def test_a_record_of_more_than_256_headers_is_none(value: bytes | None, header: tuple[str, bytes | None]) -> None:
    malformed = wrong(value, *[header] * 257)
    assert (malformed.code, malformed.reason) == ("too_many_headers", "the record has 257 headers, 256 are allowed")
    assert read(b'{"topic": "a", "data": 1}', *[("h", b"")] * 256).topic == "a"
    assert read(b'{"topic": "a", "data": 1}', *[("h", b"")] * 257, max_bytes=None).topic == "a"


def test_a_wrong_traceparent_is_ignored_and_a_right_one_kept() -> None:
    body = {"topic": "a", "data": 1}
    right = [TRACE, TRACE.replace("00-", "01-", 1) + "-more"]
    assert [read(body, ("traceparent", text.encode())).traceparent for text in right] == right
    for text in (
        "",
        "x",
        TRACE.upper(),
        TRACE + "-more",
        TRACE.replace("00-", "ff-", 1),
        TRACE.replace("b7ad6b7169203331", "0" * 16),
        TRACE.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        TRACE + "\n",
    ):
        assert read(body, ("traceparent", text.encode())).traceparent is None
        assert read(body, ("traceparent", text.encode()), ("id", b"i")).traceparent is None
    assert read(body, ("traceparent", b"\xff")).traceparent is None


def test_reply_topic_and_correlation_id_come_from_headers() -> None:
    event = read({"topic": "a", "data": 1}, ("reply_topic", b"answers"), ("correlation_id", b"c-1"))
    assert (event.reply_topic, event.correlation_id) == ("answers", "c-1")


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        ({"topic": "a", "data": 1, "id": 42}, [], "/id is the number 42, not text"),
        ({"topic": ["a"], "data": 1}, [], "/topic is a list, not text"),
        ({"name": "a"}, [], "the value has /name but no /payload"),
        ({"topic": "a", "data": 1}, [("id", b"")], "the header `id` is empty"),
        ({**STRUCTURED, "specversion": "0.3"}, [], "/specversion is the text '0.3'; only 1.0 is known"),
        (b'{"topic": "a", }', [], "the value is not JSON: trailing comma is not allowed at line 1 column 14, near "),
        (b'{"topic": "\xff"}', [], "the value is not UTF-8: invalid start byte at byte 11"),
    ],
)
def test_a_reason_names_what_is_wrong_and_the_remedy_shows_what_is_right(
    value: Any, headers: list[tuple[str, bytes]], reason: str
) -> None:
    malformed = wrong(value, *headers)
    assert malformed.reason.startswith(reason)
    assert str(malformed) == f"{malformed.reason}; {malformed.remedy}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = (
    *("topic", "data", "event_type", "id", "key", "created_at", "name", "payload", "specversion", "source", "type"),
    *("subject", "time", "data_base64", "datacontenttype", "partitionkey", "traceparent"),
)
bodies = st.dictionaries(
    st.sampled_from(NAMES),
    json_values | st.sampled_from(["1.0", "a/b", "2026-01-31T12:00:00Z", "MQ==", TRACE]),
    max_size=8,
)
header_names = st.sampled_from(
    [*NAMES, *(f"ce_{name}" for name in NAMES), "content-type", "reply_topic", "correlation_id"]
) | st.text(max_size=5)
header_values = (
    st.none()
    | st.binary(max_size=20)
    | st.sampled_from([b"1.0", b"a/b", b"application/cloudevents+json", b"text/plain", b"2026-01-31T12:00:00Z"])
)


def dumped(body: Any) -> bytes:
    return json.dumps(body).encode("utf-8", "surrogatepass")


@settings(max_examples=1500, deadline=None)
@given(
    value=st.none() | st.binary(max_size=200) | bodies.map(dumped) | json_values.map(dumped),
    key=st.none() | st.binary(max_size=12),
    headers=st.lists(st.tuples(header_names, header_values), max_size=8),
)
def test_whatever_the_bytes_the_outcome_is_an_event_that_can_be_written_or_a_dead_letter(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    event = outcome(value, *headers, key=key)
    if isinstance(event, Malformed):
        assert event.code in REMEDIES
        letter = dead_letter(
            code=event.code,
            reason=event.reason,
            remedy=event.remedy,
            source_topic="headgate.events",
            partition=3,
            offset=17,
            timestamp_ms=0,
            key=key,
            value=value,
            headers=headers,
            at_ms=0,
        )
        found = orjson.loads(letter.value)
        assert _original(found["key"], found["encoding"]["key"]) == key
        assert _original(found["value"], found["encoding"]["value"]) == value
        return
    assert orjson.loads(orjson.dumps(event.payload()))["topic"] == event.topic
    assert type(event) is Envelope
    assert len(event) == len(Envelope._fields)


def _original(text: str | None, encoding: str | None) -> bytes | None:
    if text is None:
        return None
    return base64.b64decode(text) if encoding == "base64" else text.encode()


@settings(max_examples=300, deadline=None)
@given(value=bodies.map(dumped), key=st.none() | st.binary(max_size=5))
def test_the_fast_path_and_the_patient_one_agree(value: bytes, key: bytes | None) -> None:
    fast = outcome(value, key=key)
    patient = outcome(value, ("content-type", b"application/json"), key=key)
    if isinstance(fast, Envelope) and isinstance(patient, Envelope):
        assert repr(fast[:14]) == repr(patient[:14])  # repr: a NaN in the data equals nothing
    else:
        assert repr(fast) == repr(patient)


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=30)
finite = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    topic=texts.filter(lambda text: text == text.strip()),
    data=finite,
    event_type=st.none() | texts,
    event_id=st.none() | texts,
    key=st.none() | texts,
    source=st.just("") | texts,
    traceparent=st.none() | st.just(TRACE),
    reply_topic=st.none() | st.just("answers"),
)
def test_what_we_produce_decodes_to_what_was_meant(
    topic: str,
    data: Any,
    event_type: str | None,
    event_id: str | None,
    key: str | None,
    source: str,
    traceparent: str | None,
    reply_topic: str | None,
) -> None:
    record_key, value, headers = produce_form(
        topic,
        data,
        event_type=event_type,
        event_id=event_id,
        key=key,
        created_at="2026-01-31T12:00:00Z",
        source=source,
        traceparent=traceparent,
        reply_topic=reply_topic,
        correlation_id="c",
    )
    event = read(value, *headers, key=record_key)
    assert event[:11] == (
        "3-17" if event_id is None else event_id,
        source,
        event_id is not None,
        topic,
        event_type,
        key,
        data,
        "2026-01-31T12:00:00Z",
        traceparent,
        reply_topic,
        "c",
    )


def test_only_what_json_can_hold_is_produced() -> None:
    class Odd:
        pass

    allowed: Any = 1
    for _ in range(199):
        allowed = [allowed]
    for data in (Odd(), {1: 2}, 2**64, "\ud800", {"a": Odd()}):
        with pytest.raises(Malformed, match="the data of the event cannot be written as JSON"):
            produce_form("a", data)
    for deep in ([allowed], [[allowed]], {"a": [allowed]}):
        with pytest.raises(Malformed, match="deeper than 200"):
            produce_form("a", deep)
    assert read(produce_form("a", allowed)[1]).data == allowed
    with pytest.raises(Malformed, match="the topic is empty"):
        produce_form("", 1)


def test_models_and_sets_and_times_are_written_as_json() -> None:
    class Order(BaseModel):
        id: int
        at: dt.datetime

    order = Order(id=1, at=dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC))
    assert orjson.loads(encode_data({"orders": [order], "seen": {7}}, "the result")) == {
        "orders": [{"id": 1, "at": "2026-01-31T12:00:00Z"}],
        "seen": [7],
    }
