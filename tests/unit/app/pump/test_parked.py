"""What its topic does not take stays in its place until it does, and holds up nothing else."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.engine.inputs import Unparked, WorkflowsLoaded
from app.engine.values.outgoing import Record
from app.kafka.log import Entry, LogError, Refusal, Refused
from app.kafka.memory import MemoryLog
from app.pump import parked
from app.pump.parked import Parked
from tests.unit.app.pump.conftest import Room, defined, event, settle


class Kit:
    def __init__(self, room: Room, begin_with: dict[int, Record] | None = None) -> None:
        self.log: MemoryLog = room.log()
        self.told: list[Unparked] = []
        self.buried: list[Refused] = []
        self.parked = Parked(self.log, begin_with=begin_with or {}, bury=self._bury, report=self.told.append)
        self.task: asyncio.Task[None] | None = None

    async def _bury(self, refused: Sequence[Refused]) -> None:
        self.buried.extend(refused)

    async def send(self, *records: Record) -> Any:
        found, letters = await self.parked.send(records)
        self.parked.hold(found)
        return found, letters

    def run(self) -> None:
        self.task = asyncio.create_task(self.parked.run())


def record(number: int, topic: str = "replies", size: int = 1) -> Record:
    return Record(topic, None, b"%d" % number, b"v" * size, (), foreign=True)


def written(room: Room, topic: str = "replies") -> list[int]:
    return [int(one.key or b"") for one in room.cluster.read(topic, 0)]


@pytest.fixture(autouse=True)
def _topics(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.cluster.create("replies", 1)
    room.cluster.create("others", 1)
    room.cluster.away.add("replies")
    monkeypatch.setattr(parked, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(parked, "AGAIN_MOST_SECONDS", 0.0)


@pytest.fixture
def kit(room: Room) -> Iterator[Kit]:
    made = Kit(room)
    yield made
    if made.task is not None:
        made.task.cancel()


async def test_what_is_parked_is_written_in_its_order_once_the_topic_is_back(kit: Kit, room: Room) -> None:
    assert await kit.send(record(1), record(2)) == ({0: record(1), 1: record(2)}, [])
    assert await kit.send(record(3), record(4, "others")) == ({2: record(3)}, [])
    kit.run()
    await settle()
    assert (written(room), written(room, "others"), kit.told) == ([], [4], [])
    room.cluster.away.clear()
    await settle()
    assert written(room) == [1, 2, 3]
    assert [number for one in kit.told for number in one.numbers] == [0, 1, 2]
    assert await kit.send(record(5)) == ({}, [])
    assert (written(room), kit.buried) == ([1, 2, 3, 5], [])


async def test_what_comes_while_the_topic_is_away_does_not_go_before_what_waits(kit: Kit, room: Room) -> None:
    await kit.send(record(1))
    room.cluster.away.clear()
    assert await kit.send(record(2)) == ({1: record(2)}, [])
    kit.run()
    await settle()
    assert written(room) == [1, 2]


async def test_an_owner_begins_with_what_the_one_before_it_has_parked(room: Room) -> None:
    kit = Kit(room, {7: record(2), 3: record(1)})
    kit.run()
    assert await kit.send(record(3)) == ({8: record(3)}, [])
    room.cluster.away.clear()
    await settle()
    assert written(room) == [1, 2, 3]
    assert kit.task is not None
    kit.task.cancel()


async def test_a_topic_that_is_gone_for_good_has_dead_letters(kit: Kit, room: Room) -> None:
    lost = record(1, "nowhere")
    room.cluster.create("nowhere", 1)
    room.cluster.away.add("nowhere")
    await kit.send(lost, record(2))
    room.cluster.create("nowhere", 0)
    kit.run()
    await settle()
    assert (kit.buried, kit.told) == ([Refused(lost, Refusal.MISSING)], [Unparked([0])])


async def test_an_error_of_the_log_ends_it(kit: Kit) -> None:
    await kit.send(record(1))

    async def fail(_records: Any) -> Any:
        raise LogError("gone")

    kit.log.send = fail  # type: ignore[assignment, method-assign]
    kit.run()
    assert kit.task is not None
    with pytest.raises(LogError, match="gone"):
        await kit.task


async def test_above_the_bounds_there_are_dead_letters(kit: Kit, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parked, "MOST_BYTES", 100)
    large = record(1, size=101)
    assert await kit.send(large, record(2)) == ({0: large}, [Refused(record(2), Refusal.AWAY)])
    kit.run()
    room.cluster.away.clear()
    await settle()
    room.cluster.away.add("replies")
    monkeypatch.setattr(parked, "MOST", 2)
    found, letters = await kit.send(record(3), record(4), record(5))
    assert (list(found.values()), letters) == ([record(3), record(4)], [Refused(record(5), Refusal.AWAY)])
    assert written(room) == [1]


def asked(number: int) -> Entry:
    """An event whose run answers to the topic that is away."""
    one = event(id=f"e{number}", key="k4")
    return Entry(one.key, one.value, (("reply_topic", b"replies"), ("correlation_id", b"%d" % number)))


async def test_rounds_whose_answers_cannot_be_written_are_marked_and_the_next_owner_writes_these(room: Room) -> None:
    room.limits = replace(room.limits, reply_allowed=lambda topic: topic == "replies")
    pump = await room.pump()
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))
    task = room.run(pump)
    for number in range(20):  # more rounds than may be undelivered
        await pump.offer_events(room.produce(asked(number))[-1:])
        await settle()
    pump._mark()
    await settle()
    assert (len(room.values("results")), len(pump.state.parked)) == (20, 20)
    pump.stop()
    await task
    assert not pump.state.undelivered

    pump = await room.pump(name="second")
    assert len(pump.state.parked) == 20
    room.cluster.away.clear()
    task = room.run(pump)
    await settle()
    assert written(room) == list(range(20))
    pump.stop()
    await task
    taken = await room.take(room.log(), "third")
    assert (taken.state.parked, taken.deliver_again) == ({}, [])
