"""Records for topics that are away: journaled as parked, and sent again beside the rounds until they are written.

What is not Headgate's own may be without a leader for hours. So a record that its topic does not take in time leaves
its round, which is marked as delivered with it; those for the same topic that come later follow it, so that their order
stays. Above the bounds a record becomes a dead letter.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from app.engine.inputs import Unparked
from app.engine.values.outgoing import Record
from app.kafka.log import PartitionLog, Refusal, Refused
from app.observe import logs

MOST = 1_000
MOST_BYTES = 1024 * 1024
"""Of a partition; one record is taken in any case."""
AGAIN_SECONDS = 1.0
AGAIN_MOST_SECONDS = 30.0
"""How long a topic rests between two tries, at first and at last."""
AT_ONCE: Final = 100
"""Records that are sent together, and topics that are tried beside each other."""

log = logs.get(__name__)


class Parked:
    """Those of one partition. `run` is a task of its pump's; an error in it ends the pump."""

    def __init__(
        self,
        partition_log: PartitionLog,
        *,
        begin_with: Mapping[int, Record],
        bury: Callable[[Sequence[Refused]], Awaitable[None]],
        report: Callable[[Unparked], None],
    ) -> None:
        """`bury` writes dead letters, and waits until they are there."""
        self._log = partition_log
        self._bury = bury
        self._report = report
        self._topics: dict[str, dict[int, Record]] = {}
        self._rests: dict[str, tuple[float, float]] = {}
        """Until when (loop's time) a topic rests, and how long it rests then."""
        self._next = max(begin_with, default=-1) + 1
        self._count = self._bytes = 0
        self._changed = asyncio.Event()
        for number, record in sorted(begin_with.items()):
            self._count += 1
            self._bytes += _size(record)
            self._put(number, record, rest=0.0)

    async def send(self, records: Sequence[Record]) -> tuple[dict[int, Record], list[Refused]]:
        """Send what may be sent now; return what is to be parked, by its number, and what nothing but a letter is for.

        Whoever calls has the first journaled: it `reports`, then hands them to `hold`.
        """
        behind = {id(one) for one in records if one.topic in self._topics}
        sending = [one for one in records if id(one) not in behind]
        refused = {id(one.record): one for one in await self._log.send(sending)} if sending else {}
        parked: dict[int, Record] = {}
        letters: list[Refused] = []
        for record in records:
            one = Refused(record, Refusal.AWAY) if id(record) in behind else refused.get(id(record))
            if one is None:
                continue
            if one.why is Refusal.AWAY and self._has_room(record):
                self._count += 1
                self._bytes += _size(record)
                parked[self._next] = record
                self._next += 1
            else:
                letters.append(one)
        return parked, letters

    def hold(self, parked: Mapping[int, Record]) -> None:
        """Try these again from now on, until they are written."""
        for number, record in parked.items():
            self._put(number, record, rest=AGAIN_SECONDS)

    async def run(self) -> None:
        """Try each topic again from time to time."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            due = [topic for topic, (until, _) in self._rests.items() if until <= now]
            tries = await asyncio.gather(*(self._try(topic) for topic in due[:AT_ONCE]), return_exceptions=True)
            for failed in [one for one in tries if one is not None]:
                raise failed
            self._changed.clear()
            until = min([until for until, _ in self._rests.values()], default=None)
            timer = None if until is None else loop.call_at(until, self._changed.set)
            await self._changed.wait()
            if timer is not None:
                timer.cancel()

    async def _try(self, topic: str) -> None:
        """Send what waits for `topic`, the oldest first, until nothing does or it is away again."""
        waiting = self._topics[topic]
        few = 1
        while waiting:
            trying = dict(list(waiting.items())[:few])
            refused = await self._log.send(list(trying.values()))
            away = [id(one.record) for one in refused if one.why is Refusal.AWAY]
            letters = [one for one in refused if one.why is not Refusal.AWAY]
            if letters:
                await self._bury(letters)
            done = [number for number, record in trying.items() if id(record) not in away]
            for number in done:
                record = waiting.pop(number)
                self._count -= 1
                self._bytes -= _size(record)
            if done:
                self._report(Unparked(done))
            if away:
                _, rest = self._rests[topic]
                rest = min(max(2 * rest, AGAIN_SECONDS), AGAIN_MOST_SECONDS)
                self._rests[topic] = (asyncio.get_running_loop().time() + rest, rest)
                return
            few = AT_ONCE
        del self._topics[topic], self._rests[topic]
        log.info("topic_waited_for_no_more", topic=topic, partition=self._log.partition)

    def _put(self, number: int, record: Record, *, rest: float) -> None:
        if record.topic not in self._topics:
            self._topics[record.topic] = {}
            self._rests[record.topic] = (asyncio.get_running_loop().time() + rest, rest)
            self._changed.set()
            log.warning(
                "topic_waited_for",
                topic=record.topic,
                partition=self._log.partition,
                remedy="bring back the brokers that lead it; what is to be written there is in the journal meanwhile",
            )
        self._topics[record.topic][number] = record

    def _has_room(self, record: Record) -> bool:
        return not self._count or (self._count < MOST and self._bytes + _size(record) <= MOST_BYTES)


def _size(record: Record) -> int:
    return len(record.key or b"") + len(record.value or b"")
