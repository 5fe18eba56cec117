"""Outgoing records as values within the journal's entities, and those that are entities of their own: parked ones."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.engine.values.outgoing import Record
from topics import journal


def value(one: Record) -> list[Any]:
    return [
        one.topic,
        one.partition,
        journal.bytes_field(one.key),
        journal.bytes_field(one.value),
        journal.headers_field(one.headers),
        one.foreign,
    ]


def of(found: list[Any]) -> Record:
    """Return the record that `value` was given."""
    topic, partition, key, content, headers, foreign = found
    return Record(
        topic,
        partition,
        journal.field_bytes(key),
        journal.field_bytes(content),
        journal.field_headers(headers),
        foreign,
    )


def parked(given: Mapping[int, Record], round_: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entities of records that wait for their topics."""
    for number, one in given.items():
        yield journal.parked_key(number), journal.encode({"r": round_, "record": value(one)})
