"""Events in every form: records of strangers, what sources read, what is said of sources."""

import datetime as dt
from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final

from connectors.base.contract import Received
from connectors.base.instance.events import Maker, NotAnEvent
from connectors.base.kinds import declared
from connectors.base.kinds.declared import UnsuitableSource
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import AT_MS, MOST_BYTES, Target, landed, named
from topics import codec, sources
from topics.malformed import Malformed

FORMS: Final[tuple[Any, ...]] = (
    {"topic": "orders/created", "data": {"order_id": 42}, "id": "o-42", "key": "c-7", "event_type": "created"},
    {"topic": "orders/created", "data": None, "created_at": "2026-06-01T12:00:00.250Z"},
    {"name": "orders.created", "payload": [1, 2.5, "x"], "id": None},
    {"data": {"a": {"b": [1]}}, "id": "x"},
    {"specversion": "1.0", "id": "7", "source": "/shop", "type": "sold", "subject": "orders/sold", "data": {"n": 1}},
    {
        "specversion": "1.0",
        "id": "8",
        "source": "urn:x",
        "type": "t",
        "topic": "a",
        "data_base64": "eyJhIjogMX0=",
        "datacontenttype": "application/json",
        "partitionkey": "k",
        "time": "2026-06-01T12:00:00+02:00",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    },
    "text",
)
HEADERS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "topic": (b"orders/created", b"", " ü".encode()),
    "content-type": (b"application/json", b"application/cloudevents+json; charset=utf-8", b"text/plain", b"image/png"),
    "traceparent": (b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"ff-00"),
    "reply_topic": (b"replies", b"", b"__x"),
    "correlation_id": (b"c-1", b"\xff"),
    "source": (b"/shops/1", b""),
    "key": (b"k", b""),
    "id": (b"i", b""),
    "event_type": (b"t",),
    "ce_specversion": (b"1.0", b"0.3"),
    "ce_id": (b"7", b""),
    "ce_source": (b"/shop",),
    "ce_type": (b"sold",),
    "ce_subject": (b"orders/sold",),
    "ce_time": (b"2026-06-01T12:00:00Z", b"now"),
    "ce_\u00fc": (b"x",),
    "other": (b"\x00",),
}
CE: Final = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject")
Bytes = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def record(draw: Mutator) -> Bytes:
    names = [draw.pick(list(HEADERS)) for _ in range(draw.pick((0, 0, 1, 2, 4)))]
    headers: list[tuple[str, bytes | None]] = [(name, draw.raw(HEADERS[name], most=1)) for name in names]
    if draw.happens(0.03):
        headers *= 200
    if draw.happens(0.03):
        headers.append((draw.pick(list(HEADERS)), None))
    return (
        draw.json(FORMS) if draw.happens(0.98) else None,
        draw.pick((None, None, b"k", b"\xff", b"r_x" * 500)),
        headers,
    )


def cloud_record(draw: Mutator) -> Bytes:
    headers: list[tuple[str, bytes | None]] = [(name, HEADERS[name][0]) for name in CE if draw.happens(0.95)]
    headers += [(name, draw.raw(HEADERS[name])) for name in HEADERS if draw.happens(0.1)]
    return draw.json(FORMS) if draw.happens(0.9) else None, draw.pick((None, b"k", b"\xff")), headers


def check_record(given: Bytes) -> str:
    value, key, headers = given
    try:
        event = codec.decode(value, key, headers, partition=3, offset=9, timestamp_ms=AT_MS, max_bytes=MOST_BYTES)
    except Malformed as error:
        named(error)
        return error.code
    assert event.topic
    payload = event.payload()
    try:
        made_key, made, made_headers = codec.produce_form(
            event.topic, event.data, event_type=event.event_type, event_id=event.id, key=event.key,
            created_at=event.created_at, source=event.source, traceparent=event.traceparent,
        )  # fmt: skip
    except Malformed as error:
        return f"again: {error.code}"
    again = codec.decode(made, made_key, made_headers, partition=3, offset=9, timestamp_ms=AT_MS, max_bytes=None)
    assert again.payload() == payload
    assert (again.source, again.traceparent) == (event.source, event.traceparent)
    return "event"


RECEIVED: Final[tuple[Any, ...]] = (
    {"n": 1, "author": {"bot": False, "id": "7"}, "text": "!help me", "tags": ["a", "b"], "price": 12.5},
    [1, "a", None],
    "text",
    None,
)
MOMENTS: Final = (
    None,
    dt.datetime(2026, 6, 1, tzinfo=UTC),
    dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=14))),
    dt.datetime.max.replace(tzinfo=dt.timezone(-dt.timedelta(hours=14))),
    dt.datetime(1, 1, 1, tzinfo=UTC),
    dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
)


def received(draw: Mutator) -> tuple[str, str, Any, str | None, int]:
    return (
        draw.text(("id-1", "x" * 500)) or "i",
        draw.text(("message", "a/b", "")),
        draw.value(RECEIVED),
        draw.pick((None, draw.text(("k", "")))),
        draw.below(len(MOMENTS)),
    )


MAKERS: Final = tuple(
    Maker(sources.Spec(id="src", kind="fuzz", **options), max_bytes=MOST_BYTES)
    for options in (
        {"topic": "x/{{ type }}/{{ data.author.id }}", "key": "{{ data.text }}"},
        {"filter": {"data.price": {"gte": 1}, "data.author.bot": {"not": True}}, "topic": "{{ key }}"},
    )
)


def check_received(given: tuple[str, str, Any, str | None, int]) -> str:
    event_id, event_type, data, key, moment = given
    item = Received(id=event_id, event_type=event_type, data=data, key=key, created_at=MOMENTS[moment])
    word = landed(item)
    for maker in MAKERS:
        try:
            maker.event(item, at_ms=AT_MS)
        except NotAnEvent as why:
            maker.dead_letter(item, why, at_ms=AT_MS)
    return word


SPECS: Final[tuple[Any, ...]] = (
    sources.Spec(
        id="a", kind="rss", options={"url": "https://a.example/"}, filter={"type": "x"}, origin="api"
    ).to_record(),
    {"format": 1, "id": "m1", "source": "a", "body": {"text": "hi"}, "expires_at": "2026-06-01T12:00:00Z"},
    {"format": 1, "kind": "rss", "epoch": "1.0", "at": "2026-06-01T12:00:00Z", "position": {"x": [1]}},
)


def about_source(draw: Mutator) -> bytes:
    return draw.json(SPECS)


def check_about_source(given: bytes) -> str:
    ends = []
    for read in (sources.spec_of, sources.message_of, sources.cursor_of):
        try:
            found = read(given)
        except sources.Unsuitable as error:
            named(error)
            continue
        ends.append(type(found).__name__.lower())
        if isinstance(found, sources.Spec):
            assert sources.spec_of(sources.configured(found).value or b"") == found
            try:
                declared.check(found)
            except UnsuitableSource as error:
                ends[-1] = named(error)
    return ends[0] if ends else "unsuitable"


TARGETS: Final = (
    Target(name="codec", make=record, check=check_record),
    Target(name="cloudevents", make=cloud_record, check=check_record),
    Target(name="events", make=received, check=check_received),
    Target(name="source-records", make=about_source, check=check_about_source),
)
