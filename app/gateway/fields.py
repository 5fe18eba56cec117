"""The two plain forms of a posted event, and everything that is wrong with one, each with its JSON pointer."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from app.kafka.producer import Outgoing
from topics import fields
from topics.fields import Found
from topics.malformed import EXAMPLE, REMEDIES, Malformed, named, shown

SHARED: Final = frozenset({"event_type", "id", "key", "created_at"})
FORM: Final = frozenset({"topic", "data"}) | SHARED
NAMED_FORM: Final = frozenset({"name", "payload"}) | SHARED

_A_BODY: Final = f"send one event such as {EXAMPLE}, or a list of them, as UTF-8 JSON"
# What is mended elsewhere than in a record of Kafka.
_REMEDIES: Final[Mapping[str, str]] = {
    "empty_value": _A_BODY,
    "not_utf8": f"{_A_BODY} without a byte order mark",
    "not_json": _A_BODY,
    "not_an_object": _A_BODY,
    "topic_missing": f"name the logical topic, as in {EXAMPLE}",
    "specversion_missing": "add the CloudEvents attribute specversion, which is 1.0",
}

_CHECKS: Final[Mapping[str, Callable[[Any, str], str | None]]] = {
    "event_type": fields.checked_type,
    "id": fields.checked_id,
    "key": fields.checked_key,
    "created_at": fields.checked_time,
}


def remedy(wrong: Malformed) -> str:
    """How to mend a request: what can be done about a record of Kafka may be none of HTTP."""
    is_usual = wrong.remedy == REMEDIES.get(wrong.code)
    return _REMEDIES.get(wrong.code, wrong.remedy) if is_usual else wrong.remedy


def encoded(item: Mapping[str, Any], event_id: str, headers: list[tuple[str, bytes]]) -> Outgoing | None:
    """Return what `codec.produce_form` makes of an ordinary event, in a third of its time; None: ask it.

    Ordinary: form `{topic, data}`, every field of the right type, nothing that needs a second look.
    """
    get = item.get
    topic, data = get("topic"), get("data", item)
    if (
        type(topic) is not str
        or data is item
        or not 0 < len(topic) <= fields.MAX_TOPIC
        or not topic.isprintable()
        or topic.strip() != topic
        or not item.keys() <= FORM
        or get("created_at") is not None
        or not (0 < len(event_id) <= fields.MAX_ID and event_id.isprintable())
    ):
        return None
    body: dict[str, Any] = {"topic": topic}
    event_type = get("event_type")
    if event_type is not None:
        if type(event_type) is not str or not (0 < len(event_type) <= fields.MAX_TYPE and event_type.isprintable()):
            return None
        body["event_type"] = event_type
    body["id"] = event_id
    body["data"] = data
    key = get("key")
    if key is not None:
        if type(key) is not str or not 0 < len(key) <= fields.MAX_KEY:
            return None
        key = key.encode()
    try:
        value = orjson.dumps(body)
    except TypeError:  # too deep
        return None
    # As many opening brackets as levels are allowed: it may be too deep, and one level is ours.
    if value.count(b"{") + value.count(b"[") > fields.MAX_DEPTH:
        return None
    return key, event_id, value, headers


def plain(item: Mapping[str, Any]) -> Found | None:
    """Return an event whose shape is right; its values are judged when it is encoded. None: ask `wrong_with`.

    Stricter than the Kafka topic, which ignores fields that it does not know: whoever posts gets an answer and can
    mend a misspelt `key` before it costs an order.
    """
    topic, data = item.get("topic"), item.get("data", item)
    if data is item or topic is None or not item.keys() <= FORM:
        topic, data = item.get("name"), item.get("payload", item)
        if data is item or topic is None or not item.keys() <= NAMED_FORM:
            return None
    get = item.get
    return Found(
        topic=topic,
        source="",
        event_id=get("id"),
        event_type=get("event_type"),
        event_key=get("key"),
        created_at=get("created_at"),
        data=data,
        traceparent=None,
    )


def wrong_with(item: Any, where: str) -> Iterator[dict[str, str]]:
    """Yield every wrong thing of one plain event."""
    if type(item) is not dict:
        yield _detail(where, f"{named(item)} is not an event; an event is an object such as {EXAMPLE}")
        return
    older = "topic" not in item and "data" not in item and ("name" in item or "payload" in item)
    topic_name, data_name, known = ("name", "payload", NAMED_FORM) if older else ("topic", "data", FORM)
    if item.get(topic_name) is None:
        yield _detail(f"{where}/{topic_name}", f"missing; {_REMEDIES['topic_missing']}")
    else:
        yield from _checked(fields.checked_topic, item[topic_name], f"{where}/{topic_name}")
    if data_name not in item:
        example = REMEDIES["data_missing"] if not older else 'add "payload"; null is allowed'
        yield _detail(f"{where}/{data_name}", f"missing; {example}")
    else:
        yield from _checked(_checked_depth, item[data_name], f"{where}/{data_name}")
    for name, check in _CHECKS.items():
        yield from _checked(check, item.get(name), f"{where}/{name}")
    for name in sorted(item.keys() - known):
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
        yield _detail(f"{where}/{_escaped(name)}", f"unknown field {shown(name)}; {meant}")


def _checked_depth(data: Any, _where: str) -> None:
    fields.check_depth(data)


def _checked(check: Callable[[Any, str], object], value: Any, where: str) -> Iterator[dict[str, str]]:
    try:
        check(value, where)
    except Malformed as wrong:
        yield _detail(where, f"{wrong.reason}; {remedy(wrong)}")


def _escaped(name: str) -> str:
    """A name inside a JSON pointer (RFC 6901, section 3), short enough for an answer."""
    return name[:80].replace("~", "~0").replace("/", "~1")


def _detail(pointer: str, issue: str) -> dict[str, str]:
    return {"pointer": pointer, "issue": issue}
