"""What the engine wants to know of the log's past and present, read beside the rounds: look-backs, and the ends.

One scan serves all look-backs that are wanted when it begins. What it finds goes to the engine in slices, one a round.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final, cast

from app.engine.inputs import CaughtUp, Input, LookedBack
from app.engine.tables.arrivals import SKEW_MS
from app.engine.tables.registry import Look
from app.engine.tables.state import State
from app.engine.values.limits import Limits
from app.engine.waits import flushes, lookbacks
from app.kafka.log import LogRecord, PartitionLog
from topics import asked, codec, commands, keys
from topics.commands import Command
from topics.envelope import MOST_BYTES, Envelope

SLICE_EVENTS: Final = 500
SLICE_BYTES: Final = 1024 * 1024
TURN_RECORDS: Final = 200
"""Records that are decoded in one go: the rounds of all partitions of the worker go on between."""
TURN_MS: Final = 50
MOST_TURNS: Final = 20
"""One more time as many for each `TURN_MS` that those took: while they are many, a look-back gets its share."""
MOST_IDS: Final = 250_000
"""Ids that a scan remembers, some 130 bytes each. An event that comes again after as many others is given again."""
TAIL_RECORDS: Final = 16
"""How far before the end the last record is looked for at first: markers of transactions take offsets too."""


class LookBack:
    """Serves one partition's engine; `note` takes what was found."""

    def __init__(
        self,
        state: State,
        log: PartitionLog,
        note: Callable[[Input], None],
        *,
        event_bytes: int,
        now_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._state = state
        self._log = log
        self._note = note
        self._now_ms = now_ms
        self._event_bytes = min(event_bytes, MOST_BYTES)
        self._looks: list[Look] = []
        self._question = self._answered = 0
        self._wake = asyncio.Event()
        self._round = asyncio.Event()

    def offer(self) -> None:
        """Take what the engine wants. Called after each round, once it is durable."""
        self._round.set()
        state = self._state
        if state.lookbacks:
            self._looks.extend(lookbacks.take(state))
            self._wake.set()
        if state.flushes:
            question = flushes.question(state)
            if question is not None and question > self._question:
                self._question = question
                self._wake.set()

    async def run(self) -> None:
        """Serve until cancelled. Raises LogError."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._ends()
            looks, self._looks = self._looks, []
            if looks:
                await self._scan(looks)

    async def _ends(self) -> None:
        """Say where the topics end, if that is asked for."""
        question = self._question
        if question > self._answered:
            self._answered = question
            events, commands_ = await asyncio.gather(
                self._end("events", self._state.events_offset), self._end("commands", self._state.commands_offset)
            )
            self._note(CaughtUp(question, events, commands_))

    async def _end(self, topic: str, handled: int) -> int:
        """Return the offset after the last record, which may stand before the end: an idle topic ends with markers."""
        end = await self._log.end(topic)
        tail = TAIL_RECORDS
        low = end
        while low > handled:
            low = max(handled, end - tail)
            last = -1
            async for records in self._log.read(topic, low, end):
                last = records[-1].offset
            if last >= 0:
                return last + 1
            tail *= 8
        return min(handled, end)

    async def _scan(self, looks: Sequence[Look]) -> None:
        scan = _Scan(looks, self._state.limits)
        since_ms = min(one.since_ms for one in looks)
        for topic, end, from_ms in (
            ("events", max(one.events_end for one in looks), since_ms),
            # A command is later than the events in it, by clocks that are not quite the same.
            ("commands", max(one.commands_end for one in looks), since_ms - SKEW_MS),
        ):
            first = min(one.events_from if topic == "events" else one.commands_from for one in looks)
            start = max(first, await self._log.offset_at(topic, max(0, from_ms)))
            if start >= end:
                continue
            reading = cast(AsyncGenerator[list[LogRecord], None], self._log.read(topic, start, end))
            async with aclosing(reading):
                async for records in reading:
                    at, turn = 0, TURN_RECORDS
                    while at < len(records):
                        for one in records[at : at + turn]:
                            self._look_at(scan, topic, one)
                        at += turn
                        turn = await self._let_others()
                        if scan.size >= SLICE_EVENTS or scan.bytes >= SLICE_BYTES:
                            await self._give(scan)
                    await self._ends()
        for number, arrivals in scan.take():
            self._note(LookedBack(number, arrivals, done=True))

    async def _let_others(self) -> int:
        """Let the rounds go on; return how many records are looked at after that."""
        before_ms = self._now_ms()
        await asyncio.sleep(0)
        took_ms = max(0, self._now_ms() - before_ms)
        return TURN_RECORDS * min(MOST_TURNS, 1 + took_ms // TURN_MS)

    async def _give(self, scan: "_Scan") -> None:
        self._round.clear()
        for number, arrivals in scan.take():
            if arrivals:
                self._note(LookedBack(number, arrivals, done=False))
        await self._round.wait()

    def _look_at(self, scan: "_Scan", topic: str, one: LogRecord) -> None:
        partition, partitions = self._state.partition, self._state.limits.partitions
        if topic == "events":
            try:
                event = codec.decode(
                    one.value,
                    one.key,
                    one.headers,
                    partition=partition,
                    offset=one.offset,
                    timestamp_ms=one.timestamp,
                    max_bytes=self._event_bytes,
                )
            except codec.Malformed:
                return  # it is a dead letter already
            if keys.home_of(event, partitions) == partition:
                scan.add(event, "events", one.offset)
            return
        try:
            command = commands.decode(one.value)
        except commands.UnreadableCommand:
            return
        if not scan.is_next(command):
            return
        for event in command.events:
            scan.add(event, "commands", one.offset)
        for told in command.asks:
            if isinstance(told, asked.Notice):
                scan.add(told.event, "commands", one.offset, notice=True)


class _Scan:
    """What one way through the log has found for its look-backs."""

    def __init__(self, looks: Sequence[Look], limits: Limits) -> None:
        self._looks = looks
        self._window_ms = limits.dedup_window_ms
        self._most_ids = min(limits.dedup_ids, MOST_IDS)
        self._found: dict[int, list[Envelope]] = {one.number: [] for one in looks}
        self._seen: dict[bytes, int] = {}
        """Ids that producers chose: others are unique in `events`, and come with one command alone."""
        self._sequences: dict[str, int] = {}
        self.size = 0
        self.bytes = 0

    def is_next(self, command: Command) -> bool:
        """Whether a command is not one that came again."""
        source = f"{command.source}/{command.journal}"
        if command.sequence <= self._sequences.get(source, 0):
            return False
        self._sequences[source] = command.sequence
        return True

    def add(self, event: Envelope, topic: str, at: int, *, notice: bool = False) -> None:
        own = topic == "events"
        wanting = [
            one
            for one in self._looks
            if (one.events_from if own else one.commands_from) <= at < (one.events_end if own else one.commands_end)
            and (one.notices or not notice)
            and one.wants(event)
        ]
        if not wanting:
            return
        if event.explicit:
            digest = keys.digest_of(event)
            first_ms = self._seen.pop(digest, None)
            if first_ms is not None and abs(event.timestamp_ms - first_ms) < self._window_ms:
                self._seen[digest] = first_ms
                return  # the same event once more
            self._seen[digest] = event.timestamp_ms
            if len(self._seen) > self._most_ids:
                del self._seen[next(iter(self._seen))]
        for one in wanting:
            self._found[one.number].append(event)
            self.size += 1
            self.bytes += event.weight

    def take(self) -> list[tuple[int, list[Envelope]]]:
        """Return what was found since the last time, by look-back."""
        found = list(self._found.items())
        self._found = {one.number: [] for one in self._looks}
        self.size = self.bytes = 0
        return found
