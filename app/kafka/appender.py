"""Appends record batches for all partitions of a worker: what is offered in one turn of the loop, or while answers are
awaited, travels in one request for a broker.

A record batch carries the producer id, epoch and sequence of its own, so batches of many claims share requests. A
refused batch fails alone: the others go on. There is no delay on purpose: with `MOST_ASKED` requests on the way, the
next one collects what comes meanwhile.
"""

import asyncio
from collections import deque
from typing import Final, NamedTuple

from aiokafka import errors

from app.kafka.requests import Batch, Produce
from app.kafka.wire import Wire

MOST_ASKED: Final = 2
"""Requests to one broker whose answers are awaited. A second one keeps it busy while the first answer travels."""
REQUEST_BYTES: Final = 16 * 1024 * 1024
"""What one request takes; a single larger batch still goes."""


class _Waiting(NamedTuple):
    batch: Batch
    outcome: "asyncio.Future[int]"


class Appender:
    """Appends batches, with retries, until the broker has decided. At most one of a topic's partition at a time."""

    def __init__(self, wire: Wire, *, timeout_ms: int = 30_000) -> None:
        self._wire = wire
        self._timeout_ms = timeout_ms
        self._waiting: dict[int, deque[_Waiting]] = {}
        self._asked: dict[int, set[asyncio.Task[None]]] = {}
        self._due: set[int] = set()

    async def close(self) -> None:
        """Give up what is on the way. It may still land."""
        asked = [task for tasks in self._asked.values() for task in tasks]
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    async def append(self, batch: Batch) -> int:
        """Append `batch` and return the offset of its first record, -1 when the broker gave none.

        The same bytes are sent again while the broker is away: with their sequence they are appended once. Raises
        KafkaError: fenced, refused, or an unknown outcome after the wire's patience.
        """
        return await self._wire.retried(lambda: self._once(batch))

    async def _once(self, batch: Batch) -> int:
        node = self._wire.leader(batch.topic, batch.partition)
        outcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(node, deque()).append(_Waiting(batch, outcome))
        if node not in self._due and len(self._asked.setdefault(node, set())) < MOST_ASKED:
            self._due.add(node)
            asyncio.get_running_loop().call_soon(self._ask, node)
        return await outcome

    def _ask(self, node: int) -> None:
        """Send what waits for `node`."""
        self._due.discard(node)
        waiting = self._waiting[node]
        if not waiting:
            return
        taken: dict[tuple[str, int], _Waiting] = {}
        later: list[_Waiting] = []
        size = 0
        while waiting and size < REQUEST_BYTES:
            one = waiting.popleft()
            if one.outcome.done():  # cancelled meanwhile
                continue
            where = (one.batch.topic, one.batch.partition)
            if where in taken:
                later.append(one)
                continue
            taken[where] = one
            size += len(one.batch.data)
        waiting.extendleft(reversed(later))
        if taken:
            task = asyncio.get_running_loop().create_task(self._request(node, taken))
            self._asked[node].add(task)
            task.add_done_callback(lambda done: self._answered(node, done))

    def _answered(self, node: int, task: "asyncio.Task[None]") -> None:
        self._asked[node].discard(task)
        if self._waiting[node] and node not in self._due and not task.cancelled():
            self._ask(node)

    async def _request(self, node: int, taken: dict[tuple[str, int], _Waiting]) -> None:
        try:
            request = Produce([one.batch for one in taken.values()], timeout_ms=self._timeout_ms)
            answers = await self._wire.append_to(node, request)
            for answer in answers:
                one = taken.pop((answer.topic, answer.partition))
                if one.outcome.done():
                    continue
                if answer.error:
                    one.outcome.set_exception(errors.for_code(answer.error)())
                else:
                    one.outcome.set_result(answer.offset)
        except BaseException as error:
            _fail(taken, error if isinstance(error, errors.KafkaError) else errors.KafkaConnectionError(repr(error)))
            if not isinstance(error, errors.KafkaError):
                raise
        _fail(taken, errors.UnknownError("the broker left it out of its answer"))


def _fail(taken: dict[tuple[str, int], _Waiting], error: errors.KafkaError) -> None:
    for one in taken.values():
        if not one.outcome.done():
            one.outcome.set_exception(error)
    taken.clear()
