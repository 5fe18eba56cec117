"""POST /api/v1/events: what is taken, what is refused, and what the answer says."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.gateway import events, fields
from app.kafka.producer import MaybeAccepted, NotAccepted
from tests.corpus.reader import CASES, MAX_BYTES, Case
from topics import codec, keys
from topics.malformed import EXAMPLE, Malformed

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def pointers(answer: Any) -> list[str]:
    return [detail["pointer"] for detail in answer.json()["error"]["details"]]


# ---- what is taken ---------------------------------------------------------------------------------------------------


async def test_an_event_is_produced_with_a_fresh_id_and_answered_202(serve: Any) -> None:
    async with serve() as served:
        answer = await served.post({"topic": "orders/created", "data": {"n": 1}, "key": "c-7", "event_type": "made"})
        event_id = answer.json()["event_id"]
        assert UUID4.fullmatch(event_id)
        assert (answer.status_code, answer.json()) == (
            202,
            {"event_id": event_id, "workflows": [], "filter_decides": []},
        )
        value = {"topic": "orders/created", "event_type": "made", "id": event_id, "data": {"n": 1}}
        assert [(k, i, orjson.loads(v), list(h)) for k, i, v, h in served.producer.written] == [
            (b"c-7", event_id, value, [])
        ]


async def test_the_older_form_becomes_the_same_event(serve: Any) -> None:
    async with serve() as served:
        await served.post({"name": "order.created", "payload": [1], "id": "e-1"})
        assert served.producer.values() == [{"topic": "order.created", "id": "e-1", "data": [1]}]


async def test_null_is_data(serve: Any) -> None:
    async with serve() as served:
        answer = await served.post({"topic": "a", "data": None})
        assert (answer.status_code, served.producer.values()[0]["data"]) == (202, None)


async def test_a_list_is_answered_in_its_order(serve: Any) -> None:
    async with serve() as served:
        answer = await served.post([{"topic": "a", "data": n, "id": f"e-{n}"} for n in range(3)])
        assert answer.status_code == 202
        assert [one["event_id"] for one in answer.json()["events"]] == ["e-0", "e-1", "e-2"]
        assert [value["data"] for value in served.producer.values()] == [0, 1, 2]


async def test_the_answer_names_the_workflows_that_match_and_those_whose_filter_decides(
    serve: Any, announced: Any
) -> None:
    async with serve() as served:
        await served.workflows.take([announced("mail", "orders/*"), announced("audit", "**", has_filter=True)])
        answer = await served.post([{"topic": "orders/created", "data": 1}, {"topic": "users/created", "data": 1}])
        found = [(one["workflows"], one["filter_decides"]) for one in answer.json()["events"]]
        assert found == [(["audit", "mail"], ["audit"]), (["audit"], ["audit"])]


async def test_a_traceparent_is_passed_on_and_a_broken_one_is_not(serve: Any) -> None:
    async with serve() as served:
        await served.post({"topic": "a", "data": 1}, traceparent=PARENT)
        await served.post({"topic": "a", "data": 1}, traceparent="00-nonsense")
        assert [list(headers) for _, _, _, headers in served.producer.written] == [
            [("traceparent", PARENT.encode())],
            [],
        ]


async def test_a_cloud_event_keeps_its_source_and_attributes(serve: Any) -> None:
    event = {
        "specversion": "1.0",
        "id": "ce-1",
        "source": "/shops/1",
        "type": "com.example.made",
        "subject": "orders/created",
        "data": {"n": 1},
        "anything": "else",
    }
    async with serve() as served:
        answer = await served.post(event, content_type="application/cloudevents+json")
        assert (answer.status_code, answer.json()["event_id"]) == (202, "ce-1")
        value = {"topic": "orders/created", "event_type": "com.example.made", "id": "ce-1", "data": {"n": 1}}
        assert served.producer.values() == [value]
        assert served.producer.written[0][3] == [("source", b"/shops/1")]
        batch = await served.post([event], content_type="application/cloudevents-batch+json; charset=utf-8")
        assert [one["event_id"] for one in batch.json()["events"]] == ["ce-1"]


async def test_every_event_of_a_mixed_list_gets_an_id_of_its_own(serve: Any) -> None:
    ordinary, patient = {"topic": "a", "data": 1}, {"name": "a", "payload": 1}
    dated = {"topic": "a", "data": 1, "created_at": "2026-01-31T12:00:00Z"}
    async with serve() as served:
        answer = await served.post([ordinary, patient, dated] * 5)
        ids = [one["event_id"] for one in answer.json()["events"]]
        assert len(set(ids)) == 15
        assert all(UUID4.fullmatch(one) for one in ids)
        assert [value["id"] for value in served.producer.values()] == ids


# ---- idempotency -----------------------------------------------------------------------------------------------------


async def test_equal_idempotency_keys_give_equal_ids_and_others_do_not(serve: Any) -> None:
    async with serve() as served:
        keys_sent = ("k-1", "k-1", "k-2")
        ids = [
            (await served.post({"topic": "a", "data": 1}, idempotency_key=one)).json()["event_id"] for one in keys_sent
        ]
        assert ids[0] == ids[1] != ids[2]


async def test_in_a_list_the_place_counts_besides_the_idempotency_key(serve: Any) -> None:
    async with serve() as served:
        body = [{"topic": "a", "data": 1}] * 2
        first = [one["event_id"] for one in (await served.post(body, idempotency_key="k")).json()["events"]]
        again = [one["event_id"] for one in (await served.post(body, idempotency_key="k")).json()["events"]]
        single = (await served.post(body[0], idempotency_key="k")).json()["event_id"]
        assert first == again
        assert len({*first, single}) == 3


async def test_an_id_in_the_event_beats_the_idempotency_key(serve: Any) -> None:
    async with serve() as served:
        answer = await served.post({"topic": "a", "data": 1, "id": "mine"}, idempotency_key="k")
        assert answer.json()["event_id"] == "mine"


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
async def test_an_idempotency_key_that_cannot_be_used_is_400(serve: Any, key: str) -> None:
    async with serve() as served:
        answer = await served.post({"topic": "a", "data": 1}, idempotency_key=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_idempotency_key")
        assert served.producer.written == []


def test_derived_ids_never_change() -> None:
    assert [events.derived_id("order-42", place) for place in (None, 0, 1)] == [
        "e9c7afa0ad08c12dce0a6a55acf1fa46",
        "a9db6ca7eb8741ab9e53c888f3886844",
        "9cabafca47d29b27d4337e9bbc7e46d0",
    ]


# ---- what is refused -------------------------------------------------------------------------------------------------

NOT_JSON = [
    b"",
    b"   ",
    b"{",
    b"nonsense",
    b'{"topic": "a", "data": NaN}',
    b"\xff\xfe",
    b'{"topic": "\xc3\x28", "data": 1}',
    b'"\\ud800"',
    b'{"topic":"a","data":' + b"[" * 2000,
    b"\xef\xbb\xbf{}",
    b'{"topic":"a","data":1e999}',
]


@pytest.mark.parametrize("body", NOT_JSON)
async def test_what_is_no_json_is_400(serve: Any, body: bytes) -> None:
    async with serve() as served:
        answer = await served.post(body)
        assert answer.status_code == 400
        (detail,) = answer.json()["error"]["details"]
        assert (detail["pointer"], bool(detail["issue"])) == ("", True)
        assert answer.json()["error"]["remedy"]
        assert served.producer.written == []


@pytest.mark.parametrize(
    ("body", "code", "message", "remedy"),
    [
        (b"", "not_json", "The body is empty.", f"Send one event such as {EXAMPLE}, or a list of them, as UTF-8 JSON."),
        (
            b'{"topic":"a","data":1e400}',
            "number_too_large",
            "The body holds a number beyond what a double can hold, at character 20.",
            'Send the number as text, such as {"topic": "sums", "data": {"total": "1e400"}}.',
        ),
        (
            b'{"topic":"a","data":' + b"[" * 2000,
            "nesting_too_deep",
            "The body nests deeper than 200 levels.",
            "Nest at most 200 levels of objects and lists, or send the deep part as JSON in a text.",
        ),
        (
            b'"\\ud800"',
            "not_json",
            "The body is not JSON: no low surrogate in string at line 1 column 2, near '\"\\\\ud800\"'.",
            "Leave out half a surrogate pair such as \\ud800, which is no character: cut texts between characters.",
        ),
        (
            b"\xef\xbb\xbf{}",
            "not_utf8",
            "The body starts with a byte order mark, which JSON does not allow.",
            f"Send one event such as {EXAMPLE}, or a list of them, as UTF-8 JSON without a byte order mark.",
        ),
    ],
)
async def test_what_is_no_json_has_the_words_of_dead_letters(
    serve: Any, body: bytes, code: str, message: str, remedy: str
) -> None:
    async with serve() as served:
        error = (await served.post(body)).json()["error"]
        assert (error["code"], error["message"], error["remedy"]) == (code, message, remedy)


async def test_what_is_missing_is_mended_in_the_body_alone(serve: Any) -> None:
    async with serve() as served:
        plain = await served.post({"data": 1})
        assert plain.json()["error"]["details"] == [
            {"pointer": "/topic", "issue": f"missing; name the logical topic, as in {EXAMPLE}"}
        ]
        listed = await served.post(b"[1]", content_type="application/cloudevents-batch+json")
        assert listed.json()["error"]["details"] == [
            {
                "pointer": "/0",
                "issue": "the CloudEvent is the number 1, not an object; "
                f"send one event such as {EXAMPLE}, or a list of them, as UTF-8 JSON",
            }
        ]


WRONG: list[tuple[Any, list[str]]] = [
    ({}, ["/topic", "/data"]),
    ([], [""]),
    (None, [""]),
    (42, [""]),
    ("text", [""]),
    ([[]], ["/0"]),
    ({"topic": "a"}, ["/data"]),
    ({"data": 1}, ["/topic"]),
    ({"name": "a"}, ["/payload"]),
    ({"payload": 1}, ["/name"]),
    ({"topic": None, "data": 1}, ["/topic"]),
    ({"topic": 1, "data": 1}, ["/topic"]),
    ({"topic": "", "data": 1}, ["/topic"]),
    ({"topic": " a", "data": 1}, ["/topic"]),
    ({"topic": "a\n", "data": 1}, ["/topic"]),
    ({"topic": "a" * 513, "data": 1}, ["/topic"]),
    ({"topic": "a", "data": 1, "id": ""}, ["/id"]),
    ({"topic": "a", "data": 1, "id": 7}, ["/id"]),
    ({"topic": "a", "data": 1, "id": "x" * 513}, ["/id"]),
    ({"topic": "a", "data": 1, "key": {}}, ["/key"]),
    ({"topic": "a", "data": 1, "key": "x" * 1025}, ["/key"]),
    ({"topic": "a", "data": 1, "event_type": []}, ["/event_type"]),
    ({"topic": "a", "data": 1, "created_at": "yesterday"}, ["/created_at"]),
    ({"topic": "a", "data": 1, "a/b~c": 1}, ["/a~1b~0c"]),
    ({"topic": "a", "payload": 1}, ["/data", "/payload"]),
    ({"topic": "a", "data": 1, "name": "b", "payload": 2}, ["/name", "/payload"]),
    ({"topic": 1, "data": 1, "key": 2, "id": 3}, ["/topic", "/id", "/key"]),
    ({"specversion": "0.3", "id": "1", "source": "s", "type": "t", "subject": "a"}, [""]),
    ([{"topic": "a", "data": 1}, {"topic": "a"}, {"data": 1}], ["/1/data", "/2/topic"]),
]


@pytest.mark.parametrize(("body", "expected"), WRONG)
async def test_wrong_fields_are_422_with_a_pointer_to_each(serve: Any, body: Any, expected: list[str]) -> None:
    async with serve() as served:
        answer = await served.post(body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "wrong_fields")
        assert pointers(answer) == expected
        assert all(detail["issue"] for detail in answer.json()["error"]["details"])
        assert served.producer.written == []


async def test_data_that_nests_too_deep_is_422(serve: Any) -> None:
    async with serve() as served:
        answer = await served.post(b'{"topic":"a","data":' + b"[" * 201 + b"]" * 201 + b"}")
        assert (answer.status_code, pointers(answer)) == (422, ["/data"])
        allowed = await served.post(b'{"topic":"a","data":' + b"[" * 199 + b"]" * 199 + b"}")
        assert allowed.status_code == 202


async def test_a_misspelt_field_is_told_its_right_name(serve: Any) -> None:
    async with serve() as served:
        answer = await served.post({"topic": "a", "data": 1, "keyy": "k"})
        assert answer.json()["error"]["details"] == [
            {"pointer": "/keyy", "issue": "unknown field 'keyy'; did you mean 'key'?"}
        ]


async def test_details_are_bounded(serve: Any) -> None:
    async with serve() as served:
        answer = await served.post([{}] * 5_000)
        assert (answer.status_code, len(pointers(answer))) == (422, events.MOST_DETAILS)


async def test_too_many_events_are_413(serve: Any) -> None:
    async with serve(max_events=2) as served:
        answer = await served.post([{"topic": "a", "data": 1}] * 3)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_many_events")


async def test_one_event_above_its_limit_refuses_the_whole_list_with_413(serve: Any) -> None:
    async with serve() as served:
        answer = await served.post([{"topic": "a", "data": 1}, {"topic": "a", "data": "x" * 1024 * 1024}])
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "event_too_large")
        assert pointers(answer) == ["/1"]
        assert served.producer.written == []


TYPES = ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=latin-1", "application/xml", ""]


@pytest.mark.parametrize("content_type", TYPES)
async def test_another_media_type_is_415(serve: Any, content_type: str) -> None:
    async with serve() as served:
        answer = await served.post({"topic": "a", "data": 1}, content_type=content_type)
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
        assert "Content-Type: application/json" in answer.json()["error"]["remedy"]


async def test_a_compressed_body_is_415(serve: Any) -> None:
    async with serve() as served:
        answer = await served.post(b"\x1f\x8b", content_encoding="gzip")
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


async def test_over_the_rate_is_429_with_the_seconds_to_wait(serve: Any) -> None:
    now = [0.0]
    async with serve(rate_limit_per_second=2, clock=lambda: now[0]) as served:
        body = [{"topic": "a", "data": 1}] * 2
        assert (await served.post(body)).status_code == 202
        refused = await served.post(body)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["code"] == "rate_limited"
        now[0] = 1.0
        assert (await served.post(body)).status_code == 202
        assert len(served.producer.written) == 4


# ---- Kafka is away ---------------------------------------------------------------------------------------------------


async def test_kafka_away_is_503_with_retry_after_and_says_that_nothing_was_taken(serve: Any) -> None:
    async with serve() as served:
        served.producer.error = NotAccepted("Kafka is not reachable: refused.", retry_after_seconds=2)
        answer = await served.post({"topic": "a", "data": 1})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert answer.json()["error"]["code"] == "kafka_unavailable"
        assert "Nothing of this request was taken" in answer.json()["error"]["message"]


async def test_an_answer_that_is_missing_is_503_and_says_how_to_repeat_safely(serve: Any) -> None:
    async with serve() as served:
        served.producer.error = MaybeAccepted("Kafka did not acknowledge within 10 s.", retry_after_seconds=2)
        with_key = (await served.post({"topic": "a", "data": 1}, idempotency_key="k")).json()["error"]
        with_id = (await served.post({"topic": "a", "data": 1, "id": "e-1"})).json()["error"]
        several = (await served.post([{"topic": "a", "data": 1}] * 2)).json()["error"]
        assert {one["code"] for one in (with_key, with_id, several)} == {"kafka_no_answer"}
        assert all("may or may not have been accepted" in one["message"] for one in (with_key, with_id, several))
        assert "the same Idempotency-Key" in with_key["remedy"]
        assert '"id": "e-1"' in with_id["remedy"]
        assert "may count twice" in several["remedy"]


# ---- the fast way equals the patient way -----------------------------------------------------------------------------

TEXT = st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(
    item=st.fixed_dictionaries(
        {"topic": TEXT, "data": JSON}, optional={"key": TEXT | st.none(), "event_type": TEXT | st.integers()}
    ),
    event_id=TEXT,
)
@settings(deadline=None)
def test_what_is_encoded_quickly_is_what_the_codec_makes(item: dict[str, Any], event_id: str) -> None:
    quick = fields.encoded(item, event_id, [])
    if quick is None:
        return
    key, value, headers = codec.produce_form(
        item["topic"], item["data"], event_id=event_id, key=item.get("key"), event_type=item.get("event_type")
    )
    assert quick == (key, event_id, value, headers)


@given(body=JSON | st.lists(st.dictionaries(st.sampled_from(["topic", "data", "id", "key", "name", "payload"]), JSON)))
@settings(deadline=None)
def test_no_json_escapes_as_an_unexpected_error_and_what_is_taken_decodes(body: Any) -> None:
    reader = events.Reader(
        events.Request(content_type=events.PLAIN, idempotency_key=None, traceparent=None), most_bytes=1_000_000
    )
    for index, item in enumerate(body if isinstance(body, list) else [body]):
        posted = reader.read(item, index)
        if posted is None:
            continue
        key, event_id, value, headers = posted.outgoing
        event = codec.decode(value, key, headers, partition=0, offset=0, timestamp_ms=0, max_bytes=1_000_000)
        assert (event.id, event.topic, event.explicit) == (event_id, posted.topic, True)
        home = (event.key if event.key is not None else event.id).encode()
        assert keys.home_of(event, 8) == keys.partition_of(home, 8)


# A list is a record of no event, and a request of several.
BODIES = [c for c in CASES if c.value is not None and not c.headers and c.key is None and c.value[:1] != b"["]


@pytest.mark.parametrize("case", BODIES, ids=lambda case: case.name)
async def test_hostile_bodies_are_answered_and_what_is_taken_is_an_event(serve: Any, case: Case) -> None:
    async with serve() as served:
        answer = await served.post(case.value)
        if case.expected != "event":
            assert answer.status_code in (400, 413, 422)
        if answer.status_code == 202:
            key, _, value, headers = served.producer.written[0]
            codec.decode(value, key, headers, partition=0, offset=0, timestamp_ms=0, max_bytes=MAX_BYTES)
        else:
            # Stricter than the topic in two things: an unknown field, and the id is a part of the event.
            issues = answer.json()["error"]["details"]
            stricter = all("unknown field" in one["issue"] or "limits.event_bytes" in one["issue"] for one in issues)
            assert case.expected != "event" or (issues and stricter)
            assert served.producer.written == []


def test_what_cannot_be_taken_is_noted_also_when_nothing_special_is_wrong_with_it() -> None:
    reader = events.Reader(
        events.Request(content_type=events.CLOUD_EVENT, idempotency_key=None, traceparent=None), most_bytes=100
    )
    assert reader.read(3, None) is None
    assert len(reader.details) == 1
    with pytest.raises(Malformed):
        codec.produce_form("", 1)
