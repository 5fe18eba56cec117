"""A sorted set of whole numbers at 8 bytes each, for numbers that come and go nearly in their order."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Final

_TRIM: Final = 1024


class Numbers:
    """Grows at its end and shrinks at its front at no cost; elsewhere by moving what is on the shorter side."""

    __slots__ = ("_first", "_items")

    def __init__(self, given: Iterable[int] = ()) -> None:
        self._items = array("Q", sorted(set(given)))
        self._first = 0

    @classmethod
    def union(cls, several: "Iterable[Numbers]") -> "Numbers":
        """Return what at least one of `several` holds."""
        made = cls()
        made._items = array("Q", ascending(several))
        return made

    @classmethod
    def of(cls, packed: bytes) -> "Numbers":
        """Return what `packed` was made of. Raises ValueError."""
        made = cls()
        made._items.frombytes(packed)
        return made

    def packed(self) -> bytes:
        return self._items[self._first :].tobytes()

    def __len__(self) -> int:
        return len(self._items) - self._first

    def __iter__(self) -> Iterator[int]:
        return self.since(0)

    def since(self, number: int) -> Iterator[int]:
        """Yield the numbers from `number` on, in order; what is added or taken away meanwhile may be missed."""
        items = self._items
        for at in range(self._at(number), len(items)):
            yield items[at]

    def first(self, number: int) -> int | None:
        """Return the first number from `number` on, None when there is none."""
        at = self._at(number)
        return self._items[at] if at < len(self._items) else None

    def __contains__(self, number: int) -> bool:
        items = self._items
        at = self._at(number)
        return at < len(items) and items[at] == number

    def add(self, number: int) -> None:
        items = self._items
        if len(items) == self._first or number > items[-1]:
            items.append(number)
            return
        at = self._at(number)
        if items[at] != number:
            items.insert(at, number)

    def discard(self, number: int) -> None:
        items, first = self._items, self._first
        at = self._at(number)
        if at == len(items) or items[at] != number:
            return
        if at - first > len(items) - at:
            del items[at]
            return
        if at > first:
            items[first + 1 : at + 1] = items[first:at]
        self._first = first + 1
        if self._first >= _TRIM and 2 * self._first >= len(items):
            del items[: self._first]
            self._first = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbers) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        return f"Numbers({list(self)})"

    def _at(self, number: int) -> int:
        return bisect_left(self._items, number, self._first)


def ascending(several: Iterable[Iterable[int]]) -> Iterator[int]:
    """Yield the numbers of several ascending series in order, each once."""
    last = -1
    for one in merge(*several):
        if one != last:
            yield one
        last = one
