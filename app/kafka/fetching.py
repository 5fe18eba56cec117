"""Fetches a worker's inputs on its main loop: one long poll for each broker, answered once there is a record.

aiokafka's consumer, which Faust keeps in a thread of its own, does the group's work alone. Fetched there, each record
waited for the thread's turn, for the interpreter's lock and for another task; at 1,000 events/s that was two thirds of
the time to a result. Records are the compiled ones of aiokafka's parser: nothing is made of them before they are
decoded.
"""

import asyncio
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from aiokafka import errors

from app.kafka import batches
from app.kafka.requests import Asked, Fetch, Fetched
from app.kafka.wire import Wire, may_work_later

Where = tuple[str, int]
"""Topic and partition."""

PARTITION_BYTES: Final = 1024 * 1024
ANSWER_BYTES: Final = 8 * 1024 * 1024
WAIT_MS: Final = 500
CROWDED_WAIT_MS: Final = 10
"""How long the broker holds an empty answer while a partition is left out for want of room: it may have some soon."""
BACKOFF_SECONDS: Final = 0.1


class Found(NamedTuple):
    """Committed records of a partition, in order."""

    topic: str
    partition: int
    records: list[Any]


class Fetching:
    """Positions of the inputs and the polls for them. Used by one task at a time."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._positions: dict[Where, int] = {}
        self._polls: dict[int, asyncio.Task[list[Fetched]]] = {}

    def seek(self, positions: dict[Where, int]) -> None:
        """Go on at `positions` and nowhere else; what is on the way is dropped."""
        for poll in self._polls.values():
            poll.cancel()
        self._polls.clear()
        self._positions = dict(positions)

    async def some(self, wanted: Collection[Where], *, crowded: bool, timeout: float) -> list[Found]:
        """Return what there is of `wanted` as soon as there is any; nothing after `timeout` seconds.

        `crowded`: a partition was left out of `wanted` for a moment.
        """
        self._poll(wanted, crowded=crowded)
        if not self._polls:
            await asyncio.sleep(BACKOFF_SECONDS)
            return []
        polls = self._polls
        done, _ = await asyncio.wait(polls.values(), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if polls is not self._polls or not done:
            return []
        answers = [poll.result() for node, poll in list(polls.items()) if poll in done and polls.pop(node) is poll]
        found: list[Found] = []
        for answer in answers:
            for one in answer:
                records = await self._taken(one)
                if records:
                    found.append(Found(one.topic, one.partition, records))
        self._poll(wanted, crowded=crowded)  # the broker collects while these are handled
        return found

    async def close(self) -> None:
        polls = list(self._polls.values())
        self.seek({})
        await asyncio.gather(*polls, return_exceptions=True)

    def _poll(self, wanted: Collection[Where], *, crowded: bool) -> None:
        by_node: dict[int, list[Asked]] = {}
        for where in wanted:
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
                self._polls[node] = asyncio.create_task(
                    self._answer(node, asked, CROWDED_WAIT_MS if crowded else WAIT_MS), name=f"fetch-{node}"
                )

    async def _answer(self, node: int, asked: list[Asked], wait_ms: int) -> list[Fetched]:
        request = Fetch(asked, wait_ms=wait_ms, most_bytes=ANSWER_BYTES, partition_bytes=PARTITION_BYTES)
        try:
            if node >= 0:
                return await self._wire.fetch_from(node, request)
        except errors.KafkaError as error:
            if not may_work_later(error):
                raise
        await asyncio.sleep(BACKOFF_SECONDS)
        await self._wire.look_again()
        return []

    async def _taken(self, one: Fetched) -> list[Any]:
        where = (one.topic, one.partition)
        position = self._positions.get(where)
        if position is None:
            return []
        if one.error:
            await self._mend(where, position, errors.for_code(one.error)())
            return []
        records, self._positions[where] = batches.committed(one.data, one.aborted, position)
        return records

    async def _mend(self, where: Where, position: int, error: errors.KafkaError) -> None:
        if isinstance(error, errors.OffsetOutOfRangeError):
            # Retention took it; the pump sees the gap. After the end there is nothing either, but what comes.
            first, end = await self._wire.bounds(*where)
            self._positions[where] = min(max(position, first), end)
        elif may_work_later(error):
            await asyncio.sleep(BACKOFF_SECONDS)
            await self._wire.look_again()
        else:
            raise error
