"""What can be wrong with a record that should be an event: the codes of the dead letters, and how to mend each."""

from typing import Final

from topics.verdicts import HeadgateError

EXAMPLE: Final = '{"topic": "orders/created", "data": {"order_id": 42}}'
"""The smallest right value."""

REMEDIES: Final[dict[str, str]] = {
    "null_value": f"give the record a value such as {EXAMPLE}; without one it only cancels the run whose id is its key",
    "empty_value": f"give the record a value such as {EXAMPLE}; a console producer sends an empty line as one",
    "too_large": "send the large part elsewhere and its address in the event, or raise the setting limits.event_bytes",
    "too_many_headers": "send at most 256 headers per record; what belongs to the event goes into its data",
    "batch_too_large": "send smaller batches: lower the producer's batch size, or send without compression",
    "batch_unreadable": "send the batch again with another compression; its records are in the topic until retention",
    "not_utf8": f"encode the value as UTF-8 JSON without a byte order mark, such as {EXAMPLE}",
    "not_json": f"send one JSON object per record, such as {EXAMPLE}",
    "number_too_large": 'send the number as text, such as {"topic": "sums", "data": {"total": "1e400"}}',
    "nesting_too_deep": "nest at most 200 levels of objects and lists, or send the deep part as JSON in a text",
    "not_an_object": f"send one JSON object per record, such as {EXAMPLE}, or name the topic in a header `topic`",
    "topic_missing": f"name the logical topic, as in {EXAMPLE}, or in a record header `topic`",
    "topic_invalid": f"name the topic with 1 to 512 printable characters and no blank around them, as in {EXAMPLE}",
    "data_missing": f'add the data, as in {EXAMPLE}; "data": null is allowed',
    "id_invalid": 'give "id" as text of 1 to 512 printable characters, such as "id": "order-42", or leave it out',
    "key_invalid": 'give "key" as text of at most 1024 characters, such as "key": "customer-7", or leave it out',
    "event_type_invalid": 'give "event_type" as text of at most 512 printable characters, such as "created"',
    "created_at_invalid": 'give "created_at" as an RFC 3339 time, such as "created_at": "2026-01-31T12:00:00Z"',
    "key_not_utf8": 'encode the record\'s key as UTF-8, or give the event\'s key in its value: "key": "customer-7"',
    "header_not_utf8": "encode the header as UTF-8 text, or leave it out",
    "source_invalid": "give the source as text of 1 to 512 printable characters, such as /shops/1",
    "specversion_missing": "add the CloudEvents attribute specversion (binary mode: ce_specversion), which is 1.0",
    "specversion_unknown": "send CloudEvents 1.0: specversion is 1.0",
    "cloud_event_type_missing": "add the CloudEvents attribute type, such as com.example.order.created",
    "cloud_event_batch": "send each event as a record of its own: content-type application/cloudevents+json",
    "content_type_unsupported": "send JSON or text (application/json, text/plain), and binary data as base64 in JSON",
    "data_base64_invalid": "give either data or data_base64; the latter in standard base64, such as eyJhIjogMX0=",
    "data_not_json": "use what JSON can hold: objects with text keys, lists, text, 64-bit numbers, true, false, null",
}
"""code -> how to mend it."""

HALF_A_PAIR: Final = (
    "leave out half a surrogate pair such as \\ud800, which is no character: cut texts between characters"
)
"""How to mend what is not JSON for that alone."""

OF_BATCHES: Final = frozenset({"batch_too_large", "batch_unreadable"})
"""Codes of compressed batches, found before there is a record to look at."""


class Malformed(HeadgateError):
    """A record that is no event. It becomes a dead letter with these three texts, and the partition goes on."""

    def __init__(self, code: str, reason: str, remedy: str | None = None) -> None:
        self.code = code
        self.reason = reason
        self.remedy = REMEDIES[code] if remedy is None else remedy
        super().__init__(f"{reason}; {self.remedy}")


def shown(value: object) -> str:
    """Return `value` short enough for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def named(value: object) -> str:
    """Return the JSON type of a decoded value, with the value where it is short: "the number 42"."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {shown(value)}"
        case str():
            return f"the text {shown(value)}"
        case list():
            return "a list"
        case _:
            return "an object"
