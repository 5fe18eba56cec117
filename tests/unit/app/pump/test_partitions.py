"""Partitions are taken, kept and let go as the group says; what goes wrong in one of them ends the process."""

from collections.abc import Iterator

import orjson
import pytest

from app.engine.inputs import WorkflowsLoaded
from app.kafka.log import Entry, Fenced
from app.kafka.memory import MemoryLog
from app.pump.partitions import Partitions, Parts
from app.pump.pump import Bounds
from app.pump.takeover import Owner
from tests.unit.app.pump.conftest import Room, defined, event, settle
from topics import journal


class Worker:
    """A worker's partitions, without the rest of it."""

    def __init__(self, room: Room, name: str) -> None:
        self.failures: list[BaseException] = []
        self.logs: list[MemoryLog] = []
        self._room = room
        self.partitions = Partitions(
            Parts(
                owner=Owner(worker=name, instance_id=name),
                limits=room.limits,
                bounds=Bounds(),
                clock=room.clock,
                runtime=room.runtime,
                open_log=self._open,
                observe=lambda _counters, _state: None,
            ),
            failed=self.failures.append,
        )
        self.partitions.workflows_changed(WorkflowsLoaded([defined()], ()))

    def _open(self, partition: int) -> MemoryLog:
        self.logs.append(self._room.log(partition))
        return self.logs[-1]

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


async def test_what_is_not_owned_has_no_position_and_no_room(worker: Worker) -> None:
    assert worker.partitions.position("events", 0) is None
    assert not worker.partitions.has_room("events", 0)
    assert 0 not in worker.partitions


async def test_being_fenced_while_the_partition_is_assigned_ends_the_process(room: Room, worker: Worker) -> None:
    await worker.assign(0)
    await room.take(room.log(), "second")
    pump = worker.partitions.pump(0)
    assert pump is not None
    await pump.offer_events(room.produce(event(id="e1", key="k4")))
    await settle()
    assert [type(one) for one in worker.failures] == [Fenced]


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
    room.runtime.slow.add("w")
    await worker.assign(0)
    pump = worker.partitions.pump(0)
    assert pump is not None
    await pump.offer_events(room.produce(event(id="e1", key="k4")))
    await settle()
    await worker.partitions.close(drain_seconds=0.01)
    assert (room.runtime.cancelled, room.values("results")) == (room.runtime.started, [])
    assert worker.partitions.numbers == frozenset()
