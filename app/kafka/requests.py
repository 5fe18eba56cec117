"""Produce and Fetch, encoded and decoded by hand: the two requests that a worker makes thousands of times a second.

aiokafka describes every field with an object of its own, and its producer and consumer keep queues around them; that
cost more than all the rest of a small round. The layouts are Kafka's: ProduceRequest 7, FetchRequest 11
(https://kafka.apache.org/protocol). Every broker since 2.3 speaks these versions. The connections, with TLS, SASL and
the framing, are aiokafka's; these classes are what its `AIOKafkaConnection.send` takes.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from struct import Struct
from typing import Any, ClassVar, Final, NamedTuple

from aiokafka import errors

_HEADER: Final = Struct(">hhih")
_CORRELATION: Final = Struct(">i")
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


class _Header:
    def __init__(self, request: "_Request", correlation_id: int, client_id: str) -> None:
        name = client_id.encode()
        self._bytes = _HEADER.pack(request.API_KEY, request.API_VERSION, correlation_id, len(name)) + name

    def encode(self) -> bytes:
        return self._bytes


class _Answered(NamedTuple):
    correlation_id: int


class _Request:
    """The side of aiokafka's `RequestStruct` that its connection uses."""

    API_KEY: ClassVar[int]
    API_VERSION: ClassVar[int]
    RESPONSE_TYPE: ClassVar[Any]

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> "_Request":
        lowest, highest = versions.get(self.API_KEY, (0, -1))
        if not lowest <= self.API_VERSION <= highest:
            raise errors.IncompatibleBrokerVersion(
                f"the broker speaks versions {lowest} to {highest} of request {self.API_KEY}, not {self.API_VERSION}: "
                "Headgate needs Kafka 2.3 or newer"
            )
        return self

    def build_request_header(self, correlation_id: int, client_id: str) -> _Header:
        return _Header(self, correlation_id, client_id)

    def parse_response_header(self, answer: BytesIO) -> _Answered:
        return _Answered(*_CORRELATION.unpack(answer.read(4)))


class Produced7:
    """Decodes ProduceResponse 7."""

    @staticmethod
    def decode(answer: BytesIO) -> list[Produced]:
        data, at = answer.getvalue(), answer.tell()
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


class Produce(_Request):
    """Append `batches`, acknowledged by all replicas in sync. No partition of a topic may be in it twice."""

    API_KEY = 0
    API_VERSION = 7
    RESPONSE_TYPE = Produced7

    def __init__(self, batches: Sequence[Batch], *, timeout_ms: int) -> None:
        self._batches = batches
        self._timeout_ms = timeout_ms

    def encode(self) -> bytes:
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
        return b"".join(parts)


class Fetched11:
    """Decodes FetchResponse 11."""

    @staticmethod
    def decode(answer: BytesIO) -> tuple[int, list[Fetched]]:
        """Return the error of the whole request, 0 for none, and what there is of each partition."""
        data, at = answer.getvalue(), answer.tell()
        found: list[Fetched] = []
        _, error, _, topics = _ANSWER.unpack_from(data, at)
        at += _ANSWER.size
        for _ in range(topics):
            topic, at = _text(data, at)
            (partitions,) = _INT.unpack_from(data, at)
            at += 4
            for _ in range(partitions):
                partition, error, _, _, _, aborts = _FETCHED.unpack_from(data, at)
                at += _FETCHED.size
                aborted: list[tuple[int, int]] = []
                for _ in range(aborts):
                    aborted.append(_ABORTED.unpack_from(data, at))
                    at += _ABORTED.size
                size = max(0, _INT.unpack_from(data, at + 4)[0])  # after the preferred replica
                at += 8
                if size or error:
                    found.append(Fetched(topic, partition, error, aborted, data[at : at + size]))
                at += size
        return error, found


class Fetch(_Request):
    """Ask for committed records; the broker holds an answer without any for `wait_ms`."""

    API_KEY = 1
    API_VERSION = 11
    RESPONSE_TYPE = Fetched11

    def __init__(self, asked: Sequence[Asked], *, wait_ms: int, most_bytes: int, partition_bytes: int) -> None:
        self._asked = asked
        self._wait_ms = wait_ms
        self._most_bytes = most_bytes
        self._partition_bytes = partition_bytes

    def encode(self) -> bytes:
        by_topic: dict[str, list[Asked]] = {}
        for one in self._asked:
            by_topic.setdefault(one.topic, []).append(one)
        parts = [
            _FETCH.pack(-1, self._wait_ms, 1, self._most_bytes, READ_COMMITTED, 0, NO_SESSION, len(by_topic)),
        ]
        for topic, asked in by_topic.items():
            parts.append(_encoded(topic))
            parts.append(_INT.pack(len(asked)))
            parts.extend(_ASKED.pack(one.partition, -1, one.offset, -1, self._partition_bytes) for one in asked)
        parts.append(_END.pack(0, 0))  # nothing forgotten, no rack
        return b"".join(parts)


def _encoded(text: str) -> bytes:
    raw = text.encode()
    return _SHORT.pack(len(raw)) + raw


def _text(data: bytes, at: int) -> tuple[str, int]:
    (length,) = _SHORT.unpack_from(data, at)
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length
