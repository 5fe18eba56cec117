"""The partitions that this worker owns: takes them over, keeps their pumps going, lets them go. One for a worker."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.engine.inputs import WorkflowsLoaded
from app.engine.runs import asleep
from app.engine.tables.counters import Counters
from app.engine.tables.state import State
from app.engine.values.limits import Limits
from app.kafka.log import Fenced, PartitionLog
from app.observe import logs
from app.pump.around import Bounds, Clock, Runtime
from app.pump.pump import Pump
from app.pump.snapshots import Snapshots
from app.pump.standby import Standby
from app.pump.takeover import GivenAway, Owner, take_over
from app.pump.upkeep import Upkeep

log = logs.get(__name__)

TURNS_TO_END = 20
"""Of the loop, in which functions that were cancelled with their partition end, and hold nothing of it any more."""
ROUNDS_AT_ONCE = 4
"""Of all partitions: what the rounds of a worker hold at once is bounded, whatever the number of its partitions."""


class PumpCancelled(Exception):
    """The task of a pump was cancelled by somebody else than its owner, who forgets a partition before that."""

    def __init__(self, partition: int) -> None:
        super().__init__(
            f"the pump of partition {partition} was cancelled while the partition is assigned, so nothing is processed "
            "there any more; restart the worker, and report this with its log"
        )
        self.partition = partition


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every pump of the worker is built from."""

    owner: Owner
    limits: Limits
    bounds: Bounds
    clock: Clock
    runtime: Runtime
    open_log: Callable[[int], PartitionLog]
    observe: Callable[[Counters, State], None]
    let_go: Callable[[], None] | None = None
    """Called once partitions were given away, before others are taken: pumps and their parts refer to each other."""
    standby: Standby | None = None
    snapshots: Snapshots | None = None
    snapshot_every_ms: int = 60_000
    claim_every_ms: int = 6 * 3_600_000
    at_hand_bytes: int = 2 * 1024 * 1024
    """Of events that wait, what a takeover keeps of each partition; the rest is read again when its turn comes."""
    clock_warn_ms: int = 1_000
    clock_stop_ms: int = 60_000


@dataclass(slots=True)
class _Owned:
    pump: Pump
    log: PartitionLog
    task: asyncio.Task[None]


class Partitions:
    """Changed by one task at a time: the rebalance. `failed` is told of an error that must end the process."""

    def __init__(self, parts: Parts, *, failed: Callable[[BaseException], None]) -> None:
        self._parts = parts
        self._failed = failed
        self._owned: dict[int, _Owned] = {}
        self._turns = asyncio.Semaphore(ROUNDS_AT_ONCE)
        self._restoring = asyncio.Lock()
        self._workflows = WorkflowsLoaded((), ())
        self._draining = False

    def __contains__(self, partition: int) -> bool:
        return partition in self._owned

    @property
    def numbers(self) -> frozenset[int]:
        return frozenset(self._owned)

    def pumps(self) -> Iterable[Pump]:
        return [one.pump for one in self._owned.values()]

    def workflows_changed(self, given: WorkflowsLoaded) -> None:
        """Tell every pump what is loaded and announced; partitions taken later hear it first."""
        self._workflows = given
        for one in self._owned.values():
            one.pump.workflows_changed(given)

    def position(self, topic: str, partition: int) -> int | None:
        """Return the offset to fetch next, None for a partition that is not owned."""
        one = self._owned.get(partition)
        return None if one is None else one.pump.position(topic)

    def has_room(self, topic: str, partition: int) -> bool:
        """Whether the partition takes another chunk of `topic` now."""
        one = self._owned.get(partition)
        return one is not None and not self._draining and one.pump.has_room(topic)

    def pump(self, partition: int) -> Pump | None:
        one = self._owned.get(partition)
        return None if one is None else one.pump

    async def pause(self) -> None:
        """Stop every pump after its append in flight: the group is about to change."""
        await asyncio.gather(*(one.pump.pause() for one in self._owned.values()))

    async def assign(self, partitions: frozenset[int], still: Callable[[], bool] = lambda: True) -> None:
        """Own exactly `partitions`: let go of the others, take over what is new, go on with what stays.

        What is not `still` ours when its journal was read is not taken over: the group will say whose it is now.
        """
        given_away = self.numbers - partitions
        await self._release(given_away)
        if given_away and self._parts.let_go is not None and not self._draining:
            for _ in range(TURNS_TO_END):
                await asyncio.sleep(0)
            self._parts.let_go()
        await asyncio.gather(*(self._acquire(one, still) for one in sorted(partitions - self.numbers)))
        if self._parts.standby is not None and not self._draining:
            self._parts.standby.follow(frozenset(range(self._parts.limits.partitions)) - partitions)
        for one in self._owned.values():
            one.pump.resume()

    async def close(self, *, drain_seconds: float) -> None:
        """Let go of everything: attempts that go on get `drain_seconds` to end, and nothing new begins meanwhile.

        What waits for its turn or its retry is in the journal, and goes on elsewhere.
        """
        self._draining = True
        for one in self._owned.values():
            one.pump.drain()
        try:
            await asyncio.wait_for(self._drained(), drain_seconds)
        except TimeoutError:
            log.info("drain_ended_early", running=sum(one.pump.in_flight for one in self._owned.values()))
        await self._release(self.numbers)

    async def _drained(self) -> None:
        while any(one.pump.in_flight for one in self._owned.values()):  # noqa: ASYNC110 only on the way out
            await asyncio.sleep(0.05)

    async def _acquire(self, partition: int, still: Callable[[], bool]) -> None:
        parts = self._parts
        partition_log = parts.open_log(partition)
        standby = None if parts.standby is None else await parts.standby.take(partition)
        try:
            taken = await take_over(
                partition_log,
                parts.owner,
                parts.limits,
                now_ms=parts.clock.now_ms,
                warn_ms=parts.clock_warn_ms,
                stop_ms=parts.clock_stop_ms,
                snapshots=parts.snapshots,
                at_hand_bytes=parts.at_hand_bytes,
                standby=standby,
                restoring=self._restoring,
                still=still,
            )
        except GivenAway:
            await partition_log.close()
            log.info("takeover_given_up", partition=partition)
            return
        except BaseException:
            await partition_log.close()
            raise
        now_ms = parts.clock.now_ms()
        upkeep = Upkeep(
            log=partition_log,
            owner=parts.owner,
            limits=parts.limits,
            claim=taken.claim,
            claim_due_ms=now_ms + parts.claim_every_ms,
            claim_every_ms=parts.claim_every_ms,
            snapshots=parts.snapshots,
            # Not all partitions of a worker at once.
            snapshot_due_ms=now_ms + parts.snapshot_every_ms * (partition + 1) // parts.limits.partitions,
            snapshot_every_ms=parts.snapshot_every_ms,
        )
        pump = Pump(
            taken.state,
            partition_log,
            parts.runtime,
            parts.clock,
            next_journal_offset=taken.next_journal_offset,
            bounds=parts.bounds,
            deliver_again=taken.deliver_again,
            recall=taken.recall,
            upkeep=upkeep,
            turns=self._turns,
            observe=parts.observe,
        )
        pump.workflows_changed(self._workflows)
        if self._draining:
            pump.drain()
        task = asyncio.create_task(pump.run(), name=f"partition-{partition}")
        self._owned[partition] = _Owned(pump, partition_log, task)
        task.add_done_callback(lambda done, number=partition: self._ended(number, done))  # type: ignore[misc]
        log.info(
            "partition_claimed",
            partition=partition,
            term=taken.term,
            runs=len(taken.state.runs),
            asleep=asleep.count(taken.state),
            deliver_again=len(taken.deliver_again),
            from_standby=taken.from_standby,
        )

    async def _release(self, partitions: Iterable[int]) -> None:
        for number in sorted(partitions):
            one = self._owned.pop(number)
            one.pump.stop()
            try:
                await asyncio.wait_for(asyncio.shield(one.task), 5.0)
            except TimeoutError:
                one.task.cancel()
                await asyncio.gather(one.task, return_exceptions=True)
            except Fenced:
                log.info("partition_was_taken", partition=number)
            await one.log.close()
            log.info("partition_released", partition=number)

    def _ended(self, partition: int, task: asyncio.Task[None]) -> None:
        if partition not in self._owned:
            return
        error = PumpCancelled(partition) if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)
