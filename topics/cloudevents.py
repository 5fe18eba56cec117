"""CloudEvents 1.0 in Kafka records, structured (JSON) and binary (`ce_*` headers): CloudEvents Kafka binding 1.0.2."""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

from topics import fields
from topics.malformed import Malformed, named, shown

SPEC_VERSION: Final = "1.0"


def from_structured(body: Any, texts: Mapping[str, str]) -> fields.Found:
    """Read a CloudEvent whose attributes and data are one JSON object. Raises Malformed."""
    if type(body) is not dict:
        raise Malformed("not_an_object", f"the CloudEvent is {named(body)}, not an object")
    data = body.get("data")
    if body.get("data_base64") is not None:
        if data is not None:
            raise Malformed("data_base64_invalid", "the CloudEvent has both /data and /data_base64")
        data = _decoded(body["data_base64"], body.get("datacontenttype"))
    return _found(body, data, "/", texts.get("topic"))


def from_binary(value: bytes | None, texts: Mapping[str, str]) -> fields.Found:
    """Read a CloudEvent whose attributes are headers and whose data is the value. Raises Malformed."""
    attributes = {name[3:]: text for name, text in texts.items() if name.startswith("ce_")}
    data = _data(value, texts.get("content-type"), "content-type") if value else None
    return _found(attributes, data, "the header ce_", texts.get("topic"))


def _found(given: Mapping[str, Any], data: Any, prefix: str, topic_header: str | None) -> fields.Found:
    version = given.get("specversion")
    if version is None:
        raise Malformed("specversion_missing", f"the CloudEvent has no {prefix}specversion")
    if version != SPEC_VERSION:
        raise Malformed("specversion_unknown", f"{prefix}specversion is {named(version)}; only {SPEC_VERSION} is known")
    event_id = fields.checked_id(given.get("id"), f"{prefix}id")
    if event_id is None:
        raise Malformed(
            "id_invalid", f"the CloudEvent has no {prefix}id", "add the CloudEvents attribute id, such as order-42"
        )
    source = fields.checked_source(given.get("source"), f"{prefix}source")
    if not source:
        raise Malformed("source_invalid", f"the CloudEvent has no {prefix}source")
    event_type = fields.checked_type(given.get("type"), f"{prefix}type")
    if event_type is None:
        raise Malformed("cloud_event_type_missing", f"the CloudEvent has no {prefix}type")
    for name in ("topic", "subject"):
        if given.get(name) is not None:
            topic = fields.checked_topic(given[name], f"{prefix}{name}")
            break
    else:
        if topic_header is None:
            raise Malformed(
                "topic_missing",
                f"the CloudEvent has neither {prefix}topic nor {prefix}subject",
                "name the logical topic in subject or in an extension topic, such as orders/created",
            )
        topic = fields.checked_topic(topic_header, "the header `topic`")
    key = fields.checked_key(given.get("key"), f"{prefix}key")
    return fields.Found(
        topic=topic,
        source=source,
        event_id=event_id,
        event_type=event_type,
        event_key=key or fields.checked_key(given.get("partitionkey"), f"{prefix}partitionkey"),
        created_at=fields.checked_time(given.get("time"), f"{prefix}time"),
        data=data,
        traceparent=given.get("traceparent"),
    )


def _decoded(encoded: Any, content_type: Any) -> Any:
    if not isinstance(encoded, str):
        raise Malformed("data_base64_invalid", f"/data_base64 is {named(encoded)}, not text")
    try:
        value = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("data_base64_invalid", f"/data_base64 is not base64: {error}") from None
    return _data(value, content_type, "/datacontenttype") if value else None


def _data(value: bytes, content_type: Any, where: str) -> Any:
    """Return the data in `value`: JSON unless its content type says text."""
    if content_type is None:
        return fields.parse(value)
    if not isinstance(content_type, str):
        raise Malformed("content_type_unsupported", f"{where} is {named(content_type)}, not text")
    media = content_type.partition(";")[0].strip().lower()
    if media.endswith(("/json", "+json")) or not media:
        return fields.parse(value)
    if media.startswith("text/"):
        try:
            return value.decode()
        except UnicodeDecodeError as wrong:
            raise Malformed("not_utf8", f"the data is not UTF-8: {wrong.reason} at byte {wrong.start}") from None
    raise Malformed("content_type_unsupported", f"{where} is {shown(content_type)}, neither JSON nor text")
