"""Record batches whose header names are no UTF-8. aiokafka refuses to read such a record and all that come after it.

Only used when its own parser has refused, because it is many times slower: the names come out with escapes, so that
the record can become a dead letter like every other that is not as it should be.
"""

from typing import Any

from aiokafka.record.default_records import _DefaultRecordBatchPy

_HEAD_BYTES = 12
"""Base offset and length of a batch, which the length does not count."""


class _Text(bytearray):
    """Bytes that decode whatever they are."""

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, "backslashreplace" if errors == "strict" else errors)


class _Buffer(bytearray):
    """A buffer whose slices are `_Text`."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Text(found) if isinstance(at, slice) else found


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        if not isinstance(self._buffer, _Buffer):
            self._buffer = _Buffer(self._buffer)


class LenientRecords:
    """What aiokafka's MemoryRecords is, for `PartitionRecords`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def size_in_bytes(self) -> int:
        return len(self._data)

    def has_next(self) -> bool:
        return self._end() is not None

    def next_batch(self) -> Any:
        end = self._end()
        if end is None:
            return None
        batch = _Batch(bytearray(self._data[self._at : end]))
        self._at = end
        return batch

    def _end(self) -> int | None:
        """Return where the next whole batch ends; brokers cut the last one of an answer."""
        head = self._data[self._at : self._at + _HEAD_BYTES]
        if len(head) < _HEAD_BYTES:
            return None
        end = self._at + _HEAD_BYTES + int.from_bytes(head[8:], "big")
        return end if end <= len(self._data) else None
