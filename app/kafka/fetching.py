"""Fetches a worker's inputs on its main loop: one long poll for each broker, answered once there is a record.

aiokafka's consumer, which Faust keeps in a thread of its own, does the group's work alone. Fetched there, each record
waited for the thread's turn, for the interpreter's lock and for another task; at 1,000 events/s that was two thirds of
the time to a result. Records are the compiled ones of aiokafka's parser: nothing is made of them before they are
decoded.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from aiokafka import errors

from app.kafka import batches
from app.kafka.log import LogError
from app.kafka.requests import Asked, Fetch, Fetched
from app.kafka.wire import Wire, may_work_later
from app.observe import logs

log = logs.get(__name__)

Where = tuple[str, int]
"""Topic and partition."""

PARTITION_BYTES: Final = 1024 * 1024
ANSWER_BYTES: Final = 8 * 1024 * 1024
WAIT_MS: Final = 500
CROWDED_WAIT_MS: Final = 10
"""How long the broker holds an empty answer while a partition is left out for want of room: it may have some soon."""
BACKOFF_SECONDS: Final = 0.1
HELD_SECONDS: Final = 10.0
"""How long a transaction may hold up a partition before that is worth a word."""
MISSING_SECONDS: Final = 30.0
"""How long a broker may say that it does not know a topic."""
_FATAL: Final = (
    errors.CorruptRecordException,
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.UnsupportedVersionError,
)


class TopicLost(LogError):
    """An input is not what it was: made anew, cut at its end, or gone. The takeover after a restart says more."""


class Found(NamedTuple):
    """Committed records of a partition, in order: all that there are from offset `begin` to the last of them."""

    topic: str
    partition: int
    records: list[Any]
    begin: int


@dataclass(slots=True, kw_only=True)
class Held:
    """A partition whose next record is behind a transaction that is open at offset `at`."""

    at: int
    since: float
    """Of the loop's time."""
    records: int = 0
    """How many offsets are behind it."""
    told: bool = False


class Fetching:
    """Positions of the inputs and the polls for them. Used by one task at a time, which alone may `seek`."""

    def __init__(self, wire: Wire, *, answer_bytes: int = ANSWER_BYTES, partition_bytes: int = PARTITION_BYTES) -> None:
        """`answer_bytes`, `partition_bytes`: of one answer; a single larger batch still comes through (KIP-74)."""
        self._wire = wire
        self._answer_bytes, self._partition_bytes = answer_bytes, partition_bytes
        self._positions: dict[Where, int] = {}
        self._handed: dict[Where, int] = {}
        """The offset after the last record that was handed over."""
        self._served: dict[Where, int] = {}
        """When a partition was last handed over, in turns: those that waited longest are asked for first."""
        self._ends: dict[Where, int] = {}
        self._turn = 0
        self._polls: dict[int, asyncio.Task[list[Fetched]]] = {}
        self._moved: set[int] = set()
        """Nodes whose last answer says that partitions are elsewhere, or not ready."""
        self._lost: set[Where] = set()
        """Partitions whose position the broker does not have."""
        self._missing: dict[Where, float] = {}
        self._held: dict[Where, Held] = {}

    def seek(self, positions: dict[Where, int]) -> None:
        """Go on at `positions` and nowhere else; what is on the way is dropped."""
        polls, self._polls = self._polls, {}
        for poll in polls.values():
            poll.cancel()
        self._positions = dict(positions)
        self._handed = dict(positions)
        self._served.clear()
        self._ends.clear()
        self._moved.clear()
        self._lost.clear()
        self._missing.clear()
        self._held.clear()

    def held(self) -> dict[Where, Held]:
        """Which partitions an open transaction has held up for long: a word for the readiness."""
        now = asyncio.get_running_loop().time()
        return {where: one for where, one in sorted(self._held.items()) if now - one.since >= HELD_SECONDS}

    def position(self, where: Where) -> int:
        """Return what comes next in a partition: after all that was handed over, and markers behind it."""
        return self._positions[where]

    def end(self, where: Where) -> int:
        """Return where a partition ended when a broker said so, and its position if that is later."""
        return max(self._ends.get(where, 0), self._positions[where])

    async def some(
        self, wanted: Collection[Where], *, crowded: bool, timeout: float, ahead: bool = True
    ) -> list[Found]:
        """Return what there is of `wanted` as soon as there is any; nothing after `timeout` seconds.

        `crowded`: a partition was left out of `wanted` for a moment. Without `ahead` nothing more is asked for until
        the next call: who comes late on purpose gets more at once. Raises LogError, KafkaError.
        """
        self._poll(wanted, crowded=crowded)
        polls = self._polls
        if not polls:
            await asyncio.sleep(BACKOFF_SECONDS)
            return []
        done, _ = await asyncio.wait(polls.values(), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if polls is not self._polls:  # sought anew meanwhile
            return []
        found: list[Found] = []
        for node, poll in [(node, poll) for node, poll in polls.items() if poll in done]:
            del polls[node]
            for one in poll.result():
                if one.error:
                    self._refused(node, one)
                else:
                    self._take(one, found)
        if ahead:
            self._poll(wanted, crowded=crowded)  # the broker collects while these are handled
        return found

    async def close(self) -> None:
        polls = list(self._polls.values())
        self.seek({})
        await asyncio.gather(*polls, return_exceptions=True)

    def _take(self, one: Fetched, found: list[Found]) -> None:
        where = (one.topic, one.partition)
        position = self._positions.get(where)
        if position is None:
            return
        self._missing.pop(where, None)
        self._ends[where] = one.end
        if not one.data:
            self._hold(where, one)
            return
        self._go_on(where)
        records, after = batches.committed(one.data, one.aborted, position)
        self._positions[where] = after
        if records:
            found.append(Found(one.topic, one.partition, records, self._handed[where]))
            self._handed[where] = records[-1].offset + 1
            self._turn += 1
            self._served[where] = self._turn

    def _hold(self, where: Where, one: Fetched) -> None:
        """Note that there is more, and that a transaction of whoever produces keeps it from being read."""
        now = asyncio.get_running_loop().time()
        held = self._held.get(where)
        if held is None or held.at != one.stable:
            self._go_on(where)
            held = self._held[where] = Held(at=one.stable, since=now)
        held.records = one.end - one.stable
        if now - held.since >= HELD_SECONDS and not held.told:
            held.told = True
            log.warning(
                "transaction_open",
                topic=one.topic,
                partition=one.partition,
                offset=one.stable,
                held_up=held.records,
                seconds=round(now - held.since),
                remedy="its producer has to end it; if it is gone for good: headgate kafka transactions abort "
                f"--topic {one.topic} --partition {one.partition} --start-offset {one.stable}",
            )

    def _go_on(self, where: Where) -> None:
        held = self._held.pop(where, None)
        if held is not None and held.told:
            log.info("transaction_ended", topic=where[0], partition=where[1], offset=held.at)

    def _refused(self, node: int, one: Fetched) -> None:
        where = (one.topic, one.partition)
        error = errors.for_code(one.error)()
        if isinstance(error, _FATAL):
            raise error
        if isinstance(error, errors.OffsetOutOfRangeError):
            self._lost.add(where)
            return
        self._moved.add(node)
        if isinstance(error, errors.UnknownTopicOrPartitionError):
            now = asyncio.get_running_loop().time()
            if now - self._missing.setdefault(where, now) > MISSING_SECONDS:
                raise TopicLost(
                    f"{one.topic}-{one.partition} is missing for {MISSING_SECONDS:g} s: was the topic deleted? "
                    "`headgate topics apply` makes it anew"
                )

    def _poll(self, wanted: Collection[Where], *, crowded: bool) -> None:
        by_node: dict[int, list[Asked]] = {}
        served = self._served
        for where in sorted(wanted, key=lambda one: served.get(one, 0)):
            position = self._positions.get(where)
            if position is None:
                continue
            try:
                node = self._wire.leader(*where)
            except errors.LeaderNotAvailableError:
                node = -1
            by_node.setdefault(node, []).append(Asked(*where, position))
        for node, asked in by_node.items():
            if node not in self._polls:
                wait_ms = CROWDED_WAIT_MS if crowded else WAIT_MS
                self._polls[node] = asyncio.create_task(self._answer(node, asked, wait_ms), name=f"fetch-{node}")

    async def _answer(self, node: int, asked: list[Asked], wait_ms: int) -> list[Fetched]:
        """Ask `node`, after what its last answer made necessary. `seek` cancels this wherever it waits."""
        if node in self._moved or node < 0:
            await asyncio.sleep(BACKOFF_SECONDS)
            await self._wire.look_again()
            self._moved.discard(node)
            return []
        lost = [one for one in asked if one[:2] in self._lost]
        if lost:
            for one in lost:
                await self._find(one)
            return []
        request = Fetch(asked, wait_ms=wait_ms, most_bytes=self._answer_bytes, partition_bytes=self._partition_bytes)
        try:
            return await self._wire.fetch_from(node, request)
        except errors.KafkaError as error:
            if not may_work_later(error):
                raise
            self._moved.add(node)
            return []

    async def _find(self, one: Asked) -> None:
        """Go on with what retention left. Beyond the end there is nothing to go on with: the log is another one."""
        where = (one.topic, one.partition)
        first, end = await self._wire.bounds(*where)
        if one.offset > end:
            raise TopicLost(
                f"{one.topic}-{one.partition} ends at offset {end}, below {one.offset}, which comes next here: the "
                "topic was made anew or lost its end. Start again: the takeover says what can be done"
            )
        if one.offset < first:
            log.warning(
                "offsets_missing",
                topic=one.topic,
                partition=one.partition,
                first=one.offset,
                next=first,
                reason="retention took them before they were read",
                remedy="keep records longer, or add workers",
            )
            self._positions[where] = first
        self._lost.discard(where)
