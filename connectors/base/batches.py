"""Consumers whose batches are bounded: what is compressed is unpacked only where that costs a bounded amount of memory.

Called by everything here that opens an AIOKafkaConsumer. aiokafka (pinned) unpacks whatever comes: a megabyte may hold
a thousand. It also stops for ever at a record that it cannot read, such as one with a header whose name is no UTF-8.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from connectors.base.logs import warn
from topics import compressed

UNPACKED_BYTES: Final = 16 * 1024 * 1024
"""A compressed batch that may become larger is never unpacked."""
TOGETHER_BYTES: Final = 3 * 1024 * 1024
"""What the compressed batches of one partition in one answer may become together, if they are several."""
_SIZES: Final = struct.Struct(">qi")
_FORMAT_AT: Final = 16
_ATTRIBUTES_AT: Final = 21
_RECORDS_AT: Final = 61
"""Where attributes and records of a batch begin (format 2)."""
_OLD_ATTRIBUTES_AT: Final = 17
_CODEC: Final = 0b111

PassedOver = Callable[[TopicPartition, int, int, str], None]
"""Hears of a batch that is left out: where it is, its first and its last offset, and why."""


def say_passed_over(where: TopicPartition, first: int, last: int, reason: str) -> None:
    """Say in the log what is left out of a topic of ours: whoever wrote it there has to write it anew."""
    warn("batch_passed_over", topic=where.topic, partition=where.partition, first=first, last=last, reason=reason)


def guard(consumer: AIOKafkaConsumer, passed_over: PassedOver, *, unreadable: Literal["raise", "pass over"]) -> None:
    """Let a consumer that has been started leave out what would become too large, and say so.

    `unreadable`: what becomes of batches that aiokafka cannot read. With `raise` it raises at the record.
    """
    fetcher = consumer._fetcher
    answers = fetcher._client = _Answers(fetcher._client)
    fetch = fetcher._proc_fetch_request

    async def fetched(*arguments: Any) -> Any:
        done = await fetch(*arguments)
        # Nothing has been awaited since the answer came: nobody has read what it has put there.
        for where, data in answers.taken().items():
            records = getattr(fetcher._records.get(where), "_partition_records", None)
            if records is not None and isinstance(records._records, MemoryRecords):
                records._records = _Guarded(where, data, passed_over, is_read=unreadable == "pass over")
        return done

    fetcher._proc_fetch_request = fetched


class _Answers:
    """A client that shows what it was answered."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._data: dict[TopicPartition, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node: Any, request: Any, **options: Any) -> Any:
        answer = await self._client.send(node, request, **options)
        if isinstance(request, FetchRequest):
            self._data = {
                TopicPartition(topic, partition): rest[-1] or b""
                for topic, partitions in answer.topics
                for partition, *rest in partitions
            }
        return answer

    def taken(self) -> dict[TopicPartition, bytes]:
        data, self._data = self._data, {}
        return data


class _Guarded:
    """What aiokafka's MemoryRecords is, of batches that may be read."""

    def __init__(self, where: TopicPartition, data: bytes, passed_over: PassedOver, *, is_read: bool) -> None:
        self._where, self._data, self._passed_over, self._is_read = where, memoryview(data), passed_over, is_read
        self._records = MemoryRecords(data)
        self._at = self._unpacked = 0

    def has_next(self) -> bool:
        return self._unpacked <= TOGETHER_BYTES and bool(self._records.has_next())

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        first, size = _SIZES.unpack_from(self._data, self._at)
        raw = self._data[self._at : self._at + _SIZES.size + size]
        self._at += len(raw)
        if batch is None or batch.is_control_batch or not batch.validate_crc():
            return batch  # aiokafka finds a wrong checksum once more, and raises
        last = batch.next_offset - 1
        which = f"the batch of offsets {first} to {last}"
        try:
            codec, packed = _packed(raw)
            if codec:
                bound = compressed.most_bytes(codec, packed, UNPACKED_BYTES)
                if bound > UNPACKED_BYTES:
                    return self._left_out(batch, first, last, f"{which} may unpack to more than {UNPACKED_BYTES} bytes")
                self._unpacked += bound
            return _Batch(batch, list(batch)) if self._is_read else batch
        except compressed.UNREADABLE as error:
            if not self._is_read:
                return batch  # it is raised where it is read
            return self._left_out(batch, first, last, f"{which} cannot be read: {type(error).__name__}: {error}")

    def _left_out(self, batch: Any, first: int, last: int, reason: str) -> "_Batch":
        self._passed_over(self._where, first, last, reason)
        return _Batch(batch, [])


class _Batch:
    """A batch of aiokafka, with records that are read already."""

    def __init__(self, batch: Any, records: list[Any]) -> None:
        self._batch, self._records = batch, records

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def validate_crc(self) -> bool:
        return True  # it was, before its records were read; aiokafka's own does not want to be asked afterwards

    def __iter__(self) -> Iterator[Any]:
        return iter(self._records)


def _packed(raw: memoryview) -> tuple[int, memoryview]:
    """Return the compression of a batch, 0 for none, and what is compressed. Raises one of compressed.UNREADABLE."""
    form = raw[_FORMAT_AT]
    if form >= 2:
        (attributes,) = struct.unpack_from(">h", raw, _ATTRIBUTES_AT)
        return attributes & _CODEC, raw[_RECORDS_AT:]
    # Of brokers before 0.11: one message, whose value holds the others.
    at = _OLD_ATTRIBUTES_AT + 1 + 8 * form
    (key,) = struct.unpack_from(">i", raw, at)
    at += 4 + max(0, key)
    (value,) = struct.unpack_from(">i", raw, at)
    return raw[_OLD_ATTRIBUTES_AT] & _CODEC, raw[at + 4 : at + 4 + max(0, value)]
