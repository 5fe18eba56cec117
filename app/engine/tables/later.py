"""Timers that are far away, packed by the second in which they are due. Used by `timers`.

A timer takes some 70 bytes here; as an entry of the heap, with its objects, 250.
"""

import heapq
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Any, Final

SLOT_MS: Final = 1_024
_HEAD: Final = Struct("<HIBHh")
"""Milliseconds in the slot, count, kind, length of the name, and of the group: -1 for none."""

Entry = tuple[int, int, int, str, str | None]
"""When it is due, its number in the order of all timers, its kind, name, group."""


class Later:
    """Timers by slots of time."""

    __slots__ = ("_count", "_order", "_slots")

    def __init__(self) -> None:
        self._slots: dict[int, bytearray] = {}
        self._order: list[int] = []
        """A heap of the slots."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, entry: Entry) -> None:
        due_ms, count, kind, name, group = entry
        number, ms = divmod(due_ms, SLOT_MS)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = bytearray()
            heapq.heappush(self._order, number)
        named = name.encode(errors="surrogatepass")
        grouped = b"" if group is None else group.encode(errors="surrogatepass")
        slot += _HEAD.pack(ms, count & 0xFFFFFFFF, kind, len(named), -1 if group is None else len(grouped))
        slot += named
        slot += grouped
        self._count += 1

    def first_ms(self) -> int | None:
        """Return when the first slot begins."""
        return self._order[0] * SLOT_MS if self._order else None

    def take(self, until_ms: int) -> Iterator[Entry]:
        """Take out all timers of the slots that have begun by then."""
        while self._order and self._order[0] * SLOT_MS <= until_ms:
            number = heapq.heappop(self._order)
            entries = list(_entries(number, bytes(self._slots.pop(number))))
            self._count -= len(entries)
            yield from entries

    def __iter__(self) -> Iterator[Entry]:
        for number in sorted(self._order):
            yield from _entries(number, bytes(self._slots[number]))

    def packed(self) -> tuple[dict[str, Any], bytes]:
        """Return what is written as JSON, and a block."""
        numbers = sorted(self._order)
        sizes = [len(self._slots[number]) for number in numbers]
        about = {"count": self._count, "slots": numbers, "sizes": sizes}
        return about, b"".join([self._slots[number] for number in numbers])

    @classmethod
    def restored(cls, about: Mapping[str, Any], content: bytes | memoryview) -> "Later":
        """Return what `packed` was made of. Raises ValueError, LookupError."""
        made = cls()
        at = 0
        for number, size in zip(about["slots"], about["sizes"], strict=True):
            made._slots[number] = bytearray(content[at : at + size])
            at += size
        if at != len(content):
            raise ValueError("its slots do not add up")
        made._order = list(about["slots"])  # sorted, so it is a heap
        made._count = about["count"]
        return made


def _entries(number: int, slot: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(slot):
        ms, count, kind, name, group = _HEAD.unpack_from(slot, at)
        at += _HEAD.size
        named = slot[at : at + name].decode(errors="surrogatepass")
        at += name
        grouped = None if group < 0 else slot[at : at + group].decode(errors="surrogatepass")
        at += max(0, group)
        yield number * SLOT_MS + ms, count, kind, named, grouped
