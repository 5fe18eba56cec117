"""Partitions in memory, and owners of them."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from app.engine.effects import After, Resolve, Rise
from app.engine.inputs import Ended, Happened, WorkflowsLoaded
from app.engine.tables.run import Run
from app.engine.values.limits import Limits
from app.kafka.log import Entry, LogRecord
from app.kafka.memory import MemoryLog, MemorySender
from app.kafka.memory_cluster import MemoryCluster
from app.pump.around import Bounds
from app.pump.pump import Pump
from app.pump.takeover import Owner, Taken, take_over
from headgate import workflow
from headgate.definition import Workflow

NOW = 1_700_000_000_000
KEY = "k4"  # its home is partition 0 of two


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.ms = NOW

    def now_ms(self) -> int:
        return self.ms

    async def wait(self, event: asyncio.Event, until_ms: int | None) -> None:
        if until_ms is None or until_ms > self.ms:
            await event.wait()


@dataclass(slots=True)
class ScriptedRuntime:
    """Runs end at once with the result 1; those of a workflow in `slow` end when the test says so."""

    slow: set[str] = field(default_factory=set)
    started: list[str] = field(default_factory=list)
    told: list[After] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    places: int = 0
    """For functions that wait: `spare`."""
    reports: dict[str, Callable[[Happened], None]] = field(default_factory=dict)
    then: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What a function does at once when it is told of a step, by the step's key, or is called anew, by its run's id."""

    async def start(self, runs: Sequence[Run], report: Callable[[Happened], None]) -> None:
        for run in runs:
            self.started.append(run.id)
            self.reports[run.id] = report
            if run.workflow.id not in self.slow:
                report(Ended(run.id, run.attempt, b"1"))

    def go_on(self, after: Sequence[After], report: Callable[[Happened], None]) -> None:
        self.told.extend(after)
        for one in after:
            self.reports[one.run.id] = report
            name = one.key if isinstance(one, Resolve) else one.run.id if isinstance(one, Rise) else ""
            if name in self.then:
                self.then[name]()

    def spare(self) -> int:
        return self.places

    def cancel(self, runs: Sequence[Run]) -> None:
        self.cancelled.extend(run.id for run in runs)

    def end(self, run_id: str, attempt: int = 1) -> None:
        self.reports[run_id](Ended(run_id, attempt, b"1"))


def defined(workflow_id: str = "w", topic: str = "orders/created", **options: Any) -> Workflow:
    async def handle(ctx: Any, payload: Any) -> None:
        """Never called here: the runtime is scripted."""

    return workflow(workflow_id, topic, **options)(handle)


def event(number: int = 0, **fields: Any) -> Entry:
    return Entry(None, orjson.dumps({"topic": "orders/created", "data": {"n": number}} | fields))


class Room:
    """One cluster, and what a test does to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cluster = MemoryCluster(2, now_ms=self.clock.now_ms)
        self.limits = Limits(partitions=2)
        self.runtime = ScriptedRuntime()
        self.running: list[asyncio.Task[None]] = []

    def log(self, partition: int = 0, **options: Any) -> MemoryLog:
        return MemoryLog(partition, cluster=self.cluster, sender=MemorySender(self.cluster), **options)

    async def take(
        self, log: MemoryLog, name: str = "first", limits: Limits | None = None, *, at_hand_bytes: int | None = None
    ) -> Taken:
        owner = Owner(worker=name, instance_id=name)
        now_ms = self.clock.now_ms
        return await take_over(log, owner, limits or self.limits, now_ms=now_ms, at_hand_bytes=at_hand_bytes)

    async def pump(
        self, log: MemoryLog | None = None, name: str = "first", *, at_hand_bytes: int | None = None, **bounds: Any
    ) -> Pump:
        """Take partition 0 over and return its pump, which does not run yet."""
        log = log or self.log()
        taken = await self.take(log, name, at_hand_bytes=at_hand_bytes)
        return Pump(
            taken.state,
            log,
            self.runtime,
            self.clock,
            next_journal_offset=taken.next_journal_offset,
            bounds=Bounds(**bounds),
            deliver_again=taken.deliver_again,
            recall=taken.recall,
        )

    def run(self, pump: Pump) -> asyncio.Task[None]:
        task = asyncio.create_task(pump.run())
        self.running.append(task)
        return task

    def produce(self, *entries: Entry, topic: str = "events", partition: int = 0) -> list[LogRecord]:
        """Append records and return all that the partition holds."""
        self.cluster.produce(topic, partition, list(entries))
        return self.cluster.read(topic, partition)

    def values(self, topic: str, partition: int = 0) -> list[Any]:
        return [orjson.loads(one.value) for one in self.cluster.read(topic, partition) if one.value is not None]

    def close(self) -> None:
        for task in self.running:
            task.cancel()


async def settle() -> None:
    """Let everything happen that can happen now."""
    for _ in range(200):
        await asyncio.sleep(0)


@pytest.fixture
def room() -> Iterator[Room]:
    found = Room()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", logger="app.pump.partitions")


class Gate(MemoryLog):
    """Appends to the journal wait while the gate is closed."""

    def __init__(self, room: Room) -> None:
        super().__init__(0, cluster=room.cluster, sender=MemorySender(room.cluster))
        self.open = asyncio.Event()
        self.open.set()

    async def append(self, entries: Any) -> int:
        await self.open.wait()
        return await super().append(entries)


async def going(room: Room, log: MemoryLog | None = None, **options: Any) -> tuple[Pump, asyncio.Task[None]]:
    pump = await room.pump(log)
    pump.workflows_changed(WorkflowsLoaded([defined(**options)], ()))
    task = room.run(pump)
    await settle()
    return pump, task
