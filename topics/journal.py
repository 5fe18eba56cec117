"""The journal's records: keys, JSON values and the format version. Written by the owner of a partition alone.

The journal of a partition is a compacted Kafka topic: one key is one entity, the last value of a key is what
holds, a null value removes it. Every entity carries `r`, the round that wrote it: entities of a round above the last
`head` were written ahead of a commit that never came and are orphans (design 3.2).
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

FORMAT: Final = 2
"""Moves when an older release could not read what this one writes. 2: runs have steps."""

CLAIM: Final = b"claim"
HEAD: Final = b"head"
KNOWN: Final = b"known"
FENCE_HEADER: Final = "headgate-fence"
"""Header of a kill record (design 3.1, step 2). Readers skip records that carry it."""

Headers = Sequence[tuple[str, bytes | None]]

READABLE_BYTES: Final = 16 * 1024
"""Keys and values up to this are text wherever they are UTF-8, whatever escapes make of them."""
READABLE_HEADER_BYTES: Final = 512
"""The same for names and contents of headers, of which an event has many.

So no entity is ever above the 7.3 MB that a batch of the journal takes. The worst case: an event of E bytes has N =
`envelope.MAX_HEADERS` headers, so that S = 2 * 16 KiB + 2N * 512 of its bytes are in fields up to these sizes. JSON
makes 6 bytes at most of one (a NUL is a backslash, u and 0000), so those become 6S = 1.8 MB. What is larger grows by a
third at most, here or in base64. Quotes, brackets and commas are 20 bytes a header. So an event is at most
6S + 4/3 (E - S) + 20N bytes of JSON: 2.8 MB for the default of 1 MiB, 4.2 MB for the 2 MiB that the topic of events
takes. A command has a single event or 700 KiB. In an outgoing part it is JSON in JSON, one large value, which grows by
a third once more and not by escapes of escapes: 3.7 MB or 5.6 MB. A dead letter with its key has 5 MiB
(`letters.LETTER_BYTES`) and takes 7.1 MB there.
"""


class UnreadableJournal(Exception):
    """A journal record that this release cannot read: a newer one wrote it, or a stranger. The partition must not be
    served.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(
            f"journal record {key!r} cannot be read ({reason}); this release reads format {FORMAT}. Where a newer "
            "release wrote it, start one that is at least as new; where somebody else writes to the journal's topic, "
            "let its ACL admit Headgate's workers alone (docs/operate/workers.md, Who may write)"
        )
        self.key = key


def body_key(number: int) -> bytes:
    return b"body:%d" % number


def run_key(run_id: str) -> bytes:
    return b"run:" + run_id.encode()


def step_key(run_id: str, number: int) -> bytes:
    return b"step:%b#%d" % (run_id.encode(), number)


def pending_key(number: int, workflow_id: str) -> bytes:
    return b"pending:%d:%b" % (number, workflow_id.encode())


def schedule_key(workflow_id: str) -> bytes:
    return b"schedule:" + workflow_id.encode()


def out_key(slot: int) -> bytes:
    return b"out:%d" % slot


def parked_key(number: int) -> bytes:
    return b"parked:%d" % number


def ids_key(slot: int) -> bytes:
    return b"ids:%d" % slot


def pack_key(generation: int, number: int) -> bytes:
    return b"pack:%d:%d" % (generation, number)


def wait_key(wait_id: str) -> bytes:
    return b"wait:" + wait_id.encode()


def head_key(head: str, *, pattern: bool) -> bytes:
    return b"head:%b:%b" % (b"p" if pattern else b"l", head.encode())


def interest_key(registry: int, head: str, *, pattern: bool) -> bytes:
    return b"interest:%d:%b:%b" % (registry, b"p" if pattern else b"l", head.encode())


def fan_key(partition: int, offset: int) -> bytes:
    return b"fan:%d-%d" % (partition, offset)


def encode(value: Mapping[str, Any]) -> bytes:
    return b"%b" % orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)  # copied: what orjson writes has 4 KB at least


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


def unpack_digests(text: str, size: int) -> bytes:
    """Return the digests of `size` bytes in `text`, end to end. Raises ValueError."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) % size:
        raise ValueError(f"{len(raw)} bytes are no whole digests of {size} bytes")
    return raw


def bytes_field(value: bytes | None, readable: int = READABLE_BYTES) -> Any:
    """JSON of bytes that come back as they were: text where UTF-8, else base64 in an array of one.

    Base64 too where escapes would take more than it does: JSON within JSON multiplies them.
    """
    if value is None:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return [base64.b64encode(value).decode()]
    size = len(value)
    if size > readable and len(orjson.dumps(text)) > size * 4 // 3 + 4:
        return [base64.b64encode(value).decode()]
    return text


def field_bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    return base64.b64decode(value[0])


def headers_field(headers: Headers) -> list[list[Any]]:
    most = READABLE_HEADER_BYTES
    return [
        [name if len(name) <= most else bytes_field(name.encode(), most), bytes_field(value, most)]
        for name, value in headers
    ]


def field_headers(value: Sequence[Sequence[Any]]) -> tuple[tuple[str, bytes | None], ...]:
    return tuple(
        (name if type(name) is str else base64.b64decode(name[0]).decode(), field_bytes(content))
        for name, content in value
    )
