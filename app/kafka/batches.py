"""Record batches of a fetch to committed records. The records are the compiled ones of aiokafka's parser."""

from collections import deque
from typing import Any

from aiokafka import errors
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from app.kafka.lenient import LenientRecords


def committed(data: bytes, aborted: list[tuple[int, int]], position: int) -> tuple[list[Any], int]:
    """Return the committed records from `position` on, and the offset to fetch after them, markers included.

    `aborted`: (producer id, first offset) of the aborted transactions in `data`. Raises CorruptRecordException.
    """
    try:
        return _unpacked(MemoryRecords(data), aborted, position)
    except UnicodeDecodeError:  # a header's name is no UTF-8
        return _unpacked(LenientRecords(data), aborted, position)


def _unpacked(batches: Any, aborted: list[tuple[int, int]], position: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    waiting = deque(sorted(aborted, key=lambda one: one[1]))
    gone: set[int] = set()
    while batches.has_next():
        batch = batches.next_batch()
        if not batch.validate_crc():
            raise errors.CorruptRecordException(f"a batch at or after offset {position} has a wrong checksum")
        if aborted:
            while waiting and waiting[0][1] <= batch.base_offset:
                gone.add(waiting.popleft()[0])
            if gone and _is_hidden(batch, gone):
                position = max(position, batch.next_offset)
                continue
        if not batch.is_control_batch:
            if batch.base_offset >= position:
                found.extend(batch)
            else:
                found.extend(record for record in batch if record.offset >= position)
        # The batch's own end: compaction may have taken its last records.
        position = max(position, batch.next_offset)
    return found, position


def _is_hidden(batch: Any, gone: set[int]) -> bool:
    """Whether `batch` belongs to an aborted transaction; an abort marker ends it."""
    if batch.producer_id not in gone:
        return False
    if batch.is_control_batch:
        if ControlRecord.parse(next(batch).key) == ABORT_MARKER:
            gone.discard(batch.producer_id)
        return True
    return bool(batch.is_transactional)
