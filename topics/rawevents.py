"""An event as JSON within other records: the journal's bodies, commands, and what is asked in them."""

from typing import Any

from topics import codec, journal
from topics.envelope import Envelope


def raw_event(event: Envelope) -> dict[str, Any]:
    """Return the record of `event` as JSON: where it landed, when, and its bytes."""
    return {
        "p": event.partition,
        "o": event.offset,
        "t": event.timestamp_ms,
        "key": journal.bytes_field(event.raw_key),
        "value": journal.bytes_field(event.raw_value),
        "headers": journal.headers_field(event.raw_headers),
    }


def event_of(raw: dict[str, Any]) -> Envelope:
    """Return the event of `raw_event`. It was decoded once, so it decodes again. Else raises whatever comes."""
    if not type(raw["p"]) is type(raw["o"]) is type(raw["t"]) is int:
        raise TypeError("the place of an event is three numbers")
    return codec.decode(
        journal.field_bytes(raw["value"]),
        journal.field_bytes(raw["key"]),
        journal.field_headers(raw["headers"]),
        partition=raw["p"],
        offset=raw["o"],
        timestamp_ms=raw["t"],
        max_bytes=None,
    )
