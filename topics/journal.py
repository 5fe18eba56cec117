"""The journal's records: keys, JSON values and the format version. Written by the owner of a partition alone.

The journal of a partition is a compacted Kafka topic: one key is one entity, the last value of a key is what
holds, a null value removes it. Every entity carries `r`, the round that wrote it: entities of a round above the last
`head` were written ahead of a commit that never came and are orphans (design 3.2).
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

FORMAT: Final = 1
"""Moves when an older release could not read what this one writes."""

CLAIM: Final = b"claim"
HEAD: Final = b"head"
KNOWN: Final = b"known"
FENCE_HEADER: Final = "headgate-fence"
"""Header of a kill record (design 3.1, step 2). Readers skip records that carry it."""

Headers = Sequence[tuple[str, bytes | None]]


class UnreadableJournal(Exception):
    """A journal record that this release cannot read. The partition must not be served."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(
            f"journal record {key!r} cannot be read ({reason}); this release reads format {FORMAT}: "
            "start a release that is at least as new as the one that wrote it"
        )
        self.key = key


def body_key(number: int) -> bytes:
    return b"body:%d" % number


def run_key(run_id: str) -> bytes:
    return b"run:" + run_id.encode()


def pending_key(number: int, workflow_id: str) -> bytes:
    return b"pending:%d:%b" % (number, workflow_id.encode())


def out_key(slot: int) -> bytes:
    return b"out:%d" % slot


def ids_key(slot: int) -> bytes:
    return b"ids:%d" % slot


def pack_key(generation: int, number: int) -> bytes:
    return b"pack:%d:%d" % (generation, number)


def encode(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def decode(key: bytes, value: bytes) -> dict[str, Any]:
    """Return a record's value. Raises UnreadableJournal."""
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise UnreadableJournal(key.decode(errors="replace"), str(error)) from None
    if not isinstance(found, dict):
        raise UnreadableJournal(key.decode(errors="replace"), "not a JSON object")
    return found


def pack_digests(digests: Sequence[bytes]) -> str:
    return base64.b64encode(b"".join(digests)).decode()


def unpack_digests(text: str, size: int) -> list[bytes]:
    """Return the digests of `size` bytes in `text`. Raises ValueError."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) % size:
        raise ValueError(f"{len(raw)} bytes are no whole digests of {size} bytes")
    return [raw[i : i + size] for i in range(0, len(raw), size)]


def bytes_field(value: bytes | None) -> Any:
    """JSON of bytes that come back as they were: text where UTF-8, else base64 in an array of one."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return [base64.b64encode(value).decode()]


def field_bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    return base64.b64decode(value[0])


def headers_field(headers: Headers) -> list[list[Any]]:
    return [[name, bytes_field(value)] for name, value in headers]


def field_headers(value: Sequence[Sequence[Any]]) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((name, field_bytes(content)) for name, content in value)
