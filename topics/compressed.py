"""How large a compressed record batch becomes, found out before it does: a megabyte may hold a thousand.

Upper bounds without unpacking where the format gives one. Formats: RFC 1952 (gzip), RFC 8878 (zstd), the LZ4 frame
format, Snappy in the blocks of snappy-java, as Kafka uses them.
"""

import struct
import zlib
from collections.abc import Callable
from typing import Final

import cramjam

UNREADABLE: Final = (cramjam.DecompressionError, zlib.error, struct.error, OSError, EOFError, ValueError, IndexError)
"""What unpacking damaged batches raises, here and in aiokafka."""

_PIECE_BYTES: Final = 1024 * 1024
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEAD_BYTES: Final = 16
_LZ4_MAGIC: Final = 0x184D2204
_LZ4_MOST_RATIO: Final = 255
_ZSTD_MAGIC: Final = 0xFD2FB528
_ZSTD_BLOCK_BYTES: Final = 128 * 1024
_SKIPPABLE: Final = 0x184D2A5


def most_bytes(codec: int, data: memoryview, limit: int) -> int:
    """Return a size that the unpacked records do not exceed; above `limit` it may be any that is larger.

    `codec` as in the attributes of a record batch. Raises one of UNREADABLE.
    """
    bound = _BOUNDS.get(codec)
    if bound is None:
        raise ValueError(f"compression {codec} is unknown")
    return bound(data, limit)


def _gzip(data: memoryview, limit: int) -> int:
    """Unpacked piece by piece, since deflate tells no sizes."""
    total = 0
    left = bytes(data)
    while left:
        stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while left and not stream.eof:
            total += len(stream.decompress(left, _PIECE_BYTES))
            if total > limit:
                return total
            left = stream.unconsumed_tail
        if not stream.eof:
            raise EOFError("the gzip stream is cut")
        left = stream.unused_data
    return total


def _snappy(data: memoryview, limit: int) -> int:
    if bytes(data[: len(_XERIAL)]) != _XERIAL:
        return int(cramjam.snappy.decompress_raw_len(data))
    total, at = 0, _XERIAL_HEAD_BYTES
    while at < len(data) and total <= limit:
        (size,) = struct.unpack_from(">i", data, at)
        if not 0 <= size <= len(data) - at - 4:
            raise ValueError(f"a snappy block of {size} bytes")
        total += int(cramjam.snappy.decompress_raw_len(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return total


def _lz4(data: memoryview, limit: int) -> int:
    total = at = 0
    while at < len(data) and total <= limit:
        (magic,) = struct.unpack_from("<I", data, at)
        if magic != _LZ4_MAGIC:
            raise ValueError("no LZ4 frame")
        flags, block = data[at + 4], data[at + 5] >> 4 & 7
        block_bytes = 1 << (8 + 2 * block)
        at += 7 + 8 * (flags >> 3 & 1) + 4 * (flags & 1)
        while True:
            (size,) = struct.unpack_from("<I", data, at)
            at += 4
            if not size:
                break
            stored, size = size >> 31, size & 0x7FFFFFFF
            total += size if stored else min(block_bytes, size * _LZ4_MOST_RATIO)
            at += size + 4 * (flags >> 4 & 1)
        at += 4 * (flags >> 2 & 1)
    return total


def _zstd(data: memoryview, limit: int) -> int:
    total = at = 0
    while at < len(data) and total <= limit:
        (magic,) = struct.unpack_from("<I", data, at)
        if magic >> 4 == _SKIPPABLE:
            at += 8 + struct.unpack_from("<I", data, at + 4)[0]
            continue
        if magic != _ZSTD_MAGIC:
            raise ValueError("no zstd frame")
        about = data[at + 4]
        single = about >> 5 & 1
        content = (single, 2, 4, 8)[about >> 6]
        at += 5 + (1 - single) + (0, 1, 2, 4)[about & 3] + content
        last = 0
        while not last:
            head = int.from_bytes(data[at : at + 3], "little")
            if len(data) - at < 3:
                raise EOFError("the zstd frame is cut")
            last, kind, size = head & 1, head >> 1 & 3, head >> 3
            total += min(size, _ZSTD_BLOCK_BYTES) if kind < 2 else _ZSTD_BLOCK_BYTES
            at += 3 + (1 if kind == 1 else size)
        at += 4 * (about >> 2 & 1)
    return total


_BOUNDS: Final[dict[int, Callable[[memoryview, int], int]]] = {1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}
