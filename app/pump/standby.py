"""Reads ahead in the journals of partitions that other workers own, so that a takeover has next to nothing to read.

A standby is a cache of the beginning of a journal, and no more: the takeover reads on from it to its own claim, and
throws it away if it does not fit. One room for a worker, with one bound on the memory of all of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from app.engine.tables.state import policy_of
from app.engine.values.limits import Limits
from app.kafka.log import LogError, PartitionLog
from app.observe import logs
from app.pump.reader import Diverged, Reader
from app.pump.snapshots import MOST_AGE_MS, Snapshots
from app.pump.takeover import begin
from topics.journal import UnreadableJournal

log = logs.get(__name__)

TURN_SECONDS: Final = 1.0
TURN_BYTES: Final = 2 * 1024 * 1024
"""What is read in one turn, of all partitions: it bounds what standbys take of the CPU, however busy the others are."""
_UNREADABLE: Final = (UnreadableJournal, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where journals are read. `ends` has the end of each, as far as they can be learnt now, in one question."""

    open_log: Callable[[int], PartitionLog]
    ends: Callable[[Collection[int]], Awaitable[dict[int, int]]]
    snapshots: Snapshots | None = None


class Standby:
    """The standbys of one worker. `run` is one task; `follow` and `take` are called by another, the rebalance.

    `name` is the worker's own: with it every worker has another order in which partitions are followed, so that what
    does not fit here is followed elsewhere.
    """

    def __init__(
        self,
        sources: Sources,
        limits: Limits,
        *,
        name: str,
        now_ms: Callable[[], int],
        most_bytes: int,
        at_hand_bytes: int,
        turn_seconds: float = TURN_SECONDS,
        turn_bytes: int = TURN_BYTES,
    ) -> None:
        self._sources = sources
        self._limits = limits
        self._name = name
        self._now_ms = now_ms
        self._most_bytes = most_bytes
        self._at_hand_bytes = at_hand_bytes
        self._turn_seconds = turn_seconds
        self._turn_bytes = turn_bytes
        self._wanted: list[int] = []
        """What is followed, the first most of all."""
        self._left_out: set[int] = set()
        """What does not fit; tried again once other partitions are owned."""
        self._readers: dict[int, Reader] = {}
        self._first = -1
        """The partition that is the first to be read in the next turn: there was no room for it in the last."""
        self._reading: tuple[int, asyncio.Task[int]] | None = None

    @property
    def numbers(self) -> frozenset[int]:
        """The partitions of which there is a standby now."""
        return frozenset(self._readers)

    @property
    def weight(self) -> int:
        """What all of them take in memory, by estimate."""
        return sum(one.weight for one in self._readers.values())

    def follow(self, partitions: Collection[int]) -> None:
        """Follow these partitions and no others."""
        wanted = sorted(partitions, key=self._rank)
        if wanted != self._wanted:
            self._wanted = wanted
            self._left_out.clear()
        for number in self._readers.keys() - partitions:
            del self._readers[number]

    async def take(self, partition: int) -> Reader | None:
        """Hand over the standby of a partition, None when there is none. It is not followed any more."""
        self._wanted = [one for one in self._wanted if one != partition]
        if self._reading is not None and self._reading[0] == partition:
            task = self._reading[1]
            task.cancel()
            await asyncio.wait({task})
        return self._readers.pop(partition, None)

    async def run(self) -> None:
        """Read on for ever. A broker that does not answer costs nothing but time."""
        while True:
            await asyncio.sleep(self._turn_seconds)
            try:
                await self.turn()
            except LogError as error:
                log.debug("standby_waits", reason=str(error))

    async def turn(self) -> None:
        """Read on wherever there is more, within bounds. Raises LogError."""
        wanted = [one for one in self._wanted if one not in self._left_out]
        if not wanted:
            return
        asked_ms = self._now_ms()
        ends = await self._sources.ends(wanted)
        left = self._turn_bytes
        late: list[int] = []
        at = wanted.index(self._first) if self._first in wanted else 0
        for number in (*wanted[at:], *wanted[:at]):
            end = ends.get(number)
            if not end or number not in self._wanted:
                continue  # nothing there, or taken meanwhile
            reader = self._readers.get(number)
            if reader is not None and self._now_ms() - reader.fresh_ms > MOST_AGE_MS:
                del self._readers[number]
                reader = None
            if reader is None or end != reader.next_offset:
                if left <= 0:
                    late.append(number)
                    continue
                left -= await self._reading_on(number, end, left)
                reader = self._readers.get(number)
                self._keep_within_bounds()
            if reader is not None and reader.next_offset >= end:
                reader.fresh_ms = asked_ms
        self._first = late[0] if late else -1

    async def _reading_on(self, number: int, end: int, most_bytes: int) -> int:
        """Take one step as a task of its own, which `take` may end; return how much was read."""
        task = asyncio.create_task(self._step(number, end, most_bytes), name=f"standby-{number}")
        self._reading = (number, task)
        try:
            await asyncio.wait({task})
        finally:
            self._reading = None
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        return 0 if task.cancelled() else task.result()

    async def _step(self, number: int, end: int, most_bytes: int) -> int:
        """Read on in one journal. What cannot be trusted is dropped, and begun anew in the next turn."""
        reader = self._readers.get(number)
        if reader is None:
            reader = await self._begin(number)
            if number not in self._wanted:
                return 0
            self._readers[number] = reader
        try:
            taken = await reader.read_on(end=end, most_bytes=most_bytes, sure=True)
            await reader.fold()
            return taken
        except Diverged as error:
            log.debug("standby_dropped", partition=number, reason=str(error))
            self._readers.pop(number, None)
        except _UNREADABLE as error:  # the takeover will have to say so; a standby need not
            log.debug("standby_dropped", partition=number, reason=f"{type(error).__name__}: {error}")
            self._readers.pop(number, None)
            self._left_out.add(number)
        return 0

    async def _begin(self, number: int) -> Reader:
        partition_log = self._sources.open_log(number)
        ids = await partition_log.topic_ids()
        return await begin(
            partition_log,
            journal_id=ids.get("journal", ""),
            policy=policy_of(self._limits),
            now_ms=self._now_ms(),
            snapshots=self._sources.snapshots,
            at_hand_bytes=self._at_hand_bytes,
        )

    def _keep_within_bounds(self) -> None:
        while self._readers and self.weight > self._most_bytes:
            number = max(self._readers, key=self._rank)
            del self._readers[number]
            self._left_out.add(number)
            log.info(
                "standby_left_out",
                partition=number,
                remedy="nothing to do: its takeover reads the journal. Raise worker.standby_bytes to have it at hand",
            )

    def _rank(self, partition: int) -> bytes:
        return blake2b(f"{self._name}/{partition}".encode(), digest_size=8).digest()
