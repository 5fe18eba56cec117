"""Bytes <-> events: every form in which an event may be produced (design, section 1.3). The only JSON of events.

Who calls it: the agents for each record of `headgate.events`, the engine for the journal and commands, and everything
that produces events (gateway, `headgate send`, `ctx.step.publish_event`, connectors).

Forms of the value, told apart in this order:
1. CloudEvents binary: a header `ce_*`; the value is the data.
2. CloudEvents structured: content-type `application/cloudevents+json`, or an object with `specversion`.
3. `{"topic", "data", "event_type"?, "id"?, "key"?, "created_at"?}`
4. `{"name", "payload", …}`: the same under the names of the older HTTP API.
5. With a header `topic`: an object that has `data` and else only fields of form 3 is form 3 without its topic; any
   other JSON is the data as a whole.
A record without a value whose key is the id of a run is an event on `headgate/cancel` with that key.
A field beats the header of its name, and that beats the record's key. Fields that are not listed are ignored; null is
the same as absent (but for data), and an empty key or event type is none. A header that comes twice counts last. Of
equal names in one JSON object the last wins; an integer beyond 64 bits becomes the nearest double.
CloudEvents: `type` is the event type; the extension `topic`, else `subject`, else a header `topic` is the topic; the
extension `key`, else `partitionkey`, else the header `key`, else the record's key is the key.
Headers for every form: `traceparent` (W3C; a wrong one is ignored), `reply_topic`, `correlation_id`; and, because ids
are unique within a source only, `source` for forms 3 to 5.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from topics import fields, keys, reserved
from topics.cloudevents import from_binary, from_structured
from topics.envelope import MAX_HEADERS, Envelope
from topics.fields import MAX_DEPTH
from topics.malformed import Malformed, named

__all__ = [
    "Headers",
    "Malformed",
    "decode",
    "encode_data",
    "produce_form",
]

Headers = Sequence[tuple[str, bytes | None]]

_FORM_FIELDS: Final = frozenset({"data", "event_type", "id", "key", "created_at"})
_PATIENT: Final = frozenset({"topic", "event_type", "id", "key", "reply_topic", "correlation_id", "content-type"})
_HEADERS: Final = _PATIENT | {"source", "traceparent"}
_SHALLOW_BYTES: Final = 2 * MAX_DEPTH
"""JSON of so many bytes cannot be too deep: each bracket has another that closes it."""
_loads = orjson.loads
_new = tuple.__new__  # Envelope(...) costs 0.17 us more per event: NamedTuple's own __new__ is Python code


def decode(
    value: bytes | None,
    key: bytes | None,
    headers: Headers,
    *,
    partition: int,
    offset: int,
    timestamp_ms: int,
    max_bytes: int | None,
) -> Envelope:
    """Return the event in a record. Raises Malformed and nothing else, ever.

    `max_bytes` None is no limit, neither of bytes nor of headers: for what was an event once.
    """
    # The fast path: form 3 with every field as it should be, and no header that stands in for a field. Whatever differs
    # takes the patient way below, which names what is wrong.
    source = ""
    traceparent = None
    try:
        size = len(value) + len(key) if key else len(value)  # type: ignore[arg-type] # None goes the patient way
        if headers:
            if len(headers) > MAX_HEADERS and max_bytes is not None:
                raise ValueError
            for name, raw in headers:
                size += len(name) + len(raw)  # type: ignore[arg-type]
                if name == "traceparent":
                    traceparent = fields.valid_traceparent(raw.decode())  # type: ignore[union-attr]
                elif name == "source":
                    source = fields.checked_source(raw.decode(), "")  # type: ignore[union-attr]
                elif name in _PATIENT or name.startswith("ce_") or not name.isascii():
                    raise ValueError
        if max_bytes is not None and size > max_bytes:
            raise ValueError
        body = _loads(value)  # type: ignore[arg-type]
        get = body.get
        topic = body["topic"]
        data = body["data"]
        if not (0 < len(topic) <= 512 and _is_topic(topic)) or "specversion" in body:
            raise ValueError
        event_id = get("id")
        if explicit := event_id is not None:
            if not (0 < len(event_id) <= 512 and event_id.isprintable()):
                raise ValueError
        else:
            event_id = f"{partition}-{offset}"
        event_key = get("key")
        if event_key is None:
            if key:
                event_key = key.decode()
                if len(event_key) > 1024:
                    raise ValueError
        elif type(event_key) is not str or not 0 < len(event_key) <= 1024:
            raise ValueError
        event_type = get("event_type")
        if event_type is not None and not (0 < len(event_type) <= 512 and event_type.isprintable()):
            raise ValueError
        created_at = get("created_at")
        if created_at is not None:
            fields.checked_time(created_at, "")
        # The depth is at most the number of opening brackets. Where the last one stands bounds their number (memrchr:
        # 0.06 us a KB); only if that is not enough are they counted (0.35 us a KB), and then looked at in depth.
        braces = value.rfind(b"{")  # type: ignore[union-attr]
        brackets = value.rfind(b"[")  # type: ignore[union-attr]
        if braces + brackets >= MAX_DEPTH - 1 and fields.opens_beyond_depth(value, braces, brackets):  # type: ignore[arg-type]
            fields.check_depth(body)
    except (ValueError, TypeError, KeyError, AttributeError, Malformed):
        return _decode_patiently(value, key, headers, partition, offset, timestamp_ms, max_bytes)
    return _new(
        Envelope,
        (
            event_id,
            source,
            explicit,
            topic,
            event_type,
            event_key,
            data,
            created_at,
            traceparent,
            None,
            None,
            partition,
            offset,
            timestamp_ms,
            size,
            key,
            value,
            tuple(headers) if headers else (),
        ),
    )


@lru_cache(maxsize=4096)  # a worker sees few topics, each of them often; a long one never comes here to be kept
def _is_topic(topic: Any) -> bool:
    """Whether a topic of the right length is as it should be. Raises TypeError, AttributeError for what is no text."""
    return topic.isprintable() and bool(topic.strip() == topic)


def _decode_patiently(
    value: bytes | None,
    key: bytes | None,
    headers: Headers,
    partition: int,
    offset: int,
    timestamp_ms: int,
    max_bytes: int | None,
) -> Envelope:
    """Decode any form, or say what is wrong with it."""
    if len(headers) > MAX_HEADERS and max_bytes is not None:
        raise Malformed("too_many_headers", f"the record has {len(headers)} headers, {MAX_HEADERS} are allowed")
    size = (len(value) if value else 0) + (len(key) if key else 0)
    known: dict[str, bytes] = {}
    binary = False
    for name, raw in headers:
        size += len(name.encode())
        if raw is not None:
            size += len(raw)
            if name in _HEADERS:
                known[name] = raw
            elif name.startswith("ce_"):
                known[name] = raw
                binary = True
    if max_bytes is not None and size > max_bytes:
        raise Malformed("too_large", f"the record has {size} bytes, {max_bytes} are allowed")
    given = known.pop("traceparent", b"").decode(errors="replace")
    texts = {name: fields.header_text(name, raw) for name, raw in known.items()}

    if binary:
        found = from_binary(value, texts)
    elif value is None:
        found = _tombstone(key)
    else:
        content_type = texts.get("content-type", "").lower()
        if content_type.startswith("application/cloudevents-batch"):
            raise Malformed(
                "cloud_event_batch", f"the record holds a batch of CloudEvents (content-type {content_type})"
            )
        body = fields.parse(value)
        if content_type.startswith("application/cloudevents") or (type(body) is dict and "specversion" in body):
            found = from_structured(body, texts)
        else:
            found = _from_plain(body, texts)
    topic, source, event_id, event_type, event_key, created_at, data, traceparent = found

    if event_key is None:
        event_key = fields.checked_key(texts.get("key"), "the header `key`")
        if event_key is None and key:
            event_key = fields.record_key(key)
    return Envelope(
        id=f"{partition}-{offset}" if event_id is None else event_id,
        source=source,
        explicit=event_id is not None,
        topic=topic,
        event_type=event_type,
        key=event_key,
        data=data,
        created_at=created_at,
        traceparent=fields.valid_traceparent(given or traceparent),
        reply_topic=texts.get("reply_topic") or None,
        correlation_id=texts.get("correlation_id"),
        partition=partition,
        offset=offset,
        timestamp_ms=timestamp_ms,
        size=size,
        raw_key=key,
        raw_value=value,
        raw_headers=tuple(headers),
    )


def _tombstone(key: bytes | None) -> fields.Found:
    """Read a record without a value: it cancels the run whose id is its key, and means nothing with any other."""
    run_id = (key or b"").decode(errors="replace")
    if not keys.is_run_id(run_id):
        raise Malformed("null_value", "the record has no value, and its key is no run's id")
    return fields.Found(reserved.CANCEL, "", None, None, run_id, None, None, None)


def _from_plain(body: Any, texts: dict[str, str]) -> fields.Found:
    """Read forms 3 to 5."""
    topic_header = texts.get("topic")
    given: dict[str, Any] = {}
    topic_at, data_at = "/topic", "/data"
    if type(body) is dict:
        if body.get("topic") is not None and ("data" in body or topic_header is None):
            given = body
        elif body.get("name") is not None and ("payload" in body or topic_header is None):
            given = body
            topic_at, data_at = "/name", "/payload"
        elif topic_header is not None and "data" in body and body.keys() - {"topic"} <= _FORM_FIELDS:
            given = body
            topic_at = ""
        elif topic_header is None:
            raise Malformed(
                "topic_missing", "the value has neither /topic nor /name, and the record has no header `topic`"
            )
    elif topic_header is None:
        raise Malformed("not_an_object", f"the value is {named(body)}, not an object")

    if given and topic_at:
        topic = fields.checked_topic(given[topic_at[1:]], topic_at)
    else:
        topic = fields.checked_topic(topic_header, "the header `topic`")
    if not given:
        data = body
    elif data_at[1:] in given:
        data = given[data_at[1:]]
    else:
        raise Malformed("data_missing", f"the value has {topic_at} but no {data_at}")

    def text_of(name: str, checked: fields.Check) -> str | None:
        value = given.get(name)
        return checked(texts.get(name), f"the header `{name}`") if value is None else checked(value, f"/{name}")

    return fields.Found(
        topic=topic,
        source=fields.checked_source(texts.get("source"), "the header `source`"),
        event_id=text_of("id", fields.checked_id),
        event_type=text_of("event_type", fields.checked_type),
        event_key=fields.checked_key(given.get("key"), "/key"),
        created_at=fields.checked_time(given.get("created_at"), "/created_at"),
        data=data,
        traceparent=None,
    )


def produce_form(
    topic: str,
    data: Any,
    *,
    event_type: str | None = None,
    event_id: str | None = None,
    key: str | None = None,
    created_at: str | None = None,
    source: str = "",
    traceparent: str | None = None,
    reply_topic: str | None = None,
    correlation_id: str | None = None,
) -> tuple[bytes | None, bytes, list[tuple[str, bytes]]]:
    """Return (key, value, headers) of the record that decodes to such an event. Raises Malformed.

    The record's key is the event's key alone, never its id: `keys.home` says to which partition the record belongs.
    """
    body: dict[str, Any] = {"topic": fields.checked_topic(topic, "the topic")}
    if (event_type := fields.checked_type(event_type, "the event type")) is not None:
        body["event_type"] = event_type
    if (event_id := fields.checked_id(event_id, "the id")) is not None:
        body["id"] = event_id
    if (created_at := fields.checked_time(created_at, "created_at")) is not None:
        body["created_at"] = created_at
    key = fields.checked_key(key, "the key")
    # The data goes last: a reader of the topic sees what the event is before it sees its contents.
    body["data"] = orjson.Fragment(encode_data(data, "the data of the event"))
    headers: list[tuple[str, bytes]] = []
    if source:
        headers.append(("source", fields.checked_source(source, "the source").encode()))
    if (traceparent := fields.valid_traceparent(traceparent)) is not None:
        headers.append(("traceparent", traceparent.encode()))
    if reply_topic is not None:
        headers.append(("reply_topic", reply_topic.encode()))
    if correlation_id is not None:
        headers.append(("correlation_id", correlation_id.encode()))
    value = b"%b" % orjson.dumps(body)  # copied: what orjson writes has 4 KB at least
    _check_written_depth(value)
    return (None if key is None else key.encode(), value, headers)


def encode_data(value: Any, what: str) -> bytes:
    """Return an author's value as JSON; pydantic models, dataclasses, datetimes and UUIDs are taken as well.

    `what` names the value in the Malformed that is raised when JSON cannot hold it. NaN and infinity become null.
    """
    try:
        encoded = orjson.dumps(value, default=_plain)
    except TypeError as error:
        cause = error.__cause__ or error
        raise Malformed("data_not_json", f"{what} cannot be written as JSON: {cause}") from None
    if len(encoded) > _SHALLOW_BYTES:
        _check_written_depth(encoded)
    return encoded


def _check_written_depth(value: bytes) -> None:
    if len(value) > _SHALLOW_BYTES and fields.opens_beyond_depth(value, len(value), len(value)):
        fields.check_depth(orjson.loads(value))


def _plain(value: Any) -> Any:
    dump = getattr(type(value), "model_dump", None)
    if dump is not None:
        return dump(value, mode="json")
    if isinstance(value, set | frozenset):
        return list(value)
    raise TypeError(f"a {type(value).__name__} is not JSON")
