"""Partitions are taken, kept and let go as the group says; what goes wrong in one of them ends the process."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.engine.inputs import Ended, Failure, WorkflowsLoaded
from app.kafka.log import Entry, Fenced
from app.kafka.memory import MemoryLog
from app.pump.around import Bounds, Runtime
from app.pump.partitions import Partitions, Parts
from app.pump.pump import Pump
from app.pump.snapshots import Snapshots
from app.pump.takeover import Owner
from app.runtime.driver import Driver
from app.runtime.limits import StepLimits
from headgate import workflow
from tests.unit.app.pump.conftest import Room, defined, event, settle
from topics import journal


class Worker:
    """A worker's partitions, without the rest of it."""

    def __init__(
        self, room: Room, name: str, snapshots: Snapshots | None = None, runtime: Runtime | None = None
    ) -> None:
        self.failures: list[BaseException] = []
        self.logs: list[MemoryLog] = []
        self.let_go = 0
        self._room = room
        self.partitions = Partitions(
            Parts(
                owner=Owner(worker=name, instance_id=name),
                limits=room.limits,
                bounds=Bounds(),
                clock=room.clock,
                runtime=runtime or room.runtime,
                open_log=self._open,
                observe=lambda _counters, _state: None,
                let_go=self._let_go,
                snapshots=snapshots,
            ),
            failed=self.failures.append,
        )
        self.partitions.workflows_changed(WorkflowsLoaded([defined()], ()))

    def _open(self, partition: int) -> MemoryLog:
        self.logs.append(self._room.log(partition))
        return self.logs[-1]

    def _let_go(self) -> None:
        self.let_go += 1
        gc.collect()

    async def assign(self, *partitions: int) -> None:
        await self.partitions.pause()
        await self.partitions.assign(frozenset(partitions))
        await settle()


@pytest.fixture
async def worker(room: Room) -> Worker:
    return Worker(room, "first")


@pytest.fixture(autouse=True)
def _close(room: Room) -> Iterator[None]:
    yield
    room.close()


def claims(room: Room, partition: int) -> list[str]:
    read = room.cluster.read("journal", partition)
    return [orjson.loads(one.value or b"")["worker"] for one in read if one.key == journal.CLAIM]


async def busy(room: Room, worker: Worker, *ids: str) -> Pump:
    """Give partition 0 to the worker, with these events of one key, whose runs end when a test says so."""
    room.runtime.slow.add("w")
    await worker.assign(0)
    pump = worker.partitions.pump(0)
    assert pump is not None
    await pump.offer_events(room.produce(*(event(id=one, key="k4") for one in ids)))
    await settle()
    return pump


async def test_what_is_assigned_is_owned_and_works(room: Room, worker: Worker) -> None:
    await worker.assign(0, 1)
    assert worker.partitions.numbers == {0, 1}
    pump = worker.partitions.pump(0)
    assert pump is not None
    await pump.offer_events(room.produce(event(id="e1", key="k4")))
    await settle()
    assert len(room.values("results")) == 1
    assert (worker.partitions.position("events", 0), worker.partitions.position("events", 1)) == (1, 0)
    await worker.assign()


async def test_a_partition_that_is_kept_keeps_its_term(room: Room, worker: Worker) -> None:
    await worker.assign(0, 1)
    kept = worker.partitions.pump(0)
    await worker.assign(0)
    assert worker.partitions.pump(0) is kept
    assert (claims(room, 0), worker.partitions.numbers) == (["first"], frozenset({0}))
    await worker.assign()


async def test_a_partition_that_goes_and_comes_back_is_claimed_anew(room: Room, worker: Worker) -> None:
    await worker.assign(0)
    await worker.assign()
    assert worker.partitions.pump(0) is None
    await worker.assign(0)
    assert claims(room, 0) == ["first", "first"]
    await worker.assign()


async def test_nothing_of_a_partition_that_was_given_away_stays_in_memory(room: Room) -> None:
    held: list[weakref.ref[Any]] = []

    class Order(dict[str, Any]):
        """Can be referred to weakly."""

    async def waits(ctx: Any, payload: Any) -> None:
        order = Order(payload)
        held.append(weakref.ref(order))
        await ctx.step.wait_for_event("paid", "orders/paid")

    async def hangs(ctx: Any, payload: Any) -> None:
        order = Order(payload)
        held.append(weakref.ref(order))
        await asyncio.Event().wait()

    driver = Driver(limits=StepLimits(partitions=2), threads=1)
    worker = Worker(room, "first", runtime=driver)
    loaded = [workflow("waits", "orders/created")(waits), workflow("hangs", "orders/created")(hangs)]
    worker.partitions.workflows_changed(WorkflowsLoaded(loaded, ()))
    await worker.assign(0)
    pump = worker.partitions.pump(0)
    assert pump is not None
    await pump.offer_events(room.produce(event(id="e1", key="k4")))
    await settle()
    gone = weakref.ref(pump)
    del pump
    await worker.assign(1)
    assert gone() is None
    assert len(held) == 2
    assert [one() for one in held] == [None, None]
    assert worker.let_go == 1
    await worker.assign(0, 1)
    assert worker.let_go == 1, "nothing was given away"
    await worker.assign()
    driver.close()


async def test_what_is_not_owned_has_no_position_and_no_room(worker: Worker) -> None:
    assert worker.partitions.position("events", 0) is None
    assert not worker.partitions.has_room("events", 0)
    assert 0 not in worker.partitions


async def test_what_went_to_another_while_its_journal_was_read_is_not_claimed(room: Room, worker: Worker) -> None:
    await worker.partitions.assign(frozenset({0}), lambda: False)
    assert worker.partitions.numbers == frozenset()
    assert claims(room, 0) == []
    assert worker.failures == []
    await worker.assign(0)
    assert worker.partitions.numbers == {0}
    await worker.assign()


async def test_being_fenced_while_the_partition_is_assigned_ends_the_process(room: Room, worker: Worker) -> None:
    await worker.assign(0)
    await room.take(room.log(), "second")
    pump = worker.partitions.pump(0)
    assert pump is not None
    await pump.offer_events(room.produce(event(id="e1", key="k4")))
    await settle()
    assert [type(one) for one in worker.failures] == [Fenced]


async def test_a_pump_that_is_cancelled_while_its_partition_is_assigned_ends_the_process(worker: Worker) -> None:
    await worker.assign(0)
    (pump,) = (one for one in asyncio.all_tasks() if one.get_name() == "partition-0")
    pump.cancel()
    await settle()
    (error,) = worker.failures
    assert str(error) == (
        "the pump of partition 0 was cancelled while the partition is assigned, so nothing is processed there any "
        "more; restart the worker, and report this with its log"
    )


async def test_being_fenced_after_a_revoke_only_drops_the_partition(room: Room, worker: Worker) -> None:
    await worker.assign(0, 1)
    pump = worker.partitions.pump(0)
    assert pump is not None
    await worker.partitions.pause()
    await room.take(room.log(), "second")
    pump.workflows_changed(WorkflowsLoaded([defined(), defined("late")], ()))
    await worker.partitions.assign(frozenset({1}))
    await settle()
    assert worker.partitions.numbers == frozenset({1})
    assert not worker.failures
    await worker.assign()


async def test_a_takeover_that_fails_closes_its_log_and_says_why(room: Room, worker: Worker) -> None:
    room.cluster.partition("journal", 0).append([Entry(journal.HEAD, b"not json")], room.clock.ms)
    with pytest.raises(journal.UnreadableJournal, match="'head' cannot be read"):
        await worker.partitions.assign(frozenset({0}))
    assert worker.logs[0]._producer is None
    assert worker.partitions.numbers == frozenset()


async def test_closing_waits_for_runs_no_longer_than_it_may(room: Room, worker: Worker) -> None:
    await busy(room, worker, "e1")
    await worker.partitions.close(drain_seconds=0.01)
    assert (room.runtime.cancelled, room.values("results")) == (room.runtime.started, [])
    assert worker.partitions.numbers == frozenset()


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def closing(worker: Worker) -> "asyncio.Task[None]":
    """Return the task of a close that has time enough."""
    task = asyncio.create_task(worker.partitions.close(drain_seconds=60.0))
    await settle()
    return task


async def test_closing_takes_no_new_events_and_ends_as_soon_as_what_goes_on_has_ended(
    room: Room, worker: Worker
) -> None:
    pump = await busy(room, worker, "e1")
    close = await closing(worker)
    assert not worker.partitions.has_room("events", 0)
    await pump.offer_events(room.produce(event(id="e2", key="k4"))[1:])
    await settle()
    assert (len(room.runtime.started), pump.position("events")) == (1, 1)
    room.runtime.end(room.runtime.started[0])
    await asyncio.wait_for(close, 5.0)
    assert (len(room.values("results")), room.runtime.cancelled) == (1, [])


async def test_closing_starts_neither_what_waits_for_its_key_nor_what_is_due_again_and_the_next_owner_does(
    room: Room, worker: Worker
) -> None:
    pump = await busy(room, worker, "e0", "e1", "e2")
    other = event(id="other", key="k4", topic="orders/retried")
    pump.workflows_changed(WorkflowsLoaded([defined(), defined("r", "orders/retried")], ()))
    room.runtime.slow.add("r")
    await settle()
    await pump.offer_events(room.produce(other)[3:])
    await settle()
    first, retried = room.runtime.started
    room.runtime.reports[retried](Ended(retried, 1, None, Failure("E", "no", None, retry_after_ms=1_000)))
    await settle()
    close = await closing(worker)
    room.clock.ms += 1_000
    room.runtime.end(first)
    await asyncio.wait_for(close, 5.0)
    assert room.runtime.started == [first, retried], "nothing began on the way out"
    following = Worker(room, "second")
    following.partitions.workflows_changed(WorkflowsLoaded([defined(), defined("r", "orders/retried")], ()))
    await following.assign(0)
    assert len(room.runtime.started) == 4
    assert retried in room.runtime.started[2:], "its next attempt"
    await following.assign()


async def test_closing_leaves_a_snapshot_though_runs_are_queued(room: Room, tmp_path: Path) -> None:
    worker = Worker(room, "first", Snapshots(tmp_path, name="journal."))
    await busy(room, worker, "e0", "e1", "e2")
    close = await closing(worker)
    room.runtime.end(room.runtime.started[0])
    await asyncio.wait_for(close, 5.0)
    assert files(tmp_path)
    following = Worker(room, "second", Snapshots(tmp_path, name="journal."))
    await following.assign(0)
    for _ in range(2):
        room.runtime.end(room.runtime.started[-1])
        await settle()
    assert len({one["run_id"] for one in room.values("results")}) == 3
    await following.assign()


async def test_a_partition_that_comes_while_closing_starts_nothing(room: Room, worker: Worker) -> None:
    await busy(room, worker, "e1")
    close = await closing(worker)
    await worker.assign(0, 1)
    late = worker.partitions.pump(1)
    assert late is not None
    await late.offer_events(room.produce(event(id="e2", key="k0"), partition=1))
    await settle()
    assert late.position("events") == 0
    room.runtime.end(room.runtime.started[0])
    await asyncio.wait_for(close, 5.0)
    assert len(room.runtime.started) == 1
