"""Record batches of a fetch to committed records. The records are the compiled ones of aiokafka's parser."""

from collections import deque
from itertools import takewhile
from struct import Struct
from typing import Any, Final

import google_crc32c
from aiokafka import errors
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from app.kafka.lenient import LenientRecords
from app.kafka.log import Unreadable
from topics import compressed

UNPACKED_BYTES: Final = 16 * 1024 * 1024
"""A compressed batch that may become larger is never unpacked."""
TOGETHER_BYTES: Final = 3 * 1024 * 1024
"""What the compressed batches of one partition in one answer may become together, if they are several."""
LAST_OFFSET: Final = 2**63 - 1
_HEAD: Final = Struct(">qi")
_CHECK: Final = Struct(">bI")
_CHECK_AT: Final = 16
_CHECKED_AT: Final = 21
"""Where format and checksum of a batch stand, and from where on the checksum of format 2 is taken."""
_RECORDS_AT: Final = 61
"""Where the records of a batch begin (format 2)."""


def committed(
    data: bytes, aborted: list[tuple[int, int]], position: int, end: int = LAST_OFFSET
) -> tuple[list[Any], int]:
    """Return the committed records of `[position, end)`, and the offset to fetch after them, markers included.

    `aborted`: (producer id, first offset) of the aborted transactions in `data`. A compressed batch that cannot be
    unpacked, or not within bounds, is one Unreadable. Raises CorruptRecordException.
    """
    try:
        return _unpacked(data, MemoryRecords(data), aborted, position, end)
    except UnicodeDecodeError:  # a header's name is no UTF-8
        return _unpacked(data, LenientRecords(data), aborted, position, end)


def plain(data: bytes, position: int, end: int = LAST_OFFSET) -> tuple[list[Any], int]:
    """Like `committed`, of all records that are in no transaction, whatever becomes of those that are in one."""
    try:
        return _unpacked(data, MemoryRecords(data), None, position, end)
    except UnicodeDecodeError:  # a header's name is no UTF-8
        return _unpacked(data, LenientRecords(data), None, position, end)


def _unpacked(
    data: bytes, batches: Any, aborted: list[tuple[int, int]] | None, position: int, end: int
) -> tuple[list[Any], int]:
    found: list[Any] = []
    waiting = deque(sorted(aborted or (), key=lambda one: one[1]))
    gone: set[int] = set()
    at = size = 0
    while position < end and batches.has_next():
        batch = batches.next_batch()
        start, at = at, at + _HEAD.size + _HEAD.unpack_from(data, at)[1]
        if not _is_sound(batch, data, start, at):
            raise errors.CorruptRecordException(f"a batch at or after offset {position} has a wrong checksum")
        if aborted is None:
            if batch.is_transactional:
                position = max(position, batch.next_offset)
                continue
        elif aborted:
            while waiting and waiting[0][1] <= batch.base_offset:
                gone.add(waiting.popleft()[0])
            if gone and _is_hidden(batch, gone):
                position = max(position, batch.next_offset)
                continue
        if not batch.is_control_batch:
            if batch.compression_type:
                records, length = _opened(batch, memoryview(data)[start + _RECORDS_AT : at])
                if found and size + length > TOGETHER_BYTES:
                    break  # it is fetched again, after these
                size += length
            else:
                records = batch
            if batch.base_offset >= position and batch.next_offset <= end:
                found.extend(records)
            else:
                until_end = takewhile(lambda record: record.offset < end, records)
                found.extend(record for record in until_end if record.offset >= position)
        # The batch's own end: compaction may have taken its last records.
        position = max(position, batch.next_offset)
    return found, position


def _opened(batch: Any, raw: memoryview) -> tuple[Any, int]:
    """Return the records of a compressed batch and the most bytes that they take, or an Unreadable in their place."""
    last = batch.next_offset - 1
    which = f"the compressed batch of offsets {batch.base_offset} to {last}"
    try:
        length = compressed.most_bytes(batch.compression_type, raw, UNPACKED_BYTES)
        if length <= UNPACKED_BYTES:
            return list(batch), length
    except UnicodeDecodeError:
        raise
    except compressed.UNREADABLE as error:
        reason = f"{which} cannot be unpacked: {type(error).__name__}: {error}"
        return [Unreadable.batch(last, batch.max_timestamp, "batch_unreadable", reason)], 0
    reason = f"{which} may unpack to more than {UNPACKED_BYTES} bytes"
    return [Unreadable.batch(last, batch.max_timestamp, "batch_too_large", reason)], 0


def _is_sound(batch: Any, data: bytes, start: int, end: int) -> bool:
    """Compare a checksum. aiokafka takes 0.7 us for a KB, this 0.05 with the copy."""
    form, checksum = _CHECK.unpack_from(data, start + _CHECK_AT)
    if form < 2:
        return bool(batch.validate_crc())
    return bool(google_crc32c.value(data[start + _CHECKED_AT : end]) == checksum)


def _is_hidden(batch: Any, gone: set[int]) -> bool:
    """Whether `batch` belongs to an aborted transaction; an abort marker ends it."""
    if batch.producer_id not in gone:
        return False
    if batch.is_control_batch:
        if ControlRecord.parse(next(batch).key) == ABORT_MARKER:
            gone.discard(batch.producer_id)
        return True
    return bool(batch.is_transactional)
