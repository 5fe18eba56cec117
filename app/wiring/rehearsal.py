"""The whole service in memory and in virtual time, for authors' tests: `headgate.testing` finds it by an entry point.

One worker with the real pumps, engine and runtime over `app.kafka.memory`. What is sent is handled before the call
returns; time passes when it is told to.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import orjson

from app.engine.inputs import WorkflowsLoaded
from app.engine.tables.counters import Counters
from app.engine.tables.state import State
from app.engine.values.limits import Limits
from app.kafka.log import Entry, LogRecord, Producer
from app.kafka.memory import MemoryLog, MemorySender
from app.kafka.memory_cluster import MemoryCluster, MemoryPartition
from app.pump.around import Bounds
from app.pump.partitions import Partitions, Parts
from app.pump.pump import Pump
from app.pump.takeover import Owner
from app.runtime.driver import Driver
from app.runtime.limits import StepLimits
from app.wiring.clock import SystemClock
from app.wiring.virtual import VirtualLoop
from headgate.definition import Workflow
from topics import codec, keys
from topics.envelope import Envelope

Answer = TypeVar("Answer")
BEGIN_MS: Final = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
_FETCH_RECORDS: Final = 500
_INPUTS: Final = ("events", "commands")


class _Line:
    """The way from a worker to the cluster, until the worker is dead: then nothing of it arrives any more."""

    def __init__(self) -> None:
        self.cut = False

    async def call(self, what: str, do: Callable[[], Answer]) -> Answer:  # noqa: ARG002 a faulty network names it
        await asyncio.sleep(0)
        if self.cut:
            await asyncio.get_running_loop().create_future()
        return do()

    async def pause(self) -> None:
        await asyncio.sleep(0)

    def later(self, do: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(do)


class _Clock(SystemClock):
    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return BEGIN_MS + round(self._loop.time() * 1000)


@dataclass(slots=True)
class _Life:
    """One life of the worker."""

    line: _Line
    driver: Driver
    partitions: Partitions
    positions: dict[tuple[str, int], int] = field(default_factory=dict)


class Rehearsal:
    """A Headgate of one worker. Methods return once everything that they cause has happened."""

    def __init__(self, workflows: Sequence[Workflow], *, partitions: int = 2, reply_topics: Sequence[str] = ()) -> None:
        self._workflows = tuple(workflows)
        self._loop = VirtualLoop()
        self._clock = _Clock(self._loop)
        self._cluster = MemoryCluster(partitions, now_ms=self._clock.now_ms)
        for topic in reply_topics:
            self._cluster.create(topic, 1)
        self._limits = Limits(partitions=partitions, reply_allowed=lambda topic: topic in reply_topics)
        self._failed: BaseException | None = None
        self._lives = 0
        self._sent = 0
        self._die_at: int | None = None
        self._closed = False
        self.turns = 0
        """Turns that the worker had since it was there: at each of them it may die."""
        self._loop.on_turn = self._turned
        self._wake = asyncio.Event()
        self._order: dict[str, list[tuple[int, int]]] = {}
        """Partition and offset of every record of a topic, in the order in which they were appended."""
        self._cluster.on_append = self._appended
        self._life = self._begin()
        self._rest()

    # --- what a test does -------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def produce(self, topic: str, key: bytes | None, value: bytes | None, headers: codec.Headers, *, home: int) -> None:
        """Append a record to `topic` as any Kafka client would."""
        self._cluster.produce(topic, home, [Entry(key, value, tuple(headers))])
        self._rest()

    def send(
        self,
        topic: str,
        data: Any,
        *,
        key: str | None = None,
        event_id: str | None = None,
        event_type: str | None = None,
        reply_topic: str | None = None,
        correlation_id: str | None = None,
    ) -> str:
        """Produce an event; return its id."""
        record_key, value, headers = codec.produce_form(
            topic,
            data,
            event_type=event_type,
            event_id=event_id,
            key=key,
            reply_topic=reply_topic,
            correlation_id=correlation_id,
        )
        home = keys.home(key, event_id, self._limits.partitions)
        if home is None:
            home = self._sent % self._limits.partitions
            self._sent += 1
        offset = self._cluster.partition("events", home).end
        self.produce("events", record_key, value, headers, home=home)
        return event_id or f"{home}-{offset}"

    def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due in it."""
        self._loop.run_to(self._loop.time() + seconds)
        self._check()

    def restart(self, workflows: Sequence[Workflow] = (), *, after: float = 0.0) -> None:
        """Kill the worker as `kill -9` does; start another one, of `workflows` if there are any, `after` seconds."""
        self._kill()
        self._workflows = tuple(workflows) or self._workflows
        if after:
            self._loop.run_to(self._loop.time() + after)
        self._life = self._begin()
        self._rest()

    def die_at(self, turn: int) -> None:
        """Kill the worker when it has had `turn` turns in all, and start another one."""
        self._die_at = turn

    def results(self) -> list[Mapping[str, Any]]:
        """Return the records of `headgate.results`, in the order of their ends."""
        return self._values("results")

    def facts(self) -> list[Mapping[str, Any]]:
        """Return the records of `headgate.runs`."""
        return self._values("runs")

    def dead_letters(self) -> list[Mapping[str, Any]]:
        """Return the records of `headgate.dlq`."""
        return self._values("dlq")

    def events(self) -> list[Envelope]:
        """Return every event of `headgate.events`, in order."""
        found = []
        for number, one in self._read("events"):
            try:
                found.append(
                    codec.decode(
                        one.value,
                        one.key,
                        one.headers,
                        partition=number,
                        offset=one.offset,
                        timestamp_ms=one.timestamp,
                        max_bytes=None,
                    )
                )
            except codec.Malformed:
                continue
        return found

    def records(self, topic: str) -> list[tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]]:
        """Return (key, value, headers) of every record of a Kafka topic, in order."""
        return [(one.key, one.value, one.headers) for _, one in self._read(topic)]

    def close(self) -> None:
        """End the worker and the loop."""
        self._loop.on_turn = lambda: None
        self._closed = True
        self._kill()
        self._loop.settle()
        self._loop.close()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _values(self, topic: str) -> list[Mapping[str, Any]]:
        return [orjson.loads(value) for _, value, _ in self.records(topic) if value is not None]

    def _read(self, topic: str) -> list[tuple[int, LogRecord]]:
        there = {
            (number, one.offset): one
            for number in range(self._cluster.count(topic))
            for one in self._cluster.read(topic, number)
        }
        return [(place[0], there[place]) for place in self._order.get(topic, ()) if place in there]

    def _appended(
        self, where: MemoryPartition, _producer: Producer | None, entries: Sequence[Entry], offset: int
    ) -> None:
        order = self._order.setdefault(where.topic, [])
        order.extend((where.number, offset + at) for at in range(len(entries)))
        self._wake.set()

    def _rest(self) -> None:
        self._loop.settle()
        self._check()

    def _check(self) -> None:
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed
        if self._feeding.done() and not self._feeding.cancelled():
            self._feeding.result()  # the takeover failed: the journal cannot be read

    def _turned(self) -> None:
        self.turns += 1
        if self._die_at is not None and self.turns >= self._die_at:
            self._die_at = None
            self._loop.call_soon(self._die)

    def _die(self) -> None:
        if self._closed or self._life.line.cut:  # nobody is there to be killed
            return
        self._kill()
        self._life = self._begin()

    def _kill(self) -> None:
        life = self._life
        life.line.cut = True
        life.driver.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def _begin(self) -> _Life:
        self._lives += 1
        line = _Line()
        sender = MemorySender(self._cluster, line)
        driver = Driver(
            limits=StepLimits(partitions=self._limits.partitions, send_allowed=self._limits.reply_allowed),
            threads=4,
            now_ms=self._clock.now_ms,
        )

        def open_log(number: int) -> MemoryLog:
            return MemoryLog(number, cluster=self._cluster, sender=sender, network=line)

        def fail(error: BaseException) -> None:
            if not line.cut:
                self._failed = error

        partitions = Partitions(
            Parts(
                owner=Owner(worker=f"rehearsal-{self._lives}", instance_id="rehearsal"),
                limits=self._limits,
                bounds=Bounds(),
                clock=self._clock,
                runtime=driver,
                open_log=open_log,
                observe=_forget,
            ),
            failed=fail,
        )
        partitions.workflows_changed(WorkflowsLoaded(self._workflows, ()))
        life = _Life(line, driver, partitions)
        self._feeding = self._loop.create_task(self._feed(life), name="feed")
        return life

    async def _feed(self, life: _Life) -> None:
        """Fetch what is new, for ever."""
        await life.partitions.assign(frozenset(range(self._limits.partitions)))
        while True:
            self._wake.clear()
            busy = False
            for number in range(self._limits.partitions):
                pump = life.partitions.pump(number)
                if pump is None:
                    continue
                for topic in _INPUTS:
                    busy |= await self._fetch(life, pump, topic, number)
            if not busy:
                await self._wake.wait()

    async def _fetch(self, life: _Life, pump: Pump, topic: str, number: int) -> bool:
        """Hand on what is new of a partition; say whether there was anything."""
        where = self._cluster.partition(topic, number)
        at = life.positions.setdefault((topic, number), pump.position(topic))
        if at >= where.stable_end:
            return False
        if not pump.has_room(topic):
            await asyncio.sleep(0)
            return True
        records, after = await life.line.call("fetch", lambda: where.fetch(at, where.end, _FETCH_RECORDS))
        life.positions[topic, number] = after
        if records:
            await (pump.offer_events(records) if topic == "events" else pump.offer_commands(records))
        return True


def _forget(_counters: Counters, state: State) -> None:
    state.counters = Counters()
