"""What a round decided, sent after its commit point: in order, beside the next rounds, marked when acknowledged."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from app.engine.inputs import Delivered, Unparked
from app.engine.values.outgoing import Outgoing, Record
from app.kafka.log import Entry, PartitionLog, Refusal, Refused
from app.pump.parked import Parked
from topics.letters import dead_letter

WINDOW = 8
"""Rounds that may be undelivered before the pump waits: bounds memory and what a takeover delivers again."""


class Delivery:
    """Delivers the rounds of one partition. `run` is a task of the pump's; an error in it ends the pump."""

    def __init__(
        self,
        log: PartitionLog,
        *,
        results_end: int,
        runs_end: int,
        report: Callable[[Delivered | Unparked], None],
        linger_seconds: float = 0.0,
        parked: Mapping[int, Record] | None = None,
    ) -> None:
        """`linger_seconds`: how long facts alone wait for others, which then share their request. `parked`: records
        of earlier rounds that wait for their topics.
        """
        self._log = log
        self._results_end = results_end
        self._runs_end = runs_end
        self._report = report
        self.parked = Parked(log, begin_with=parked or {}, bury=self._bury, report=report)
        self._waiting: deque[Outgoing] = deque()
        self._changed = asyncio.Event()
        self._linger_seconds = linger_seconds
        self._lingering: asyncio.TimerHandle | None = None
        self._pressed = 0
        """How many wait for everything to be delivered."""
        self._idle = asyncio.Event()
        self._idle.set()

    def offer(self, outgoing: Outgoing) -> None:
        self._waiting.append(outgoing)
        self._idle.clear()
        if self._may_linger(outgoing):
            if self._lingering is None:
                self._lingering = asyncio.get_running_loop().call_later(self._linger_seconds, self._changed.set)
        else:
            self._changed.set()

    @property
    def full(self) -> bool:
        return len(self._waiting) >= WINDOW

    async def settled(self) -> None:
        """Wait until everything offered is acknowledged."""
        self._pressed += 1
        try:
            if not self._idle.is_set():
                self._changed.set()
            await self._idle.wait()
        finally:
            self._pressed -= 1

    async def room(self) -> None:
        while self.full:
            self._made_room = asyncio.Event()
            await self._made_room.wait()

    _made_room: asyncio.Event | None = None

    async def run(self) -> None:
        tasks = [asyncio.create_task(one) for one in (self._run(), self.parked.run())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._lingering is not None:
                self._lingering.cancel()
                self._lingering = None
            while self._waiting and self._lingering is None:
                rounds = list(self._waiting)
                parked = await self._deliver(rounds)
                for _ in rounds:
                    self._waiting.popleft()
                self._report(Delivered(rounds[-1].round, self._results_end, self._runs_end, parked))
                self.parked.hold(parked)
                if self._made_room is not None:
                    self._made_room.set()
            if not self._waiting:
                self._idle.set()

    def _may_linger(self, outgoing: Outgoing) -> bool:
        """Whether nobody waits for what is in it: facts, of which those who read them know that they are late."""
        if outgoing.results or outgoing.records or not self._linger_seconds or self._pressed:
            return False
        return len(self._waiting) < WINDOW // 2

    async def _deliver(self, rounds: Sequence[Outgoing]) -> Mapping[int, Record]:
        """Deliver them; return what of it is parked instead."""
        results = [one for outgoing in rounds for one in outgoing.results]
        runs = [_plain(one) for outgoing in rounds for one in outgoing.runs]
        records = [one for outgoing in rounds for one in outgoing.records]
        if results and runs:  # in one request, when nothing else is on the way
            self._results_end, self._runs_end = await asyncio.gather(
                self._log.deliver("results", results), self._log.deliver("runs", runs)
            )
        elif results:
            self._results_end = await self._log.deliver("results", results)
        elif runs:
            self._runs_end = await self._log.deliver("runs", runs)
        own = [one for one in records if not one.foreign]
        if own:
            await self._log.send(own)
        if len(own) == len(records):
            return {}
        parked, refused = await self.parked.send([one for one in records if one.foreign])
        if refused:
            await self._bury(refused)
        return parked

    async def _bury(self, refused: Sequence[Refused]) -> None:
        await self._log.send([_letter(one) for one in refused])


def _plain(record: Record) -> Entry:
    return Entry(record.key, record.value, record.headers)


_WORDS: Final[Mapping[Refusal, tuple[str, str, str]]] = {
    Refusal.MISSING: (
        "topic_missing",
        "Kafka topic {topic!r} does not exist, so this record could not be written to it",
        "create the topic {topic!r}, then ask again",
    ),
    Refusal.FORBIDDEN: (
        "topic_forbidden",
        "Kafka does not let Headgate's user write to topic {topic!r}",
        "allow Headgate's user to describe and write {topic!r}, then ask again",
    ),
    Refusal.TOO_LARGE: (
        "record_too_large",
        "Kafka topic {topic!r} takes no record of {size} bytes",
        "raise max.message.bytes of {topic!r}, or send less, for example a reference; then ask again",
    ),
    Refusal.AWAY: (
        "topic_away",
        "Kafka does not take records for topic {topic!r} at present, and too many wait for such topics already",
        "bring back the brokers that lead {topic!r}, then ask again",
    ),
    Refusal.INVALID: (
        "record_refused",
        "Kafka refuses this record for topic {topic!r}, as a compacted topic does one without a key",
        "give the record a key, or name another topic; then ask again",
    ),
}
"""By refusal: code, reason and remedy of the dead letter."""


def _letter(refused: Refused) -> Record:
    """Return the dead letter of a record that its Kafka topic does not take."""
    record, why = refused
    code, reason, remedy = _WORDS[why]
    size = len(record.key or b"") + len(record.value or b"")
    key, value, headers = dead_letter(
        code=code,
        reason=reason.format(topic=record.topic, size=size),
        remedy=f"{remedy.format(topic=record.topic)}; the run itself is in the results",
        source_topic=record.topic,
        partition=-1,
        offset=-1,
        timestamp_ms=0,
        key=record.key,
        value=record.value,
        headers=record.headers,
        run_id=None,
        workflow_id=None,
        at_ms=0,
    )
    return Record("dlq", None, key, value, tuple(headers))
