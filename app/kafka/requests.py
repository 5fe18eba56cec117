"""Produce and Fetch, encoded and decoded by hand: the two requests that a worker makes thousands of times a second.

aiokafka describes every field with an object of its own, and its producer and consumer keep queues around them; that
cost more than all the rest of a small round. The layouts are Kafka's: ProduceRequest 7, FetchRequest 11
(https://kafka.apache.org/protocol). Every broker since 2.3 speaks these versions.
"""

from collections.abc import Sequence
from itertools import groupby
from struct import Struct
from typing import Any, Final, NamedTuple, Protocol

from aiokafka import errors

_PRODUCE: Final = Struct(">hhii")
_SHORT: Final = Struct(">h")
_INT: Final = Struct(">i")
_PARTITION_SIZE: Final = Struct(">ii")
_PRODUCED: Final = Struct(">ihqqq")
_FETCH: Final = Struct(">iiiibiii")
_ASKED: Final = Struct(">iiqqi")
_ANSWER: Final = Struct(">ihii")
_FETCHED: Final = Struct(">ihqqqi")
_ABORTED: Final = Struct(">qq")
_END: Final = Struct(">ih")
READ_UNCOMMITTED: Final = 0
READ_COMMITTED: Final = 1
NO_SESSION: Final = -1


class Batch(NamedTuple):
    """A record batch to append."""

    topic: str
    partition: int
    data: bytes | bytearray


class Produced(NamedTuple):
    """What the broker says of one batch. `offset` is that of its first record."""

    topic: str
    partition: int
    error: int
    offset: int


class Asked(NamedTuple):
    """What to fetch of one partition."""

    topic: str
    partition: int
    offset: int


class Fetched(NamedTuple):
    """What the broker has of one partition."""

    topic: str
    partition: int
    error: int
    aborted: list[tuple[int, int]]
    """(producer id, first offset) of the aborted transactions in `data`."""
    data: bytes
    stable: int = -1
    """The offset from which on a transaction is open: what comes after it is held up."""
    end: int = -1
    """The offset after the last record, whatever became of it."""


class Request(Protocol):
    """A request and how its answer is read; `app.kafka.line` adds the header."""

    @property
    def api(self) -> tuple[int, int]:
        """Key and version."""

    def parts(self) -> list[bytes | bytearray]:
        """Return the request without its header, in pieces that go out one after the other."""

    def decode(self, data: memoryview, at: int) -> Any:
        """Return the answer, which begins at `at`. Raises struct.error, ValueError, KafkaError."""


class Produce:
    """Append `batches`, acknowledged by all replicas in sync. No partition of a topic may be in it twice."""

    api = (0, 7)

    def __init__(self, batches: Sequence[Batch], *, timeout_ms: int) -> None:
        self._batches = batches
        self._timeout_ms = timeout_ms

    def parts(self) -> list[bytes | bytearray]:
        by_topic: dict[str, list[Batch]] = {}
        for one in self._batches:
            by_topic.setdefault(one.topic, []).append(one)
        parts: list[bytes | bytearray] = [_PRODUCE.pack(-1, -1, self._timeout_ms, len(by_topic))]
        for topic, batches in by_topic.items():
            parts.append(_encoded(topic))
            parts.append(_INT.pack(len(batches)))
            for one in batches:
                parts.append(_PARTITION_SIZE.pack(one.partition, len(one.data)))
                parts.append(one.data)
        return parts

    def decode(self, data: memoryview, at: int) -> list[Produced]:
        found: list[Produced] = []
        (topics,) = _INT.unpack_from(data, at)
        at += 4
        for _ in range(topics):
            topic, at = _text(data, at)
            (partitions,) = _INT.unpack_from(data, at)
            at += 4
            for _ in range(partitions):
                partition, error, offset, _, _ = _PRODUCED.unpack_from(data, at)
                at += _PRODUCED.size
                found.append(Produced(topic, partition, error, offset))
        return found


class Fetch:
    """Ask for records, most wanted first; the broker holds an answer without any for `wait_ms`.

    With `committed` they are those of which it is decided that they count; else all, open transactions included.
    """

    api = (1, 11)

    def __init__(
        self, asked: Sequence[Asked], *, wait_ms: int, most_bytes: int, partition_bytes: int, committed: bool = True
    ) -> None:
        self._asked = asked
        self._isolation = READ_COMMITTED if committed else READ_UNCOMMITTED
        self._wait_ms = wait_ms
        self._most_bytes = most_bytes
        self._partition_bytes = partition_bytes

    def parts(self) -> list[bytes | bytearray]:
        # In the order asked, which is the order in which the broker fills its answer: a topic may come several times.
        groups = [(topic, list(asked)) for topic, asked in groupby(self._asked, key=lambda one: one.topic)]
        parts: list[bytes | bytearray] = [
            _FETCH.pack(-1, self._wait_ms, 1, self._most_bytes, self._isolation, 0, NO_SESSION, len(groups)),
        ]
        for topic, asked in groups:
            parts.append(_encoded(topic))
            parts.append(_INT.pack(len(asked)))
            parts.extend(_ASKED.pack(one.partition, -1, one.offset, -1, self._partition_bytes) for one in asked)
        parts.append(_END.pack(0, 0))  # nothing forgotten, no rack
        return parts

    def decode(self, data: memoryview, at: int) -> list[Fetched]:
        found: list[Fetched] = []
        _, error, _, topics = _ANSWER.unpack_from(data, at)
        if error:
            raise errors.for_code(error)
        at += _ANSWER.size
        for _ in range(topics):
            topic, at = _text(data, at)
            (partitions,) = _INT.unpack_from(data, at)
            at += 4
            for _ in range(partitions):
                partition, code, end, stable, _, aborts = _FETCHED.unpack_from(data, at)
                at += _FETCHED.size
                aborted: list[tuple[int, int]] = []
                for _ in range(aborts):
                    aborted.append(_ABORTED.unpack_from(data, at))
                    at += _ABORTED.size
                size = max(0, _INT.unpack_from(data, at + 4)[0])  # after the preferred replica
                at += 8
                if size or code or stable < end:
                    found.append(Fetched(topic, partition, code, aborted, bytes(data[at : at + size]), stable, end))
                at += size
        return found


def _encoded(text: str) -> bytes:
    raw = text.encode()
    return _SHORT.pack(len(raw)) + raw


def _text(data: memoryview, at: int) -> tuple[str, int]:
    (length,) = _SHORT.unpack_from(data, at)
    return str(data[at + 2 : at + 2 + length], "utf-8"), at + 2 + length
