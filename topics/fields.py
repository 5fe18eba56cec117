"""The fields of an event, each checked with its place in the record, so that the dead letter says what to mend.

Called by `topics.codec` and `topics.cloudevents` off the fast path. `where` is a JSON pointer or names a header.
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson

from topics.malformed import HALF_A_PAIR, Malformed, named, shown
from topics.timestamps import milliseconds

MAX_TOPIC: Final = 512
MAX_ID: Final = 512
MAX_TYPE: Final = 512
MAX_KEY: Final = 1024
MAX_DEPTH: Final = 200
"""Levels of objects and lists. orjson writes 254, and our own records wrap the data in some of their own."""

_SPARE_LEVELS: Final = 254 - MAX_DEPTH
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")  # never from a record, but Python's own text may hold them
_TRACEPARENT_00: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.ASCII)

Check = Callable[[Any, str], str | None]


class Found(NamedTuple):
    """What a form of input says; None where it says nothing."""

    topic: str
    source: str
    event_id: str | None
    event_type: str | None
    event_key: str | None
    created_at: str | None
    data: Any
    traceparent: str | None


def parse(value: bytes) -> Any:
    """Return the JSON in `value`. Raises Malformed."""
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise unreadable(value, error) from None
    if opens_beyond_depth(value, len(value), len(value)):
        check_depth(body)
    return body


def unreadable(value: bytes, error: orjson.JSONDecodeError, *, what: str = "the value") -> Malformed:
    """Say why orjson refused `value`, which is called `what`; to raise it is the caller's."""
    if not value.strip():
        return Malformed("empty_value", f"{what} is empty" if not value else f"{what} is blank")
    try:
        value.decode()
    except UnicodeDecodeError as wrong:
        return Malformed("not_utf8", f"{what} is not UTF-8: {wrong.reason} at byte {wrong.start}")
    if value.startswith(b"\xef\xbb\xbf"):
        return Malformed("not_utf8", f"{what} starts with a byte order mark, which JSON does not allow")
    if "infinity" in error.msg:
        return Malformed(
            "number_too_large", f"{what} holds a number beyond what a double can hold, at character {error.pos}"
        )
    if "depth limit" in error.msg:
        return Malformed("nesting_too_deep", f"{what} nests deeper than {MAX_DEPTH} levels")
    near = shown(value.decode()[max(error.pos - 15, 0) : error.pos + 15])
    return Malformed(
        "not_json",
        f"{what} is not JSON: {error.msg} at line {error.lineno} column {error.colno}, near {near}",
        HALF_A_PAIR if "surrogate" in error.msg else None,
    )


def opens_beyond_depth(value: bytes, last_brace: int, last_bracket: int) -> bool:
    """Say whether `value` has more opening brackets than MAX_DEPTH, given where the last of each kind stands."""
    if last_brace > last_bracket:
        return (opens := value.count(b"{")) + last_bracket >= MAX_DEPTH and opens + value.count(b"[") > MAX_DEPTH
    return (opens := value.count(b"[")) + last_brace >= MAX_DEPTH and opens + value.count(b"{") > MAX_DEPTH


def check_depth(body: Any) -> None:
    """Raise Malformed when `body` nests deeper than MAX_DEPTH: asked of orjson, in C, by using up its other levels."""
    for _ in range(_SPARE_LEVELS):
        body = [body]
    try:
        orjson.dumps(body)
    except TypeError:
        raise Malformed("nesting_too_deep", f"the value nests deeper than {MAX_DEPTH} levels") from None


def header_text(name: str, raw: bytes) -> str:
    """Return a header as text. Raises Malformed."""
    try:
        return raw.decode()
    except UnicodeDecodeError as wrong:
        reason = f"the header `{name}` is not UTF-8: {wrong.reason} at byte {wrong.start}"
        raise Malformed("header_not_utf8", reason) from None


def record_key(key: bytes) -> str | None:
    """Return the record's key as text. Raises Malformed."""
    try:
        return checked_key(key.decode(), "the record's key")
    except UnicodeDecodeError as wrong:
        reason = f"the record's key is not UTF-8: {wrong.reason} at byte {wrong.start}"
        raise Malformed("key_not_utf8", reason) from None


def _checked(value: Any, where: str, code: str, limit: int) -> str:
    if not isinstance(value, str):
        raise Malformed(code, f"{where} is {named(value)}, not text")
    if len(value) > limit:
        raise Malformed(code, f"{where} has {len(value)} characters, {limit} are allowed: {shown(value)}")
    if not value.isprintable() and (control := _CONTROL.search(value)):
        raise Malformed(code, f"{where} holds the control character {control[0]!r}: {shown(value)}")
    return _encodable(value, where, code)


def _encodable(value: str, where: str, code: str) -> str:
    if not value.isprintable() and _SURROGATE.search(value):
        raise Malformed(code, f"{where} holds half a surrogate pair: {shown(value)}")
    return value


def checked_topic(value: Any, where: str) -> str:
    """Return a logical topic. Raises Malformed."""
    topic = _checked(value, where, "topic_invalid", MAX_TOPIC)
    if not topic.strip():
        raise Malformed("topic_invalid", f"{where} is empty")
    if topic.strip() != topic:
        raise Malformed("topic_invalid", f"{where} starts or ends with a blank: {shown(topic)}")
    return topic


def checked_id(value: Any, where: str) -> str | None:
    """Return an event id, None for none. Raises Malformed."""
    if value is None:
        return None
    if value == "":
        raise Malformed("id_invalid", f"{where} is empty")
    return _checked(value, where, "id_invalid", MAX_ID)


def checked_type(value: Any, where: str) -> str | None:
    """Return an event type, None for none. Raises Malformed."""
    return None if value is None else _checked(value, where, "event_type_invalid", MAX_TYPE) or None


def checked_key(value: Any, where: str) -> str | None:
    """Return an event key, None for none. Raises Malformed."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Malformed("key_invalid", f"{where} is {named(value)}, not text")
    if len(value) > MAX_KEY:
        raise Malformed("key_invalid", f"{where} has {len(value)} characters, {MAX_KEY} are allowed: {shown(value)}")
    return _encodable(value, where, "key_invalid") or None


def checked_source(value: Any, where: str) -> str:
    """Return a source, "" for none. Raises Malformed."""
    return "" if value is None else _checked(value, where, "source_invalid", MAX_ID)


def checked_time(value: Any, where: str) -> str | None:
    """Return an RFC 3339 time as given, None for none. Raises Malformed."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Malformed("created_at_invalid", f"{where} is {named(value)}, not text")
    try:
        milliseconds(value)
    except ValueError as error:
        raise Malformed("created_at_invalid", f"{where}: {error}") from None
    return value


def valid_traceparent(value: Any) -> str | None:
    """Return a W3C traceparent, None for one that the W3C tells to ignore (Trace Context, section 3.2)."""
    if not isinstance(value, str):
        return None
    if _TRACEPARENT_00.fullmatch(value):  # what everybody sends: 0.4 us instead of 1.2
        return value
    if (match := _TRACEPARENT.fullmatch(value)) is None:
        return None
    version, trace, span, more = match.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not span.strip("0"):
        return None
    return value
