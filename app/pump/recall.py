"""Reads bodies of sleeping events back from the journal. Used by the pump, for what the engine wants next.

A body is written once and under a growing number, so the journal is read forward, once for all that wakes together;
what the takeover has kept is taken first.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Final, cast

from app.engine.entities import event_of
from app.kafka.log import LogRecord, PartitionLog
from topics import journal
from topics.envelope import Envelope

SCAN_BYTES: Final = 8 * 1024 * 1024
"""Most of the journal that is read at once: the partition's rounds go on between."""
_BODY: Final = b"body:"

Bodies = list[tuple[int, Envelope]]


class Recall:
    """The bodies of one partition. `start`: no body that is wanted and not `at_hand` stands before this offset."""

    def __init__(self, log: PartitionLog, *, at_hand: Mapping[int, bytes] | None = None, start: int = 0) -> None:
        self._log = log
        self._at_hand = dict(at_hand or {})
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

    def clear(self) -> None:
        """Forget what was at hand: what sleeps now sleeps for long."""
        self._at_hand.clear()
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
