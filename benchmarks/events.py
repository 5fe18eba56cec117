"""The event that every side gets: 1 KB of JSON, `{"topic", "id", "key", "data"}`; made fast enough to load a broker."""

import functools
import itertools
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

TOPIC = "bench/created"
SIZE_BYTES = 1024
KEYS = 10_000


@functools.cache
def template(*, size_bytes: int = SIZE_BYTES, topic: str = TOPIC) -> tuple[bytes, bytes, bytes]:
    """Return the three constant parts of an event; its id and its key stand between them."""
    data = {"order": 4711, "quantity": 3, "price": 1999, "currency": "EUR", "note": ""}
    skeleton = {"topic": topic, "id": "I" * 16, "key": "K" * 8, "data": data}
    missing = size_bytes - len(orjson.dumps(skeleton))
    data["note"] = _text(max(missing, 0))
    head, _, rest = orjson.dumps(skeleton).partition(b"I" * 16)
    middle, _, tail = rest.partition(b"K" * 8)
    return head, middle, tail


def events(
    run: str, first: int, count: int, *, size_bytes: int = SIZE_BYTES, topic: str = TOPIC
) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of `count` events; the id of each is `<run><sequence number>`, of 16 characters."""
    head, middle, tail = template(size_bytes=size_bytes, topic=topic)
    width = 16 - len(run)
    for number in range(first, first + count):
        key = b"key%05d" % (number * 7919 % KEYS)
        yield key, b"".join((head, f"{run}{number:0{width}d}".encode(), middle, key, tail))


def identity_of(value: bytes) -> bytes:
    """Return the id of an event that `events` has made."""
    begin = len(template()[0])
    return value[begin : begin + 16]


def number(event_id: str, run: str) -> int:
    """Return the sequence number in an event's id."""
    return int(event_id.removeprefix(run))


def _text(length: int) -> str:
    """Return words that compress about as well as real orders do, always the same ones."""
    words = (f"{zlib.crc32(b'%d' % n):08x}" if n % 3 else "delivered" for n in range(length))
    return " ".join(word for word, _ in zip(words, range(length // 8 + 2), strict=False))[:length]


def durable_events(
    topic: str, run: str, first: int, count: int, *, data: Mapping[str, Any], key_run: str = ""
) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield id, key and value of events that start or wake durable runs: as `events`, and `data` has the id as well.

    `data` adds fields. With `key_run` the key of each is the id of that run's event of the same number.
    """
    fields = {"id": "I" * 16, "order": 4711, "quantity": 3, "price": 1999, "currency": "EUR", **data, "note": ""}
    skeleton = {"topic": topic, "id": "I" * 16, "key": "K" * 8, "data": fields}
    fields["note"] = _text(max(SIZE_BYTES - len(orjson.dumps(skeleton)), 0))
    head, middle, rest = orjson.dumps(skeleton).split(b"I" * 16)
    before, _, after = middle.partition(b"K" * 8)
    for number in range(first, first + count) if count else itertools.count(first):
        made = f"{run}{number:0{16 - len(run)}d}"
        key = f"{key_run}{number:0{16 - len(key_run)}d}".encode() if key_run else b"key%05d" % (number * 7919 % KEYS)
        identity = made.encode()
        yield made, key, b"".join((head, identity, before, key, after, identity, rest))
