"""The event that every side gets: 1 KB of JSON, `{"topic", "id", "key", "data"}`; made fast enough to load a broker."""

import zlib
from collections.abc import Iterator

import orjson

TOPIC = "bench/created"
SIZE_BYTES = 1024
KEYS = 10_000


def template(*, size_bytes: int = SIZE_BYTES) -> tuple[bytes, bytes, bytes]:
    """Return the three constant parts of an event; its id and its key stand between them."""
    data = {"order": 4711, "quantity": 3, "price": 1999, "currency": "EUR", "note": ""}
    skeleton = {"topic": TOPIC, "id": "I" * 16, "key": "K" * 8, "data": data}
    missing = size_bytes - len(orjson.dumps(skeleton))
    data["note"] = _text(max(missing, 0))
    head, _, rest = orjson.dumps(skeleton).partition(b"I" * 16)
    middle, _, tail = rest.partition(b"K" * 8)
    return head, middle, tail


def events(run: str, first: int, count: int, *, size_bytes: int = SIZE_BYTES) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of `count` events; the id of each is `<run><sequence number>`, of 16 characters."""
    head, middle, tail = template(size_bytes=size_bytes)
    width = 16 - len(run)
    for number in range(first, first + count):
        key = b"key%05d" % (number * 7919 % KEYS)
        yield key, b"".join((head, f"{run}{number:0{width}d}".encode(), middle, key, tail))


def number(event_id: str, run: str) -> int:
    """Return the sequence number in an event's id."""
    return int(event_id.removeprefix(run))


def _text(length: int) -> str:
    """Return words that compress about as well as real orders do, always the same ones."""
    words = (f"{zlib.crc32(b'%d' % n):08x}" if n % 3 else "delivered" for n in range(length))
    return " ".join(word for word, _ in zip(words, range(length // 8 + 2), strict=False))[:length]
