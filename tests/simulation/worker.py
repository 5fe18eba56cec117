"""One simulated worker process: group membership, fetching and agents as Faust does them, around the real pumps."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.engine.inputs import WorkflowsLoaded
from app.engine.journal import snapshot
from app.engine.values.known import Definition
from app.engine.values.limits import Limits
from app.kafka.log import LogError
from app.kafka.memory import MemoryLog, MemorySender
from app.pump.around import Bounds
from app.pump.partitions import Partitions, Parts
from app.pump.snapshots import Snapshots
from app.pump.standby import Sources, Standby
from app.pump.takeover import AT_ONCE_BYTES, Owner
from app.runtime.driver import Driver
from app.runtime.limits import StepLimits
from headgate.definition import Workflow
from tests.simulation.loop import Process
from tests.simulation.network import SimNetwork

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

HEARTBEAT_SECONDS = 0.25
EPOCH_MS = 1_700_000_000_000


class SimClock:
    """Virtual time, waited for as `app.wiring.clock` does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return EPOCH_MS + int(self._loop.time() * 1000)

    async def wait(self, event: asyncio.Event, until_ms: int | None) -> None:
        if until_ms is None:
            await event.wait()
            return
        left = until_ms - self.now_ms()
        if left <= 0:
            return
        timer = self._loop.call_later(left / 1000, event.set)
        try:
            await event.wait()
        finally:
            timer.cancel()


@dataclass(frozen=True, slots=True)
class _File:
    disk: dict[str, bytes]
    name: str

    def read_bytes(self) -> bytes:
        if self.name not in self.disk:
            raise FileNotFoundError(self.name)
        return self.disk[self.name]


class SimSnapshots(Snapshots):
    """Snapshots on a disk that outlives its worker's process."""

    def __init__(self, disk: dict[str, bytes]) -> None:
        super().__init__(Path("snapshots"), name="")
        self._disk = disk

    def _file(self, partition: int) -> Any:
        return _File(self._disk, str(partition))

    def _put(self, file: Any, content: snapshot.Content) -> None:
        self._disk[file.name] = b"".join(snapshot.written(content))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The bounds that all workers of a scenario have."""

    limits: Limits
    bounds: Bounds
    at_hand_bytes: int
    scan_bytes: int
    """Of the journal, how much is read at once for what sleeps."""
    commit_bytes: int
    """Above this, a round is journaled in more than one batch."""
    fetch_records: int
    journal_fetch_records: int
    results_batch_bytes: int
    send_records: int
    claim_every_ms: int
    snapshot_every_ms: int | None
    tail_ids: int
    """After so many ids they are packed."""
    standby_turn_seconds: float | None
    """How often standbys read on; None: there are none."""
    standby_turn_bytes: int
    standby_most_bytes: int
    suspended: int = 10_000
    """Runs that only wait and are kept in memory all the same."""
    threads: int = 1
    """Plain functions that go on at once."""
    tight: bool = False
    """Whether tables of what rests are as small as they can be, and keys in them are shared."""
    a_round: int = 5_000
    """Waits that open or end in one round."""
    slice_events: int = 500
    """Events that a look-back gives in one round."""
    at_once_bytes: int = AT_ONCE_BYTES
    """What weighs less is restored at once, other things in a thread."""


class Worker:
    """From its start to its death. A restarted worker is another object with the same instance id."""

    def __init__(self, scenario: "Scenario", instance: str, life: int, workflows: Sequence[Workflow]) -> None:
        self._sim = scenario
        self.instance = instance
        self.name = f"{instance}.{life}"
        self.process = Process(self.name)
        self.workflows = tuple(workflows)
        self.closing = False
        loop = scenario.loop
        shape = scenario.shape
        self._network = SimNetwork(loop, scenario.random, scenario.cluster_process, self.process, scenario.weather)
        sender = MemorySender(scenario.cluster, self._network, batch_records=shape.send_records)
        self.generation: int | None = None
        self._positions: dict[tuple[str, int], int] = {}
        self.fetched: asyncio.Event
        self._sender = sender
        self._member = self.name

    def start(self) -> None:
        self._sim.loop.spawn(self.process, self._run())

    async def _run(self) -> None:
        sim, shape = self._sim, self._sim.shape
        clock = SimClock(sim.loop)
        limits = StepLimits(
            partitions=shape.limits.partitions,
            event_bytes=shape.limits.event_bytes,
            suspended=shape.suspended,
            send_allowed=shape.limits.reply_allowed,
        )
        self.driver = Driver(limits=limits, threads=shape.threads, now_ms=clock.now_ms)

        def open_log(number: int) -> MemoryLog:
            return MemoryLog(
                number,
                cluster=sim.cluster,
                sender=self._sender,
                network=self._network,
                results_batch_bytes=shape.results_batch_bytes,
                fetch_records=shape.journal_fetch_records,
            )

        snapshots = None if shape.snapshot_every_ms is None else SimSnapshots(sim.disk(self.instance))
        standby = None
        if shape.standby_turn_seconds is not None:
            standby = Standby(
                Sources(open_log=open_log, ends=self._ends, snapshots=snapshots),
                shape.limits,
                name=self.instance,
                now_ms=clock.now_ms,
                most_bytes=shape.standby_most_bytes,
                at_hand_bytes=shape.at_hand_bytes,
                turn_seconds=shape.standby_turn_seconds,
                turn_bytes=shape.standby_turn_bytes,
            )
        self.partitions = Partitions(
            Parts(
                owner=Owner(worker=self.name, instance_id=self.instance),
                limits=shape.limits,
                bounds=shape.bounds,
                clock=clock,
                runtime=self.driver,
                open_log=open_log,
                observe=lambda counters, state: sim.journals.observe(self, counters, state),
                claim_every_ms=shape.claim_every_ms,
                at_hand_bytes=shape.at_hand_bytes,
                standby=standby,
                snapshots=snapshots,
                snapshot_every_ms=shape.snapshot_every_ms or 60_000,
            ),
            failed=self.fail,
        )
        self.fetched = asyncio.Event()
        self._queues: dict[str, asyncio.Queue[tuple[int, int, Any]]] = {
            topic: asyncio.Queue(3) for topic in ("events", "commands")
        }
        sim.announce(self)
        self._heard = {one.id: sim.announced[one.id] for one in self.workflows}
        self.tell()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._belong())
                tasks.create_task(self._fetch())
                if standby is not None:
                    tasks.create_task(standby.run())
                for topic in self._queues:
                    tasks.create_task(self._agent(topic))
        except BaseExceptionGroup as group:
            self.fail(group.exceptions[0])

    def hear(self, definition: Definition) -> None:
        """Hear an announcement."""
        self._heard[definition.id] = definition
        self.tell()

    def tell(self) -> None:
        """Tell the pumps what is loaded, and what is announced as far as it was heard."""
        self.partitions.workflows_changed(WorkflowsLoaded(self.workflows, list(self._heard.values())))

    def fail(self, error: BaseException) -> None:
        """The process ends at once; the supervisor starts another."""
        if not self.process.dead:
            self._sim.worker_failed(self, error)

    # --- the group --------------------------------------------------------------------------------------------------

    async def _belong(self) -> None:
        group = self._sim.group
        rejoin = asyncio.Event()
        heart = asyncio.create_task(self._beat(rejoin))
        try:
            while True:
                rejoin.clear()
                self.generation = None
                await self.partitions.pause()
                if self.closing:
                    await self.partitions.close(drain_seconds=0.3)
                    await self._ask("leave", partial(group.leave, self._member))
                    self._sim.worker_left(self)
                    return
                await self._ask("join", partial(group.join, self._member, self.instance))
                answer = None
                while answer is None:
                    await asyncio.sleep(0.03)
                    try:
                        answer = await self._network.call("sync", partial(group.assignment, self._member))
                    except LogError:
                        break
                if answer is None:
                    continue
                generation, assigned = answer
                await self.partitions.assign(assigned)
                self._positions.clear()
                self.generation = generation
                self.fetched.set()
                await rejoin.wait()
        finally:
            heart.cancel()

    async def _beat(self, rejoin: asyncio.Event) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            answer = await self._ask("heartbeat", partial(self._sim.group.heartbeat, self._member))
            if self.generation is not None and (answer != self.generation or self.closing):
                rejoin.set()

    async def _ask(self, what: str, do: Any) -> Any:
        while True:
            try:
                return await self._network.call(what, do)
            except LogError:
                continue

    async def _ends(self, numbers: Collection[int]) -> dict[int, int]:
        cluster = self._sim.cluster
        return await self._network.call(
            "ends", lambda: {number: cluster.partition("journal", number).end for number in numbers}
        )

    # --- fetching and agents ----------------------------------------------------------------------------------------

    async def _fetch(self) -> None:
        cluster, most = self._sim.cluster, self._sim.shape.fetch_records
        while True:
            self.fetched.clear()
            full = False
            generation = self.generation
            numbers = sorted(self.partitions.numbers) if generation is not None else ()
            for number in numbers:
                for topic, queue in self._queues.items():
                    where = cluster.partition(topic, number)
                    at = self._positions.get((topic, number))
                    if at is None:
                        at = self.partitions.position(topic, number)
                        if at is None:
                            continue
                    if at >= where.stable_end:
                        continue
                    if not self.partitions.has_room(topic, number) or queue.full():
                        full = True
                        continue
                    try:
                        fetch = partial(where.fetch, at, where.end, most)
                        records, after = await self._network.call("fetch", fetch)
                    except LogError:
                        full = True
                        continue
                    if generation is None or self.generation != generation:
                        break  # fetched while the group changes: after it, every partition is sought anew
                    self._positions[topic, number] = after
                    if records:
                        await queue.put((number, generation, records))
                    full = True
            if not full:
                await self.fetched.wait()
            else:
                await asyncio.sleep(0.003)

    async def _agent(self, topic: str) -> None:
        queue = self._queues[topic]
        while True:
            number, generation, records = await queue.get()
            pump = self.partitions.pump(number)
            if pump is None or generation != self.generation:
                continue
            if topic == "events":
                await pump.offer_events(records)
            else:
                await pump.offer_commands(records)
