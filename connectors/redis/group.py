"""One consumer of a consumer group, in the commands of Redis Streams (redis.io, "Redis Streams"; Redis 6.2 and later).

A consumer's name is `<owner>@<base>`: the base is the same for all owners of a source, so that what a former owner has
left is found by name and taken over at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from connectors.base.contract import NotConnected, Refused
from connectors.redis.entries import Entry
from connectors.redis.link import GroupExists

Answer = TypeVar("Answer")

_Entries = list[tuple[bytes, list[bytes] | None] | None]
_READ: Final = TypeAdapter(list[tuple[bytes, _Entries]] | None)
_CLAIMED: Final = TypeAdapter(tuple[bytes, _Entries] | tuple[bytes, _Entries, list[bytes]])
"""A cursor, what was claimed, and since Redis 7 the ids of what was not there any more."""
_PENDING: Final = TypeAdapter(list[tuple[bytes, bytes, int, int]])
"""Ids with their consumer, milliseconds since the last delivery, and number of deliveries."""
_IDS: Final = TypeAdapter(list[bytes])
_CONSUMERS: Final = TypeAdapter(list[list[bytes | int]])

_PAGE: Final = 1000
_FIRST: Final = "0-0"
_DELETE_IF_EMPTY: Final = """
for _, found in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local name, pending
  for at = 1, #found, 2 do
    if found[at] == 'name' then name = found[at + 1] elseif found[at] == 'pending' then pending = found[at + 1] end
  end
  if name == ARGV[2] and pending == 0 then return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
end
return -1
"""
"""In one step: whoever is deleted while something is pending takes it along, and a frozen owner may wake up between."""


class Asks(Protocol):
    """What sends a command: `connectors.redis.link.Link`."""

    async def ask(self, *words: bytes | str | float) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Entries that were delivered before, oldest first, and how often by id.

    `missed` counts those whose content is gone: somebody trimmed the stream before they were acknowledged.
    """

    entries: Sequence[Entry]
    deliveries: dict[str, int]
    missed: int = 0
    after: str = _FIRST
    """Where the next page begins; 0-0 again at the end of a round of claims."""


class Group:
    """One consumer of one group over several streams. Raises GroupMissing where a stream or its group is not there."""

    def __init__(self, link: Asks, *, name: str, consumer: str) -> None:
        self._ask, self._name, self._consumer = link.ask, name, consumer
        self._base = consumer.partition("@")[2]

    async def create(self, stream: str, *, start: str) -> bool:
        """Create the group, and the stream if need be. Return whether it was missing."""
        try:
            await self._ask("XGROUP", "CREATE", stream, self._name, start, "MKSTREAM")
        except GroupExists:
            return False
        return True

    async def take_over(self, stream: str) -> tuple[int, int]:
        """Take what former owners have left, and remove them. Return how much that is, and how much of it is gone."""
        taken = missed = 0
        former = await self._former(stream)
        for name in former:
            after = "-"
            while pending := await self._pending(stream, after, "+", name):
                ids = [one[0] for one in pending]
                got = _shaped(
                    _IDS, await self._ask("XCLAIM", stream, self._name, self._consumer, 0, *ids, "JUSTID"), "XCLAIM"
                )
                taken += len(got)
                for lost in sorted(set(ids) - set(got)):
                    missed += not await self._ask("XRANGE", stream, lost, lost)
                after = f"({ids[-1].decode(errors='replace')}"
        try:
            for name in former:
                await self._ask("EVAL", _DELETE_IF_EMPTY, 1, stream, self._name, name)
        except Refused:
            pass  # this user may not run scripts: names of former owners stay
        return taken, missed

    async def own(self, stream: str, *, after: str, count: int) -> Page:
        """Return what this consumer was given and has not acknowledged, beyond an id."""
        found = await self._read("COUNT", count, "STREAMS", stream, after)
        return await self._page(stream, found, after=found[-1].id if found else after)

    async def claim(self, stream: str, *, idle_seconds: float, after: str, count: int) -> Page:
        """Take over what any consumer has left alone for so long."""
        idle_ms = int(idle_seconds * 1000)
        answer = await self._ask("XAUTOCLAIM", stream, self._name, self._consumer, idle_ms, after, "COUNT", count)
        cursor, found, *deleted = _shaped(_CLAIMED, answer, "XAUTOCLAIM")
        missed = len(deleted[0]) if deleted else 0
        return await self._page(stream, _entries(stream, found), after=cursor.decode(errors="replace"), missed=missed)

    async def new(self, streams: Sequence[str], *, count: int, block_seconds: float) -> Sequence[Entry]:
        """Wait for entries that no consumer was given yet, and return them."""
        limits = ("COUNT", count, "BLOCK", int(block_seconds * 1000))
        return await self._read(*limits, "STREAMS", *streams, *[">"] * len(streams))

    async def acknowledge(self, stream: str, ids: Sequence[str]) -> None:
        await self._ask("XACK", stream, self._name, *ids)

    async def hold(self, stream: str, ids: Sequence[str]) -> None:
        """Begin the idle time of entries anew, so that nobody claims them meanwhile; it is no further delivery."""
        await self._ask("XCLAIM", stream, self._name, self._consumer, 0, *ids, "JUSTID")

    async def _read(self, *words: str | int) -> Sequence[Entry]:
        answer = await self._ask("XREADGROUP", "GROUP", self._name, self._consumer, *words)
        read = _shaped(_READ, answer, "XREADGROUP") or []
        return [entry for stream, found in read for entry in _entries(stream.decode(errors="replace"), found)]

    async def _former(self, stream: str) -> list[str]:
        found = _shaped(_CONSUMERS, await self._ask("XINFO CONSUMERS", stream, self._name), "XINFO CONSUMERS")
        named = [dict(zip(one[::2], one[1::2], strict=False)).get(b"name") for one in found]
        names = [name.decode(errors="replace") for name in named if isinstance(name, bytes)]
        return [name for name in names if name.partition("@")[2] == self._base and name != self._consumer]

    async def _pending(self, stream: str, first: str, last: str, consumer: str) -> list[tuple[bytes, bytes, int, int]]:
        answer = await self._ask("XPENDING", stream, self._name, first, last, _PAGE, consumer)
        return _shaped(_PENDING, answer, "XPENDING")

    async def _page(self, stream: str, found: Sequence[Entry], *, after: str, missed: int = 0) -> Page:
        gone = [entry.id for entry in found if entry.pairs is None]
        if gone:
            await self.acknowledge(stream, gone)
        there = [entry for entry in found if entry.pairs is not None]
        deliveries = await self._deliveries(stream, there) if there else {}
        return Page(entries=there, deliveries=deliveries, missed=missed + len(gone), after=after)

    async def _deliveries(self, stream: str, entries: Sequence[Entry]) -> dict[str, int]:
        counts: dict[str, int] = {}
        after, last = entries[0].id, entries[-1].id
        while found := await self._pending(stream, after, last, self._consumer):
            counts.update({entry_id.decode(errors="replace"): times for entry_id, _, _, times in found})
            after = f"({found[-1][0].decode(errors='replace')}"
        return counts


def _entries(stream: str, found: _Entries) -> list[Entry]:
    return [Entry(stream=stream, id=one[0].decode(errors="replace"), pairs=one[1]) for one in found if one is not None]


def _shaped(shape: "TypeAdapter[Answer]", answer: Any, command: str) -> Answer:
    try:
        return shape.validate_python(answer)
    except ValidationError:
        raise NotConnected(f"{command} is answered in another form than Redis'", reason="protocol") from None
