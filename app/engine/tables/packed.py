"""Many small values in little memory: end to end in buckets, found by a key of 8 bytes.

Beside its bytes a value takes some 15, where an entry of a dict with its objects takes 200 and more. The table grows by
one bucket at a time (linear hashing), so no round pays for all of it. Several values may share a key.

A bucket is bytes that are made anew when they change, 0.2 us: a bytearray has room to spare, and an object of 64 bytes
which would hold fast what else was in its part of the heap (a megabyte) during a burst.
"""

from array import array
from collections.abc import Iterator
from typing import Final

KEY_BYTES: Final = 8
MOST_BYTES: Final = 0xFFFF
"""Of a value."""
_HEAD: Final = KEY_BYTES + 2
_NUMBER: Final = int.from_bytes
_BUCKET: Final = 16
"""Values that a bucket has on average: they are looked through one after the other."""


class Packed:
    """Values by key. Their order is chance, but the same wherever the same was put in and taken out."""

    __slots__ = ("_buckets", "_count", "_level", "any")

    def __init__(self) -> None:
        self._buckets = [b""]
        self._level = 1
        """A power of two: so many buckets there were before the table began to grow to twice as many."""
        self._count = 0
        self.any = False
        """Whether there ever was a value: to ask costs nothing."""

    def __len__(self) -> int:
        return self._count

    def put(self, key: bytes, value: bytes) -> None:
        """Add a value. Raises ValueError for one that is too long."""
        if len(key) != KEY_BYTES or len(value) > MOST_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, a value at most {MOST_BYTES}")
        if self._count >= _BUCKET * len(self._buckets):
            self._grow()
        slot = self._slot(key)
        self._buckets[slot] += b"%b%b%b" % (key, len(value).to_bytes(2, "little"), value)
        self._count += 1
        self.any = True

    def may_hold(self, key: bytes) -> bool:
        """Whether there may be a value of a key: no is certain, and cheap."""
        slot = _NUMBER(key, "little") & (2 * self._level - 1)
        buckets = self._buckets
        return key in buckets[slot if slot < len(buckets) else slot - self._level]

    def many(self, key: bytes, count: int) -> bool:
        """Whether a key has some `count` values or more."""
        return self._buckets[self._slot(key)].count(key) >= count

    def of(self, key: bytes) -> Iterator[bytes]:
        """Yield the values of a key; the table must not change meanwhile."""
        bucket = self._buckets[self._slot(key)]
        at = _find(bucket, key, 0)
        while at >= 0:
            end = _end(bucket, at)
            yield bucket[at + _HEAD : end]
            at = _find(bucket, key, end)

    def take(self, key: bytes, value: bytes | None = None) -> bytes | None:
        """Take out the first value of a key, or this one; return it, None if it is not there."""
        slot = self._slot(key)
        bucket = self._buckets[slot]
        at = _find(bucket, key, 0)
        while at >= 0:
            end = _end(bucket, at)
            found = bucket[at + _HEAD : end]
            if value is None or found == value:
                self._buckets[slot] = bucket[:at] + bucket[end:]
                self._count -= 1
                return found
            at = _find(bucket, key, end)
        return None

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values; what is put in or taken out meanwhile may be missed, or come twice."""
        at = 0
        while at < len(self._buckets):
            bucket = self._buckets[at]
            at += 1
            start = 0
            while start < len(bucket):
                end = _end(bucket, start)
                yield bucket[start : start + KEY_BYTES], bucket[start + _HEAD : end]
                start = end

    def packed(self) -> tuple[bytes, list[bytes]]:
        """Return how many bytes each bucket has, and the buckets, which stay as they are whatever comes after."""
        return array("I", map(len, self._buckets)).tobytes(), self._buckets.copy()

    @classmethod
    def restored(cls, sizes: bytes, content: bytes | memoryview, count: int) -> "Packed":
        """Return what `packed` was made of, with `count` values. Raises ValueError."""
        made = cls()
        numbers = array("I", sizes)
        if not numbers or sum(numbers) != len(content):
            raise ValueError("its buckets do not add up")
        made._buckets.clear()
        at = 0
        for size in numbers:
            made._buckets.append(bytes(content[at : at + size]))
            at += size
        while made._level * 2 <= len(numbers):
            made._level *= 2
        made._count = count
        made.any = count > 0
        return made

    def _slot(self, key: bytes) -> int:
        slot = _NUMBER(key, "little") & (2 * self._level - 1)
        return slot if slot < len(self._buckets) else slot - self._level

    def _grow(self) -> None:
        """Give half of one bucket to a new one."""
        buckets, level = self._buckets, self._level
        new = len(buckets)
        old = new - level
        mask = 2 * level - 1
        stay: list[bytes] = []
        move: list[bytes] = []
        bucket = buckets[old]
        at = 0
        while at < len(bucket):
            end = _end(bucket, at)
            number = _NUMBER(bucket[at : at + KEY_BYTES], "little")
            (move if number & mask == new else stay).append(bucket[at:end])
            at = end
        buckets[old] = b"".join(stay)
        buckets.append(b"".join(move))
        if len(buckets) == 2 * level:
            self._level = 2 * level


def _end(bucket: bytes, at: int) -> int:
    return at + _HEAD + (bucket[at + KEY_BYTES] | bucket[at + KEY_BYTES + 1] << 8)


def _find(bucket: bytes, key: bytes, start: int) -> int:
    """Return where the first value of the key is from `start` on, which is where one begins; -1 for none."""
    found = bucket.find(key, start)
    at = start
    while found >= 0:
        while at < found:
            at = _end(bucket, at)
        if at == found:
            return at
        found = bucket.find(key, at)  # these bytes were within a value
    return -1
