"""Reads and writes records for the command line, with confluent-kafka: what a person looks at, not what runs.

Readers use no group: looking never moves an offset, and starts no rebalance.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from app.kafka import clients
from app.kafka.admin import Admin
from app.settings import KafkaSettings

_POLL_SECONDS: Final = 0.2
_AT_ONCE: Final = 500
_GATHER_SECONDS: Final = 0.02
# For a header whose name is not UTF-8 the library returns a broken list and sets an exception. Python notices that in a
# call from C, always; in `message.headers()` not once it has optimised the call, and the list crashes the process.
_headers_of: Final = methodcaller("headers")


class TopicMissing(Exception):
    """A topic of Headgate's is not there."""

    exit_code: Final = 1

    def __init__(self, topic: str) -> None:
        super().__init__(f"Topic {topic} is missing. Run `headgate topics apply`, or mend kafka.prefix")
        self.topic = topic


class NotWritten(Exception):
    """Kafka did not take a record."""

    exit_code: Final = 1

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"Kafka did not take the record for {topic}: {reason}. `headgate doctor` looks for the cause")
        self.topic, self.reason = topic, reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record as it lies in Kafka."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    has_odd_headers: bool = False
    """A header's name is not UTF-8: the library gives none of them, so `headers` is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Where a record landed."""

    partition: int
    offset: int


class Reader:
    """Reads one topic, all of its partitions, committed records only. Close it, or use it in a `with`."""

    def __init__(
        self,
        kafka: KafkaSettings,
        admin: Admin,
        topic: str,
        *,
        from_start: bool,
        last: int = 0,
        begin: Mapping[int, int] | None = None,
    ) -> None:
        """Raises TopicMissing. The place to start is fixed here: what is appended from now on is read.

        Where not from the start, `last` offsets of each partition before it are read as well. With `begin`, its
        partitions alone are read, from these offsets.
        """
        found = admin.topics([topic])
        if topic not in found:
            raise TopicMissing(topic)
        self._kafka = kafka
        partitions = {topic: found[topic].partitions}
        self._ends = {partition: end for (_, partition), end in admin.end_offsets(partitions).items()}
        self._consumer = Consumer(
            clients.confluent_config(kafka)
            | {
                "group.id": f"{kafka.prefix}cli",  # the library wants one; nothing is committed and nobody joins
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",  # retention may pass us while we read
                "fetch.error.backoff.ms": 100,
            }
        )
        # Given as numbers: the library would look up "the beginning" and wait half a second before it asks.
        first = admin.first_offsets(partitions) if from_start or last else {}
        back = {(topic, p): max(end - last, first.get((topic, p), 0)) for p, end in self._ends.items()}
        starts = first if from_start else back
        if begin is not None:
            starts = {(topic, partition): offset for partition, offset in begin.items()}
            self._ends = {partition: self._ends[partition] for partition in begin}
        self._consumer.assign([TopicPartition(name, number, start) for (name, number), start in starts.items()])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._consumer.close()

    def existing(self) -> Iterator[Record]:
        """What was there when the reader was made, partition by partition in order."""
        waiting = {partition for partition, end in self._ends.items() if end > 0}
        for record in self._read(waiting):
            if record is not None and record.offset < self._ends[record.partition]:
                yield record

    def following(self) -> Iterator[Record | None]:
        """What is there and what comes, for ever; None whenever there is nothing new for a moment."""
        return self._read(None)

    def _read(self, waiting: set[int] | None) -> Iterator[Record | None]:
        """With `waiting`, end as soon as each of these partitions has been read to where it ended."""
        quiet_since = time.monotonic()
        while waiting is None or waiting:
            # `consume` would wait for all of _AT_ONCE until its time-out: wait for one, then take what is there.
            first = self._consumer.poll(_POLL_SECONDS)
            messages = [] if first is None else [first, *self._consumer.consume(_AT_ONCE - 1, _GATHER_SECONDS)]
            for message in _by_time(messages):
                quiet_since = time.monotonic()
                error = message.error()
                if error is None:
                    yield _record(message)
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise self._translated(error)
                if waiting is not None and _next_offset(message) >= self._ends[_partition(message)]:
                    waiting.discard(_partition(message))
            if not messages:
                if waiting is not None and time.monotonic() - quiet_since > self._kafka.request_timeout_seconds:
                    raise clients.KafkaUnreachable(self._kafka.bootstrap, "it went away while records were read")
                yield None

    def _translated(self, error: KafkaError) -> Exception:
        return clients.KafkaUnreachable(self._kafka.bootstrap, error.str(), "`headgate doctor` looks for the cause")


class Writer:
    """Writes records durably: acknowledged by all copies that are in sync."""

    def __init__(self, kafka: KafkaSettings) -> None:
        """Raises KafkaUnreachable."""
        timeout = kafka.request_timeout_seconds
        self._producer = Producer(clients.producer_config(kafka) | {"delivery.timeout.ms": round(timeout * 1000)})
        try:
            # Connected before the first record: the idempotent producer would look for a broker once in half a second.
            self._producer.list_topics(timeout=timeout)
        except KafkaException as raised:
            raise clients.KafkaUnreachable(kafka.bootstrap, raised.args[0].str()) from None

    def write(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int | None = None,
        then: Callable[[Written], None],
    ) -> None:
        """Hand over one record; `then` is called with its place, from `flush` or a later `write`.

        Raises NotWritten, for this record or an earlier one.
        """

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                raise NotWritten(topic, error.str())
            then(Written(partition=_partition(message), offset=_offset(message)))

        place = -1 if partition is None else partition  # -1 lets the partitioner choose
        while True:
            try:
                self._producer.produce(topic, value, key, place, delivered, headers=list(headers))
                break
            except BufferError:  # its queue is full: wait for some of it to go
                self._producer.poll(0.1)
            except KafkaException as raised:
                raise NotWritten(topic, raised.args[0].str()) from None
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until Kafka has acknowledged everything. Raises NotWritten."""
        self._producer.flush()


def since(kafka: KafkaSettings, admin: Admin, topic: str, at_ms: int) -> Iterator[Record]:
    """What has this time or a later one, and what follows it in its partition. Raises TopicMissing."""
    found = admin.topics([topic])
    if topic not in found:
        raise TopicMissing(topic)
    places = admin.offsets_since({topic: found[topic].partitions}, at_ms)
    begin = {partition: offset for (_, partition), offset in places.items()}
    with Reader(kafka, admin, topic, from_start=False, begin=begin) as reader:
        yield from reader.existing()


def whole(kafka: KafkaSettings, admin: Admin, topic: str, *, partition: int) -> Iterator[Record]:
    """All that one partition has now, in order. Raises TopicMissing."""
    found = admin.topics([topic])
    if topic not in found:
        raise TopicMissing(topic)
    first = admin.first_offsets({topic: found[topic].partitions})
    with Reader(kafka, admin, topic, from_start=False, begin={partition: first[topic, partition]}) as reader:
        yield from reader.existing()


def record_at(kafka: KafkaSettings, admin: Admin, topic: str, *, partition: int, offset: int) -> Record | None:
    """The record at one place, None where there is none (any more). Raises TopicMissing."""
    found = admin.topics([topic])
    if topic not in found:
        raise TopicMissing(topic)
    counts = {topic: found[topic].partitions}
    place = (topic, partition)
    first, end = admin.first_offsets(counts), admin.end_offsets(counts)
    if partition >= counts[topic] or not first[place] <= offset < end[place]:
        return None
    with Reader(kafka, admin, topic, from_start=False, begin={partition: offset}) as reader:
        for record in reader.existing():
            return record if record.offset == offset else None
    return None


def last_values(kafka: KafkaSettings, admin: Admin, topic: str) -> dict[bytes, Record]:
    """The last record of every key of a compacted topic; keys whose last record removes them are left out."""
    found: dict[bytes, Record] = {}
    with Reader(kafka, admin, topic, from_start=True) as reader:
        for record in reader.existing():
            if record.key is None:
                continue
            if record.value is None:
                found.pop(record.key, None)
            else:
                found[record.key] = record
    return found


def _record(message: Message) -> Record:
    headers: Any = ()
    odd = False
    try:
        headers = _headers_of(message) or ()
    except (SystemError, UnicodeDecodeError):  # the former, with the latter as its cause
        odd = True
    key, value = message.key(), message.value()
    return Record(
        topic=message.topic() or "",
        partition=_partition(message),
        offset=_offset(message),
        timestamp_ms=message.timestamp()[1],
        key=_bytes(key),
        value=_bytes(value),
        headers=tuple((str(name), _bytes(content)) for name, content in headers),
        has_odd_headers=odd,
    )


def _by_time(messages: list[Message]) -> list[Message]:
    """Partitions come one after the other; a person wants what happened first first. Partitions keep their order."""
    newest: dict[int, int] = {}

    def time_of(message: Message) -> int:
        partition = _partition(message)
        newest[partition] = max(newest.get(partition, 0), message.timestamp()[1])
        return newest[partition]

    return sorted(messages, key=time_of)


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _partition(message: Message) -> int:
    return message.partition() or 0


def _offset(message: Message) -> int:
    return message.offset() or 0


def _next_offset(message: Message) -> int:
    """Behind a record comes the next offset; the end of a partition already is the next one."""
    return _offset(message) + (message.error() is None)
