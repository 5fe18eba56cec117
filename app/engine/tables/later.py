"""Timers that are far away, packed by the second in which they are due. Used by `timers`.

A timer takes some 30 bytes here; as an entry of the heap, with its objects, 250. Of its name there is the digest of a
run's id, and what stands before and behind it, as numbers.
"""

import heapq
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Any, Final

from app.engine.tables.texts import Texts

SLOT_MS: Final = 1_024
TIMER_BYTES: Final = 35
"""What a timer takes here."""
_HEAD: Final = Struct("<HIB")
"""Milliseconds in the slot, count, kind."""
_NAMED: Final = Struct("<12sHHH")
"""A digest, and the numbers of what stands before it, of what stands behind it, and of the group."""
_SPELT: Final = 0x80
"""Added to the kind where the texts themselves follow."""
_LENGTHS: Final = Struct("<Hh")
"""Of a name and of a group: -1 for none."""
_NONE: Final = 0xFFFF

Entry = tuple[int, int, int, str, str | None]
"""When it is due, its number in the order of all timers, its kind, name, group."""


class Later:
    """Timers by slots of time."""

    __slots__ = ("_ahead", "_count", "_looked", "_order", "_slots", "_texts")

    def __init__(self) -> None:
        self._slots: dict[int, bytearray] = {}
        self._order: list[int] = []
        """A heap of the slots."""
        self._ahead: list[int] = []
        """A heap of those that were not looked at before their time."""
        self._looked = 0
        """How far the first of these was, in bytes."""
        self._count = 0
        self._texts = Texts()

    def __len__(self) -> int:
        return self._count

    @property
    def weight(self) -> int:
        """What they take in memory, by estimate, in bytes."""
        return self._count * TIMER_BYTES

    def add(self, entry: Entry) -> None:
        due_ms, count, kind, name, group = entry
        number, ms = divmod(due_ms, SLOT_MS)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = bytearray()
            heapq.heappush(self._order, number)
            heapq.heappush(self._ahead, number)
            if self._ahead[0] == number:
                self._looked = 0
        before, digest, behind = self._texts.around(name)
        grouped = _NONE if group is None else self._texts.shared(group, digest)
        if type(before) is int and type(behind) is int and type(grouped) is int:
            slot += _HEAD.pack(ms, count & 0xFFFFFFFF, kind)
            slot += _NAMED.pack(digest, before, behind, grouped)
        else:
            slot += _HEAD.pack(ms, count & 0xFFFFFFFF, kind | _SPELT)
            slot += _spelt(name, group)
        self._count += 1

    def first_ms(self) -> int | None:
        """Return when the first slot begins."""
        return self._order[0] * SLOT_MS if self._order else None

    def take(self, until_ms: int) -> Iterator[Entry]:
        """Take out all timers of the slots that have begun by then."""
        while self._order and self._order[0] * SLOT_MS <= until_ms:
            number = heapq.heappop(self._order)
            while self._ahead and self._ahead[0] <= number:
                self._next_ahead()
            entries = list(self._entries(number, bytes(self._slots.pop(number))))
            self._count -= len(entries)
            yield from entries

    def first_ahead_ms(self) -> int | None:
        """Return when the first slot begins that was not looked at before its time."""
        return self._ahead[0] * SLOT_MS if self._ahead else None

    def look_ahead(self, until_ms: int, most: int) -> list[Entry]:
        """Return some `most` timers of slots that will have begun by then, each once; they stay where they are."""
        found: list[Entry] = []
        while self._ahead and self._ahead[0] * SLOT_MS <= until_ms and len(found) < most:
            number = self._ahead[0]
            slot = self._slots[number]
            while self._looked < len(slot) and len(found) < most:
                entry, self._looked = self._entry(number, slot, self._looked)
                found.append(entry)
            if self._looked >= len(slot):
                self._next_ahead()
        return found

    def __iter__(self) -> Iterator[Entry]:
        for number in sorted(self._order):
            yield from self._entries(number, bytes(self._slots[number]))

    def packed(self) -> tuple[dict[str, Any], bytes]:
        """Return what is written as JSON, and a block."""
        numbers = sorted(self._order)
        sizes = [len(self._slots[number]) for number in numbers]
        about = {"count": self._count, "texts": self._texts.texts, "slots": numbers, "sizes": sizes}
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
        made._ahead = list(about["slots"])
        made._count = about["count"]
        made._texts = Texts(about["texts"])
        return made

    def _next_ahead(self) -> None:
        heapq.heappop(self._ahead)
        self._looked = 0

    def _entries(self, number: int, slot: bytes) -> Iterator[Entry]:
        at = 0
        while at < len(slot):
            entry, at = self._entry(number, slot, at)
            yield entry

    def _entry(self, number: int, slot: bytes | bytearray, at: int) -> tuple[Entry, int]:
        """Return a timer, and where the next one begins."""
        ms, count, kind = _HEAD.unpack_from(slot, at)
        at += _HEAD.size
        if kind & _SPELT:
            named, grouped = _LENGTHS.unpack_from(slot, at)
            at += _LENGTHS.size
            name = slot[at : at + named].decode(errors="surrogatepass")
            at += named
            group = None if grouped < 0 else slot[at : at + grouped].decode(errors="surrogatepass")
            at += max(0, grouped)
        else:
            texts = self._texts.texts
            digest, before, behind, grouped = _NAMED.unpack_from(slot, at)
            at += _NAMED.size
            name = f"{texts[before]}{digest.hex()}{texts[behind]}"
            group = None if grouped == _NONE else texts[grouped]
        return (number * SLOT_MS + ms, count, kind & ~_SPELT, name, group), at


def _spelt(name: str, group: str | None) -> bytes:
    named = name.encode(errors="surrogatepass")
    grouped = b"" if group is None else group.encode(errors="surrogatepass")
    return _LENGTHS.pack(len(named), -1 if group is None else len(grouped)) + named + grouped
