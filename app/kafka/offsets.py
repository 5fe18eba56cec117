"""ListOffsets of many partitions in one request: what is asked for while one is on its way goes together in the next.

Before a deadline counts, all partitions of a worker ask where `events` and `commands` end, at the same moment and some
of them again at once: one by one these requests cost more than all else that a flush does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from aiokafka import errors
from aiokafka.protocol.offset import OffsetRequest

LATEST: Final = -1
EARLIEST: Final = -2

Send = Callable[[int, OffsetRequest], Awaitable[Any]]
"""Sends a request to a node and returns its answer. Raises KafkaError."""


class Asked(NamedTuple):
    """One offset that is wanted: of the first record as late as `when` (ms), or LATEST or EARLIEST."""

    topic: str
    partition: int
    when: int
    found: "asyncio.Future[int]"


class Offsets:
    """Questions for offsets, to each broker one request at a time."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: dict[tuple[int, bool], list[Asked]] = {}
        self._tasks: dict[tuple[int, bool], asyncio.Task[None]] = {}

    async def ask(self, node: int, topic: str, partition: int, when: int, *, committed: bool = False) -> int:
        """Return the offset, -1 if no record is as late. `committed`: behind what is committed. Raises KafkaError."""
        lane = (node, committed)
        asked = Asked(topic, partition, when, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(lane, []).append(asked)
        if lane not in self._tasks:
            self._tasks[lane] = asyncio.create_task(self._serve(lane))
        return await asked.found

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    async def _serve(self, lane: tuple[int, bool]) -> None:
        waiting = self._waiting[lane]
        taken: dict[tuple[str, int], list[Asked]] = {}
        try:
            while waiting:
                taken = _taken(waiting)
                try:
                    _answer(taken, await self._send(lane[0], _request(taken, committed=lane[1])))
                except Exception as error:  # noqa: BLE001 those who asked get it, and end by it if they must
                    _refuse(taken, error)
        finally:
            del self._waiting[lane], self._tasks[lane]
            # Nobody is left unless this was cancelled.
            _refuse({**taken, ("", 0): waiting}, errors.KafkaConnectionError("the client was closed"))


def _taken(waiting: list[Asked]) -> dict[tuple[str, int], list[Asked]]:
    """Take out what goes into one request. A broker refuses one that names a partition twice."""
    taken: dict[tuple[str, int], list[Asked]] = {}
    left: list[Asked] = []
    for one in waiting:
        same = taken.setdefault((one.topic, one.partition), [])
        if same and same[0].when != one.when:
            left.append(one)
        else:
            same.append(one)
    waiting[:] = left
    return taken


def _request(taken: dict[tuple[str, int], list[Asked]], *, committed: bool) -> OffsetRequest:
    by_topic: dict[str, list[tuple[int, int]]] = {}
    for (topic, partition), same in taken.items():
        by_topic.setdefault(topic, []).append((partition, same[0].when))
    return OffsetRequest(-1, int(committed), list(by_topic.items()))


def _answer(taken: dict[tuple[str, int], list[Asked]], reply: Any) -> None:
    for topic, partitions in reply.topics:
        for partition, code, _, offset in partitions:
            same = taken.pop((topic, partition), [])
            kind = errors.for_code(code)
            if kind is not errors.NoError:
                _refuse({(topic, partition): same}, kind())
                continue
            for one in same:
                if not one.found.done():
                    one.found.set_result(int(offset))
    _refuse(taken, errors.UnknownError("the broker left the partition out of its answer"))


def _refuse(taken: dict[tuple[str, int], list[Asked]], error: Exception) -> None:
    for same in taken.values():
        for one in same:
            if not one.found.done():
                one.found.set_exception(error)
    taken.clear()
