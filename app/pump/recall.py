"""Reads back from the journal what is not in memory. Used by the pump, for what the engine wants next.

Events and steps of runs are read by their offsets. The body of an event that slept for want of a workflow is found by
its number: bodies are written once and under a growing number, so the journal is read forward, once for all that wakes
together; what the takeover has kept is taken first.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Final, cast

from app.engine.journal.entities import Places, event_of
from app.engine.runs.rising import Wanted
from app.kafka.log import LogRecord, PartitionLog
from topics import journal
from topics.envelope import Envelope

SCAN_BYTES: Final = 8 * 1024 * 1024
"""Most of the journal that is read at once: the partition's rounds go on between."""
GAP: Final = 64
"""Records between two that are wanted, which are read with them: a fetch costs more than those."""
RECORDS_AT_ONCE: Final = 256
_BODY: Final = b"body:"

Bodies = list[tuple[int, Envelope]]
Runs = list[tuple[str, list[Envelope], list[bytes]]]


class Recall:
    """The bodies of one partition. `start`: no body that is wanted and not `at_hand` stands before this offset."""

    def __init__(
        self,
        log: PartitionLog,
        *,
        at_hand: Mapping[int, bytes] | None = None,
        places: Places | None = None,
        start: int = 0,
    ) -> None:
        """`places`: where those at hand are, as far as that is known."""
        self._log = log
        self._at_hand = dict(at_hand or {})
        self._places = places
        self._found: dict[int, int] = {}
        """Offsets of what was read by number."""
        self._start = start
        self._next = start
        self._passed = -1
        """The highest number before `_next`."""

    async def read(self, numbers: Sequence[int], *, end: int, most_bytes: int) -> Bodies:
        """Return bodies of `numbers`, from the first on and without a gap; none if they are not found yet.

        `most_bytes` is the weight after which no more are added. `end` is the journal's next offset. Raises
        UnreadableJournal, also for a body that is not there.
        """
        if numbers[0] in self._at_hand:
            return self._take(numbers, most_bytes)
        if numbers[0] <= self._passed:
            self._next, self._passed = self._start, -1
        return await self._scan(numbers, end, most_bytes)

    async def runs(self, wanted: Sequence[Wanted], *, end: int, most_bytes: int) -> Runs:
        """Return events and steps of runs, of the first one at least, and of no more once `most_bytes` are read.

        Raises UnreadableJournal, also for a record that is not there.
        """
        found: Runs = []
        size = at = 0
        while at < len(wanted) and (size < most_bytes or not found):
            few: list[Wanted] = []
            records = 0
            while at < len(wanted) and (not few or (records < RECORDS_AT_ONCE and size < most_bytes)):
                one = wanted[at]
                at += 1
                few.append(one)
                records += len(one.bodies) + len(one.steps)
                size += one.size
            offsets = [offset for one in few for number, offset in one.bodies if number not in self._at_hand]
            offsets.extend(offset for one in few for offset in one.steps)
            values = await self._at([one for one in offsets if one])
            lost = sorted({n for one in few for n, offset in one.bodies if not offset and n not in self._at_hand})
            by_number = await self._by_number(lost, end)
            for one in few:
                events = [by_number.get(number) or self._event(number, offset, values) for number, offset in one.bodies]
                size += sum([event.weight for event in events])
                found.append((one.run_id, events, [_value(values, offset, one.run_id) for offset in one.steps]))
        return found

    async def _by_number(self, numbers: Sequence[int], end: int) -> dict[int, Envelope]:
        """Return the events of bodies whose offsets are not known."""
        found: dict[int, Envelope] = {}
        while left := [one for one in numbers if one not in found]:
            found.update(await self.read(left, end=end, most_bytes=SCAN_BYTES))
        return found

    def _event(self, number: int, offset: int, values: Mapping[int, bytes]) -> Envelope:
        value = self._at_hand.get(number)
        return event_of(number, _value(values, offset, journal.body_key(number).decode()) if value is None else value)

    async def _at(self, offsets: Sequence[int]) -> dict[int, bytes]:
        """Return the values at these offsets; those that are near each other are read together."""
        found: dict[int, bytes] = {}
        ordered = sorted(set(offsets))
        at = 0
        while at < len(ordered):
            first = at
            while at + 1 < len(ordered) and ordered[at + 1] - ordered[at] <= GAP:
                at += 1
            named = set(ordered[first : at + 1])
            async for records in self._log.read("journal", ordered[first], ordered[at] + 1):
                found.update(
                    (one.offset, one.value) for one in records if one.offset in named and one.value is not None
                )
            at += 1
        return found

    def take_places(self) -> dict[int, int]:
        """Return the offsets of what was read by number since this was asked last, as far as they are known."""
        found, self._found = self._found, {}
        return found

    def clear(self) -> None:
        """Forget what was at hand: what sleeps now sleeps for long."""
        self._at_hand.clear()
        self._places = None
        self._start, self._next, self._passed = 0, 0, -1

    def _take(self, numbers: Sequence[int], most_bytes: int) -> Bodies:
        found: Bodies = []
        weight = 0
        for number in numbers:
            value = self._at_hand.get(number)
            if value is None or weight >= most_bytes:
                break
            envelope = event_of(number, value)
            found.append((number, envelope))
            weight += envelope.weight
            if self._places is not None and (offset := self._places.of(number)):
                self._found[number] = offset
        return found

    async def _scan(self, numbers: Sequence[int], end: int, most_bytes: int) -> Bodies:
        found: Bodies = []
        weight = scanned = 0
        first, _ = await self._log.bounds("journal")
        reading = cast(AsyncGenerator[list[LogRecord], None], self._log.read("journal", max(first, self._next), end))
        async with aclosing(reading):
            async for records in reading:
                for one in records:
                    scanned += len(one.value or b"")
                    number = self._pass(one)
                    if one.value is None or number != numbers[len(found)]:
                        continue
                    envelope = event_of(number, one.value)
                    found.append((number, envelope))
                    self._found[number] = one.offset
                    weight += envelope.weight
                    if len(found) == len(numbers) or weight >= most_bytes:
                        return found
                if scanned >= SCAN_BYTES:
                    return found
        if not found:
            key = journal.body_key(numbers[0]).decode()
            raise journal.UnreadableJournal(key, "something that sleeps needs it, and it is not there")
        return found

    def _pass(self, one: LogRecord) -> int:
        """Leave a record behind; return the number of its body, -1 for anything else."""
        self._next = one.offset + 1
        if one.value is None or one.key is None or not one.key.startswith(_BODY):
            return -1
        number = int(one.key[len(_BODY) :])
        self._passed = max(self._passed, number)
        return number


def _value(values: Mapping[int, bytes], offset: int, name: str) -> bytes:
    found = values.get(offset)
    if found is None:
        raise journal.UnreadableJournal(name, f"a run needs the record at offset {offset}, and it is not there")
    return found
